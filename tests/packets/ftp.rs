//! FTP through NAT: what is announced on the control connection reaches the server that said so.

use weir_core::flow::{State, TcpState, Tuple};
use weir_core::service::{Method, Protocol};
use weir_core::settings::{FtpPorts, Ipvs};
use weir_wire::builder::{PacketBuilder, addr};
use weir_wire::tcp_flag::{ACK, FIN, PSH, RST, SYN};
use weir_wire::{Addr, Headers, Parsed, segment};

use crate::several_workers::{by_device, deliver, workers};
use crate::world::{Described, LAN, LAN_MAC, Net, WAN, World, server_mac};

/// TCP port 21 of the VIP, by NAT to one server.
fn service(net: &Net) -> Described {
    let mut service = Described::web(net, Method::Nat);
    service.key.port = 21;
    service.servers = vec![(1, 21, 1)];
    service
}

fn from_client(net: &Net, ports: [u16; 2], flags: u8, numbers: [u32; 2], text: &str) -> Vec<u8> {
    let tcp = net.client_frame().tcp(ports[0], ports[1]).flags(flags);
    let tcp = tcp.seq(numbers[0]).ack(numbers[1]);
    tcp.payload(text.as_bytes()).build()
}

fn from_server(net: &Net, ports: [u16; 2], flags: u8, numbers: [u32; 2], text: &str) -> Vec<u8> {
    let tcp = net.server_frame(1).tcp(ports[0], ports[1]).flags(flags);
    let tcp = tcp.seq(numbers[0]).ack(numbers[1]);
    tcp.payload(text.as_bytes()).build()
}

/// What left, as far as FTP may change it: ports, numbers and text. Checksums are right.
#[derive(Debug, PartialEq)]
struct Left {
    to_client: bool,
    addrs: (Addr, Addr),
    ports: [u16; 2],
    numbers: [u32; 2],
    text: String,
}

fn left(world: &mut World) -> Left {
    let (port, frame) = world.only_sent();
    read(port == WAN, &frame)
}

fn read(to_client: bool, frame: &[u8]) -> Left {
    let Ok(Parsed::Ip(h)) = weir_wire::parse(frame, true) else {
        panic!("no IP packet left");
    };
    assert!(segment::checksum_ok(frame, &h));
    assert_eq!(usize::from(h.end), frame.len());
    let h: Headers = h;
    let number = |at: usize| {
        let at = usize::from(h.l4) + at;
        u32::from_be_bytes(frame[at..at + 4].try_into().expect("four bytes"))
    };
    Left {
        to_client,
        addrs: (h.src, h.dst),
        ports: [h.src_port, h.dst_port],
        numbers: [number(4), number(8)],
        text: String::from_utf8(frame[segment::payload(frame, &h)].to_vec()).expect("text"),
    }
}

fn to_server(net: &Net, ports: [u16; 2], numbers: [u32; 2], text: &str) -> Left {
    Left {
        to_client: false,
        addrs: (net.client, net.server(1)),
        ports,
        numbers,
        text: text.to_owned(),
    }
}

fn to_client(net: &Net, ports: [u16; 2], numbers: [u32; 2], text: &str) -> Left {
    Left {
        to_client: true,
        addrs: (net.vip, net.client),
        ports,
        numbers,
        text: text.to_owned(),
    }
}

const CONTROL: [u16; 2] = [5000, 21];
const BACK: [u16; 2] = [21, 5000];
const PASV: &str = "PASV\r\n";
const REPLY: &str = "227 Entering Passive Mode (10,0,0,1,156,64)\r\n";
const AS_SERVICE: &str = "227 Entering Passive Mode (192,0,2,100,156,64)\r\n";

/// Opens the control connection. The client's next byte is 1001, the server's 7001.
fn open(world: &mut World, net: &Net) {
    world.receive(WAN, &[from_client(net, CONTROL, SYN, [1000, 0], "")]);
    world.receive(LAN, &[from_server(net, BACK, SYN | ACK, [7000, 1001], "")]);
    world.receive(WAN, &[from_client(net, CONTROL, ACK, [1001, 7001], "")]);
    assert_eq!(world.sent().len(), 3);
}

fn tuple(net: &Net, client_port: u16, port: u16) -> Tuple {
    Tuple {
        src_port: client_port,
        dst_port: port,
        ..net.tuple(0)
    }
}

fn state(world: &World, tuple: &Tuple) -> Option<State> {
    world.flow(tuple).map(|flow| flow.state())
}

const LISTEN: Option<State> = Some(State::Tcp(TcpState::Listen));
const SYN_RECV: Option<State> = Some(State::Tcp(TcpState::SynRecv));

/// The numbers are those that a kernel was seen to send.
#[test]
fn a_passive_data_connection_goes_to_the_server_that_announced_it() {
    let net = Net::v4();
    let mut world = World::new(&[service(&net)]);
    open(&mut world, &net);
    let p = PSH | ACK;
    world.receive(WAN, &[from_client(&net, CONTROL, p, [1001, 7001], PASV)]);
    assert_eq!(
        left(&mut world),
        to_server(&net, CONTROL, [1001, 7001], PASV)
    );
    world.moved();
    world.receive(LAN, &[from_server(&net, BACK, p, [7001, 1007], REPLY)]);
    let told = to_client(&net, BACK, [7001, 1007], AS_SERVICE);
    assert_eq!(left(&mut world), told);
    world.assert_moved(&[
        ("flows_created", 1),
        ("forwarded", 1),
        ("rs1.bytes_out", 40 + AS_SERVICE.len() as u64),
        ("rs1.inactive", 1),
        ("rs1.packets_out", 1),
    ]);
    let waiting = world
        .flow(&tuple(&net, 0, 40_000))
        .expect("it is announced");
    assert_eq!(Some(waiting.state()), LISTEN);
    assert_eq!(waiting.seconds_left(world.now), 120);
    // Sent again, it is told again, and nothing shifts twice.
    world.receive(LAN, &[from_server(&net, BACK, p, [7001, 1007], REPLY)]);
    assert_eq!(left(&mut world), told);
    assert_eq!(world.director.flows().len(), 2);
    // The client acknowledges what it saw.
    let seen = 7001 + AS_SERVICE.len() as u32;
    let sent = 7001 + REPLY.len() as u32;
    world.receive(WAN, &[from_client(&net, CONTROL, ACK, [1007, seen], "")]);
    assert_eq!(left(&mut world), to_server(&net, CONTROL, [1007, sent], ""));
    // The data connection.
    let data = [5001, 40_000];
    world.receive(WAN, &[from_client(&net, data, SYN, [1, 0], "")]);
    assert_eq!(left(&mut world), to_server(&net, data, [1, 0], ""));
    assert_eq!(state(&world, &tuple(&net, 5001, 40_000)), SYN_RECV);
    assert_eq!(world.flow(&tuple(&net, 0, 40_000)), None);
    let back = [40_000, 5001];
    world.receive(LAN, &[from_server(&net, back, SYN | ACK, [9, 2], "")]);
    assert_eq!(left(&mut world), to_client(&net, back, [9, 2], ""));
    world.receive(WAN, &[from_client(&net, data, ACK, [2, 10], "")]);
    world.receive(LAN, &[from_server(&net, back, p, [10, 2], "data")]);
    let established = Some(State::Tcp(TcpState::Established));
    assert_eq!(state(&world, &tuple(&net, 5001, 40_000)), established);
    assert_eq!(world.sent().len(), 2);
    // More on the control connection, both ways.
    let text = "226 OK\r\n";
    world.receive(LAN, &[from_server(&net, BACK, p, [sent, 1007], text)]);
    assert_eq!(left(&mut world), to_client(&net, BACK, [seen, 1007], text));
    let (seen, sent) = (seen + 8, sent + 8);
    world.receive(WAN, &[from_client(&net, CONTROL, p, [1007, seen], PASV)]);
    assert_eq!(
        left(&mut world),
        to_server(&net, CONTROL, [1007, sent], PASV)
    );
    // A second one, longer again.
    let (again, as_service) = (
        "227 Entering (10,0,0,1,156,66)\r\n",
        "227 Entering (192,0,2,100,156,66)\r\n",
    );
    world.receive(LAN, &[from_server(&net, BACK, p, [sent, 1013], again)]);
    assert_eq!(
        left(&mut world),
        to_client(&net, BACK, [seen, 1013], as_service)
    );
    let (seen, sent) = (seen + as_service.len() as u32, sent + again.len() as u32);
    assert_eq!(seen - sent, 6);
    world.receive(
        WAN,
        &[from_client(&net, CONTROL, FIN | ACK, [1013, seen], "")],
    );
    assert_eq!(left(&mut world), to_server(&net, CONTROL, [1013, sent], ""));
}

#[test]
fn an_active_data_connection_comes_from_the_service() {
    let net = Net::v4();
    let mut world = World::new(&[service(&net)]);
    open(&mut world, &net);
    let text = "PORT 198,51,100,7,195,80\r\n";
    world.receive(
        WAN,
        &[from_client(&net, CONTROL, PSH | ACK, [1001, 7001], text)],
    );
    assert_eq!(
        left(&mut world),
        to_server(&net, CONTROL, [1001, 7001], text)
    );
    let data = tuple(&net, 50_000, 20);
    assert_eq!(state(&world, &data), LISTEN);
    world.receive(LAN, &[from_server(&net, [20, 50_000], SYN, [1, 0], "")]);
    assert_eq!(left(&mut world), to_client(&net, [20, 50_000], [1, 0], ""));
    assert_eq!(state(&world, &data), LISTEN);
    let back = [50_000, 20];
    world.receive(WAN, &[from_client(&net, back, SYN | ACK, [5, 2], "")]);
    assert_eq!(left(&mut world), to_server(&net, back, [5, 2], ""));
    assert_eq!(state(&world, &data), SYN_RECV);
}

#[test]
fn extended_commands_do_the_same_in_both_families() {
    for net in Net::both() {
        let mut world = World::new(&[service(&net)]);
        open(&mut world, &net);
        let p = PSH | ACK;
        let reply = "229 Entering Extended Passive Mode (|||40001|)\r\n";
        world.receive(
            WAN,
            &[from_client(&net, CONTROL, p, [1001, 7001], "EPSV\r\n")],
        );
        world.sent();
        world.receive(LAN, &[from_server(&net, BACK, p, [7001, 1007], reply)]);
        assert_eq!(left(&mut world), to_client(&net, BACK, [7001, 1007], reply));
        let data = [5002, 40_001];
        world.receive(WAN, &[from_client(&net, data, SYN, [1, 0], "")]);
        assert_eq!(left(&mut world), to_server(&net, data, [1, 0], ""));
        let family = if net.is_v4 { 1 } else { 2 };
        let text = format!("EPRT |{family}|{}|50001|\r\n", net.client.ip());
        world.receive(WAN, &[from_client(&net, CONTROL, p, [1007, 7055], &text)]);
        assert_eq!(
            left(&mut world),
            to_server(&net, CONTROL, [1007, 7055], &text)
        );
        world.receive(LAN, &[from_server(&net, [20, 50_001], SYN, [1, 0], "")]);
        assert_eq!(left(&mut world), to_client(&net, [20, 50_001], [1, 0], ""));
    }
}

#[test]
fn a_service_on_another_port_has_its_data_port_below_its_own() {
    let net = Net::v4();
    let mut service = service(&net);
    service.key.port = 2121;
    service.servers = vec![(1, 8021, 1)];
    let services = [service];
    let mut world = World::new(&services);
    let rules = Ipvs {
        ftp_ports: FtpPorts::new(&[21, 2121]),
        ..Ipvs::default()
    };
    world.set_rules(&services, rules);
    let control = [5000, 2121];
    for (flags, text) in [
        (SYN, ""),
        (ACK, ""),
        (PSH | ACK, "PORT 198,51,100,7,195,80\r\n"),
    ] {
        world.receive(WAN, &[from_client(&net, control, flags, [1, 0], text)]);
    }
    world.sent();
    world.receive(LAN, &[from_server(&net, [8020, 50_000], SYN, [1, 0], "")]);
    assert_eq!(
        left(&mut world),
        to_client(&net, [2120, 50_000], [1, 0], "")
    );
    world.receive(
        WAN,
        &[from_client(&net, [50_000, 2120], SYN | ACK, [1, 2], "")],
    );
    assert_eq!(
        left(&mut world),
        to_server(&net, [50_000, 8020], [1, 2], "")
    );
}

#[test]
fn what_was_not_asked_for_is_not_announced() {
    let net = Net::v4();
    let p = PSH | ACK;
    // Of a port that is none of FTP's, by a method that sees no replies, and unasked.
    let mut web = service(&net);
    web.key.port = 80;
    let mut direct = service(&net);
    direct.method = Method::Dr;
    for (service, port) in [(web, 80), (direct, 21), (service(&net), 21)] {
        let mut world = World::new(&[service]);
        for (flags, text) in [(SYN, ""), (ACK, ""), (p, "NOOP\r\n")] {
            let ports = [5000, port];
            world.receive(WAN, &[from_client(&net, ports, flags, [1, 0], text)]);
        }
        world.sent();
        world.receive(LAN, &[from_server(&net, BACK, p, [1, 1], REPLY)]);
        if let [(_, frame)] = &world.sent()[..] {
            assert_eq!(read(true, frame).text, REPLY);
        }
        assert_eq!(world.director.flows().len(), 1);
    }
}

#[test]
fn a_client_gets_help_for_itself_and_for_no_service() {
    let net = Net::v4();
    let mut other = Described::web(&net, Method::Nat);
    other.servers = vec![(2, 80, 1)];
    let mut world = World::new(&[service(&net), other]);
    open(&mut world, &net);
    let p = PSH | ACK;
    world.moved();
    // A third host (FTP bounce).
    let bounce = "PORT 203,0,113,9,0,22\r\n";
    world.receive(WAN, &[from_client(&net, CONTROL, p, [1001, 7001], bounce)]);
    assert_eq!(
        left(&mut world),
        to_server(&net, CONTROL, [1001, 7001], bounce)
    );
    world.assert_moved(&[
        ("forwarded", 1),
        ("ftp_unaided", 1),
        ("rs1.bytes_in", 40 + bounce.len() as u64),
        ("rs1.packets_in", 1),
    ]);
    // A server that would lead its clients away from another service.
    world.receive(WAN, &[from_client(&net, CONTROL, p, [1024, 7001], PASV)]);
    world.sent();
    let reply = "227 (10,0,0,1,0,80)\r\n";
    world.receive(LAN, &[from_server(&net, BACK, p, [7001, 1030], reply)]);
    assert_eq!(left(&mut world).text, reply);
    assert_eq!(world.director.flows().len(), 1);
    world.receive(WAN, &[net.syn(5001)]);
    assert_eq!(world.server_of(&net.tuple(5001)), Some(2));
}

#[test]
fn a_damaged_segment_of_a_control_connection_ends() {
    let net = Net::v4();
    let mut world = World::new(&[service(&net)]);
    open(&mut world, &net);
    world.moved();
    for (port, mut bytes) in [
        (WAN, from_client(&net, CONTROL, ACK, [1001, 7001], "x")),
        (LAN, from_server(&net, BACK, ACK, [7001, 1001], "x")),
    ] {
        *bytes.last_mut().expect("a byte") ^= 1;
        world.receive(port, &[bytes]);
        assert_eq!(world.sent(), []);
    }
    assert!(
        world
            .moved()
            .contains(&("drop.transport_checksum".to_owned(), 2))
    );
}

#[test]
fn selective_acknowledgments_shift_too() {
    let net = Net::v4();
    let mut world = World::new(&[service(&net)]);
    open(&mut world, &net);
    let p = PSH | ACK;
    world.receive(WAN, &[from_client(&net, CONTROL, p, [1001, 7001], PASV)]);
    world.receive(LAN, &[from_server(&net, BACK, p, [7001, 1007], REPLY)]);
    world.sent();
    let sack = |left: u32, right: u32| {
        let mut options = vec![1, 1, 5, 10];
        options.extend(left.to_be_bytes());
        options.extend(right.to_be_bytes());
        options
    };
    let tcp = net.client_frame().tcp(5000, 21).seq(1007).ack(7001);
    world.receive(WAN, &[tcp.tcp_options(&sack(7060, 7070)).build()]);
    let expected = PacketBuilder::eth(LAN_MAC, server_mac(1))
        .ip(net.client, net.server(1))
        .ttl(63)
        .tcp(5000, 21)
        .seq(1007)
        .ack(7001)
        .tcp_options(&sack(7057, 7067));
    assert_eq!(world.only_sent().1, expected.build());
}

#[test]
fn a_reply_in_a_padded_frame_grows_into_the_padding_and_a_shorter_address_shrinks_it() {
    let mut net = Net::v4();
    net.vip = addr("192.0.2.1").min(addr("1.2.3.4"));
    let mut world = World::new(&[service(&net)]);
    open(&mut world, &net);
    let p = PSH | ACK;
    world.receive(WAN, &[from_client(&net, CONTROL, p, [1001, 7001], PASV)]);
    world.sent();
    let reply = net
        .server_frame(1)
        .tcp(21, 5000)
        .flags(p)
        .seq(7001)
        .ack(1007);
    let padded = reply.payload(b"227 (10,0,0,1,156,64)\r\n").pad_to(120);
    world.receive(LAN, &[padded.build()]);
    assert_eq!(left(&mut world).text, "227 (1,2,3,4,156,64)\r\n");
    world.receive(WAN, &[from_client(&net, CONTROL, ACK, [1007, 7023], "")]);
    assert_eq!(left(&mut world).numbers, [1007, 7024]);
}

#[test]
fn a_control_connection_outlives_the_transfer_and_a_new_syn_leaves_the_data_alone() {
    let net = Net::v4();
    let mut world = World::new(&[service(&net)]);
    open(&mut world, &net);
    let p = PSH | ACK;
    world.receive(WAN, &[from_client(&net, CONTROL, p, [1001, 7001], PASV)]);
    world.receive(LAN, &[from_server(&net, BACK, p, [7001, 1007], REPLY)]);
    let data = [5001, 40_000];
    for flags in [SYN, ACK] {
        world.receive(WAN, &[from_client(&net, data, flags, [1, 0], "")]);
    }
    world.sent();
    for _ in 0..30 {
        world.later(50);
        world.receive(WAN, &[from_client(&net, data, ACK, [2, 0], "")]);
        world.housekeep();
    }
    assert_eq!(world.director.flows().len(), 2, "after 1500 seconds");
    // The data connection ends, and a SYN on it is no new connection.
    world.receive(WAN, &[from_client(&net, data, RST, [2, 0], "")]);
    let closed = Some(State::Tcp(TcpState::Close));
    assert_eq!(state(&world, &tuple(&net, 5001, 40_000)), closed);
    world.receive(WAN, &[from_client(&net, data, SYN, [1, 0], "")]);
    assert_eq!(state(&world, &tuple(&net, 5001, 40_000)), SYN_RECV);
    assert_eq!(world.counters().flows_created.get(), 2);
    // Both end in their time.
    for _ in 0..10 {
        world.later(61);
        world.housekeep();
    }
    assert!(world.director.flows().is_empty());
    let load = world.counters().loads[1].get();
    assert_eq!((load.active, load.inactive), (0, 0));
}

#[test]
fn an_announced_connection_that_never_comes_is_forgotten() {
    let net = Net::v4();
    let mut world = World::new(&[service(&net)]);
    open(&mut world, &net);
    let p = PSH | ACK;
    world.receive(WAN, &[from_client(&net, CONTROL, p, [1001, 7001], PASV)]);
    world.receive(LAN, &[from_server(&net, BACK, p, [7001, 1007], REPLY)]);
    world.sent();
    world.later(120);
    world.housekeep();
    assert_eq!(world.director.flows().len(), 1);
    world.moved();
    world.receive(WAN, &[from_client(&net, [5001, 40_000], SYN, [1, 0], "")]);
    world.assert_moved(&[("punted", 1)]);
}

/// All packets of a client's FTP reach one worker, wherever they are received.
#[test]
fn any_worker_may_receive_any_packet() {
    for steering in [2.into(), 3.into(), by_device(3)] {
        for n in 1..12 {
            let mut net = Net::v4();
            net.client = Addr::from_v4_bytes([198, 51, 100, n]);
            let mut ftp = service(&net);
            // The worker cannot tell from the port that this server is one of FTP.
            ftp.servers = vec![(1, [21, 8021][usize::from(n % 2)], 1)];
            let server_port = ftp.servers[0].1;
            let mut worlds = workers(steering.clone(), &[ftp]);
            let mut at = 0;
            let mut pass = |port, packet: Vec<u8>| {
                at = (at + 1) % worlds.len();
                worlds[at].receive(port, &[packet]);
                // To the first who may have it, and to the second.
                deliver(&mut worlds);
                deliver(&mut worlds);
                let sent: Vec<_> = worlds.iter_mut().flat_map(World::sent).collect();
                assert_eq!(sent.len(), 1, "client {n}");
                read(sent[0].0 == WAN, &sent[0].1)
            };
            let back = [server_port, 5000];
            let p = PSH | ACK;
            for _ in 0..3 {
                pass(WAN, from_client(&net, CONTROL, SYN, [1000, 0], ""));
                pass(LAN, from_server(&net, back, SYN | ACK, [7000, 1001], ""));
            }
            pass(WAN, from_client(&net, CONTROL, ACK, [1001, 7001], ""));
            pass(WAN, from_client(&net, CONTROL, p, [1001, 7001], PASV));
            let told = pass(LAN, from_server(&net, back, p, [7001, 1007], REPLY));
            assert_eq!(told.text, AS_SERVICE);
            for client_port in [5001, 5002] {
                // The same port for the next file.
                let data = [client_port, 40_000];
                for flags in [SYN, ACK, ACK] {
                    let out = pass(WAN, from_client(&net, data, flags, [1, 1], ""));
                    assert_eq!(out.addrs.1, net.server(1));
                    let back = [40_000, client_port];
                    let out = pass(LAN, from_server(&net, back, ACK, [1, 1], ""));
                    assert_eq!(out.addrs.0, net.vip);
                }
                pass(LAN, from_server(&net, back, p, [7001, 1007], REPLY));
            }
            let (a, b, c, d) = (198, 51, 100, n);
            let text = format!("PORT {a},{b},{c},{d},195,80\r\n");
            pass(WAN, from_client(&net, CONTROL, p, [1007, 7050], &text));
            for _ in 0..3 {
                let ports = [server_port - 1, 50_000];
                let out = pass(LAN, from_server(&net, ports, SYN, [1, 0], ""));
                assert_eq!(out.ports, [20, 50_000]);
                let out = pass(WAN, from_client(&net, [50_000, 20], SYN | ACK, [1, 2], ""));
                assert_eq!(out.ports, [50_000, server_port - 1]);
            }
        }
    }
}

#[test]
fn a_packet_that_nobody_has_ends_with_whoever_was_asked_last() {
    let net = Net::v4();
    let mut web = Described::web(&net, Method::Nat);
    web.servers = vec![(2, 80, 1)];
    let mut worlds = workers(3, &[service(&net), web]);
    for at in 0..3 {
        for (port, packet) in [
            (LAN, from_server(&net, BACK, ACK, [1, 1], "")),
            (LAN, net.server_frame(2).tcp(80, 5000).build()),
            (LAN, net.server_frame(2).tcp(4711, 443).build()),
            (WAN, from_client(&net, [5000, 22], ACK, [1, 1], "")),
        ] {
            worlds[at].receive(port, &[packet]);
            for _ in 0..4 {
                deliver(&mut worlds);
            }
            let punted: usize = worlds
                .iter_mut()
                .map(|w| w.out.punted.drain(..).count())
                .sum();
            assert_eq!(punted, 1);
        }
    }
}

#[test]
fn control_connections_of_other_protocols_are_none() {
    let net = Net::v4();
    let mut udp = service(&net);
    udp.key.protocol = Protocol::Udp;
    let mut world = World::new(&[udp]);
    let packet = net.client_frame().udp(5000, 21).payload(PASV.as_bytes());
    world.receive(WAN, &[packet.build()]);
    let expected = PacketBuilder::eth(LAN_MAC, server_mac(1))
        .ip(net.client, net.server(1))
        .ttl(63)
        .udp(5000, 21)
        .payload(PASV.as_bytes());
    assert_eq!(world.only_sent().1, expected.build());
}

proptest::proptest! {
    #[test]
    fn both_ends_see_one_stream_whatever_they_say(
        input in proptest::collection::vec(proptest::num::u8::ANY, 0..300), is_v4: bool,
    ) {
        crate::ftp_stream::Stream::new(Net::both()[usize::from(is_v4)]).run(&input);
    }
}
