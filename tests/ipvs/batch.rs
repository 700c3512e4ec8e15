//! Whole tables that are put back while others look.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use weir_ipvs::client::Request;
use weir_ipvs::{ServerKey, ServiceKey};

use crate::Door;
use crate::clients::{client, server, service};

/// A table of these services, each with two servers of its own, that takes the place of all there is.
fn table(ports: std::ops::Range<u16>) -> Vec<Request> {
    let mut requests = vec![Request::flush()];
    for port in ports {
        let service = service(port);
        requests.push(Request::add_service(&service));
        for number in [port, port + 1000] {
            requests.push(Request::add_server(&service.key, &server(number)));
        }
    }
    requests
}

/// The text `ip_vs`, which tells of services and servers at one moment, with the services in one order: those of
/// both tables are the older ones from the second time on.
fn text(door: &Door) -> Vec<String> {
    let mut socket = UnixStream::connect(door.proc_socket()).expect("it listens");
    socket.write_all(b"ip_vs\n").expect("it reads");
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("it answers");
    let mut services: Vec<String> = Vec::new();
    for line in text.lines().skip(3) {
        match services.last_mut() {
            Some(service) if line.starts_with("  ->") => *service += line,
            _ => services.push(line.to_owned()),
        }
    }
    services.sort();
    services
}

#[test]
fn who_lists_while_a_table_is_put_back_sees_one_or_the_other() {
    let door = Door::open();
    let tables = [table(1..151), table(101..251)];
    let mut texts = BTreeSet::new();
    let mut lists = BTreeSet::new();
    let mut restoring = client(&door);
    for table in &tables {
        restoring.order_all(table).expect("it is done");
        texts.insert(text(&door));
        lists.insert(list(&door));
    }
    assert_eq!((texts.len(), lists.len()), (2, 2));
    let is_over = AtomicBool::new(false);
    let (seen_texts, seen_lists) = std::thread::scope(|scope| {
        let texts = scope.spawn(|| {
            let mut seen = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                seen.push(text(&door));
            }
            seen
        });
        let lists = scope.spawn(|| {
            let mut seen = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                seen.push(list(&door));
            }
            seen
        });
        for table in tables.iter().cycle().take(200) {
            restoring.order_all(table).expect("it is done");
        }
        is_over.store(true, Ordering::Relaxed);
        (texts.join().expect("told"), lists.join().expect("told"))
    });
    assert!(seen_texts.len() > 20 && seen_lists.len() > 20);
    let half = seen_texts.iter().find(|text| !texts.contains(*text));
    assert!(half.is_none(), "{half:?}");
    let half = seen_lists.iter().find(|list| !lists.contains(*list));
    assert!(half.is_none(), "{half:?}");
    let both: BTreeSet<_> = seen_lists.into_iter().collect();
    assert_eq!(both, lists, "it was looked while both were there");
}

/// Services and servers as `weir ipvsadm` asks for them.
fn list(door: &Door) -> Vec<(ServiceKey, Vec<ServerKey>)> {
    let services = client(door).table().expect("told").into_iter();
    let rows = services.map(|(service, _, servers)| {
        let servers = servers.into_iter().map(|(server, ..)| server.key);
        (service.key, servers.collect())
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort();
    rows
}
