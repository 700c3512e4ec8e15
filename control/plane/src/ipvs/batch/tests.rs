use std::collections::VecDeque;
use std::io;

use weir_ipvs::batch::{Gathered, Gathering};
use weir_ipvs::client::{Channel, Client, Failure, Request};
use weir_ipvs::types::{TCP, method};
use weir_ipvs::{DaemonState, Errno, Netmask, ServerKey, Service, ServiceKey, Tunnel};
use weir_worker::Handle;

use super::{IpvsTable, answer};
use crate::state::State;
use crate::testing::{fullnat_service, service as by_file, state, worker};

/// The door without its socket.
struct Direct<'s> {
    state: &'s mut State,
    gathering: Gathering,
    replies: VecDeque<Vec<u8>>,
}

impl Channel for Direct<'_> {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let replies = match self.gathering.take(datagram) {
            Gathered::Part => return Ok(()),
            Gathered::Whole(batch) => answer(self.state, &batch),
            Gathered::Else => weir_ipvs::answer(datagram, &mut IpvsTable(self.state)),
        };
        self.replies.extend(replies);
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        let reply = self.replies.pop_front();
        reply.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

fn client(state: &mut State) -> Client<Direct<'_>> {
    Client::new(Direct {
        state,
        gathering: Gathering::default(),
        replies: VecDeque::new(),
    })
}

fn service(port: u16) -> Service {
    let key = ServiceKey::Address {
        protocol: TCP,
        address: [192, 0, 2, 100].into(),
        port,
    };
    Service {
        key,
        scheduler: "rr".to_owned(),
        flags: 0,
        timeout: 0,
        netmask: Netmask::whole(key.family()),
        engine: None,
    }
}

fn server(number: u8) -> weir_ipvs::Server {
    weir_ipvs::Server {
        key: ServerKey {
            address: [10, 0, 0, number].into(),
            port: 80,
        },
        method: method::MASQ,
        weight: 1,
        upper_threshold: 0,
        lower_threshold: 0,
        tunnel: Tunnel::default(),
    }
}

/// What puts back the whole table, after clearing it.
fn saved(state: &mut State) -> Vec<Request> {
    let mut client = client(state);
    let mut requests = vec![Request::flush()];
    for (service, _) in client.services().expect("told") {
        requests.push(Request::add_service(&service));
        let servers = client.servers(&service.key).expect("told");
        let oldest_first = servers.iter().rev();
        let add = oldest_first.map(|(server, ..)| Request::add_server(&service.key, server));
        requests.extend(add);
    }
    requests
}

fn adopt(worker: &Handle) -> bool {
    worker.adopt_newest().is_some()
}

#[test]
fn a_batch_is_one_snapshot() {
    let worker = worker(0);
    let mut state = state(&by_file("rr", &[(1, 1), (2, 1)]), vec![worker.clone()]);
    adopt(&worker);
    let epoch = state.epoch();
    let requests = [
        Request::flush(),
        Request::add_service(&service(81)),
        Request::add_server(&service(81).key, &server(3)),
        Request::add_service(&service(82)),
        Request::add_server(&service(82).key, &server(3)),
        Request::set_timeouts(weir_ipvs::Timeouts {
            tcp: 100,
            tcp_fin: 0,
            udp: 30,
        }),
    ];
    client(&mut state).order_all(&requests).expect("it is done");
    assert_eq!(state.epoch(), epoch + 1);
    let services: Vec<_> = state.config().services.iter().map(|s| s.key).collect();
    let ports: Vec<_> = services.iter().map(ToString::to_string).collect();
    assert_eq!(ports, ["tcp 192.0.2.100:81", "tcp 192.0.2.100:82"]);
    let timeouts = &state.config().timeouts;
    assert_eq!(
        (timeouts.tcp, timeouts.tcp_fin, timeouts.udp),
        (100, 120, 30)
    );
}

#[test]
fn a_table_put_back_over_itself_changes_nothing_and_keeps_what_ipvs_cannot_say() {
    let worker = worker(0);
    let services = by_file("wrr", &[(1, 3), (2, 1)]) + &fullnat_service(443, 100);
    let mut state = state(&services, vec![worker.clone()]);
    adopt(&worker);
    let (before, epoch) = (state.config().clone(), state.epoch());
    let requests = saved(&mut state);
    assert_eq!(requests.len(), 1 + 2 + 3);
    client(&mut state).order_all(&requests).expect("it is done");
    assert_eq!(state.config().services, before.services);
    assert_eq!(state.epoch(), epoch);
    assert!(!adopt(&worker), "nothing was published");
    // So do those that stay when another leaves.
    let others = [&requests[..1], &requests[4..]].concat();
    client(&mut state).order_all(&others).expect("it is done");
    assert_eq!(state.config().services, before.services[1..]);
}

#[test]
fn the_first_change_that_is_in_the_way_is_told_and_nothing_is_done() {
    let mut state = state(&by_file("rr", &[(1, 1)]), vec![worker(0)]);
    let (before, epoch) = (state.config().clone(), state.epoch());
    let key = service(80).key;
    // There is room for 8 servers: the last that fits is at 8 of the batch, and what follows it would
    // not help.
    let mut requests = vec![Request::edit_service(&service(80))];
    requests.extend((2..=9).map(|number| Request::add_server(&key, &server(number))));
    requests.push(Request::zero(None));
    let refused = client(&mut state).order_all(&requests);
    assert!(
        matches!(refused, Err((8, Failure::Refused(Errno::Enomem)))),
        "{refused:?}"
    );
    // One less, and it is the wrong scheduler that is found first, though it comes after.
    requests.truncate(8);
    let mut bogus = service(81);
    bogus.scheduler = "bogus".to_owned();
    requests.push(Request::add_service(&bogus));
    let refused = client(&mut state).order_all(&requests);
    assert!(
        matches!(refused, Err((8, Failure::Refused(Errno::Enoent)))),
        "{refused:?}"
    );
    requests.pop();
    requests.push(Request::remove_server(&key, &server(77).key));
    let refused = client(&mut state).order_all(&requests);
    assert!(
        matches!(refused, Err((8, Failure::Refused(Errno::Enoent)))),
        "{refused:?}"
    );
    assert_eq!(state.config().services, before.services);
    assert_eq!(state.epoch(), epoch);
    requests.pop();
    client(&mut state).order_all(&requests).expect("it is done");
    assert_eq!(state.config().services[0].servers.len(), 8);
}

#[test]
fn each_change_sees_those_before_it() {
    let mut state = state(&by_file("rr", &[(1, 1)]), vec![worker(0)]);
    let key = service(80).key;
    let mut heavy = server(2);
    heavy.weight = 9;
    let requests = [
        Request::add_server(&key, &server(2)),
        Request::edit_server(&key, &heavy),
        Request::remove_server(&key, &server(1).key),
        Request::remove_service(&key),
        Request::add_service(&service(80)),
        Request::add_server(&key, &heavy),
        Request::remove_server(&key, &heavy.key),
        Request::add_server(&key, &server(3)),
    ];
    client(&mut state).order_all(&requests).expect("it is done");
    let held = &state.config().services[0];
    let servers: Vec<_> = held.servers.iter().map(|s| s.key().to_string()).collect();
    assert_eq!(servers, ["10.0.0.3:80"]);
    assert_eq!(held.name.as_deref(), Some("web"), "it came back");
    for requests in [
        [Request::flush(), Request::remove_service(&key)],
        [Request::flush(), Request::add_server(&key, &server(1))],
    ] {
        let refused = client(&mut state).order_all(&requests);
        assert!(
            matches!(refused, Err((1, Failure::Refused(Errno::Esrch)))),
            "{refused:?}"
        );
    }
}

#[test]
fn daemons_and_counters_are_changed_with_the_rest_or_not_at_all() {
    let mut state = state(&by_file("rr", &[(1, 1)]), vec![worker(0)]);
    let daemon = |state| weir_ipvs::Daemon {
        state,
        interface: "lo".to_owned(),
        sync_id: 7,
        max_length: 0,
        group: None,
        port: 0,
        ttl: 0,
    };
    let key = service(80).key;
    let start = Request::start_daemon(&daemon(DaemonState::Master));
    let requests = [
        start.clone(),
        Request::zero(Some(&key)),
        Request::remove_server(&key, &server(9).key),
    ];
    let refused = client(&mut state).order_all(&requests);
    assert!(
        matches!(refused, Err((2, Failure::Refused(Errno::Enoent)))),
        "{refused:?}"
    );
    assert!(client(&mut state).daemons().expect("told").is_empty());
    let requests = [
        start.clone(),
        Request::start_daemon(&daemon(DaemonState::Backup)),
        Request::stop_daemon(DaemonState::Master),
        start,
        Request::stop_daemon(DaemonState::Backup),
        Request::zero(None),
    ];
    client(&mut state).order_all(&requests).expect("it is done");
    let daemons = client(&mut state).daemons().expect("told");
    let states: Vec<_> = daemons.iter().map(|daemon| daemon.state).collect();
    assert_eq!(states, [DaemonState::Master]);
}
