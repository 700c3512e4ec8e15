//! Connection counts, summed over workers.

use weir_core::io::WorkerId;
use weir_core::service::Method;
use weir_wire::tcp_flag::{ACK, RST, SYN};

use crate::network::{LAN, WAN, reply, segment, syn};
use crate::running::{Plan, Running};
use crate::{WORKERS, amount};

const SERVERS: [u8; 3] = [1, 2, 3];

/// One segment of each of these flows, each at the next worker; waits until all have left.
fn send(director: &Running, flows: std::ops::Range<u32>, flags: u8) {
    director.exchange(flows.len() as u32, |wire| {
        for n in flows {
            let at = WorkerId((n % u32::from(director.workers())) as u16);
            wire.deliver(at, WAN, &segment(n, flags, 1));
        }
    });
}

fn assert_connections(director: &Running, each: (u64, u64)) {
    for server in SERVERS {
        assert_eq!(director.connections(server), each, "{}", director.told());
    }
}

#[test]
fn connections_are_exact_when_all_is_quiet_and_none_when_all_have_ended() {
    for method in [Method::Nat, Method::Dr, Method::Tun] {
        for workers in WORKERS {
            let director = Plan::new(workers, method).start();
            let share = amount(300);
            let flows = share * SERVERS.len() as u32;
            send(&director, 0..flows, SYN);
            assert_connections(&director, (share.into(), 0));
            send(&director, 0..flows, ACK);
            assert_connections(&director, (share.into(), 0));
            // Flows that end while others begin.
            send(&director, 0..flows / 2, RST);
            let mut sum = (0, 0);
            for server in SERVERS {
                let (active, inactive) = director.connections(server);
                sum = (sum.0 + active, sum.1 + inactive);
            }
            let ended = u64::from(flows / 2);
            assert_eq!(sum.0, u64::from(flows) - ended);
            assert!(sum.1 <= ended, "those that have not expired yet: {sum:?}");
            send(&director, flows / 2..flows, RST);
            director.await_that("the end of all flows", |d| {
                d.total(|c| c.flows_expired.get()) == u64::from(flows)
                    && d.total(|c| c.flows.get()) == 0
            });
            assert_connections(&director, (0, 0));
            assert_eq!(director.drops(), 0);
        }
    }
}

#[test]
fn a_flow_that_begins_anew_is_one_connection() {
    let director = Plan::new(3, Method::Nat).start();
    for n in 0..amount(60) {
        let mut at = n;
        let mut step = |port, frame: &[u8]| {
            at += 1;
            director
                .wire
                .deliver(WorkerId((at % 3) as u16), port, frame);
            director.await_sent(1)[0].server
        };
        let server = step(WAN, &syn(n));
        step(LAN, &reply(n, server, SYN | ACK, 0)[0]);
        step(WAN, &segment(n, ACK, 1));
        step(WAN, &segment(n, RST, 1));
        step(WAN, &syn(n));
        let of = SERVERS.map(|server| director.connections(server).0);
        assert_eq!(of.iter().sum::<u64>(), u64::from(n) + 1);
    }
}
