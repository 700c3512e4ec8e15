//! The end of a drain, with connections that say nothing: real sockets of both ends, to each of which
//! the other one is reset.

use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use weir_tests::plan::in_url;
use weir_tests::{Config, Director, Family, Lab, Method, Service};

use crate::lab;

/// Where the silent server listens, and its service.
const PORT: u16 = 8000;
/// Until both ends know: the deadline, a round of questions and some patience.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for a peer that says nothing to end; how it did.
fn hear(mut stream: TcpStream) -> Result<ErrorKind> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    match stream.read(&mut [0]) {
        Ok(count) => bail!("{count} bytes came"),
        Err(error) => Ok(error.kind()),
    }
}

/// A director with a service of one server at [`PORT`].
fn quiet<'l>(lab: &'l Lab, method: Method, family: Family) -> Result<Director<'l>> {
    let servers = lab.servers(method)?;
    let service = Service::http(method, family, servers);
    let director = lab.director(&Config::of(service))?;
    let service = format!("tcp:{}:{PORT}", in_url(method.vip(family)));
    director.weir(&["service", "add", &service, "--name", "quiet"])?;
    let address = servers[0].address(family).to_string();
    let add = [
        "server",
        "add",
        "quiet",
        &address,
        "--method",
        method.name(),
    ];
    director.weir(&[&add[..], &["--name", "silent"]].concat())?;
    Ok(director)
}

fn both_ends_of_a_silent_connection_are_reset(method: Method, family: Family) -> Result<()> {
    let lab = lab();
    let director = quiet(&lab, method, family)?;
    let server = &lab.servers(method)?[0];
    let netns = server.netns.as_ref().context("it is on this machine")?;
    let (listens, is_listening) = mpsc::channel();
    let server = netns.on_a_thread(move || {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT))?;
        listens.send(())?;
        hear(listener.accept()?.0)
    });
    is_listening.recv()?;
    let vip = SocketAddr::new(method.vip(family), PORT);
    let (connects, is_connected) = mpsc::channel();
    let client = lab.client.netns().on_a_thread(move || {
        let stream = TcpStream::connect(vip)?;
        connects.send(())?;
        hear(stream)
    });
    is_connected.recv()?;
    let begun = Instant::now();
    let forced = director.weir(&["server", "drain", "silent", "--deadline", "1", "--wait"]);
    let forced = forced.expect_err("a flow is left").to_string();
    assert!(forced.contains("exit status: 3"), "{forced}");
    assert!(
        forced.contains("1 flows were left and were ended"),
        "{forced}"
    );
    for (end, name) in [(client, "client"), (server, "server")] {
        let heard = end.join().expect("it does not panic")?;
        assert_eq!(heard, ErrorKind::ConnectionReset, "{name}");
    }
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    assert_eq!(
        director.metric("weir_drained_flows_total", &["end=\"reset\""])?,
        1.0
    );
    assert_eq!(
        director.metric("weir_drained_flows_total", &["end=\"removed\""])?,
        0.0
    );
    Ok(())
}

macro_rules! for_each {
    ($($name:ident: $method:expr, $family:expr;)*) => {$(
        #[test]
        fn $name() -> Result<()> {
            both_ends_of_a_silent_connection_are_reset($method, $family)
        }
    )*};
}

for_each! {
    both_ends_of_a_silent_connection_are_reset_nat_ipv4: Method::Nat, Family::V4;
    both_ends_of_a_silent_connection_are_reset_nat_ipv6: Method::Nat, Family::V6;
    both_ends_of_a_silent_connection_are_reset_dr_ipv4: Method::Dr, Family::V4;
    both_ends_of_a_silent_connection_are_reset_dr_ipv6: Method::Dr, Family::V6;
}

/// The client's machine is gone without a word: nobody answers for it, and the drain ends all the same.
#[test]
fn a_connection_whose_client_is_gone_is_forgotten() -> Result<()> {
    let (method, family) = (Method::Dr, Family::V4);
    let lab = lab();
    let director = quiet(&lab, method, family)?;
    let netns = lab.servers(method)?[0].netns.clone();
    let netns = netns.context("it is on this machine")?;
    let (listens, is_listening) = mpsc::channel();
    let (ends, end) = mpsc::channel::<()>();
    let server = netns.on_a_thread(move || {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT))?;
        listens.send(())?;
        let held = listener.accept()?;
        // Until the test is over.
        let _ = end.recv();
        drop(held);
        Ok(())
    });
    is_listening.recv()?;
    let client = lab.client.netns();
    let vip: IpAddr = method.vip(family);
    let connect = client.on_a_thread(move || Ok(TcpStream::connect((vip, PORT))?));
    let stream = connect.join().expect("it does not panic")?;
    client.run("ip link set lo down")?;
    let blocked = format!("ip route add blackhole {vip}/32");
    client.run(&blocked)?;
    let forced = director.weir(&["server", "drain", "silent", "--deadline", "0", "--wait"]);
    client.run(&format!("ip route del blackhole {vip}/32"))?;
    client.run("ip link set lo up")?;
    let forced = forced.expect_err("a flow is left").to_string();
    assert!(forced.contains("exit status: 3"), "{forced}");
    assert_eq!(director.metric("weir_drain_probes_total", &[])?, 3.0);
    assert_eq!(
        director.metric("weir_drained_flows_total", &["end=\"removed\""])?,
        1.0
    );
    drop((stream, ends));
    server.join().expect("it does not panic")
}

#[test]
fn a_drain_goes_on_with_its_deadline_after_a_daemon_that_was_killed() -> Result<()> {
    let lab = lab();
    let (method, family) = (Method::Nat, Family::V4);
    let servers = lab.servers(method)?;
    let config = Config::of(Service::http(method, family, servers));
    let director = lab.director(&config)?;
    director.weir(&["server", "drain", "nat1", "--deadline", "600"])?;
    let begun = Instant::now();
    director.weir(&["server", "drain", "nat2"])?;
    director.kill()?;
    let director = lab.director_again(&config)?;
    let names = lab.client.names(method.vip(family), 3)?;
    assert_eq!(names, ["nat3", "nat3", "nat3"]);
    let socket = lab.dir().join("weir.sock");
    let view = |server: &str| {
        let path = format!("http://weir/v1/services/tcp:192.0.2.101:80/servers/{server}:80/drain");
        let socket = socket.display();
        let curl = format!("curl -sSf --unix-socket {socket} {path}");
        lab.director_netns().run(&curl)
    };
    let one = view("10.0.0.1")?;
    assert!(one.contains("\"weight_before\":1"), "{one}");
    let left = one.split("\"seconds_left\":").nth(1);
    let left = left.and_then(|left| left.split(['}', ',']).next()?.trim().parse().ok());
    let left: u64 = left.with_context(|| format!("no deadline: {one}"))?;
    let passed = begun.elapsed().as_secs();
    assert!(
        (597..=601).contains(&(left + passed)),
        "{left} s, {passed} s"
    );
    assert!(!view("10.0.0.2")?.contains("\"seconds_left\":"));
    // Called off, it gets the weight that it had before all that.
    director.weir(&["server", "drain", "nat1", "--stop"])?;
    director.weir(&["server", "drain", "nat2", "--stop"])?;
    let names = lab.client.names(method.vip(family), 3)?;
    assert_eq!(names, ["nat3", "nat2", "nat1"]);
    Ok(())
}
