//! The IPVS door with the stock programs and with clients that misbehave. The director behind it has
//! no workers, so none of this needs root, DPDK or a network.

mod batch;
mod clients;
mod door;
mod readers;
mod runs;

use door::Door;
