//! Packets for and from Linux, and a thread that sleeps between them, as the twins' does.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use weir_core::counters::DropReason;
use weir_core::io::WorkerId;
use weir_core::service::Method;
use weir_worker::rings::{Doorbell, TwinLink};

use crate::network::{WAN, flow_of, for_linux, syn};
use crate::running::Plan;
use crate::wire::pause;
use crate::{WORKERS, amount};

/// The twins' thread as in `weir-control`, with this set for Linux.
struct Twins {
    links: Vec<TwinLink>,
    doorbell: Arc<Doorbell>,
    is_over: AtomicBool,
    taken: AtomicU64,
    sleeps: AtomicU64,
}

impl Twins {
    /// Moves packets until it is over. Returns the flows whose packets came.
    fn run(&self) -> BTreeSet<u32> {
        let mut flows = BTreeSet::new();
        while !self.is_over.load(Ordering::Acquire) {
            if !self.take_all(&mut flows) {
                self.sleep();
            }
        }
        self.take_all(&mut flows);
        flows
    }

    fn take_all(&self, flows: &mut BTreeSet<u32>) -> bool {
        let mut moved = false;
        for link in &self.links {
            while let Some(packet) = link.to_linux.receive() {
                moved = true;
                let Ok(weir_wire::Parsed::Ip(headers)) = weir_wire::parse(packet.bytes(), true)
                else {
                    panic!("a packet for Linux that is none");
                };
                let is_new = flows.insert(flow_of(headers.src, headers.src_port));
                assert!(is_new, "a packet came twice");
                link.to_linux.give_back(packet);
                self.taken.fetch_add(1, Ordering::Relaxed);
            }
        }
        moved
    }

    fn sleep(&self) {
        self.doorbell.fall_asleep();
        let waiting = self.links.iter().any(|link| !link.to_linux.is_empty());
        if !waiting && !self.is_over.load(Ordering::Acquire) {
            self.sleeps.fetch_add(1, Ordering::Relaxed);
            let mut fds = [PollFd::new(self.doorbell.eventfd(), PollFlags::IN)];
            let patience = Timespec {
                tv_sec: 20,
                tv_nsec: 0,
            };
            let woken = poll(&mut fds, Some(&patience)).expect("poll");
            let slept_over = self.links.iter().any(|link| !link.to_linux.is_empty());
            assert!(woken > 0 || !slept_over, "it slept over a packet");
        }
        self.doorbell.wake_up();
        let mut rung = [0; 8];
        let _ = self.doorbell.eventfd().read(&mut rung);
    }
}

fn doorbell() -> Arc<Doorbell> {
    let fd = eventfd(0, EventfdFlags::NONBLOCK).expect("an eventfd");
    Arc::new(Doorbell::new(File::from(fd)))
}

#[test]
fn every_packet_for_linux_wakes_the_twins_and_arrives_once() {
    for workers in WORKERS {
        let doorbell = doorbell();
        let links: Vec<TwinLink> = (0..workers)
            .map(|_| TwinLink::new(2048, Arc::clone(&doorbell)))
            .collect();
        let director = Plan {
            twins: links.clone(),
            ..Plan::new(workers, Method::Dr)
        }
        .start();
        let twins = Twins {
            links,
            doorbell,
            is_over: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            sleeps: AtomicU64::new(0),
        };
        let packets = amount(4000);
        let flows = std::thread::scope(|scope| {
            let thread = scope.spawn(|| twins.run());
            for n in 0..packets {
                let at = WorkerId((n % u32::from(workers)) as u16);
                director.wire.flood(at, WAN, &for_linux(n));
                if n % 16 == 0 {
                    // Lets the thread fall asleep, at another moment each time.
                    std::thread::sleep(Duration::from_micros(u64::from(n / 16 % 50) * 5));
                }
            }
            director.await_that("the packets", |d| {
                twins.taken.load(Ordering::Relaxed) + d.drops() == u64::from(packets)
            });
            twins.is_over.store(true, Ordering::Release);
            twins.doorbell.ring();
            thread.join().expect("the twins' thread")
        });
        let full = director.total(|c| c.drops(DropReason::PuntRingFull));
        assert_eq!(flows.len() as u64 + full, u64::from(packets));
        assert_eq!(director.total(|c| c.punted.get()), flows.len() as u64);
        assert!(twins.sleeps.load(Ordering::Relaxed) > 1, "it never slept");
    }
}

#[test]
fn packets_from_linux_leave_once() {
    for workers in WORKERS {
        let doorbell = doorbell();
        let links: Vec<TwinLink> = (0..workers)
            .map(|_| TwinLink::new(2048, Arc::clone(&doorbell)))
            .collect();
        let packets = amount(4000);
        let director = Plan {
            twins: links.clone(),
            // Nobody waits for room in a transmit queue.
            depth: packets as usize,
            ..Plan::new(workers, Method::Dr)
        }
        .start();
        let sent = director.exchange(packets, |_| {
            for n in 0..packets {
                let ring = &links[n as usize % links.len()].from_linux;
                let mut packet = loop {
                    match ring.take_free() {
                        Some(packet) => break packet,
                        None => pause(),
                    }
                };
                assert!(packet.fill(crate::network::LAN, &syn(n)));
                ring.send(packet);
            }
        });
        let flows: BTreeSet<u32> = sent.iter().map(|packet| packet.flow).collect();
        assert_eq!(flows.len(), sent.len(), "a packet left twice");
        assert_eq!(director.total(|c| c.from_linux.get()), u64::from(packets));
        assert_eq!(director.drops(), 0);
    }
}
