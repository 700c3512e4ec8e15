//! What a packet costs in the wrappers: receives bursts from `net_null` and sends them back.
//!
//! `net_null` itself takes a frame from the pool and gives it back, so most of the figure is the
//! pool's. Run with `cargo run --release -p weir-dpdk --example wrapper_cost`; needs no huge pages
//! and no privilege. Prints nanoseconds per packet for the loop alone, for the loop that reads
//! and writes each packet's header through `Frame`, and for packets dropped one by one.
//!
//! Measured on two shared cores against the same loops in C round DPDK's inlines: 19 to 21 (C with
//! the same prefetch 20, without 16 to 19) · 25 (C 25, without prefetch) · 19 to 22 (C 14 to 18).
//! The last is the price of a call per frame and is paid only for what the director drops.
#![allow(clippy::print_stdout, reason = "figures are what it is for")]

use std::error::Error;
use std::time::Instant;

use weir_core::io::{Burst, Frame, PacketIo, PortId};
use weir_dpdk::{Eal, EalConfig, Mbuf, PortConfig, Ports, QueueSet};

const PACKETS: u64 = 50_000_000;
const PORT: PortId = PortId(0);

fn main() -> Result<(), Box<dyn Error>> {
    let prefix = format!("weir-cost-{}", std::process::id());
    let args = [
        "--no-huge",
        "-m",
        "64",
        "--no-pci",
        "--file-prefix",
        &prefix,
    ];
    let eal = Eal::init(&EalConfig {
        args: args.map(str::to_string).to_vec(),
    })?;
    let config = PortConfig {
        device: "net_null0,size=64,copy=0".to_string(),
        rx_descriptors: 512,
        tx_descriptors: 512,
        mtu: 1500,
        mac: None,
        promiscuous: false,
        rss: false,
    };
    let (_ports, mut queue_sets) = Ports::bring_up(&eal, &[config], 1, 0)?;
    let mut queues = queue_sets.pop().ok_or("one worker has one queue set")?;
    let _registered = queues.register_thread()?;

    for _ in 0..3 {
        let bare = measure(&mut queues, |_| ());
        let edit = measure(&mut queues, rewrite_all);
        let drop = measure(&mut queues, Burst::clear);
        println!(
            "receive+transmit {bare:.2} ns/packet   with 2 reads, 1 write, push and pull \
             {edit:.2}   receive and drop {drop:.2}"
        );
    }
    Ok(())
}

fn measure(queues: &mut QueueSet, mut each: impl FnMut(&mut Burst<Mbuf>)) -> f64 {
    let mut burst = Burst::new();
    let mut packets = 0;
    let start = Instant::now();
    while packets < PACKETS {
        packets += queues.receive(PORT, &mut burst) as u64;
        each(&mut burst);
        queues.transmit(PORT, &mut burst);
    }
    start.elapsed().as_nanos() as f64 / packets as f64
}

fn rewrite_all(burst: &mut Burst<Mbuf>) {
    for frame in burst {
        let bytes = frame.bytes_mut();
        bytes[0] = bytes[12] ^ bytes[13];
        let pushed = frame.push_front(20);
        assert!(pushed, "a fresh frame has headroom");
        frame.pull_front(20);
    }
}
