//! Start, reload and stop on an in-memory device.

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{Place, refused, weird};

const SERVICE: &str = "[[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.100\"\nport = 80\n\
     [[service.server]]\naddress = \"192.0.2.7\"\nmethod = \"nat\"\n";
const NO_METRICS: &str = "[metrics]\nlisten = false\n";

/// A daemon that is killed should the test fail.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Daemon {
    /// Starts it and waits until it says that it is ready, by sd_notify(3).
    fn start(place: &Place, config: &Path) -> Self {
        let socket = place.path("notify");
        let ready = UnixDatagram::bind(&socket).expect("a fresh path");
        let wait = Some(Duration::from_secs(30));
        ready.set_read_timeout(wait).expect("a time-out");
        let mut command = weird();
        command
            .arg("--config")
            .arg(config)
            .env("NOTIFY_SOCKET", &socket);
        let child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let mut daemon = Self(child);
        let mut told = [0; 64];
        match ready.recv(&mut told) {
            Ok(n) => assert_eq!(&told[..n], b"READY=1"),
            Err(error) => panic!("{error}: {}", daemon.end("KILL").1),
        }
        daemon
    }

    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Exit status and log after a signal.
    fn end(&mut self, signal: &str) -> (Option<i32>, String) {
        self.signal(signal);
        let mut log = String::new();
        let stderr = self.0.stderr.as_mut().expect("it is piped");
        stderr.read_to_string(&mut log).expect("it speaks UTF-8");
        (self.0.wait().expect("it ends").code(), log)
    }
}

fn ask(place: &Place, request: &str) -> String {
    let mut stream = UnixStream::connect(place.path("weir.sock")).expect("it listens");
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n"
    )
    .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn sigterm_ends_it_with_status_0_and_what_it_made_is_gone() {
    let place = Place::new();
    let config = place.config(&(NO_METRICS.to_owned() + SERVICE));
    let file = place.write(&config);
    let mut daemon = Daemon::start(&place, &file);
    assert!(ask(&place, "GET /v1/status").contains("\"dpdk_version\":\"2"));
    assert!(ask(&place, "GET /v1/ports").contains("\"driver\":\"net_null\""));

    let (status, said) = refused(&file);
    assert_eq!(status, Some(1), "a second one is refused: {said}");
    assert!(said.contains("another weird answers there"), "{said}");

    let (status, log) = daemon.end("TERM");
    assert_eq!(status, Some(0), "{log}");
    assert!(
        log.contains("ready: 1 port, 1 worker, 1 service; no metrics; socket "),
        "{log}"
    );
    assert!(log.contains("1 worker: it owns every flow"), "{log}");
    assert!(!place.path("weir.sock").exists());
    let prefix = config
        .split("file_prefix = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let files = Path::new("/run/dpdk").join(prefix.expect("it has a prefix"));
    assert!(!files.exists(), "{} is left behind", files.display());
}

#[test]
fn systemd_hears_again_and_again_that_it_is_alive() {
    let place = Place::new();
    let file = place.write(&place.config(NO_METRICS));
    let socket = place.path("notify");
    let heard = UnixDatagram::bind(&socket).expect("a fresh path");
    let wait = Some(Duration::from_secs(30));
    heard.set_read_timeout(wait).expect("a time-out");
    let mut command = weird();
    command.arg("--config").arg(&file);
    command.env("NOTIFY_SOCKET", &socket);
    command.env("WATCHDOG_USEC", "400000");
    let child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut daemon = Daemon(child);
    let hear = || {
        let mut told = [0; 64];
        let length = heard.recv(&mut told).expect("it says something");
        String::from_utf8_lossy(&told[..length]).into_owned()
    };
    assert_eq!(hear(), "READY=1");
    let begun = Instant::now();
    for _ in 0..4 {
        assert_eq!(hear(), "WATCHDOG=1");
    }
    // Half of the time after which systemd gives up, so that one may be late.
    assert!(begun.elapsed() >= Duration::from_millis(500));
    assert_eq!(daemon.end("TERM").0, Some(0));
}

/// Stops one thread of a process, as a debugger does, until its standard input ends.
const HOLD: &str = "
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
SEIZE, INTERRUPT = 0x4206, 0x4207
for request in (SEIZE, INTERRUPT):
    if libc.ptrace(request, int(sys.argv[1]), None, None) != 0:
        sys.exit(f'ptrace: {ctypes.get_errno()}')
print('held', flush=True)
sys.stdin.read()
";

#[test]
fn systemd_hears_no_more_of_life_while_a_worker_is_stuck() {
    let place = Place::new();
    let file = place.write(&place.config(NO_METRICS));
    let socket = place.path("notify");
    let heard = UnixDatagram::bind(&socket).expect("a fresh path");
    let wait = Some(Duration::from_secs(3));
    heard.set_read_timeout(wait).expect("a time-out");
    let mut command = weird();
    command.arg("--config").arg(&file);
    command.env("NOTIFY_SOCKET", &socket);
    command.env("WATCHDOG_USEC", "400000");
    let child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut daemon = Daemon(child);
    let hear = || {
        let mut told = [0; 64];
        let length = heard.recv(&mut told)?;
        std::io::Result::Ok(String::from_utf8_lossy(&told[..length]).into_owned())
    };
    let until = Instant::now() + Duration::from_secs(30);
    while !hear().is_ok_and(|told| told == "WATCHDOG=1") {
        assert!(Instant::now() < until, "it never came up");
    }
    let tasks = format!("/proc/{}/task", daemon.0.id());
    let worker = std::fs::read_dir(tasks).expect("it runs").find_map(|task| {
        let task = task.ok()?;
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        (name.trim() == "worker0").then(|| task.file_name().into_string().expect("a number"))
    });
    let mut holder = Command::new("python3")
        .args(["-c", HOLD, &worker.expect("it has a worker")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    let mut line = String::new();
    let said = holder.stdout.take().expect("piped");
    BufReader::new(said)
        .read_line(&mut line)
        .expect("it says something");
    assert_eq!(line, "held\n");
    let until = Instant::now() + Duration::from_secs(20);
    while hear().is_ok() {
        assert!(Instant::now() < until, "it goes on to say that all is well");
    }
    drop(holder.stdin.take());
    holder.wait().expect("it ends");
    let until = Instant::now() + Duration::from_secs(20);
    while hear().is_err() {
        assert!(Instant::now() < until, "it never recovers");
    }
    let (status, log) = daemon.end("TERM");
    assert_eq!(status, Some(0), "{log}");
    assert!(
        log.contains("worker 0 on core 0 has made no turn for 5 s"),
        "{log}"
    );
    assert!(log.contains("worker 0 turns again"), "{log}");
}

/// `net_null` keeps what it is told of RSS, as a NIC does; `net_pcap` has none.
#[test]
fn several_workers_tell_at_start_who_owns_a_flow_and_why() {
    let captures = Place::new();
    let capture = captures.path("in.pcap");
    let header = [
        0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0,
    ];
    std::fs::write(&capture, header).expect("the directory is ours");
    let (from, to) = (
        capture.display(),
        captures.path("out").display().to_string(),
    );
    let files = format!("net_pcap0,rx_pcap={from},rx_pcap={from},tx_pcap={to}0,tx_pcap={to}1");
    let by_device =
        "2 workers: a flow belongs to the worker to whom the ports' RSS gives its packets";
    let by_client = "2 workers: a flow goes by client address and port and is handed to its owner \
                     through rings, because wan (net_pcap) has no RSS";
    for (device, summary, of_port) in [
        (
            "net_null0,no-rx=1",
            by_device,
            "wan: 2 queues, RSS by addresses and ports of TCP/IPv4 UDP/IPv4 TCP/IPv6 UDP/IPv6, \
             table of 128",
        ),
        (&files, by_client, "wan: 2 queues, no RSS"),
    ] {
        let place = Place::new();
        let config = place.config(NO_METRICS).replace("net_null0", device);
        let config = config.replace("cores = [0]", "cores = [0, 1]");
        let mut daemon = Daemon::start(&place, &place.write(&config));
        let workers = ask(&place, "GET /v1/workers");
        assert!(
            workers.contains(&format!("\"steering\":\"{summary}")),
            "{workers}"
        );
        let (status, log) = daemon.end("TERM");
        assert_eq!(status, Some(0), "{log}");
        for line in [of_port, summary] {
            assert!(log.contains(line), "{line} is not in {log}");
        }
    }
}

#[test]
fn sighup_reloads_and_a_bad_file_changes_nothing() {
    let place = Place::new();
    let file = place.write(&place.config(NO_METRICS));
    let mut daemon = Daemon::start(&place, &file);
    assert!(ask(&place, "GET /v1/services").ends_with("{\"services\":[]}"));

    place.write(&place.config(&(NO_METRICS.to_owned() + SERVICE)));
    daemon.signal("HUP");
    let until = Instant::now() + Duration::from_secs(10);
    while !ask(&place, "GET /v1/services").contains("192.0.2.7") {
        assert!(Instant::now() < until, "the service never came");
        std::thread::sleep(Duration::from_millis(20));
    }

    place.write("wrong = true\nworse = [");
    let answer = ask(&place, "POST /v1/reload");
    assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
    assert!(ask(&place, "GET /v1/services").contains("192.0.2.7"));

    let (status, log) = daemon.end("INT");
    assert_eq!(status, Some(0), "{log}");
    assert!(
        log.contains("server 192.0.2.7:80 added, nat, weight 1"),
        "{log}"
    );
    assert!(log.contains("not reloaded: nothing was changed"), "{log}");
}
