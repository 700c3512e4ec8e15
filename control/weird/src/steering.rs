//! Who owns a flow when there are several workers: decided from what the ports say of their RSS,
//! and told in sentences.

use weir_core::steer::Steering;
use weir_core::steer::device::{DeviceRss, Difference, Fields};
use weir_dpdk::{PortInfo, Rss};
use weir_model::Config;

/// What was decided.
#[derive(Debug)]
pub(crate) struct Decided {
    /// For the workers.
    pub(crate) steering: Steering,
    /// Which and why, in a sentence.
    pub(crate) summary: String,
}

/// Decides for the ports of `config`, which came up as `ports`, in the same order.
pub(crate) fn decide(config: &Config, ports: &[&PortInfo]) -> Decided {
    let workers = config.workers.cores.len() as u16;
    let by_client = |summary| Decided {
        steering: Steering::by_client(workers),
        summary,
    };
    if workers == 1 {
        return by_client("1 worker: it owns every flow".to_owned());
    }
    let names: Vec<&str> = config.ports.iter().map(|port| port.name.as_str()).collect();
    let common = common(&names, ports).and_then(|rss| {
        let steering = Steering::by_device(workers, rss);
        let is_even = steering.is_by_device();
        let why = "the indirection table does not lead to every worker".to_owned();
        is_even.then_some(steering).ok_or(why)
    });
    match common {
        Ok(steering) => Decided {
            steering,
            summary: format!(
                "{workers} workers: a flow belongs to the worker to whom the ports' RSS gives its \
                 packets, which is computed from key and table; flows of services with NAT servers \
                 go by client address and port and are handed to their owner through rings"
            ),
        },
        Err(why) => by_client(format!(
            "{workers} workers: a flow goes by client address and port and is handed to its owner \
             through rings, because {why}"
        )),
    }
}

/// What all ports do; or why there is no such thing.
fn common<'a>(names: &[&str], ports: &[&'a PortInfo]) -> Result<&'a DeviceRss, String> {
    let mut first: Option<(&str, &DeviceRss)> = None;
    for (name, port) in names.iter().zip(ports) {
        let rss = match &port.rss {
            Rss::Known(rss) => rss,
            Rss::Off => return Err(format!("the RSS of {name} is off")),
            Rss::Unsupported => return Err(format!("{name} ({}) has no RSS", port.driver)),
            Rss::Untold(_) => {
                let driver = &port.driver;
                return Err(format!("{name} ({driver}) does not tell what its RSS does"));
            }
        };
        match first {
            None => first = Some((name, rss)),
            Some((other, of_other)) => rss.same_as(of_other).map_err(|difference| {
                let what = match difference {
                    Difference::Key => "have different RSS keys",
                    Difference::Hashed => "hash different kinds of packet",
                    Difference::Table => "have different indirection tables",
                };
                format!("{other} and {name} {what}")
            })?,
        }
    }
    first
        .map(|(_, rss)| rss)
        .ok_or("there is no port".to_owned())
}

/// How one port spreads packets over the workers, for `weir ports` and the log.
pub(crate) fn of_port(port: &PortInfo) -> String {
    match &port.rss {
        _ if port.queues == 1 => "one queue".to_owned(),
        Rss::Off => format!("{} queues, RSS off", port.queues),
        Rss::Unsupported => format!("{} queues, no RSS", port.queues),
        Rss::Untold(why) => format!(
            "{} queues, RSS of which nothing is known ({why})",
            port.queues
        ),
        Rss::Known(rss) => format!(
            "{} queues, RSS {}, table of {}",
            port.queues,
            hashed(rss),
            rss.table.len()
        ),
    }
}

/// `by addresses and ports of TCP/IPv4 UDP/IPv4, by addresses of TCP/IPv6`.
fn hashed(rss: &DeviceRss) -> String {
    let kinds = [
        ("TCP/IPv4", rss.hashed.tcp_v4),
        ("UDP/IPv4", rss.hashed.udp_v4),
        ("TCP/IPv6", rss.hashed.tcp_v6),
        ("UDP/IPv6", rss.hashed.udp_v6),
    ];
    let parts = [
        (Fields::AddressesAndPorts, "by addresses and ports of"),
        (Fields::Addresses, "by addresses of"),
        (Fields::Nothing, "by nothing known of"),
    ];
    let part = |(fields, words): (Fields, &str)| {
        let kinds = kinds.iter().filter(|(_, of_kind)| *of_kind == fields);
        let kinds: Vec<&str> = kinds.map(|(kind, _)| *kind).collect();
        (!kinds.is_empty()).then(|| format!("{words} {}", kinds.join(" ")))
    };
    let parts: Vec<String> = parts.into_iter().filter_map(part).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::steer::device::Hashed;

    fn config(cores: &str) -> Config {
        let text = format!(
            "[workers]\ncores = {cores}\n\
             [[port]]\nname = \"wan\"\ndevice = \"net_null0\"\ntwin = false\n\
             addresses = [\"192.0.2.1/24\"]\n\
             [[port]]\nname = \"lan\"\ndevice = \"net_null1\"\ntwin = false\n\
             addresses = [\"10.0.0.254/24\"]\n"
        );
        let file = weir_model::parse(&text, "test.toml");
        file.expect("the test's configuration is valid").config
    }

    fn port(rss: Rss) -> PortInfo {
        PortInfo {
            device: "net_x0".to_owned(),
            driver: "net_x".to_owned(),
            mac: [2, 0, 0, 0, 0, 1],
            queues: 2,
            rx_descriptors: 64,
            tx_descriptors: 64,
            mtu: 1500,
            rss,
            promiscuous: false,
            all_multicast: true,
            rx_ipv4_checksum: false,
        }
    }

    fn known() -> DeviceRss {
        DeviceRss {
            key: [7; 40],
            hashed: Hashed {
                tcp_v4: Fields::AddressesAndPorts,
                udp_v4: Fields::Addresses,
                ..Hashed::default()
            },
            table: [0, 1].repeat(64),
        }
    }

    fn summary(wan: Rss, lan: Rss) -> (bool, String) {
        let (wan, lan) = (port(wan), port(lan));
        let decided = decide(&config("[0, 1]"), &[&wan, &lan]);
        (decided.steering.is_by_device(), decided.summary)
    }

    #[test]
    fn one_worker_needs_no_steering() {
        let (wan, lan) = (port(Rss::Off), port(Rss::Off));
        let decided = decide(&config("[0]"), &[&wan, &lan]);
        assert_eq!(decided.summary, "1 worker: it owns every flow");
        assert_eq!(decided.steering.workers(), 1);
    }

    #[test]
    fn ports_that_do_the_same_decide() {
        let longer = DeviceRss {
            table: [0, 1].repeat(256),
            ..known()
        };
        let (is_by_device, summary) = summary(Rss::Known(known()), Rss::Known(longer));
        assert!(is_by_device);
        assert!(
            summary.starts_with("2 workers: a flow belongs to the worker to whom the ports' RSS"),
            "{summary}"
        );
    }

    #[test]
    fn a_port_that_does_something_else_is_named() {
        let other_key = DeviceRss {
            key: [8; 40],
            ..known()
        };
        let other_kinds = DeviceRss {
            hashed: Hashed::default(),
            ..known()
        };
        let uneven = DeviceRss {
            table: vec![0; 128],
            ..known()
        };
        for (lan, because) in [
            (Rss::Unsupported, "lan (net_x) has no RSS"),
            (Rss::Off, "the RSS of lan is off"),
            (
                Rss::Untold("it tells no key".to_owned()),
                "lan (net_x) does not tell what its RSS does",
            ),
            (Rss::Known(other_key), "wan and lan have different RSS keys"),
            (
                Rss::Known(other_kinds),
                "wan and lan hash different kinds of packet",
            ),
            (
                Rss::Known(uneven.clone()),
                "wan and lan have different indirection tables",
            ),
        ] {
            let (is_by_device, summary) = summary(Rss::Known(known()), lan);
            assert!(!is_by_device);
            let expected = format!(
                "2 workers: a flow goes by client address and port and is handed to its owner \
                 through rings, because {because}"
            );
            assert_eq!(summary, expected);
        }
        let (is_by_device, summary) = summary(Rss::Known(uneven.clone()), Rss::Known(uneven));
        assert!(!is_by_device);
        assert!(
            summary.ends_with("does not lead to every worker"),
            "{summary}"
        );
    }

    #[test]
    fn a_port_tells_what_it_hashes() {
        assert_eq!(
            of_port(&port(Rss::Known(known()))),
            "2 queues, RSS by addresses and ports of TCP/IPv4, by addresses of UDP/IPv4, \
             by nothing known of TCP/IPv6 UDP/IPv6, table of 128"
        );
        assert_eq!(of_port(&port(Rss::Unsupported)), "2 queues, no RSS");
        let untold = Rss::Untold("it tells no key: Operation not supported".to_owned());
        assert_eq!(
            of_port(&port(untold)),
            "2 queues, RSS of which nothing is known (it tells no key: Operation not supported)"
        );
    }
}
