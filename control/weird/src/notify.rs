//! Tells systemd how far we are, if it asked (sd_notify(3)): one datagram, no library.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use weir_control::pulse::Alive;

/// Sends `state`, such as `READY=1`, to where `NOTIFY_SOCKET` points.
pub(crate) fn notify(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let send = || -> io::Result<()> {
        let address = match socket.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&socket)?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
        Ok(())
    };
    if let Err(error) = send() {
        tracing::warn!("systemd was not told {state}: {error}");
    }
}

/// Tells systemd again and again that the thread and the workers are alive, as often as it asked
/// (`WatchdogSec`, sd_watchdog_enabled(3)); ends at once if it did not.
pub(crate) async fn keep_alive(workers: Alive) {
    let Some(period) = period() else { return };
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if workers.get() {
            notify("WATCHDOG=1");
        }
    }
}

/// Half of the time after which systemd gives up.
fn period() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    // It may be meant for the process that started this one.
    let is_other = number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id()));
    let micros = number("WATCHDOG_USEC").filter(|micros| *micros > 1 && !is_other)?;
    Some(Duration::from_micros(micros / 2))
}
