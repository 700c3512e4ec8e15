//! The lab itself, without a director: what fails here is no fault of the director.

use anyhow::{Result, bail};

use weir_tests::{BODY_LEN, Config, Family, Method, Service};

use crate::lab;

#[test]
fn client_and_servers_understand_each_other_without_a_director() -> Result<()> {
    let lab = lab();
    let server = &lab.servers(Method::Dr)?[0];
    for family in Family::ALL {
        let address = server.address(family);
        assert_eq!(lab.client.names(address, 2)?, ["dr1", "dr1"]);
        assert_eq!(lab.client.names_at_once(address, 200)?.len(), 200);
        assert_eq!(lab.client.upload(address, 1_000_000)?, 1_000_000);
        assert_eq!(lab.client.dns_names(address, 2)?, ["dr1", "dr1"]);
        assert_eq!(lab.client.body_digest(address)?, crate::BODY_SHA256);
        lab.client.ping(address, 2)?;
    }
    Ok(())
}

#[test]
fn the_guests_servers_are_reached_over_the_router() -> Result<()> {
    let lab = lab();
    for server in lab.servers(Method::Tun)? {
        for family in Family::ALL {
            let url = weir_tests::lab::url(server.address(family), "body");
            let line = format!("curl -sSf -m 20 -o /dev/null -w %{{size_download}} {url}");
            assert_eq!(lab.router_netns().run(&line)?, BODY_LEN.to_string());
        }
    }
    Ok(())
}

#[test]
fn the_labs_configuration_has_no_fault() -> Result<()> {
    let lab = lab();
    let mut config = Config::default();
    for method in [Method::Nat, Method::Dr, Method::FullNat] {
        for family in Family::ALL {
            let servers = lab.servers(method)?;
            config.services.push(Service::http(method, family, servers));
            config
                .services
                .push(Service::dns(method, family, servers).weighted(&[3, 0, 1]));
        }
    }
    if let Err(faults) = weir_model::parse(&lab.toml(&config), "lab.toml") {
        bail!("{faults}");
    }
    Ok(())
}
