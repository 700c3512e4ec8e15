//! What is closed can be opened again, and a frame may outlive everything it came from.

mod support;

use weir_core::io::{Burst, Frame, PacketIo, PortId};
use weir_dpdk::{Eal, EalConfig, Mbuf, PortError, Ports, Rss};

#[test]
fn ports_open_again_and_frames_outlive_them() {
    let prefix = support::unique("again");
    let eal = Eal::init(&EalConfig {
        args: support::no_nic(&prefix),
    })
    .expect("EAL starts");
    let second = Eal::init(&EalConfig {
        args: support::no_nic(&prefix),
    });
    assert!(
        matches!(second, Err(weir_dpdk::EalError::StartedBefore)),
        "{second:?}"
    );

    // The first port comes up, the second does not: the first is closed.
    let configs = ["net_null0", "net_nope0"].map(support::port);
    let failed = Ports::bring_up(&eal, &configs, 1, 0);
    assert!(
        matches!(failed, Err(PortError::Attach { .. })),
        "{failed:?}"
    );

    for workers in [1, 4] {
        let configs = ["net_null0", "net_null1"].map(support::port);
        let (ports, queue_sets) =
            Ports::bring_up(&eal, &configs, workers, 100).expect("null devices come up");
        assert_eq!(queue_sets.len(), usize::from(workers));
        let rss = &ports.list()[1].info().rss;
        assert_eq!(matches!(rss, Rss::Known(_)), workers > 1, "{rss:?}");
        assert!(ports.get(PortId(2)).is_none());
    }

    let (ports, mut queue_sets) =
        Ports::bring_up(&eal, &[support::port("net_null0")], 1, 0).expect("net_null0 comes up");
    let mut queues = queue_sets.pop().expect("one worker");
    drop(ports);
    let mut burst: Burst<Mbuf> = Burst::new();
    assert!(
        queues.receive(PortId(0), &mut burst) > 0,
        "queue sets keep ports open"
    );
    drop((queues, eal));
    for frame in &mut burst {
        frame.bytes_mut().fill(1);
        assert_eq!(frame.bytes()[0], 1);
    }
    burst.clear();
    assert!(!support::runtime_dir(&prefix).exists());
}
