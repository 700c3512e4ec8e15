//! Clients that the stock programs are not.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType, connect, recv, send, socket,
};
use weir_ipvs::client::{Channel, Client, Failure, Request};
use weir_ipvs::types::{TCP, method};
use weir_ipvs::{Errno, Netmask, Server, ServerKey, Service, ServiceKey, Tunnel};

use crate::Door;

pub(crate) struct Connection(pub(crate) OwnedFd);

impl Connection {
    pub(crate) fn new(path: &Path) -> Self {
        let connection = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None);
        let connection = connection.expect("a socket");
        let address = SocketAddrUnix::new(path).expect("a short path");
        connect(&connection, &address).expect("it listens");
        Self(connection)
    }
}

impl Channel for Connection {
    fn send(&mut self, datagram: &[u8]) -> std::io::Result<()> {
        send(&self.0, datagram, SendFlags::empty())?;
        Ok(())
    }

    fn receive(&mut self) -> std::io::Result<Vec<u8>> {
        let mut datagram = vec![0; 64 * 1024];
        let (length, _) = recv(&self.0, &mut datagram[..], RecvFlags::empty())?;
        datagram.truncate(length);
        match length {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(datagram),
        }
    }
}

pub(crate) fn client(door: &Door) -> Client<Connection> {
    Client::new(Connection::new(&door.socket()))
}

pub(crate) fn service(port: u16) -> Service {
    let key = ServiceKey::Address {
        protocol: TCP,
        address: [192, 0, 2, 100].into(),
        port,
    };
    Service {
        key,
        scheduler: "rr".to_owned(),
        flags: 0,
        timeout: 0,
        netmask: Netmask::whole(key.family()),
        engine: None,
    }
}

pub(crate) fn server(number: u16) -> Server {
    let [high, low] = number.to_be_bytes();
    Server {
        key: ServerKey {
            address: [10, 0, high, low].into(),
            port: 80,
        },
        method: method::MASQ,
        weight: 1,
        upper_threshold: 0,
        lower_threshold: 0,
        tunnel: Tunnel::default(),
    }
}

#[test]
fn the_client_of_the_codec_does_all_there_is() {
    let door = Door::open();
    let mut client = client(&door);
    assert_eq!(client.info().expect("told").table_size, 4096);
    client
        .order(&Request::add_service(&service(80)))
        .expect("it is not there");
    let again = client.order(&Request::add_service(&service(80)));
    assert!(
        matches!(again, Err(Failure::Refused(Errno::Eexist))),
        "{again:?}"
    );
    let key = service(80).key;
    for number in [1, 2] {
        client
            .order(&Request::add_server(&key, &server(number)))
            .expect("it is not there");
    }
    let mut heavy = server(1);
    heavy.weight = 9;
    client
        .order(&Request::edit_server(&key, &heavy))
        .expect("it is there");
    let servers = client.servers(&key).expect("told").into_iter();
    let servers: Vec<_> = servers.map(|(server, ..)| server).collect();
    assert_eq!(servers, [server(2), heavy]);
    let (held, _) = client.service(&key).expect("it is there");
    assert_eq!(held, service(80));
    client
        .order(&Request::remove_server(&key, &server(2).key))
        .expect("it is there");
    client.order(&Request::zero(None)).expect("done");
    client.order(&Request::flush()).expect("done");
    assert!(client.services().expect("told").is_empty());
    let gone = client.service(&key);
    assert!(
        matches!(gone, Err(Failure::Refused(Errno::Esrch))),
        "{gone:?}"
    );
}

#[test]
fn what_this_director_cannot_hold_is_refused_with_a_reason() {
    let door = Door::open();
    let mut client = client(&door);
    let ServiceKey::Address { address, port, .. } = service(80).key else {
        panic!("it goes by address");
    };
    let other = Service {
        key: ServiceKey::Address {
            protocol: 99,
            address,
            port,
        },
        ..service(80)
    };
    let refused = client.order(&Request::add_service(&other));
    assert!(
        matches!(refused, Err(Failure::Refused(Errno::Eprotonosupport))),
        "{refused:?}"
    );
    client
        .order(&Request::add_service(&service(80)))
        .expect("it is not there");
    let bypass = Server {
        method: method::BYPASS,
        ..server(1)
    };
    let refused = client.order(&Request::add_server(&service(80).key, &bypass));
    assert!(
        matches!(refused, Err(Failure::Refused(Errno::Eopnotsupp))),
        "{refused:?}"
    );
}

#[test]
fn names_and_local_ends_stay_as_configured() {
    let dir = std::sync::Arc::new(tempfile::tempdir().expect("a directory"));
    let file = "[[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.100\"\nport = 80\nname = \"web\"\n\
        local_addresses = [\"10.0.0.200\"]\n\
        [[service.server]]\naddress = \"10.0.0.1\"\nmethod = \"fullnat\"\nname = \"one\"\n";
    let door = Door::open_in(std::sync::Arc::clone(&dir), file);
    let mut client = client(&door);
    let key = service(80).key;
    client
        .order(&Request::edit_service(&service(80)))
        .expect("it is there");
    client
        .order(&Request::edit_server(&key, &server(1)))
        .expect("it is there");
    let mut local = server(200);
    local.method = method::ROUTE;
    let refused = client.order(&Request::add_server(&key, &local));
    assert!(
        matches!(refused, Err(Failure::Refused(Errno::Einval))),
        "{refused:?}"
    );
    let state = std::fs::read_to_string(dir.path().join("state/run-time.json"));
    let state: serde_json::Value = serde_json::from_str(&state.expect("kept")).expect("JSON");
    let held = &state["held"]["services"][0];
    assert_eq!(
        (held["name"].as_str(), held["scheduler"].as_str()),
        (Some("web"), Some("rr"))
    );
    let server = &held["servers"][0];
    assert_eq!(
        (server["name"].as_str(), server["method"].as_str()),
        (Some("one"), Some("fullnat"))
    );
}

#[test]
fn a_slow_reader_makes_nobody_else_wait() {
    let door = Door::open();
    let mut quick = client(&door);
    quick
        .order(&Request::add_service(&service(80)))
        .expect("it is not there");
    for number in 1..=300 {
        quick
            .order(&Request::add_server(&service(80).key, &server(number)))
            .expect("it is not there");
    }
    // Each asks for megabytes and reads nothing.
    let mut slow = Vec::new();
    for _ in 0..8 {
        let connection = Connection::new(&door.socket());
        let key = weir_ipvs::attribute::Nest::of(&service(80).key.attributes());
        let attributes = weir_ipvs::tables::CommandAttributes {
            service: Some(key),
            ..Default::default()
        };
        let dump = weir_ipvs::netlink::DUMP;
        let get = weir_ipvs::tables::Command::GetDest;
        let request = weir_ipvs::client::request(1, get, dump, &attributes);
        for _ in 0..20 {
            let sent = send(&connection.0, &request, SendFlags::DONTWAIT);
            if sent.is_err() {
                break;
            }
        }
        slow.push(connection);
    }
    let begun = Instant::now();
    for _ in 0..100 {
        let mut client = client(&door);
        assert_eq!(client.servers(&service(80).key).expect("told").len(), 300);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn whatever_is_sent_the_door_stays_open() {
    let door = Door::open();
    let whole = weir_ipvs::client::request(
        7,
        weir_ipvs::tables::Command::NewService,
        0,
        &weir_ipvs::tables::CommandAttributes {
            service: Some(weir_ipvs::attribute::Nest::of(&service(80).attributes())),
            ..Default::default()
        },
    );
    for length in 0..whole.len() {
        let connection = Connection::new(&door.socket());
        // An empty one is an end to SEQPACKET.
        let _ = send(&connection.0, &whole[..length], SendFlags::empty());
    }
    let connection = Connection::new(&door.socket());
    let _ = send(&connection.0, &vec![0xff; 100_000], SendFlags::empty());
    assert!(client(&door).services().expect("told").is_empty());
}

#[test]
fn ten_thousand_short_connections_are_served() {
    let door = Door::open();
    client(&door)
        .order(&Request::add_service(&service(80)))
        .expect("it is not there");
    for number in 0..10_000 {
        // Some ask, some leave at once, some leave before they are answered.
        match number % 3 {
            0 => assert_eq!(client(&door).services().expect("told").len(), 1),
            1 => drop(Connection::new(&door.socket())),
            _ => {
                let connection = Connection::new(&door.socket());
                send(&connection.0, &all_services(), SendFlags::NOSIGNAL).expect("sent");
            }
        }
    }
    let files = std::fs::read_dir("/proc/self/fd")
        .expect("it has some")
        .count();
    assert!(files < 1000, "{files} files are open");
}

/// Asks for all services.
fn all_services() -> Vec<u8> {
    let get = weir_ipvs::tables::Command::GetService;
    weir_ipvs::client::request(1, get, weir_ipvs::netlink::DUMP, &Default::default())
}

#[test]
fn each_datagram_of_a_dump_is_a_packet_of_its_own() {
    let door = Door::open();
    let mut asking = client(&door);
    for port in 1..=300 {
        let added = asking.order(&Request::add_service(&service(port)));
        added.expect("it is not there");
    }
    let mut connection = Connection::new(&door.socket());
    connection.send(&all_services()).expect("sent");
    let (mut services, mut datagrams) = (0, 0);
    loop {
        let datagram = connection.receive().expect("more comes");
        assert!(datagram.len() <= 16384, "{}", datagram.len());
        datagrams += 1;
        let kinds: Vec<_> = weir_ipvs::netlink::messages(&datagram)
            .map(|message| message.header.kind)
            .collect();
        if kinds == [weir_ipvs::netlink::DONE] {
            break;
        }
        assert!(
            kinds
                .iter()
                .all(|kind| *kind == weir_ipvs::tables::FAMILY_ID)
        );
        services += kinds.len();
    }
    assert_eq!(services, 300);
    assert!(datagrams > 3, "{datagrams}");
}

#[test]
fn a_batch_without_an_end_is_nothing() {
    let door = Door::open();
    let mut asking = client(&door);
    asking
        .order(&Request::add_service(&service(80)))
        .expect("it is not there");
    let first = Part(Connection::new(&door.socket()), 1);
    let mut many = vec![Request::flush()];
    many.extend((1..=1000).map(|port| Request::add_service(&service(port))));
    // It dies after the first part.
    let died = Client::new(first).order_all(&many);
    assert!(died.is_err(), "{died:?}");
    assert_eq!(asking.services().expect("told").len(), 1);
    // So it is when something else is asked for in the midst, which is answered.
    let mut between = Client::new(Part(Connection::new(&door.socket()), 2));
    assert!(between.order_all(&many).is_err());
}

/// A channel that breaks after so many datagrams.
struct Part(Connection, usize);

impl Channel for Part {
    fn send(&mut self, datagram: &[u8]) -> std::io::Result<()> {
        if self.1 == 0 {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        self.1 -= 1;
        self.0.send(datagram)
    }

    fn receive(&mut self) -> std::io::Result<Vec<u8>> {
        self.0.receive()
    }
}

#[test]
fn who_asks_for_a_text_by_halves_or_reads_none_makes_nobody_else_wait() {
    let door = Door::open();
    let mut asking = client(&door);
    for number in 1..=400 {
        let one = service(80 + number);
        asking
            .order(&Request::add_service(&one))
            .expect("it is not there");
        for server_number in 1..=10 {
            let added = asking.order(&Request::add_server(&one.key, &server(server_number)));
            added.expect("it is not there");
        }
    }
    let connect = || UnixStream::connect(door.proc_socket()).expect("it listens");
    let mut others = Vec::new();
    for number in 0..64 {
        let mut socket = connect();
        let asked: &[u8] = if number % 2 == 0 { b"ip_v" } else { b"ip_vs\n" };
        socket.write_all(asked).expect("it reads");
        others.push(socket);
    }
    let begun = Instant::now();
    for _ in 0..20 {
        let mut socket = connect();
        socket.write_all(b"ip_vs\n").expect("it reads");
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("it answers");
        assert_eq!(text.lines().count(), 3 + 400 * 11);
    }
    let waited = begun.elapsed();
    assert!(waited < Duration::from_secs(8), "{waited:?}");
}

#[test]
fn only_root_and_the_daemons_user_find_an_open_door() {
    let door = Door::open();
    for path in [door.socket(), door.proc_socket()] {
        let mode = std::fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
}

#[test]
fn the_texts_of_proc_are_read_by_name() {
    let door = Door::open();
    let mut client = client(&door);
    client
        .order(&Request::add_service(&service(80)))
        .expect("it is not there");
    client
        .order(&Request::add_server(&service(80).key, &server(1)))
        .expect("it is not there");
    let read = |name: &str| {
        let mut socket = UnixStream::connect(door.proc_socket()).expect("it listens");
        socket
            .write_all(format!("{name}\n").as_bytes())
            .expect("it reads");
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("it answers");
        text
    };
    // As OpenStack Octavia's amphora reads it (its tests have this very form).
    let text = read("ip_vs");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "IP Virtual Server version 1.2.1 (size=4096)",
            "Prot LocalAddress:Port Scheduler Flags",
            "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn",
            "TCP  C0000264:0050 rr  ",
            "  -> 0A000001:0050      Masq    1      0          0         ",
        ]
    );
    assert!(read("ip_vs_conn").starts_with("Pro FromIP"));
    assert!(read("ip_vs_conn_sync").contains("Origin"));
    assert!(read("ip_vs_stats").contains("Conns/s"));
    assert!(read("ip_vs_stats_percpu").contains("  ~ "));
    assert_eq!(read("ip_vs_nothing"), "");
}

#[test]
fn beyond_the_limits_there_is_no_room_and_what_is_there_stays() {
    let dir = std::sync::Arc::new(tempfile::tempdir().expect("a directory"));
    let door = Door::open_in(dir, "[limits]\nservices = 2\nservers = 3\n");
    let mut client = client(&door);
    for port in [80, 81] {
        client
            .order(&Request::add_service(&service(port)))
            .expect("it is not there");
    }
    let refused = client.order(&Request::add_service(&service(82)));
    assert!(
        matches!(refused, Err(Failure::Refused(Errno::Enomem))),
        "{refused:?}"
    );
    let key = service(80).key;
    for number in [1, 2, 3] {
        client
            .order(&Request::add_server(&key, &server(number)))
            .expect("there is room");
    }
    let refused = client.order(&Request::add_server(&service(81).key, &server(4)));
    assert!(
        matches!(refused, Err(Failure::Refused(Errno::Enomem))),
        "{refused:?}"
    );
    assert_eq!(client.services().expect("told").len(), 2);
    assert_eq!(client.servers(&key).expect("told").len(), 3);
}
