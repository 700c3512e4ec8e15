//! Frames through a device without a NIC: `net_ring` gives back what it is sent. Needs no huge
//! pages. EAL starts once per process, so this file is one test with steps.

mod support;

use weir_core::io::{Burst, Frame, PacketIo, PortId};
use weir_dpdk::{Eal, EalConfig, Mbuf, PortError, Ports, QueueSet, Rss};

const PORT: PortId = PortId(0);

#[test]
fn frames_sent_to_a_ring_come_back_unchanged_and_nothing_is_left_behind() {
    let prefix = support::unique("ring");
    let eal = Eal::init(&EalConfig {
        args: support::no_nic(&prefix),
    })
    .expect("EAL starts");
    assert_eq!(support::processors_allowed(), support::processors_online());

    let (ports, mut queue_sets) =
        Ports::bring_up(&eal, &[support::port("net_ring0")], 1, 64).expect("net_ring0 comes up");
    let info = ports.list()[0].info();
    assert_eq!(
        (info.driver.as_str(), info.queues, info.rss.clone()),
        ("net_ring", 1, Rss::Off)
    );
    let mut queues = queue_sets.pop().expect("one worker has one queue set");
    assert!(queue_sets.is_empty());
    let all = ports.pool_usage().frames;

    // A second pool would make "fast free" give frames back to the wrong one.
    let again = Ports::bring_up(&eal, &[support::port("net_null7")], 1, 0);
    assert!(matches!(again, Err(PortError::UpAlready)), "{again:?}");

    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _registered = queues.register_thread().expect("DPDK takes the thread");
            returns_what_it_was_sent(&mut queues);
            receives_behind_what_a_burst_holds(&mut queues);
            frees_what_the_device_does_not_take(&mut queues);
            edits_stay_inside_the_buffer(&mut queues);
        });
    });
    assert_eq!(
        ports.pool_usage().free,
        all,
        "every frame went back to the pool"
    );
    let stats = ports.list()[0].stats();
    assert_eq!(stats.rx_packets, stats.tx_packets);

    drop((ports, queues, eal));
    assert!(
        !support::runtime_dir(&prefix).exists(),
        "the runtime directory is removed"
    );
}

fn burst_of(queues: &mut QueueSet, n: u8) -> Burst<Mbuf> {
    (0..n)
        .map(|i| {
            let mut frame = queues.fresh().expect("the pool has frames");
            assert!(frame.bytes().is_empty());
            assert!(frame.push_back(60 + usize::from(i)));
            frame.bytes_mut().fill(i);
            frame
        })
        .collect()
}

fn returns_what_it_was_sent(queues: &mut QueueSet) {
    let mut burst = burst_of(queues, 32);
    assert_eq!(queues.transmit(PORT, &mut burst), 32);
    assert!(burst.is_empty());
    assert_eq!(queues.receive(PORT, &mut burst), 32);
    for (i, frame) in burst.iter().enumerate() {
        assert!(frame.is_linear());
        assert_eq!(frame.bytes(), vec![i as u8; 60 + i]);
    }
    burst.clear();
    assert_eq!(queues.receive(PORT, &mut burst), 0);
    assert_eq!(queues.transmit(PORT, &mut burst), 0);
}

fn receives_behind_what_a_burst_holds(queues: &mut QueueSet) {
    let mut sent = burst_of(queues, 8);
    assert_eq!(queues.transmit(PORT, &mut sent), 8);
    let mut burst = burst_of(queues, 28);
    assert_eq!(
        queues.receive(PORT, &mut burst),
        4,
        "no more than there is room"
    );
    assert_eq!(burst[27].bytes()[0], 27);
    assert_eq!(burst[28].bytes()[0], 0);
    burst.clear();
    assert_eq!(queues.receive(PORT, &mut burst), 4);
    assert_eq!(burst[0].bytes()[0], 4);
}

fn frees_what_the_device_does_not_take(queues: &mut QueueSet) {
    let mut taken = 0;
    loop {
        let mut burst = burst_of(queues, 32);
        let n = queues.transmit(PORT, &mut burst);
        assert!(burst.is_empty());
        taken += n;
        if n < 32 {
            break;
        }
    }
    let mut returned = 0;
    let mut burst = Burst::new();
    while queues.receive(PORT, &mut burst) > 0 {
        returned += burst.len();
        burst.clear();
    }
    assert_eq!(returned, taken);
}

fn edits_stay_inside_the_buffer(queues: &mut QueueSet) {
    let mut frame = queues.fresh().expect("the pool has frames");
    assert!(frame.push_back(100));
    frame.bytes_mut().fill(7);
    assert!(frame.push_front(40), "an IPv6 header fits the headroom");
    assert_eq!(frame.bytes().len(), 140);
    assert_eq!(frame.bytes()[40..], [7; 100]);
    assert!(!frame.push_front(89), "headroom is 128 bytes");
    assert!(frame.push_front(88));
    frame.pull_front(128);
    assert_eq!(frame.bytes(), [7; 100]);
    frame.truncate(101);
    assert_eq!(frame.bytes().len(), 100);
    frame.truncate(10);
    assert_eq!(frame.bytes(), [7; 10]);
    assert!(!frame.push_back(usize::from(u16::MAX)));
    assert!(
        !frame.push_back(2048 - 10 + 1),
        "the buffer is 2 KiB behind the headroom"
    );
    assert!(frame.push_back(2048 - 10));
    frame.pull_front(2048);
    assert!(frame.bytes().is_empty());
}
