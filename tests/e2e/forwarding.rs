//! What holds for each forwarding method and address family alike.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use weir_tests::client::tally;
use weir_tests::netns::wait_for;
use weir_tests::{Config, Family, Method, Service};

use crate::{BODY_SHA256, lab};

/// How long an added server may go without a turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// The same claims for every method and family, each as a module of tests.
macro_rules! for_each {
    ($($module:ident: $method:expr, $family:expr;)*) => {$(
        mod $module {
            use super::{Family, Method, Result};

            #[test]
            fn rr_takes_servers_in_turn_newest_first() -> Result<()> {
                super::rr_takes_servers_in_turn_newest_first($method, $family)
            }
            #[test]
            fn wrr_gives_3_to_1_exactly() -> Result<()> {
                super::wrr_gives_3_to_1_exactly($method, $family)
            }
            #[test]
            fn a_100_mb_body_arrives_intact() -> Result<()> {
                super::a_100_mb_body_arrives_intact($method, $family)
            }
            #[test]
            fn an_upload_of_1_mb_arrives_whole() -> Result<()> {
                super::an_upload_of_1_mb_arrives_whole($method, $family)
            }
            #[test]
            fn connections_200_at_once_are_all_answered() -> Result<()> {
                super::connections_200_at_once_are_all_answered($method, $family)
            }
            #[test]
            fn servers_come_drain_and_go_without_a_failed_request() -> Result<()> {
                super::servers_come_drain_and_go_without_a_failed_request($method, $family)
            }
            #[test]
            fn reloads_valid_and_invalid_fail_no_request() -> Result<()> {
                super::reloads_valid_and_invalid_fail_no_request($method, $family)
            }
            #[test]
            fn dns_queries_are_spread_and_answered() -> Result<()> {
                super::dns_queries_are_spread_and_answered($method, $family)
            }
        }
    )*};
}

for_each! {
    nat_ipv4: Method::Nat, Family::V4;
    nat_ipv6: Method::Nat, Family::V6;
    dr_ipv4: Method::Dr, Family::V4;
    dr_ipv6: Method::Dr, Family::V6;
    tun_ipv4: Method::Tun, Family::V4;
    tun_ipv6: Method::Tun, Family::V6;
    fullnat_ipv4: Method::FullNat, Family::V4;
    fullnat_ipv6: Method::FullNat, Family::V6;
}

fn rr_takes_servers_in_turn_newest_first(method: Method, family: Family) -> Result<()> {
    let lab = lab();
    let service = Service::http(method, family, lab.servers(method)?);
    let _director = lab.director(&Config::of(service))?;
    let names = lab.client.names(method.vip(family), 6)?;
    assert_eq!(names, numbered(method, &[3, 2, 1, 3, 2, 1]));
    Ok(())
}

fn wrr_gives_3_to_1_exactly(method: Method, family: Family) -> Result<()> {
    let lab = lab();
    let service = Service::http(method, family, &lab.servers(method)?[..2]).weighted(&[3, 1]);
    let _director = lab.director(&Config::of(service))?;
    let names = lab.client.names(method.vip(family), 8)?;
    // As the kernel's director was seen to go round: a first whole turn, then by weight.
    assert_eq!(names, numbered(method, &[2, 1, 1, 1, 2, 1, 1, 1]));
    Ok(())
}

fn a_100_mb_body_arrives_intact(method: Method, family: Family) -> Result<()> {
    let lab = lab();
    let service = Service::http(method, family, lab.servers(method)?);
    let _director = lab.director(&Config::of(service))?;
    assert_eq!(lab.client.body_digest(method.vip(family))?, BODY_SHA256);
    Ok(())
}

fn an_upload_of_1_mb_arrives_whole(method: Method, family: Family) -> Result<()> {
    let lab = lab();
    let service = Service::http(method, family, lab.servers(method)?);
    let _director = lab.director(&Config::of(service))?;
    assert_eq!(lab.client.upload(method.vip(family), 1_000_000)?, 1_000_000);
    Ok(())
}

fn connections_200_at_once_are_all_answered(method: Method, family: Family) -> Result<()> {
    let lab = lab();
    let service = Service::http(method, family, &lab.servers(method)?[..2]);
    let _director = lab.director(&Config::of(service))?;
    let names = lab.client.names_at_once(method.vip(family), 200)?;
    let shares: Vec<usize> = tally(&names).into_values().collect();
    assert_eq!(shares, [100, 100], "rr over two servers is exact");
    Ok(())
}

fn servers_come_drain_and_go_without_a_failed_request(
    method: Method,
    family: Family,
) -> Result<()> {
    let lab = lab();
    let vip = method.vip(family);
    let all = Service::http(method, family, lab.servers(method)?);
    let name = |number: u8| format!("{method}{number}");
    let director = lab.director(&Config::of(all.clone().without(&name(3))))?;
    let traffic = lab.client.traffic(vip);

    director.reload(&Config::of(all.clone()))?;
    // The traffic may have the server's turns for a while.
    wait_for("an answer of the added server", PATIENCE, || {
        let names = lab.client.names(vip, 6);
        names
            .map(|names| names.contains(&name(3)).then_some(()))
            .transpose()
    })??;

    let drained = all.with_weight(&name(1), 0);
    director.reload(&Config::of(drained.clone()))?;
    assert!(!lab.client.names(vip, 6)?.contains(&name(1)), "drained");

    // Requests that server 1 still has may end.
    sleep(Duration::from_millis(500));
    director.reload(&Config::of(drained.without(&name(1))))?;
    assert!(!lab.client.names(vip, 6)?.contains(&name(1)), "removed");

    let shares = tally(&traffic.stop()?);
    assert_eq!(shares.len(), 3, "each had its time: {shares:?}");
    Ok(())
}

fn reloads_valid_and_invalid_fail_no_request(method: Method, family: Family) -> Result<()> {
    let lab = lab();
    let vip = method.vip(family);
    let config = Config::of(Service::http(method, family, lab.servers(method)?));
    let director = lab.director(&config)?;
    let traffic = lab.client.traffic(vip);
    for _ in 0..3 {
        director.reload(&config)?;
        let broken = lab
            .toml(&config)
            .replace("weight = 1", "weight = 7000000000");
        let refusal = director
            .reload_text(&broken)
            .expect_err("that is no weight");
        assert!(refusal.to_string().contains("7000000000"), "{refusal:#}");
    }
    sleep(Duration::from_millis(300));
    let shares = tally(&traffic.stop()?);
    assert_eq!(shares.len(), 3, "all three still serve: {shares:?}");
    Ok(())
}

fn dns_queries_are_spread_and_answered(method: Method, family: Family) -> Result<()> {
    let lab = lab();
    let service = Service::dns(method, family, lab.servers(method)?);
    let _director = lab.director(&Config::of(service))?;
    let names = lab.client.dns_names(method.vip(family), 6)?;
    assert_eq!(names, numbered(method, &[3, 2, 1, 3, 2, 1]));
    Ok(())
}

fn numbered(method: Method, numbers: &[u8]) -> Vec<String> {
    numbers
        .iter()
        .map(|number| format!("{method}{number}"))
        .collect()
}
