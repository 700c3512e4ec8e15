//! NAT replies that arrive at a worker that does not have their flow.

use weir_core::io::WorkerId;
use weir_core::service::Method;
use weir_wire::tcp_flag::{ACK, SYN};

use crate::network::{LAN, WAN, reply, syn};
use crate::running::Plan;
use crate::{WORKERS, amount};

#[test]
fn a_reply_at_the_wrong_worker_reaches_its_client_rewritten() {
    for workers in WORKERS {
        let director = Plan::new(workers, Method::Nat).start();
        let flows = amount(600);
        let mut begun = director.exchange(flows, |wire| {
            for n in 0..flows {
                wire.deliver(director.owner(n), WAN, &syn(n));
            }
        });
        assert_eq!(director.total(|c| c.handed_off.get()), 0);
        begun.sort_by_key(|packet| packet.flow);
        let answer = |n: u32| reply(n, begun[n as usize].server, SYN | ACK, n);

        let mut sent = director.exchange(flows, |wire| {
            for n in 0..flows {
                let WorkerId(owner) = director.owner(n);
                let wrong = WorkerId((owner + 1) % workers);
                wire.deliver(wrong, LAN, &answer(n)[0]);
            }
        });
        sent.sort_by_key(|packet| packet.flow);
        for (n, packet) in (0..).zip(sent) {
            assert_eq!(packet.port, WAN);
            assert_eq!(packet.bytes, answer(n)[1], "flow {n}");
        }
        let handed_off = if workers == 1 { 0 } else { u64::from(flows) };
        assert_eq!(director.total(|c| c.handed_off.get()), handed_off);
        assert_eq!(director.drops(), 0);
    }
}
