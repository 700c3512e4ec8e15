//! Each command's table from a body as the daemon sends it, and the whole client against a small
//! daemon of our own.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread;

use clap::{CommandFactory, Parser};
use serde_json::{Value, json};

use super::*;

mod changes;
/// What is asked of the daemon.
fn asked(args: &Args) -> &Command {
    match &args.command {
        Top::Ask(command) => command,
        Top::Here(here) => panic!("{here:?} asks for nothing"),
    }
}

/// What `weir` with these arguments shows for `body`.
fn shown(arguments: &str, body: &Value) -> String {
    let args = Args::try_parse_from(arguments.split(' ')).expect("arguments");
    render(asked(&args), body.to_string().as_bytes()).expect("an answer")
}

fn stats(scale: u64) -> Value {
    json!({
        "connections": 10 * scale, "packets_in": 100 * scale, "packets_out": 90 * scale,
        "bytes_in": 6000 * scale, "bytes_out": 900_000 * scale,
        "rates": {
            "connections_per_second": 1.6, "packets_in_per_second": 16.0,
            "packets_out_per_second": 14.4, "bytes_in_per_second": 960.0,
            "bytes_out_per_second": 144_000.0
        }
    })
}

fn two_services() -> Value {
    json!({"services": [{
        "protocol": "tcp", "address": "192.0.2.100", "port": 80, "name": "web",
        "scheduler": "wrr", "stats": stats(2),
        "servers": [
            {"address": "10.0.0.1", "port": 8080, "name": "rs1", "method": "nat", "weight": 3,
             "active": 12, "inactive": 3456, "state": "up", "stats": stats(1)},
            {"address": "10.0.0.2", "port": 80, "method": "dr", "weight": 0,
             "active": 0, "inactive": 1, "state": "draining", "stats": stats(1)}
        ]
    }, {
        "protocol": "udp", "address": "2001:db8::100", "port": 53,
        "scheduler": "rr", "stats": stats(0),
        "servers": [
            {"address": "2001:db8:2::1", "port": 53, "method": "tun", "weight": 1,
             "active": 0, "inactive": 0, "state": "removed", "stats": stats(0)}
        ]
    }]})
}

#[test]
fn services_look_as_ipvsadm_shows_them() {
    assert_eq!(
        shown("weir services", &two_services()),
        "\
Prot LocalAddress:Port Scheduler Name
  -> RemoteAddress:Port  Forward  Weight  ActiveConn  InActConn  State     Name
TCP  192.0.2.100:80 wrr web
  -> 10.0.0.1:8080       Masq          3          12       3456  up        rs1
  -> 10.0.0.2:80         Route         0           0          1  draining
UDP  [2001:db8::100]:53 rr
  -> [2001:db8:2::1]:53  Tunnel        1           0          0  removed
"
    );
}

#[test]
fn a_fullnat_service_shows_its_local_ends_and_how_many_are_used() {
    let body = json!({"services": [{
        "protocol": "tcp", "address": "192.0.2.100", "port": 80, "scheduler": "rr",
        "local_addresses": ["10.0.0.200", "10.0.0.201"], "local_ports": "1024-65535",
        "stats": stats(1),
        "servers": [
            {"address": "10.0.0.1", "port": 80, "method": "fullnat", "weight": 1, "active": 12,
             "inactive": 3, "local_ports_used_ratio": 0.1234, "state": "up", "stats": stats(1)},
            {"address": "10.0.0.2", "port": 80, "method": "fullnat", "weight": 1, "active": 1,
             "inactive": 0, "local_ports_used_ratio": 0.01, "state": "up", "stats": stats(1)}
        ]
    }]});
    assert_eq!(
        shown("weir services", &body),
        "\
Prot LocalAddress:Port Scheduler Name
  -> RemoteAddress:Port  Forward  Weight  ActiveConn  InActConn  State  Name
TCP  192.0.2.100:80 rr
     local 10.0.0.200 10.0.0.201 ports 1024-65535, 12.3% used
  -> 10.0.0.1:80         FullNat       1          12          3  up
  -> 10.0.0.2:80         FullNat       1           1          0  up
"
    );
}

#[test]
fn services_show_totals() {
    assert_eq!(
        shown("weir services --stats", &two_services()),
        "\
Prot LocalAddress:Port   Conns  InPkts  OutPkts  InBytes  OutBytes
  -> RemoteAddress:Port
TCP  192.0.2.100:80         20     200      180    12000   1800000
  -> 10.0.0.1:8080          10     100       90     6000    900000
  -> 10.0.0.2:80            10     100       90     6000    900000
UDP  [2001:db8::100]:53      0       0        0        0         0
  -> [2001:db8:2::1]:53      0       0        0        0         0
"
    );
}

#[test]
fn services_show_rates() {
    assert_eq!(
        shown("weir services --rate", &two_services()),
        "\
Prot LocalAddress:Port   Conns/s  InPkts/s  OutPkts/s  InBytes/s  OutBytes/s
  -> RemoteAddress:Port
TCP  192.0.2.100:80            2        16         14        960      144000
  -> 10.0.0.1:8080             2        16         14        960      144000
  -> 10.0.0.2:80               2        16         14        960      144000
UDP  [2001:db8::100]:53        2        16         14        960      144000
  -> [2001:db8:2::1]:53        2        16         14        960      144000
"
    );
}

#[test]
fn status_fits_three_lines() {
    let body = json!({
        "version": "0.1.0", "dpdk_version": "22.11.9", "pid": 4711, "uptime_seconds": 273_906,
        "config_file": "/etc/weir/weir.toml", "epoch": 7
    });
    assert_eq!(
        shown("weir status", &body),
        "\
weird 0.1.0 on DPDK 22.11.9, process 4711
Up for         3 d 04:05:06
Configuration  /etc/weir/weir.toml, epoch 7
"
    );
}

#[test]
fn flows_show_minutes_beyond_the_hour_and_say_that_there_are_more() {
    let body = json!({"flows": [
        {"protocol": "tcp", "client": "198.51.100.7:40000", "virtual": "192.0.2.100:80",
         "server": "10.0.0.1:8080", "state": "ESTABLISHED", "expires_seconds": 899,
         "method": "nat", "worker": 0},
        {"protocol": "udp", "client": "[2001:db8:9::7]:5353", "virtual": "[2001:db8::100]:53",
         "server": "[2001:db8:2::1]:53", "state": "UDP", "expires_seconds": 7205,
         "method": "tun", "worker": 1},
        {"protocol": "tcp", "client": "198.51.100.7:40001", "virtual": "192.0.2.100:81",
         "local": "10.0.0.200:1024", "server": "10.0.0.1:8080", "state": "SYN_RECV",
         "expires_seconds": 59, "method": "fullnat", "worker": 1}
    ], "truncated": true});
    assert_eq!(shown("weir flows", &body), "\
Pro  Expire  State        Source                Virtual             Local            Destination         Forward  Worker
TCP   14:59  ESTABLISHED  198.51.100.7:40000    192.0.2.100:80      -                10.0.0.1:8080       Masq          0
UDP  120:05  UDP          [2001:db8:9::7]:5353  [2001:db8::100]:53  -                [2001:db8:2::1]:53  Tunnel        1
TCP   00:59  SYN_RECV     198.51.100.7:40001    192.0.2.100:81      10.0.0.200:1024  10.0.0.1:8080       FullNat       1
There may be more than these 3: raise --limit.
");
}

#[test]
fn templates_stand_among_the_flows_and_services_say_how_long_they_last() {
    let body = json!({"flows": [
        {"protocol": "tcp", "client": "198.51.100.7:0", "virtual": "0.0.0.10:0",
         "server": "10.0.0.1:0", "state": "ASSURED", "expires_seconds": 600,
         "method": "nat", "worker": 0, "template": {"flows": 2, "mark": 10}},
        {"protocol": "udp", "client": "198.51.100.7:0", "virtual": "192.0.2.100:5060",
         "server": "10.0.0.2:5060", "state": "NONE", "expires_seconds": 60, "method": "dr",
         "worker": 0, "template": {"flows": 1, "engine": "sip", "engine_data": "aaa@x\n"}},
    ], "truncated": false});
    assert_eq!(
        shown("weir flows", &body),
        "\
Pro  Expire  State    Source          Virtual           Local  Destination    Forward  Worker
IP    10:00  ASSURED  198.51.100.7:0  0.0.0.10:0        -      10.0.0.1:0     Masq          -
UDP   01:00  NONE     198.51.100.7:0  192.0.2.100:5060  -      10.0.0.2:5060  Route         -
       sip aaa@x\\n
"
    );
    let body = json!({"services": [{
        "mark": 10, "family": "ipv4", "scheduler": "rr", "persistence_timeout": 360,
        "persistence_mask": "255.255.255.0", "persistence_engine": "sip", "stats": stats(1),
        "servers": []
    }]});
    let shown = shown("weir services", &body);
    let wanted = "FWM  10 rr persistent 360 mask 255.255.255.0 pe sip\n";
    assert!(shown.contains(wanted), "{shown}");
}

#[test]
fn ports_show_link_and_losses() {
    let body = json!({"ports": [{
        "name": "wan", "device": "net_tap0,iface=dtap0", "driver": "net_tap",
        "mac": "02:00:00:00:00:01", "mtu": 1500, "twin": "weir-wan",
        "addresses": ["192.0.2.1/24", "192.0.2.100/32"],
        "link": {"up": true, "speed_mbps": 10_000}, "queues": 2, "steering": "software: no RSS",
        "rx_packets": 123_456, "rx_bytes": 9_876_543, "rx_missed": 0, "rx_errors": 1,
        "rx_no_buffer": 0, "tx_packets": 99, "tx_bytes": 8_000, "tx_errors": 0
    }, {
        "name": "lan", "device": "net_null0", "driver": "net_null",
        "mac": "02:00:00:00:00:02", "mtu": 9000, "twin": null, "addresses": [],
        "link": {"up": false, "speed_mbps": null}, "queues": 1, "steering": "one queue",
        "rx_packets": 0, "rx_bytes": 0, "rx_missed": 0, "rx_errors": 0,
        "rx_no_buffer": 0, "tx_packets": 0, "tx_bytes": 0, "tx_errors": 0
    }]});
    assert_eq!(shown("weir ports", &body), "\
Port  Driver    MAC                 MTU  Twin      Link           Queues  RxPkts  RxBytes  RxMissed  RxErrors  RxNoBuf  TxPkts  TxBytes  TxErrors
wan   net_tap   02:00:00:00:00:01  1500  weir-wan  up 10000 Mb/s       2  123456  9876543         0         1        0      99     8000         0
lan   net_null  02:00:00:00:00:02  9000  -         down                1       0        0         0         0        0       0        0         0

wan: net_tap0,iface=dtap0
  addresses  192.0.2.1/24 192.0.2.100/32
  steering   software: no RSS

lan: net_null0
  addresses  -
  steering   one queue
");
}

#[test]
fn neighbours_show_who_is_still_asked_for() {
    let body = json!({"neighbours": [
        {"address": "10.0.0.1", "mac": "02:00:00:00:00:0a", "port": "lan", "vlan": null,
         "state": "reachable", "origin": "linux"},
        {"address": "2001:db8:2::1", "mac": null, "port": "lan", "vlan": 100,
         "state": "incomplete", "origin": "linux"}
    ]});
    assert_eq!(
        shown("weir neighbours", &body),
        "\
Address        MAC                Port  VLAN  State       From
10.0.0.1       02:00:00:00:00:0a  lan      -  reachable   linux
2001:db8:2::1  -                  lan    100  incomplete  linux
"
    );
}

#[test]
fn routes_show_the_link_and_the_unreachable() {
    let route = |to: &str, via: Value, port: Value| {
        json!({"to": to, "via": via, "port": port, "vlan": null, "source": null,
               "origin": "config"})
    };
    let body = json!({"routes": [
        route("0.0.0.0/0", json!("192.0.2.254"), json!("wan")),
        route("10.0.0.0/24", Value::Null, json!("lan")),
        route("10.9.0.0/16", Value::Null, Value::Null)
    ]});
    assert_eq!(
        shown("weir routes", &body),
        "\
To           Via          Port  VLAN  Source  From
0.0.0.0/0    192.0.2.254  wan      -  -       config
10.0.0.0/24  on link      lan      -  -       config
10.9.0.0/16  unreachable  -        -  -       config
"
    );
}

#[test]
fn workers_show_how_full_and_how_busy_they_are() {
    let body = json!({"steering": "1 worker: it owns every flow", "imbalance_ratio": 1.0, "workers": [{
        "id": 0, "core": 1, "epoch": 7, "flows": 850_000, "flows_max": 1_000_000,
        "flows_created": 1_234_567, "flows_expired": 384_567, "packets_received": 98_765_900,
        "packets_taken_over": 12, "packets_forwarded": 98_765_432,
        "packets_punted": 321, "packets_from_linux": 300, "packets_handed_off": 0,
        "packets_dropped": 17, "turns": 1_000_000, "busy_ratio": 0.4321, "longest_turn_us": 412
    }]});
    assert_eq!(shown("weir workers", &body), "\
Worker  Core   Flows  Full%  Created  Expired  Received  Forwarded  ToLinux  FromLinux  HandedOff  TakenOver  Dropped  Busy%  LongestTurn(us)  Epoch
     0     1  850000   85.0  1234567   384567  98765900   98765432      321        300          0         12       17   43.2              412      7

1 worker: it owns every flow
");
}

#[test]
fn several_workers_show_whose_flows_are_whose_and_how_even_that_is() {
    let body = json!({"steering": "2 workers: by hand", "imbalance_ratio": 1.125, "workers": [
        worker_body(0), worker_body(1)
    ]});
    let shown = shown("weir workers", &body);
    let end = "\n2 workers: by hand\n\
               packets of the busiest worker in the last seconds: 1.12 times the mean\n";
    assert!(shown.ends_with(end), "{shown}");
}

fn worker_body(id: u16) -> serde_json::Value {
    json!({
        "id": id, "core": id, "epoch": 7, "flows": 0, "flows_max": 1000, "flows_created": 0,
        "flows_expired": 0, "packets_received": 0, "packets_taken_over": 0,
        "packets_forwarded": 0, "packets_punted": 0, "packets_from_linux": 0,
        "packets_handed_off": 0, "packets_dropped": 0, "turns": 1, "busy_ratio": 0.0,
        "longest_turn_us": 1
    })
}

#[test]
fn drops_show_the_most_frequent_first_and_hide_what_never_happened() {
    let body = json!({"drops": [
        {"reason": "truncated", "help": "Too short.", "packets": 0},
        {"reason": "no_flow", "help": "Belongs to no flow.", "packets": 3},
        {"reason": "martian", "help": "Cannot be on a wire.", "packets": 1200, "last": {
            "age_seconds": 2.4, "port": "wan", "summary": "127.0.0.1 > 192.0.2.100: tcp"}}
    ]});
    assert_eq!(
        shown("weir drops", &body),
        "\
Packets  Reason   Meaning
   1200  martian  Cannot be on a wire.
    2 s ago on wan: 127.0.0.1 > 192.0.2.100: tcp
      3  no_flow  Belongs to no flow.
"
    );
    assert!(shown("weir drops --all", &body).contains("truncated"));
    assert_eq!(
        shown("weir drops", &json!({"drops": []})),
        "Nothing was dropped.\n"
    );
}

#[test]
fn a_reload_says_what_changed() {
    let body = json!({"epoch": 8, "changes": ["tcp 192.0.2.100:80: server 10.0.0.3:80 added"]});
    assert_eq!(
        shown("weir reload", &body),
        "Reloaded, epoch 8:\n  tcp 192.0.2.100:80: server 10.0.0.3:80 added\n"
    );
    let body = json!({"epoch": 8, "changes": []});
    assert_eq!(
        shown("weir reload", &body),
        "Reloaded; nothing changed, epoch 8.\n"
    );
}

#[test]
fn the_command_line_is_consistent() {
    Args::command().debug_assert();
}

#[test]
fn wrong_usage_is_status_2() {
    for arguments in [
        "weir",
        "weir frobnicate",
        "weir services --stats --rate",
        "weir flows --state HAPPY",
        "weir flows --service 192.0.2.1",
        "weir flows --limit 0",
    ] {
        let error = Args::try_parse_from(arguments.split(' ')).expect_err(arguments);
        assert_eq!(error.exit_code(), 2, "{arguments}");
    }
}

/// A daemon that answers one request with `response` and tells what it was asked.
struct FakeDaemon {
    directory: tempfile::TempDir,
    thread: thread::JoinHandle<String>,
}

impl FakeDaemon {
    fn new(response: String) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(directory.path().join("s")).expect("a socket");
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = Vec::new();
            let mut chunk = [0; 1024];
            while !request.ends_with(b"\r\n\r\n") {
                let read = stream.read(&mut chunk).expect("a request");
                assert!(read > 0, "the client hung up");
                request.extend_from_slice(&chunk[..read]);
            }
            stream
                .write_all(response.as_bytes())
                .expect("the response is read");
            String::from_utf8(request).expect("text")
        });
        FakeDaemon { directory, thread }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    fn request(self) -> String {
        self.thread.join().expect("the daemon answered")
    }
}

fn http(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// What `weir` does with these arguments against the daemon at `socket`.
fn run_at(socket: PathBuf, arguments: &str) -> Result<String, String> {
    let mut args = Args::try_parse_from(arguments.split(' ')).expect("arguments");
    args.socket = socket;
    let outcome = run(&args, asked(&args)).map_err(|error| error.to_string())?;
    Ok(outcome.text)
}

#[test]
fn a_filter_reaches_the_daemon_and_json_is_passed_on_as_it_came() {
    let body = r#"{"flows":[],"truncated":false,"new":1}"#;
    let daemon = FakeDaemon::new(http("200 OK", body));
    let arguments = "weir --json flows --client 2001:db8::7 --service [2001:db8::1]:80 --state est";
    assert!(Args::try_parse_from(arguments.split(' ')).is_err());
    let arguments = "weir --json flows --client 2001:db8::7 --service [2001:db8::1]:80 --limit 5";
    let printed = run_at(daemon.socket(), arguments);
    assert_eq!(printed, Ok(format!("{body}\n")));
    let request = daemon.request();
    let wanted = "GET /v1/flows?client=2001:db8::7&service=%5B2001:db8::1%5D:80&limit=5 HTTP/1.1";
    assert_eq!(request.lines().next(), Some(wanted));
}

#[test]
fn a_refused_reload_shows_every_fault() {
    let faults = weir_model::parse("[eal]\npci = 1\nhuge = 2\n", "w.toml").expect_err("faults");
    let problem = weir_model::api::Problem::invalid_config(faults);
    let body = serde_json::to_string(&problem).expect("JSON");
    let daemon = FakeDaemon::new(http("422 Unprocessable Content", &body));
    let error = run_at(daemon.socket(), "weir reload").expect_err("refused");
    assert!(
        error.starts_with("The configuration has faults: Nothing was changed"),
        "{error}"
    );
    assert!(error.contains("\nw.toml:2:7: eal.pci:"), "{error}");
    assert!(daemon.request().starts_with("POST /v1/reload HTTP/1.1\r\n"));
}

#[test]
fn a_refusal_without_a_problem_document_is_told_by_its_status() {
    let daemon = FakeDaemon::new(http("404 Not Found", "nope"));
    assert_eq!(
        run_at(daemon.socket(), "weir status"),
        Err("Not Found".to_owned())
    );
}

#[test]
fn a_daemon_that_cannot_be_reached_is_told_with_socket_and_cure() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("s");
    let error = run_at(socket.clone(), "weir status").expect_err("no socket");
    assert!(error.contains("there is no socket"), "{error}");
    assert!(error.contains("is weird running"), "{error}");

    drop(UnixListener::bind(&socket).expect("a socket"));
    let error = run_at(socket, "weir status").expect_err("nobody listens");
    assert!(error.contains("nobody listens"), "{error}");
}

#[test]
fn a_daemon_of_another_kind_is_not_understood() {
    let daemon = FakeDaemon::new(http("200 OK", "{}"));
    let error = run_at(daemon.socket(), "weir status").expect_err("no status");
    assert!(error.contains("of one version"), "{error}");
}
