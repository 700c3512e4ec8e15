//! Packets in, packets out, and the counters that moved: through the director alone, without
//! DPDK, clock or privilege.

mod answers;
mod both_ways;
mod classify;
mod compared;
mod dr;
mod errors;
mod fullnat;
mod nat;
mod neighbours;
mod overflow;
mod schedulers;
mod several_workers;
mod states;
mod tun;
mod world;
