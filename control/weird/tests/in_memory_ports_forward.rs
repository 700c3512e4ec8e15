//! A port without twin, with static routes and neighbours: packets from a file are balanced into
//! another.

mod support;

use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::{Place, weird};
use weir_wire::builder::{PacketBuilder, addr};
use weir_wire::{Mac, tcp_flag};

/// What DPDK gives the first net_pcap device of a process.
const PORT: Mac = Mac([0x02, 0x70, 0x63, 0x61, 0x70, 0]);
const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 0xfe]);

/// What a file starts with: magic, version 2.4, link type Ethernet.
const FILE_HEADER: [u8; 24] = [
    0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0,
];

const NETWORK: &str = "[metrics]\nlisten = false\n\
    [[neighbour]]\naddress = \"192.0.2.11\"\nmac = \"02:00:00:00:00:11\"\nport = \"wan\"\n\
    [[neighbour]]\naddress = \"192.0.2.12\"\nmac = \"02:00:00:00:00:12\"\nport = \"wan\"\n\
    [[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.100\"\nport = 80\nscheduler = \"rr\"\n\
    [[service.server]]\naddress = \"192.0.2.11\"\nmethod = \"dr\"\n\
    [[service.server]]\naddress = \"192.0.2.12\"\nmethod = \"dr\"\n";

fn syn(dst: Mac, src: Mac, port: u16, ttl: u8) -> Vec<u8> {
    PacketBuilder::eth(src, dst)
        .ip(addr("198.51.100.7"), addr("192.0.2.100"))
        .ttl(ttl)
        .tcp(port, 80)
        .flags(tcp_flag::SYN)
        .build()
}

#[test]
fn packets_that_wait_at_start_are_balanced_from_file_to_file() {
    let place = Place::new();
    let (from, to) = (place.path("in.pcap"), place.path("out.pcap"));
    let sent: Vec<Vec<u8>> = (0..40).map(|n| syn(PORT, ROUTER, 4000 + n, 64)).collect();
    write(&from, &sent);
    let device = format!(
        "net_pcap0,rx_pcap={},tx_pcap={}",
        from.display(),
        to.display()
    );
    let config = place.config(NETWORK).replace("net_null0", &device);
    let config = place.write(&config);

    let mut command = weird();
    command.arg("--config").arg(&config).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let wait = Instant::now();
    while !has_forwarded(&place, sent.len()) && wait.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = child.id().to_string();
    let kill = std::process::Command::new("kill").arg(&pid).status();
    assert!(kill.expect("kill runs").success());
    let mut log = String::new();
    let stderr = child.stderr.as_mut().expect("it is piped");
    stderr.read_to_string(&mut log).expect("it speaks UTF-8");
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "{log}");

    let servers = [Mac([2, 0, 0, 0, 0, 0x12]), Mac([2, 0, 0, 0, 0, 0x11])];
    let expected: Vec<Vec<u8>> = (0..40u16)
        .map(|n| syn(servers[usize::from(n % 2)], PORT, 4000 + n, 63))
        .collect();
    assert!(read(&to) == expected, "{log}");
}

fn has_forwarded(place: &Place, count: usize) -> bool {
    use std::io::Write as _;
    let Ok(mut stream) = std::os::unix::net::UnixStream::connect(place.path("weir.sock")) else {
        return false;
    };
    let request = "GET /v1/services HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n";
    let mut answer = String::new();
    let asked = stream.write_all(request.as_bytes());
    asked.is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.contains(&format!("\"connections\":{count},"))
}

fn write(path: &Path, frames: &[Vec<u8>]) {
    let mut file = FILE_HEADER.to_vec();
    for frame in frames {
        let len = (frame.len() as u32).to_le_bytes();
        file.extend([[0; 4], [0; 4], len, len].concat());
        file.extend(frame);
    }
    std::fs::write(path, file).expect("the directory is ours");
}

fn read(path: &Path) -> Vec<Vec<u8>> {
    let file = std::fs::read(path).expect("it was written");
    let mut rest = &file[FILE_HEADER.len()..];
    let mut frames = Vec::new();
    while let Some((head, tail)) = rest.split_at_checked(16) {
        let len = u32::from_le_bytes(head[8..12].try_into().expect("four bytes")) as usize;
        frames.push(tail[..len].to_vec());
        rest = &tail[len..];
    }
    frames
}
