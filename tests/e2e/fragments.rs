//! Datagrams longer than the link, which Linux cuts at both ends.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use weir_tests::netns::Netns;
use weir_tests::{Config, Family, Method, Service};

use crate::lab;

const PORT: u16 = 7007;

#[test]
fn datagrams_of_many_kilobytes_pass_and_come_back_nat_ipv4() -> Result<()> {
    pass_and_come_back(Method::Nat, Family::V4)
}

#[test]
fn datagrams_of_many_kilobytes_pass_and_come_back_nat_ipv6() -> Result<()> {
    pass_and_come_back(Method::Nat, Family::V6)
}

#[test]
fn datagrams_of_many_kilobytes_pass_and_come_back_dr_ipv4() -> Result<()> {
    pass_and_come_back(Method::Dr, Family::V4)
}

#[test]
fn datagrams_of_many_kilobytes_pass_and_come_back_dr_ipv6() -> Result<()> {
    pass_and_come_back(Method::Dr, Family::V6)
}

#[test]
fn datagrams_of_many_kilobytes_pass_and_come_back_fullnat_ipv4() -> Result<()> {
    pass_and_come_back(Method::FullNat, Family::V4)
}

fn pass_and_come_back(method: Method, family: Family) -> Result<()> {
    let lab = lab();
    let servers = &lab.servers(method)?[..1];
    let vip = method.vip(family);
    let own = match method {
        // The VIP is the server's own too.
        Method::Dr => vip,
        _ => servers[0].address(family),
    };
    let netns = servers[0].netns.as_ref().context("on this host")?;
    let echo = Echo::start(netns, SocketAddr::new(own, PORT));
    let service = Service::http(method, family, servers).udp_on(PORT);
    let _director = lab.director(&Config::of(service).on_every_core())?;
    let client = lab.client.netns().on_a_thread(move || {
        let any = match family {
            Family::V4 => "0.0.0.0:0",
            Family::V6 => "[::]:0",
        };
        let socket = UdpSocket::bind(any)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.connect((vip, PORT))?;
        let mut answer = vec![0; 65_536];
        for len in [1, 1473, 8192, 20_000, 65_000] {
            let sent: Vec<u8> = (0..len).map(|n: u32| (n * 7 + n / 256) as u8).collect();
            socket.send(&sent)?;
            let got = socket.recv(&mut answer);
            let got = got.with_context(|| format!("the answer to {len} bytes"))?;
            ensure!(
                answer[..got] == sent,
                "{len} bytes came back as {got} others"
            );
        }
        Ok(())
    });
    let result = client.join();
    echo.stop()?;
    match result {
        Ok(result) => result,
        Err(_) => bail!("the client panicked"),
    }
}

/// Sends every datagram back.
struct Echo {
    is_stopped: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Echo {
    fn start(netns: &Netns, at: SocketAddr) -> Self {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_stopped);
        let thread = netns.on_a_thread(move || {
            let socket = UdpSocket::bind(at).with_context(|| at.to_string())?;
            socket.set_read_timeout(Some(Duration::from_millis(100)))?;
            let mut datagram = vec![0; 65_536];
            while !seen.load(Ordering::Relaxed) {
                if let Ok((len, from)) = socket.recv_from(&mut datagram) {
                    socket.send_to(&datagram[..len], from)?;
                }
            }
            Ok(())
        });
        Self { is_stopped, thread }
    }

    fn stop(self) -> Result<()> {
        self.is_stopped.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => bail!("the echo panicked"),
        }
    }
}
