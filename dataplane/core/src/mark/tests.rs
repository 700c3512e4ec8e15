use alloc::vec;
use std::vec::Vec;

use proptest::prelude::*;
use weir_wire::builder::addr;

use super::*;

const ANY: MarkRule = MarkRule {
    mark: 1,
    family: None,
    protocol: None,
    source: None,
    destination: None,
    source_ports: Vec::new(),
    destination_ports: Vec::new(),
    interface: None,
    any_destination: false,
};

fn packet() -> Tuple {
    Tuple {
        src: addr("198.51.100.7"),
        dst: addr("192.0.2.100"),
        src_port: 4000,
        dst_port: 80,
        protocol: Protocol::Tcp,
    }
}

fn mark_of(rules: &[MarkRule], packet: &Tuple) -> u32 {
    MarkRules::new(rules).mark_of(packet, true, Some(PortId(0)))
}

#[test]
fn without_a_rule_there_is_no_mark() {
    assert_eq!(mark_of(&[], &packet()), 0);
    assert!(MarkRules::new(&[]).is_empty());
}

#[test]
fn each_condition_counts() {
    let six = Tuple {
        src: addr("2001:db8:9::7"),
        dst: addr("2001:db8:1::100"),
        ..packet()
    };
    let udp = Tuple {
        protocol: Protocol::Udp,
        ..packet()
    };
    let cases: [(MarkRule, Tuple, Tuple); 9] = [
        (
            MarkRule {
                family: Some(Family::V4),
                ..ANY
            },
            packet(),
            six,
        ),
        (
            MarkRule {
                family: Some(Family::V6),
                ..ANY
            },
            six,
            packet(),
        ),
        (
            MarkRule {
                protocol: Some(Protocol::Udp),
                ..ANY
            },
            udp,
            packet(),
        ),
        (
            MarkRule {
                source: Some((addr("198.51.100.0"), 24)),
                ..ANY
            },
            packet(),
            Tuple {
                src: addr("198.51.101.7"),
                ..packet()
            },
        ),
        (
            MarkRule {
                destination: Some((addr("192.0.2.100"), 32)),
                ..ANY
            },
            packet(),
            Tuple {
                dst: addr("192.0.2.101"),
                ..packet()
            },
        ),
        (
            MarkRule {
                destination: Some((addr("2001:db8:1::"), 64)),
                ..ANY
            },
            six,
            Tuple {
                dst: addr("2001:db8:2::100"),
                ..six
            },
        ),
        // All addresses of one family.
        (
            MarkRule {
                destination: Some((addr("0.0.0.0"), 0)),
                ..ANY
            },
            packet(),
            six,
        ),
        (
            MarkRule {
                source_ports: vec![1..=10, 4000..=5000],
                ..ANY
            },
            packet(),
            Tuple {
                src_port: 3999,
                ..packet()
            },
        ),
        (
            MarkRule {
                destination_ports: vec![443..=443, 80..=80],
                ..ANY
            },
            packet(),
            Tuple {
                dst_port: 81,
                ..packet()
            },
        ),
    ];
    for (rule, fits, differs) in cases {
        assert_eq!(mark_of(core::slice::from_ref(&rule), &fits), 1, "{rule:?}");
        assert_eq!(
            mark_of(core::slice::from_ref(&rule), &differs),
            0,
            "{rule:?}"
        );
    }
}

#[test]
fn the_interface_counts_where_it_is_known() {
    let rules = MarkRules::new(&[MarkRule {
        interface: Some(PortId(1)),
        ..ANY
    }]);
    assert_eq!(rules.mark_of(&packet(), true, Some(PortId(1))), 1);
    assert_eq!(rules.mark_of(&packet(), true, Some(PortId(0))), 0);
    assert_eq!(rules.mark_of(&packet(), true, None), 1);
}

#[test]
fn the_first_rule_that_matches_counts_whatever_it_is_found_by() {
    let of_address = |mark| MarkRule {
        mark,
        destination: Some((packet().dst, 32)),
        ..ANY
    };
    let other = |mark| MarkRule {
        mark,
        protocol: Some(Protocol::Tcp),
        ..ANY
    };
    let never = MarkRule {
        mark: 9,
        protocol: Some(Protocol::Udp),
        ..ANY
    };
    for rules in [
        [of_address(1), other(2)],
        [other(1), of_address(2)],
        [of_address(1), of_address(2)],
        [other(1), other(2)],
    ] {
        assert_eq!(mark_of(&rules, &packet()), 1);
        let later: Vec<_> = core::iter::once(never.clone()).chain(rules).collect();
        assert_eq!(mark_of(&later, &packet()), 1);
    }
}

/// As the words of a rule have it, one after the other.
fn plainly(rules: &[MarkRule], packet: &Tuple, port: PortId) -> u32 {
    let within = |prefix: &(Addr, u8), is: Addr| {
        let bits = match is.family() {
            Family::V4 => 96 + u32::from(prefix.1),
            Family::V6 => u32::from(prefix.1),
        };
        let same = (prefix.0.0 ^ is.0).leading_zeros() >= bits;
        prefix.0.family() == is.family() && same
    };
    let has = |ranges: &[RangeInclusive<u16>], is: u16| {
        ranges.is_empty() || ranges.iter().any(|r| *r.start() <= is && is <= *r.end())
    };
    let fits = |rule: &&MarkRule| {
        rule.family.is_none_or(|f| f == packet.src.family())
            && rule.protocol.is_none_or(|p| p == packet.protocol)
            && rule.source.is_none_or(|s| within(&s, packet.src))
            && rule.destination.is_none_or(|d| within(&d, packet.dst))
            && has(&rule.source_ports, packet.src_port)
            && has(&rule.destination_ports, packet.dst_port)
            && rule.interface.is_none_or(|i| i == port)
    };
    rules.iter().find(fits).map_or(0, |rule| rule.mark)
}

fn some_addr() -> impl Strategy<Value = Addr> {
    prop_oneof![
        (0..4u8).prop_map(|n| Addr::from_v4_bytes([192, 0, 2, n])),
        (0..4u128).prop_map(|n| Addr(0x2001_0db8 << 96 | n)),
    ]
}

fn some_prefix() -> impl Strategy<Value = (Addr, u8)> {
    (some_addr(), 0..=128u8).prop_map(|(addr, len)| match addr.family() {
        Family::V4 => (addr, len.min(32)),
        Family::V6 => (addr, len),
    })
}

fn some_ports() -> impl Strategy<Value = Vec<RangeInclusive<u16>>> {
    prop::collection::vec((0..6u16, 0..3u16).prop_map(|(a, n)| a..=a + n), 0..3)
}

fn some_protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)]
}

prop_compose! {
    fn some_rule()(
        mark in 1..1000u32,
        family in prop::option::of(prop_oneof![Just(Family::V4), Just(Family::V6)]),
        protocol in prop::option::of(some_protocol()),
        source in prop::option::weighted(0.3, some_prefix()),
        destination in prop::option::weighted(0.7, some_prefix()),
        source_ports in some_ports(),
        destination_ports in some_ports(),
        interface in prop::option::weighted(0.2, (0..2u16).prop_map(PortId)),
        any_destination in any::<bool>(),
    ) -> MarkRule {
        // As the configuration has it: families agree.
        let named = source.or(destination).map(|(addr, _)| addr.family());
        let family = named.or(family);
        let of_family = |(addr, _): &(Addr, u8)| family.is_none_or(|f| f == addr.family());
        MarkRule {
            mark,
            family,
            protocol,
            source: source.filter(of_family),
            destination: destination.filter(of_family),
            source_ports,
            destination_ports,
            interface,
            any_destination,
        }
    }
}

proptest! {
    #[test]
    fn prepared_rules_give_what_the_rules_say(
        rules in prop::collection::vec(some_rule(), 0..12),
        ends in (some_addr(), some_addr()).prop_filter("one family", |(a, b)| a.family() == b.family()),
        ports in (0..8u16, 0..8u16),
        protocol in some_protocol(),
        port in (0..2u16).prop_map(PortId),
        is_ours in any::<bool>(),
    ) {
        let packet = Tuple {
            src: ends.0,
            dst: ends.1,
            src_port: ports.0,
            dst_port: ports.1,
            protocol,
        };
        let prepared = MarkRules::new(&rules);
        let of_any = rules.iter().filter(|rule| is_ours || rule.any_destination);
        let of_any: Vec<_> = of_any.cloned().collect();
        let mark = prepared.mark_of(&packet, is_ours, Some(port));
        prop_assert_eq!(mark, plainly(&of_any, &packet, port));
        prop_assert!(mark == 0 || is_ours || prepared.reach_others());
    }
}
