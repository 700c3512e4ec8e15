//! Any rules and packets: prepared rules give the mark that the rules give one after the other.
#![no_main]

use libfuzzer_sys::arbitrary::{Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use weir_core::flow::Tuple;
use weir_core::io::PortId;
use weir_core::mark::{MarkRule, MarkRules};
use weir_core::service::Protocol;
use weir_wire::{Addr, Family};

/// Few addresses and ports, so that rules meet packets.
fn addr(u: &mut Unstructured<'_>) -> Result<Addr> {
    let low = u8::arbitrary(u)? & 7;
    Ok(match bool::arbitrary(u)? {
        true => Addr::from_v4_bytes([192, 0, 2 + (low >> 2), low & 3]),
        false => Addr(0x2001_0db8 << 96 | u128::from(low)),
    })
}

fn protocol(u: &mut Unstructured<'_>) -> Result<Protocol> {
    u.choose(&[Protocol::Tcp, Protocol::Udp]).copied()
}

fn prefix(u: &mut Unstructured<'_>) -> Result<Option<(Addr, u8)>> {
    if !bool::arbitrary(u)? {
        return Ok(None);
    }
    let addr = addr(u)?;
    let most = if addr.is_v4() { 32 } else { 128 };
    Ok(Some((addr, u.int_in_range(0..=most)?)))
}

fn ports(u: &mut Unstructured<'_>) -> Result<Vec<std::ops::RangeInclusive<u16>>> {
    let count = u.int_in_range(0..=2)?;
    (0..count)
        .map(|_| Ok(u16::from(u8::arbitrary(u)?)..=u16::from(u8::arbitrary(u)?)))
        .collect()
}

fn rule(u: &mut Unstructured<'_>) -> Result<MarkRule> {
    let (source, destination) = (prefix(u)?, prefix(u)?);
    let named = source.or(destination).map(|(addr, _)| addr.family());
    let given = u.choose(&[None, Some(Family::V4), Some(Family::V6)])?;
    let family = named.or(*given);
    // The configuration refuses a rule of two families.
    let fits = |(addr, _): &(Addr, u8)| family.is_none_or(|family| family == addr.family());
    Ok(MarkRule {
        mark: u.int_in_range(1..=u32::MAX)?,
        family,
        protocol: bool::arbitrary(u)?.then(|| protocol(u)).transpose()?,
        source: source.filter(fits),
        destination: destination.filter(fits),
        source_ports: ports(u)?,
        destination_ports: ports(u)?,
        interface: bool::arbitrary(u)?.then_some(PortId(1)),
        any_destination: bool::arbitrary(u)?,
    })
}

fn packet(u: &mut Unstructured<'_>) -> Result<(Tuple, PortId)> {
    let (src, dst) = (addr(u)?, addr(u)?);
    let tuple = Tuple {
        src,
        dst: if dst.family() == src.family() {
            dst
        } else {
            src
        },
        src_port: u8::arbitrary(u)?.into(),
        dst_port: u8::arbitrary(u)?.into(),
        protocol: protocol(u)?,
    };
    Ok((tuple, PortId(u8::arbitrary(u)?.into())))
}

fuzz_target!(|input: &[u8]| {
    let mut u = Unstructured::new(input);
    let Ok(count) = u.int_in_range(0..=20) else {
        return;
    };
    let Ok(rules) = (0..count).map(|_| rule(&mut u)).collect::<Result<Vec<_>>>() else {
        return;
    };
    let prepared = MarkRules::new(&rules);
    let alone: Vec<_> = rules
        .iter()
        .map(|r| MarkRules::new(std::slice::from_ref(r)))
        .collect();
    while let Ok((tuple, port)) = packet(&mut u) {
        let marks = alone.iter().map(|rule| rule.mark_of(&tuple, true, Some(port)));
        let first = marks.into_iter().find(|mark| *mark != 0).unwrap_or(0);
        assert_eq!(prepared.mark_of(&tuple, true, Some(port)), first, "{tuple:?}");
        if u.is_empty() {
            break;
        }
    }
});
