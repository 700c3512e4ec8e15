//! The labs of this run. They are the same network, each apart from the other by its namespaces.

use std::ops::Deref;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use weir_tests::Lab;

/// How many there are at most. A test waits for half of its time, so two keep two cores busy.
const LABS: usize = 2;

/// Labs that no test has, and how many were built.
struct Labs {
    free: Vec<Lab>,
    built: usize,
}

static LABS_HERE: Mutex<Labs> = Mutex::new(Labs {
    free: Vec::new(),
    built: 0,
});
static IS_FREE: Condvar = Condvar::new();

fn labs_here() -> MutexGuard<'static, Labs> {
    LABS_HERE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lab that is one test's until the test ends.
pub(crate) struct Borrowed(Option<Lab>);

impl Deref for Borrowed {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        self.0.as_ref().expect("it is there until the end")
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        // A test that failed left nothing behind that the next one minds.
        labs_here().free.extend(self.0.take());
        IS_FREE.notify_one();
    }
}

/// A lab for one test at a time. It is built when none is free; the reaper takes all away after the last
/// test.
pub(crate) fn lab() -> Borrowed {
    let mut labs = labs_here();
    loop {
        if let Some(lab) = labs.free.pop() {
            return Borrowed(Some(lab));
        }
        if labs.built < LABS {
            let lab = Lab::new().expect("the lab needs root and ./x test's packages");
            labs.built += 1;
            return Borrowed(Some(lab));
        }
        labs = IS_FREE.wait(labs).unwrap_or_else(PoisonError::into_inner);
    }
}
