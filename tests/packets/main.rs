//! Packets in, packets out, and the counters that moved: through the director alone, without
//! DPDK, clock or privilege.

mod answers;
mod begins;
mod both_ways;
mod classify;
mod compared;
mod defence;
mod dr;
mod drained;
mod errors;
mod fragments;
mod ftp;
mod ftp_stream;
mod fullnat;
mod ipsec;
mod nat;
mod neighbours;
mod one_packet;
mod overflow;
mod own_server;
mod persist;
mod pieces;
mod recorded;
mod recording;
mod reuse;
mod schedulers;
mod sctp;
mod several_workers;
mod silent;
mod states;
mod tun;
mod world;
