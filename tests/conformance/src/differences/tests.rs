//! A name explains what it says, and not what is next to it.

use std::net::SocketAddr;

use weir_conformance::bytes::Bytes;
use weir_conformance::operation::{Operation, Scenario};
use weir_conformance::place::{Leg, server_mac};
use weir_conformance::seen::{Counted, Entry, Passed, Seen};
use weir_conformance::text;
use weir_wire::Addr;
use weir_wire::builder::PacketBuilder;
use weir_wire::tcp_flag::{ACK, PSH};

use super::name_of;

fn operations(lines: &str) -> Vec<Operation> {
    let read: Vec<Scenario> = text::scenarios(lines).expect("operations");
    read.into_iter().flat_map(|s| s.operations).collect()
}

fn frame(frame: &PacketBuilder) -> Operation {
    Operation::Frame {
        id: 1,
        leg: Leg::Client,
        bytes: Bytes(frame.build()),
    }
}

fn named(before: &[Operation], kernel: &Seen, weir: &Seen) -> Option<&'static str> {
    name_of(before, kernel, weir).map(|named| named.name)
}

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn entry(client: &str, service: &str, server: &str, state: &str, seconds: u32) -> Entry {
    Entry {
        protocol: "TCP".to_owned(),
        client: at(client),
        service: at(service),
        server: at(server),
        state: state.to_owned(),
        seconds,
        engine: None,
    }
}

fn counted(service: &str, connections: [u64; 3], totals: [u64; 5]) -> Counted {
    Counted {
        service: service.to_owned(),
        server: Some(at("10.0.0.1:21")),
        connections,
        totals,
        rates: [0; 5],
    }
}

fn counters(counted: Counted) -> Seen {
    Seen::Counters(208, vec![counted])
}

/// What a client says on its control connection, to its service or, rewritten, to the server.
fn says(text: &str, to: &str) -> PacketBuilder {
    let (src, dst) = match to {
        "10.0.0.1" => (Leg::Server.director(), server_mac(1)),
        _ => (Leg::Client.router(), Leg::Client.director()),
    };
    let addr = |text: &str| Addr::from(text.parse::<std::net::IpAddr>().expect("an address"));
    let ip = PacketBuilder::eth(src, dst).ip(addr("198.51.100.1"), addr(to));
    let tcp = ip.tcp(5000, 21).flags(PSH | ACK).seq(1).ack(1);
    tcp.payload(text.as_bytes())
}

fn passed(came: &PacketBuilder, to_server: &[&PacketBuilder]) -> Seen {
    Seen::Frame(Passed {
        frame: Some(Bytes(came.build())),
        out: [
            Vec::new(),
            to_server.iter().map(|f| Bytes(f.build())).collect(),
        ],
        host: Default::default(),
    })
}

const WORDS: &str = "which words of FTP are helped";

#[test]
fn an_odd_word_of_ftp_explains_what_it_may_announce_and_nothing_else() {
    let before = [frame(&says("PORT 198,51,100,1,256,80\r\n", "192.0.2.100"))];
    let seen = |client: &str, state: &str| {
        Seen::Entries(vec![entry(
            client,
            "192.0.2.100:20",
            "10.0.0.1:20",
            state,
            119,
        )])
    };
    let none = Seen::Entries(Vec::new());
    let announced = seen("198.51.100.1:80", "LISTEN");
    assert_eq!(named(&before, &announced, &none), Some(WORDS));
    assert_eq!(named(&before, &none, &announced), Some(WORDS));
    for other in [
        // Another port, another client, a connection that is there.
        seen("198.51.100.1:50000", "LISTEN"),
        seen("198.51.100.2:80", "LISTEN"),
        seen("198.51.100.1:80", "ESTABLISHED"),
    ] {
        assert_eq!(named(&before, &none, &other), None, "{other:?}");
        assert_eq!(named(&before, &other, &none), None, "{other:?}");
    }
    let plain = [frame(&says("PORT 198,51,100,1,195,80\r\n", "192.0.2.100"))];
    assert_eq!(
        named(&plain, &seen("198.51.100.1:50000", "LISTEN"), &none),
        None
    );
}

#[test]
fn an_odd_word_of_ftp_explains_counts_of_what_it_announces() {
    let before = [frame(&says("PORT 198,51,100,1,256,80\r\n", "192.0.2.100"))];
    let one = |connections, totals| counters(counted("tcp 192.0.2.100:21", connections, totals));
    let kernel = one([1, 1, 0], [1, 3, 3, 120, 144]);
    for (weir, name) in [
        (one([1, 0, 0], [1, 3, 3, 120, 140]), Some(WORDS)),
        (one([0, 1, 0], [1, 3, 3, 120, 144]), None),
        (one([1, 3, 0], [1, 3, 3, 120, 144]), None),
        (one([1, 1, 0], [1, 3, 3, 120, 180]), None),
        (one([1, 0, 0], [2, 3, 3, 120, 144]), None),
        (one([1, 0, 0], [1, 3, 4, 120, 144]), None),
    ] {
        assert_eq!(named(&before, &kernel, &weir), name, "{weir:?}");
    }
    let other = |inactive| {
        let totals = [1, 3, 3, 120, 144];
        counters(counted("tcp 192.0.2.100:80", [1, inactive, 0], totals))
    };
    assert_eq!(named(&before, &other(1), &other(0)), None);
}

#[test]
fn an_odd_word_of_ftp_explains_another_text_only() {
    let came = says("PORT 198,51,100,1,256,80\r\n", "192.0.2.100");
    let alone = says("PORT 198,51,100,1,256,80\r\n", "10.0.0.1");
    let helped = says("PORT 192,0,2,100,0,80\r\n", "10.0.0.1");
    let kernel = passed(&came, &[&helped]);
    assert_eq!(named(&[], &kernel, &passed(&came, &[&alone])), Some(WORDS));
    // With other numbers, of another sender's, twice, or not at all.
    for weir in [
        &[&alone.clone().seq(7)][..],
        &[&alone.clone().ttl(9)],
        &[&alone, &alone],
        &[],
    ] {
        assert_eq!(named(&[], &kernel, &passed(&came, weir)), None);
    }
}

#[test]
fn a_late_template_is_in_its_minute_and_late_by_an_eighth() {
    let template = |seconds| {
        Seen::Entries(vec![entry(
            "198.51.100.1:0",
            "192.0.2.100:80",
            "10.0.0.1:80",
            "ASSURED",
            seconds,
        )])
    };
    let before = |ticks: u32| {
        operations(&format!(
            "service add tcp 192.0.2.100:80 rr persist=20\nadvance {ticks}"
        ))
    };
    let late = Some("how late a template begins again");
    for (ticks, kernel, weir, name) in [
        (4000, 44, 40, late),
        // Too late, too early, longer than a minute, before its time.
        (4000, 50, 40, None),
        (4000, 40, 44, None),
        (60_000, 70, 64, None),
        (1000, 42, 40, None),
    ] {
        let named = named(&before(ticks), &template(kernel), &template(weir));
        assert_eq!(named, name, "{ticks} {kernel} {weir}");
    }
    let connection = |seconds| {
        let state = "ESTABLISHED";
        Seen::Entries(vec![entry(
            "198.51.100.1:9",
            "192.0.2.100:80",
            "10.0.0.1:80",
            state,
            seconds,
        )])
    };
    assert_eq!(named(&before(4000), &connection(44), &connection(40)), None);
}

#[test]
fn counters_stand_still_while_rates_are_not_estimated_and_only_then() {
    let totals = |packets| {
        counters(counted(
            "tcp 192.0.2.100:80",
            [1, 0, 0],
            [1, packets, 0, 0, 0],
        ))
    };
    let old = Some("counters while rates are not estimated");
    let off = operations("sysctl run_estimation 0");
    assert_eq!(named(&off, &totals(3), &totals(5)), old);
    assert_eq!(named(&off, &totals(5), &totals(3)), None);
    let on = operations("sysctl run_estimation 0\nsysctl run_estimation 1");
    assert_eq!(named(&on, &totals(3), &totals(5)), None);
    let rates = |packets| {
        let mut counted = counted("tcp 192.0.2.100:80", [1, 0, 0], [1, 5, 0, 0, 0]);
        counted.rates[1] = packets;
        counters(counted)
    };
    assert_eq!(named(&on, &rates(3), &rates(2)), old);
    assert_eq!(named(&[], &rates(3), &rates(2)), None);
}

#[test]
fn errors_about_fragments_are_as_many_as_there_were_packets_of_them() {
    let piece = PacketBuilder::eth(Leg::Client.router(), Leg::Client.director());
    let piece = piece.ipv4([198, 51, 100, 1], [192, 0, 2, 100]).id(7);
    let piece = piece.fragment(400, true).raw(17).payload(&[0; 400]);
    let before = |method: &str| {
        let mut all = operations(&format!(
            "service add udp 192.0.2.100:53 rr\nserver add udp 192.0.2.100:53 10.0.0.1:53 {method}"
        ));
        all.extend([frame(&piece), frame(&piece)]);
        all.extend(operations("advance 4000"));
        all
    };
    let out = |packets, bytes| {
        counters(counted(
            "udp 192.0.2.100:53",
            [0, 1, 0],
            [1, 4, packets, 999, bytes],
        ))
    };
    let name = Some("counts of errors about missing fragments");
    assert_eq!(named(&before("dr"), &out(1, 448), &out(0, 0)), name);
    for (kernel, weir) in [
        (out(2, 896), out(0, 0)),
        (out(1, 20), out(0, 0)),
        (out(1, 0), out(0, 448)),
    ] {
        assert_eq!(named(&before("dr"), &kernel, &weir), None);
    }
    assert_eq!(named(&before("nat"), &out(1, 448), &out(0, 0)), None);
}

#[test]
fn a_packet_cut_again_is_no_longer_than_its_link() {
    let cut = |at: &[(u16, u16, bool)], is_out: bool| -> Vec<Bytes> {
        let whole: Vec<u8> = (0..2000_u16).map(|n| n as u8).collect();
        let one = |&(from, to, more): &(u16, u16, bool)| {
            let (src, dst) = match is_out {
                true => (Leg::Server.director(), server_mac(1)),
                false => (Leg::Client.router(), Leg::Client.director()),
            };
            let ip = PacketBuilder::eth(src, dst).ipv4([198, 51, 100, 1], [192, 0, 2, 100]);
            let ip = ip.id(7).fragment(from, more).raw(17);
            Bytes(
                ip.payload(&whole[usize::from(from)..usize::from(to)])
                    .build(),
            )
        };
        at.iter().map(one).collect()
    };
    let seen = |at: &[(u16, u16, bool)]| {
        Seen::Frame(Passed {
            frame: cut(&[(1000, 2000, false)], false).pop(),
            out: [Vec::new(), cut(at, true)],
            host: Default::default(),
        })
    };
    let kernel = seen(&[(0, 1000, true), (1000, 2000, false)]);
    let again = Some("where packets are cut again");
    let weir = [(0, 1200, true), (1200, 2000, false)];
    assert_eq!(named(&[], &kernel, &seen(&weir)), again);
    let narrow = operations("mtu server 1200");
    assert_eq!(named(&narrow, &kernel, &seen(&weir)), None);
    let lacks = [(0, 1200, true), (1200, 1992, false)];
    assert_eq!(named(&[], &kernel, &seen(&lacks)), None);
}

#[test]
fn only_headers_without_sense_are_dropped() {
    let packet = |payload: &[u8]| {
        let eth = PacketBuilder::eth(Leg::Client.router(), Leg::Client.director());
        eth.ipv4([198, 51, 100, 1], [192, 0, 2, 100])
            .raw(17)
            .payload(payload)
    };
    let name = Some("headers that make no sense");
    for (udp, expected) in [
        (&[4, 0, 0, 53, 0, 10, 0, 0, 1, 2][..], None),
        (&[4, 0, 0, 53, 0, 11, 0, 0, 1, 2], name),
        (&[4, 0, 0, 53, 0, 7, 0, 0, 1, 2], name),
        (&[4, 0, 0, 53, 0, 8], name),
    ] {
        let came = packet(udp);
        let (kernel, weir) = (passed(&came, &[&came]), passed(&came, &[]));
        assert_eq!(named(&[], &kernel, &weir), expected, "{udp:?}");
        // Not what Weir sends on and the kernel does not.
        assert_eq!(named(&[], &weir, &kernel), None);
    }
}

#[test]
fn counters_of_a_service_made_again_may_only_be_more() {
    let before = operations("service del tcp 192.0.2.100:80");
    let totals = |packets| {
        counters(counted(
            "tcp 192.0.2.100:80",
            [0, 0, 0],
            [1, packets, 0, 0, 0],
        ))
    };
    let name = Some("counters of servers whose service was made again");
    assert_eq!(named(&before, &totals(5), &totals(2)), name);
    assert_eq!(named(&before, &totals(2), &totals(5)), None);
    assert_eq!(named(&[], &totals(5), &totals(2)), None);
}
