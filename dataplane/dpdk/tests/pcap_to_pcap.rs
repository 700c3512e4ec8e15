//! `net_pcap` reads frames from a file and writes what is sent to another: they are the same.

mod support;

use std::path::Path;

use weir_core::io::{BURST_MAX, Burst, Frame, PacketIo, PortId};
use weir_dpdk::{Eal, EalConfig, Mbuf, Ports};

/// What a file starts with: magic, version 2.4, link type Ethernet.
const FILE_HEADER: [u8; 24] = [
    0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0,
];

#[test]
fn frames_read_from_a_file_are_written_to_another_unchanged() {
    let dir = tempfile::tempdir().expect("a directory");
    let (from, to) = (dir.path().join("in.pcap"), dir.path().join("out.pcap"));
    // The last fill a port of mtu 1500 with one VLAN tag.
    let frames: Vec<Vec<u8>> = (0..100_usize)
        .map(|i| vec![i as u8; (60 + 60 * i).min(1518)])
        .collect();
    write(&from, &frames);

    let prefix = support::unique("pcap");
    let eal = Eal::init(&EalConfig {
        args: support::no_nic(&prefix),
    })
    .expect("EAL starts");
    let device = format!(
        "net_pcap0,rx_pcap={},tx_pcap={}",
        from.display(),
        to.display()
    );
    let (ports, mut queue_sets) =
        Ports::bring_up(&eal, &[support::port(&device)], 1, 64).expect("net_pcap0 comes up");
    let mut queues = queue_sets.pop().expect("one worker");
    let mut burst: Burst<Mbuf> = Burst::new();
    let mut bursts = 0;
    while queues.receive(PortId(0), &mut burst) > 0 {
        bursts += 1;
        assert!(burst.iter().all(|frame| frame.is_linear()));
        let n = burst.len();
        assert_eq!(queues.transmit(PortId(0), &mut burst), n);
    }
    assert_eq!(bursts, frames.len().div_ceil(BURST_MAX));
    assert_eq!(ports.list()[0].stats().rx_packets, frames.len() as u64);
    drop((ports, queues, eal));

    assert!(read(&to) == frames, "the files differ");
}

fn write(path: &Path, frames: &[Vec<u8>]) {
    let mut file = FILE_HEADER.to_vec();
    for frame in frames {
        let len = (frame.len() as u32).to_le_bytes();
        file.extend([[0; 4], [0; 4], len, len].concat());
        file.extend(frame);
    }
    std::fs::write(path, file).expect("written");
}

fn read(path: &Path) -> Vec<Vec<u8>> {
    let file = std::fs::read(path).expect("readable");
    let mut rest = &file[FILE_HEADER.len()..];
    let mut frames = Vec::new();
    while let Some(len) = rest.get(8..12) {
        let len = u32::from_le_bytes(len.try_into().expect("4 bytes")) as usize;
        frames.push(rest[16..16 + len].to_vec());
        rest = &rest[16 + len..];
    }
    frames
}
