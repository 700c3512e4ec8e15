//! The IPVS door with the stock programs and with clients that misbehave. The director behind it has
//! no workers, so none of this needs root, DPDK or a network.

mod clients;
mod door;
mod runs;

use door::Door;
