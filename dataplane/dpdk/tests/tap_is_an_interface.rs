//! A `net_tap` port is an interface of Linux: frames cross between it and a packet socket, both
//! ways, on two workers' queues. In a network namespace of its own; needs root.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "how a case tells its parent"
)]

mod support;

use std::time::{Duration, Instant};

use socket::PacketSocket;
use weir_core::io::{Burst, Frame, PacketIo, PortId};
use weir_dpdk::{Eal, EalConfig, PortConfig, Ports, QueueSet, Rss};

/// "Local experimental" (IEEE 802): nothing in Linux sends it by itself.
const ETHER_TYPE: u16 = 0x88b5;
const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x11];

#[test]
fn frames_cross_between_linux_and_the_queues() {
    let output = support::again("in_a_namespace", "tap", &["unshare", "-n"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("ALL STEPS DONE"), "{text}");
}

/// The steps; does nothing unless called by the test above.
#[test]
fn in_a_namespace() {
    if std::env::var_os("WEIR_CASE").is_none() {
        return;
    }
    let prefix = support::unique("tap");
    let eal = Eal::init(&EalConfig {
        args: support::no_nic(&prefix),
    })
    .expect("EAL starts");
    let config = PortConfig {
        mtu: 1400,
        mac: Some(MAC),
        promiscuous: true,
        ..support::port("net_tap0,iface=wtap0")
    };
    let (ports, mut queue_sets) =
        Ports::bring_up(&eal, &[config], 2, 64).expect("net_tap0 comes up");
    let port = &ports.list()[0];
    eprintln!("{:?} {:?}", port.info(), port.link());
    assert_eq!((port.info().mac, port.info().mtu), (MAC, 1400));
    // It says that it has RSS; Linux chooses the queue, and not by that.
    assert!(matches!(port.info().rss, Rss::Untold(_)));
    assert!(port.info().all_multicast && port.info().promiscuous && port.link().up);

    let socket = PacketSocket::bound_to(c"wtap0", ETHER_TYPE);
    assert_eq!(socket.mtu(c"wtap0"), 1400, "Linux sees the mtu");
    let mut frame = vec![0x02, 0, 0, 0, 0, 0x22];
    frame.extend(MAC);
    frame.extend(ETHER_TYPE.to_be_bytes());
    frame.extend(0..=255_u8);

    socket.send(&frame);
    assert_eq!(receive(&mut queue_sets), frame);
    for queues in &mut queue_sets {
        let mut out = queues.fresh().expect("a frame");
        assert!(out.push_back(frame.len()));
        out.bytes_mut().copy_from_slice(&frame);
        let mut burst = Burst::new();
        burst.push(out);
        assert_eq!(queues.transmit(PortId(0), &mut burst), 1);
        assert_eq!(socket.receive(), frame);
    }
    drop((queue_sets, ports, eal));
    assert_eq!(
        socket::index_of(c"wtap0"),
        0,
        "the interface went with the port"
    );
    println!("ALL STEPS DONE");
}

/// The first frame of our ether type on any queue.
fn receive(queue_sets: &mut [QueueSet]) -> Vec<u8> {
    let until = Instant::now() + Duration::from_secs(5);
    let mut burst = Burst::new();
    while Instant::now() < until {
        for queues in &mut *queue_sets {
            queues.receive(PortId(0), &mut burst);
            for frame in burst.drain(..) {
                if frame.bytes()[12..14] == ETHER_TYPE.to_be_bytes() {
                    return frame.bytes().to_vec();
                }
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("no frame came within five seconds");
}

/// A packet socket (packet(7)), in the little that is needed of it.
mod socket {
    use std::ffi::CStr;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::{AsRawFd, FromRawFd};

    pub(crate) struct PacketSocket(File);

    /// The number of an interface, 0 when there is none.
    pub(crate) fn index_of(interface: &CStr) -> u32 {
        // SAFETY: takes a C string.
        unsafe { libc::if_nametoindex(interface.as_ptr()) }
    }

    impl PacketSocket {
        pub(crate) fn bound_to(interface: &CStr, ether_type: u16) -> Self {
            let protocol = i32::from(ether_type.to_be());
            // SAFETY: makes a descriptor or returns -1.
            let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, protocol) };
            assert!(socket >= 0, "{}", std::io::Error::last_os_error());
            // SAFETY: the descriptor is new and nobody else's.
            let socket = Self(unsafe { File::from_raw_fd(socket) });
            // SAFETY: plain integers, for which zeroes are values.
            let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = ether_type.to_be();
            address.sll_ifindex = index_of(interface) as i32;
            // SAFETY: a socket, and an address with its length.
            let bound = unsafe {
                libc::bind(
                    socket.0.as_raw_fd(),
                    (&raw const address).cast(),
                    size_of::<libc::sockaddr_ll>() as u32,
                )
            };
            assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
            let timeout = libc::timeval {
                tv_sec: 5,
                tv_usec: 0,
            };
            // SAFETY: a socket, and a value with its length.
            let set = unsafe {
                libc::setsockopt(
                    socket.0.as_raw_fd(),
                    libc::SOL_SOCKET,
                    libc::SO_RCVTIMEO,
                    (&raw const timeout).cast(),
                    size_of::<libc::timeval>() as u32,
                )
            };
            assert_eq!(set, 0);
            socket
        }

        pub(crate) fn mtu(&self, interface: &CStr) -> i32 {
            // SAFETY: plain integers and pointers, for which zeroes are values.
            let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
            for (to, from) in request.ifr_name.iter_mut().zip(interface.to_bytes()) {
                *to = *from as libc::c_char;
            }
            // SAFETY: the request takes a pointer to an ifreq, which is ours.
            let got = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SIOCGIFMTU, &mut request) };
            assert_eq!(got, 0, "{}", std::io::Error::last_os_error());
            // SAFETY: the request has written this member of the union.
            unsafe { request.ifr_ifru.ifru_mtu }
        }

        pub(crate) fn send(&self, frame: &[u8]) {
            (&self.0).write_all(frame).expect("sent");
        }

        pub(crate) fn receive(&self) -> Vec<u8> {
            let mut frame = vec![0; 2048];
            let n = (&self.0)
                .read(&mut frame)
                .expect("a frame within five seconds");
            frame.truncate(n);
            frame
        }
    }
}
