//! The counters of a world's worker, by name.

use std::collections::BTreeMap;
use std::fmt;

use weir_core::counters::{Counter, DropReason, Overflow, WorkerCounters};
use weir_core::load::Connections;
use weir_core::persist::Refusal;

pub(super) fn names(counters: &WorkerCounters) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    each_counter(counters, |name, value| {
        all.insert(name.to_string(), value);
    });
    all
}

/// Tells every counter's name and value, always in the same order.
pub(crate) fn each_counter(
    counters: &WorkerCounters,
    mut tell: impl FnMut(fmt::Arguments<'_>, u64),
) {
    for reason in DropReason::ALL {
        tell(
            format_args!("drop.{}", reason.label()),
            counters.drops(*reason),
        );
    }
    for cause in Overflow::ALL {
        tell(
            format_args!("not_kept.{}", cause.label()),
            counters.not_kept(cause),
        );
    }
    for cause in Refusal::ALL {
        tell(
            format_args!("no_template.{}", cause.label()),
            counters.no_template(cause),
        );
    }
    let mut add = |name: &str, counter: &Counter| tell(format_args!("{name}"), counter.get());
    add("forwarded", &counters.forwarded);
    add("punted", &counters.punted);
    add("handed_off", &counters.handed_off);
    add("unparked", &counters.unparked);
    add("icmp_sent", &counters.icmp_sent);
    add("resets_sent", &counters.resets_sent);
    add("answers_suppressed", &counters.answers_suppressed);
    add("fragments_sent", &counters.fragments_sent);
    add("reassembled", &counters.reassembled);
    add("flows_created", &counters.flows_created);
    add("flows_expired", &counters.flows_expired);
    add("drained_reset", &counters.drained_reset);
    add("drained_removed", &counters.drained_removed);
    add("drain_probes", &counters.drain_probes);
    add("stateless", &counters.stateless);
    add("adopted", &counters.adopted);
    add("ftp_unaided", &counters.ftp_unaided);
    for (n, server) in counters.servers.iter().enumerate() {
        let mut add = |name, counter: &Counter| tell(format_args!("rs{n}.{name}"), counter.get());
        add("connections", &server.connections);
        add("packets_in", &server.packets_in);
        add("bytes_in", &server.bytes_in);
        add("packets_out", &server.packets_out);
        add("bytes_out", &server.bytes_out);
    }
    for (n, load) in counters.loads.iter().enumerate() {
        let Connections { active, inactive } = load.get();
        tell(format_args!("rs{n}.active"), active.into());
        tell(format_args!("rs{n}.inactive"), inactive.into());
    }
}
