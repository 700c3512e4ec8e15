//! Packets in, packets out, and the counters that moved: through the director alone, without
//! DPDK, clock or privilege.

mod answers;
mod both_ways;
mod classify;
mod compared;
mod dr;
mod errors;
mod fragments;
mod fullnat;
mod nat;
mod neighbours;
mod overflow;
mod own_server;
mod recorded;
mod recording;
mod several_workers;
mod states;
mod tun;
mod world;
