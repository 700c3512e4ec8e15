//! Who comes in by the sockets: a task for each connection, so a slow reader makes only itself wait.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::{error, warn};
use weir_ipvs::batch::{Gathered, Gathering};

use super::batch;
use super::socket::{Listening, may_connect};
use super::table::IpvsTable;
use super::texts;
use crate::door::Door;

/// Connections of one kind at a time. `keepalived` holds two; every question of `ipvsadm` is one.
const CONNECTIONS_MAX: usize = 256;

/// Bytes of a datagram of requests. libnl's are a page; what is longer is no request.
const REQUEST_MAX: usize = 64 * 1024;

/// How long a client may leave a reply unread.
const PATIENCE: Duration = Duration::from_secs(10);

/// A pause after the system had no file for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Takes connections and gives each to `client`, in a task of its own.
async fn take<F: Future<Output = ()> + Send + 'static>(
    listening: Listening,
    client: impl Fn(UnixStream) -> F,
) {
    let listener = match listening.listener() {
        Ok(listener) => listener,
        Err(cause) => return error!("ipvs: nobody can connect: {cause}"),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Who finds no place waits in the socket's queue.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let connection = match listener.accept().await {
            Ok((connection, _)) => connection,
            Err(cause) => {
                warn!("ipvs: a client could not connect: {cause}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if may_connect(&connection).unwrap_or(false) {
            let client = client(connection);
            tokio::spawn(async move {
                let _place: OwnedSemaphorePermit = place;
                client.await;
            });
        }
    }
}

/// Answers netlink's messages.
pub(crate) async fn netlink(listening: Listening, door: Door) {
    take(listening, |connection| {
        let door = door.clone();
        async move {
            // A client that is gone, or does not read, is no fault of ours.
            let _ = answer_all(connection, &door).await;
        }
    })
    .await;
}

/// Answers the requests of one connection in order, each before the next is read.
async fn answer_all(connection: UnixStream, door: &Door) -> io::Result<()> {
    let mut buffer = vec![0; REQUEST_MAX];
    let mut gathering = Gathering::default();
    loop {
        let receiving = connection.async_io(Interest::READABLE, || {
            let (_, length) = recv(&connection, &mut buffer[..], RecvFlags::TRUNC)?;
            Ok(length)
        });
        let length = receiving.await?;
        if length == 0 || length > REQUEST_MAX {
            return Ok(());
        }
        let request = &buffer[..length];
        let answered = match gathering.take(request) {
            Gathered::Part => continue,
            Gathered::Whole(whole) => door.ask(move |state| batch::answer(state, &whole)).await,
            Gathered::Else => {
                let request = request.to_vec();
                door.ask(move |state| weir_ipvs::answer(&request, &mut IpvsTable(state)))
                    .await
            }
        };
        let Ok(replies) = answered else {
            // The director is stopping. The client finds the connection closed and asks again.
            return Ok(());
        };
        for reply in replies {
            let sending = connection.async_io(Interest::WRITABLE, || {
                Ok(send(&connection, &reply, SendFlags::NOSIGNAL)?)
            });
            timeout(PATIENCE, sending).await??;
        }
    }
}

/// Writes the texts of `/proc/net`.
pub(crate) async fn proc(listening: Listening, door: Door) {
    take(listening, |connection| {
        let door = door.clone();
        async move {
            // As above.
            let _ = texts::write(connection, &door).await;
        }
    })
    .await;
}
