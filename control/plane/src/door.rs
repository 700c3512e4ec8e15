//! The one way to the state for everything that runs beside its owner: a question goes in, its
//! answer comes back.

use tokio::sync::{mpsc, oneshot};

use crate::state::State;

/// Questions that may wait.
const WAITING_MAX: usize = 64;

type Question = Box<dyn FnOnce(&mut State) -> Answer + Send>;

/// Gives the answer to whoever asked. The owner may do first what the question asked for.
pub(crate) type Answer = Box<dyn FnOnce() + Send>;

/// Asks. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Door(mpsc::Sender<Question>);

/// The owner's side.
#[derive(Debug)]
pub(crate) struct Questions(mpsc::Receiver<Question>);

/// The owner is gone: the director is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopping;

/// A door and what is behind it.
pub(crate) fn door() -> (Door, Questions) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (Door(sender), Questions(receiver))
}

impl Door {
    /// What `question` answers.
    pub(crate) async fn ask<A: Send + 'static>(
        &self,
        question: impl FnOnce(&mut State) -> A + Send + 'static,
    ) -> Result<A, Stopping> {
        let (sender, answer) = oneshot::channel();
        let question: Question = Box::new(|state| {
            let answer = question(state);
            Box::new(|| {
                // Whoever asked may be gone by now.
                let _ = sender.send(answer);
            })
        });
        self.0.send(question).await.map_err(|_| Stopping)?;
        answer.await.map_err(|_| Stopping)
    }
}

impl Questions {
    /// The next question, to be called with the state.
    pub(crate) async fn next(&mut self) -> Option<Question> {
        self.0.recv().await
    }
}
