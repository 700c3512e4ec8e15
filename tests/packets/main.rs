//! Packets in, packets out, and the counters that moved: through the director alone, without
//! DPDK, clock or privilege.

mod answers;
mod classify;
mod dr;
mod errors;
mod fullnat;
mod nat;
mod neighbours;
mod overflow;
mod several_workers;
mod states;
mod tun;
mod world;
