//! How long the fragments are, in which order they come, and how much the way on carries.

use weir_conformance::answer::data;
use weir_conformance::operation::Scenario;

use super::{Scene, is_headless};
use crate::pieces::pieces;

/// All orders of three, and two packets at once.
pub(super) fn orders(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    const ORDERS: [[usize; 3]; 6] = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    let mut s = Scene::new("orders", method, is_v6);
    for order in ORDERS {
        for ends in [[400, 800], [200, 800], [800, 904]] {
            let (frame, id) = s.datagram(1000);
            let all = pieces(&frame, &ends, id);
            s.send(order.map(|at| all[at].clone()));
        }
        let (frame, id) = s.segment(1000);
        let all = pieces(&frame, &[496, 504], id);
        s.send(order.map(|at| all[at].clone()));
    }
    let (one, id) = s.datagram(1000);
    let one = pieces(&one, &[400, 800], id);
    let (other, id) = s.segment(2000);
    let other = pieces(&other, &[1000, 1504], id);
    s.send(one.into_iter().zip(other).flat_map(|(a, b)| [b, a]));
    s.end(into);
}

/// Fragments of equal and unequal lengths, down to the shortest, of packets up to the longest.
pub(super) fn lengths(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    let mut s = Scene::new("lengths", method, is_v6);
    let of = |step: usize, len: usize| -> Vec<usize> {
        (1..len.div_ceil(step)).map(|n| n * step).collect()
    };
    for is_tcp in [false, true] {
        for (data, ends) in [
            (40, of(8, 48)),
            (40, of(16, 48)),
            (40, vec![8]),
            (40, vec![16]),
            (40, vec![24]),
            (40, vec![40]),
            (40, vec![]),
            (100, vec![8, 104]),
            (100, vec![24, 32, 96]),
            (600, vec![8, 600]),
            (1000, of(64, 1008)),
            (1500, vec![8]),
            (1500, vec![16, 24, 1000]),
            (2000, vec![1400]),
            (2000, vec![1000]),
            (2000, vec![600, 1992]),
            (3000, of(1000, 3008)),
            (3000, of(1448, 3008)),
            (3000, vec![1480, 2960]),
            (3000, vec![1440, 2880]),
            (3000, vec![1432, 2864]),
            (3000, vec![200, 1600]),
            (3000, vec![1400, 1600]),
            (1232, vec![1184]),
            (1232, vec![1192]),
            (1232, vec![1200]),
            (1232, vec![1224]),
            (1232, vec![1232]),
            (9000, of(1200, 9008)),
        ] {
            // GUE's header would be in two fragments, where its source port is not known for one.
            let is_cut_in_gue = method.starts_with("gue") && ends.ends_with(&[32, 40]);
            if is_cut_in_gue || (is_tcp && is_headless(is_v6, &ends)) {
                continue;
            }
            let (frame, id) = match is_tcp {
                false => s.datagram(data),
                true => s.segment(data),
            };
            s.send(pieces(&frame, &ends, id));
        }
    }
    let (longest, id) = s.datagram(60_000);
    s.send(pieces(&longest, &of(1400, 60_008), id));
    s.end(into);
}

/// The way to the server carries less than the fragments that came.
pub(super) fn narrow(method: &str, is_v6: bool, into: &mut Vec<Scenario>) {
    for pmtu_disc in [1, 0] {
        let mut s = Scene::new(&format!("narrow, pmtu_disc={pmtu_disc}"), method, is_v6);
        s.script.say(&format!("sysctl pmtu_disc {pmtu_disc}"));
        for mtu in [1500, 1400, 1300, 1280] {
            s.script.say(&format!("mtu server {mtu}"));
            for ends in [
                vec![1440, 2880],
                vec![1200, 2400],
                vec![1232],
                vec![1240],
                vec![1352],
                vec![600, 1960],
            ] {
                for has_df in [false, true] {
                    if has_df && is_v6 {
                        continue;
                    }
                    let (ip, id) = s.ip();
                    let ip = if has_df { ip.df() } else { ip };
                    let len = if ends.len() == 1 { 2300 } else { 3300 };
                    let frame = ip.udp(1024, 53).payload(&data(len)).build();
                    s.send(pieces(&frame, &ends, id));
                }
            }
        }
        s.end(into);
    }
}
