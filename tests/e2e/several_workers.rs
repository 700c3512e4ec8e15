//! A worker on every core over multi-queue `net_tap`, which spreads packets as it likes: flows reach
//! their owner by hand-off, and nobody outside sees a difference.

use anyhow::{Result, ensure};

use weir_tests::client::tally;
use weir_tests::{Config, Family, Method, Service};

use crate::{BODY_SHA256, lab};

#[test]
fn several_workers_are_one_director() -> Result<()> {
    let lab = lab();
    for method in Method::ALL {
        for family in Family::ALL {
            let vip = method.vip(family);
            let service = Service::http(method, family, lab.servers(method)?);
            let director = lab.director(&Config::of(service).on_every_core())?;
            let names = lab.client.names(vip, 6)?;
            let turns = [3, 2, 1, 3, 2, 1].map(|n| format!("{method}{n}"));
            assert_eq!(names, turns, "one sequence over all workers");
            let shares = tally(&lab.client.names_at_once(vip, 120)?);
            assert_eq!(shares.into_values().collect::<Vec<_>>(), [40; 3]);
            assert_eq!(lab.client.body_digest(vip)?, BODY_SHA256);
            let handed_off = director.metric("weir_worker_handed_off_packets_total", &[])?;
            ensure!(handed_off > 0.0, "the test has not tried the hand-off");
        }
    }
    Ok(())
}
