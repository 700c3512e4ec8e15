//! Bursts, publications and time by the short way of plain packets and by the general way: what can
//! be told of the two is equal after each step. The first byte chooses the number of workers.
#![no_main]

#[allow(dead_code, unused_imports, reason = "shared with the packet tests")]
#[path = "../../packets/compared/mod.rs"]
mod compared;
#[allow(dead_code, unused_imports, reason = "shared with the packet tests")]
#[path = "../../packets/world/mod.rs"]
mod world;

use compared::Compared;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some((workers, steps)) = input.split_first() {
        Compared::new(1 + u16::from(workers & 1)).run(steps);
    }
});
