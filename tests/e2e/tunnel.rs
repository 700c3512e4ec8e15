//! Kinds of tunnel, and path MTU, which matters where the director makes packets longer.

use anyhow::{Context as _, Result};

use weir_tests::{Config, Family, Lab, Method, Service};

use crate::lab;

/// The link behind the director takes less than the director's own, so the router between answers
/// "too big" to the director, quoting the outer packet, and the director has to tell the client.
#[test]
fn an_upload_passes_a_smaller_link_behind_the_director_ipv4() -> Result<()> {
    upload_over_a_smaller_link(&lab(), Family::V4)
}

#[test]
fn an_upload_passes_a_smaller_link_behind_the_director_ipv6() -> Result<()> {
    upload_over_a_smaller_link(&lab(), Family::V6)
}

fn upload_over_a_smaller_link(lab: &Lab, family: Family) -> Result<()> {
    let service = Service::http(Method::Tun, family, lab.servers(Method::Tun)?);
    let _director = lab.director(&Config::of(service))?;
    lab.set_far_mtu(1400)?;
    let arrived = lab.client.upload(Method::Tun.vip(family), 300_000);
    lab.set_far_mtu(1500)?;
    assert_eq!(arrived?, 300_000);
    Ok(())
}

/// Out of both comes what went in: the servers' kernel takes it out.
#[test]
fn servers_answer_behind_gre_and_gue() -> Result<()> {
    let lab = lab();
    for family in Family::ALL {
        for (tunnel, port) in [("gre", None), ("gue", Some(6080))] {
            let service = Service::http(Method::Tun, family, lab.servers(Method::Tun)?);
            let service = service.inside(tunnel, port);
            let _director = lab.director(&Config::of(service))?;
            let vip = Method::Tun.vip(family);
            let names = lab.client.names(vip, 3);
            let names = names.with_context(|| format!("{tunnel} over {family:?}"))?;
            assert_eq!(names, ["tun3", "tun2", "tun1"]);
            // Full segments do not fit: the client learns the path's MTU.
            assert_eq!(lab.client.upload(vip, 300_000)?, 300_000);
        }
    }
    Ok(())
}
