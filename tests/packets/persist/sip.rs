//! Calls of SIP.

use weir_core::persist::Engine;
use weir_core::service::{Method, Protocol};
use weir_wire::builder::{PacketBuilder, addr};

use super::scene::{Scene, Went, client, play, server_of, service, vip};
use crate::world::Described;

fn sip(call_id: &str) -> String {
    format!("INVITE sip:b@example.com SIP/2.0\r\nVia: v\r\nCall-ID: {call_id}\r\n\r\n")
}

fn sip_service(method: Method) -> Described {
    let mut service = service(Protocol::Udp, 5060, Some(60));
    service.method = method;
    service.persistence.as_mut().expect("it is").engine = Some(Engine::Sip);
    service
}

#[test]
fn calls_of_a_client_are_told_apart_by_their_call_id() {
    play(&[sip_service(Method::Dr)], |scene| {
        for (n, sport, call, server) in [
            (7, 5060, "aaa@x", 3),
            (8, 5060, "aaa@x", 2),
            (7, 5061, "bbb@x", 1),
            // The flow is there already.
            (7, 5060, "bbb@x", 3),
            (9, 5070, "ccc@x", 3),
            (7, 5062, "aaa@x", 3),
        ] {
            let went = scene.datagram(client(n), sport, vip(), 5060, &sip(call));
            assert_eq!(server_of(went), server, "{n}:{sport} {call}");
        }
        let went = scene.datagram(client(10), 5080, vip(), 5060, "hello");
        assert_eq!(went, Went::Nowhere);
        let dropped: usize = scene.worlds.iter().map(|w| w.out.dropped.len()).sum();
        assert_eq!(dropped, 1, "as no_call_id");
        assert_eq!(
            scene.listed(),
            [
                "60 NONE 198.51.100.7 192.0.2.100:5060 10.0.0.3:5060 aaa@x",
                "60 NONE 198.51.100.7 192.0.2.100:5060 10.0.0.1:5060 bbb@x",
                "60 NONE 198.51.100.8 192.0.2.100:5060 10.0.0.2:5060 aaa@x",
                "60 NONE 198.51.100.9 192.0.2.100:5060 10.0.0.3:5060 ccc@x",
            ]
        );
        assert_eq!(scene.connections_of(), [1, 1, 3]);
    });
}

#[test]
fn a_server_may_begin_a_call_and_its_peer_answers_it() {
    play(&[sip_service(Method::Nat)], |scene| {
        let call = sip("from-server@x");
        let begin = |frame: PacketBuilder| frame.udp(5060, 5070).payload(call.as_bytes());
        assert_eq!(scene.reply(2, begin, client(7)), Went::Back(vip(), 5060));
        assert_eq!(
            scene.listed(),
            ["60 ASSURED 198.51.100.7 192.0.2.100:5060 10.0.0.2:5060 from-server@x"]
        );
        // The flow, and the same call from another port.
        for sport in [5070, 5071] {
            let went = scene.datagram(client(7), sport, vip(), 5060, &call);
            assert_eq!(went, Went::To(2, addr("10.0.0.2"), 5060));
        }
        // Without a Call-ID it is as any packet through the director.
        let other = |frame: PacketBuilder| frame.udp(5060, 5072).payload(b"hello");
        assert_eq!(scene.reply(2, other, client(7)), Went::Punted);
    });
}

#[test]
fn with_one_packet_scheduling_each_message_goes_by_its_call_id() {
    let mut by_nat = sip_service(Method::Nat);
    by_nat.one_packet = true;
    play(&[by_nat], |scene| {
        let ask = |scene: &mut Scene, call: &str| {
            server_of(scene.datagram(client(7), 5060, vip(), 5060, &sip(call)))
        };
        let first = ["aaa@x", "bbb@x", "ccc@x"].map(|call| ask(scene, call));
        assert_eq!(first, [3, 2, 1]);
        assert_eq!(
            ["ccc@x", "aaa@x", "bbb@x"].map(|call| ask(scene, call)),
            [1, 3, 2]
        );
        assert_eq!(scene.connections_of(), [0; 3], "no flow is kept");
        assert!(scene.templates().iter().all(|(view, _)| view.children == 0));
        // What a server says of a call leaves in the service's name, also without a flow.
        let call = sip("aaa@x");
        let says = |frame: PacketBuilder| frame.udp(5060, 5060).payload(call.as_bytes());
        assert_eq!(scene.reply(3, says, client(7)), Went::Back(vip(), 5060));
        assert_eq!(scene.connections_of(), [0; 3]);
        // A call that a server begins is the server's.
        let call = sip("from-2@x");
        let begin = |frame: PacketBuilder| frame.udp(5060, 5060).payload(call.as_bytes());
        assert_eq!(scene.reply(2, begin, client(7)), Went::Back(vip(), 5060));
        assert_eq!(ask(scene, "from-2@x"), 2);
    });
}
