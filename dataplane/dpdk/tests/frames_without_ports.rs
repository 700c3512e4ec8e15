//! The frame pool alone. EAL starts once per process, so this file is one test with steps.

mod support;

use weir_core::io::{BURST_MAX, Burst, Frame};
use weir_dpdk::{Eal, EalConfig, Frames, PortError};

#[test]
fn bursts_come_from_the_pool_and_go_back() {
    let prefix = support::unique("frames");
    let eal = Eal::init(&EalConfig {
        args: support::no_nic(&prefix),
    })
    .expect("EAL starts");
    let frames = Frames::new(&eal, 1, 64).expect("there is memory for some frames");
    let again = Frames::new(&eal, 1, 64);
    assert!(matches!(again, Err(PortError::UpAlready)), "{again:?}");

    let mut burst = Burst::new();
    // Far more frames than the pool has go through it.
    for _ in 0..1000 {
        assert!(frames.take(&mut burst, 20));
        assert!(frames.take(&mut burst, BURST_MAX - 20));
        assert!(!frames.take(&mut burst, 1), "the burst is full");
        for frame in &mut burst {
            assert!(frame.bytes().is_empty());
            assert!(frame.push_back(60));
            frame.bytes_mut().fill(7);
        }
        frames.give_back(&mut burst);
        assert!(burst.is_empty());
    }

    let mut kept = Vec::new();
    while frames.take(&mut burst, BURST_MAX) {
        kept.extend(burst.drain(..));
    }
    assert!(burst.is_empty(), "a pool that has too few gives none");
    assert!(kept.iter().all(|frame| frame.bytes().is_empty()));
    drop(kept);
    assert!(frames.take(&mut burst, BURST_MAX));
    drop((burst, frames, eal));
    assert!(!support::runtime_dir(&prefix).exists());
}
