use std::time::{Duration, Instant};

use weir_core::flow::Tuple;
use weir_core::io::PortId;
use weir_core::load::Connections;
use weir_core::persist::{
    End, Engine, Persistence, TemplateKey, addr_of_mark, mask_of_len, mask_of_v4,
};
use weir_core::service::{Protocol, ServerId, ServiceKey};
use weir_model::api::{FlowFilter, Flows, ServerState};
use weir_wire::{Addr, Family};

use crate::reload::Refused;
use crate::state::State;
use crate::testing::{SERVERS, config_file, fullnat_service, service, state, worker};

#[test]
fn the_first_publication_has_the_services() {
    let worker = worker(0);
    let state = state(&service("rr", &[(1, 1)]), vec![worker.clone()]);
    let snapshot = worker.adopt_newest().expect("one was published");
    assert_eq!(snapshot.epoch, 1);
    assert_eq!(snapshot.services.len(), 1);
    assert_eq!(state.status().epoch, 1);
}

#[test]
fn a_fullnat_service_is_published_with_its_local_ends_and_a_reload_changes_them() {
    let worker = worker(0);
    let mut state = state(&fullnat_service(80, 10), vec![worker.clone()]);
    let ports = || {
        let snapshot = worker.adopt_newest().expect("one was published");
        let (_, service) = snapshot.services.iter().next().expect("one");
        service.local.as_ref().expect("it has some").ports()
    };
    assert_eq!(ports(), 10);
    let wanted = config_file(&fullnat_service(80, 20));
    state.apply(wanted).expect("it is valid");
    assert_eq!(ports(), 20);
}

#[test]
fn a_reload_that_changes_nothing_publishes_nothing() {
    let text = service("rr", &[(1, 1)]);
    let mut state = state(&text, vec![worker(0)]);
    let reloaded = state.apply(config_file(&text)).expect("it is valid");
    assert_eq!((reloaded.epoch, reloaded.changes.count()), (1, 0));
}

#[test]
fn what_did_not_change_stays_shared() {
    let worker = worker(0);
    let mut state = state(&service("rr", &[(1, 1)]), vec![worker.clone()]);
    let first = worker.adopt_newest().expect("the first");
    let wanted = service("rr", &[(1, 1)]) + "[timeouts]\nudp = 7\n";
    state.apply(config_file(&wanted)).expect("it is valid");
    let second = worker.adopt_newest().expect("the second");
    assert!(std::sync::Arc::ptr_eq(&first.services, &second.services));
    assert_eq!(second.network_epoch, first.network_epoch);
    assert_eq!(second.settings.timeouts.udp, 700);
}

#[test]
fn what_needs_a_restart_is_refused_and_nothing_changes() {
    let mut state = state(&service("rr", &[(1, 1)]), vec![worker(0)]);
    let wanted = service("rr", &[(2, 1)]) + "[workers]\ncores = [0]\n";
    let refused = state.apply(config_file(&wanted));
    let Err(Refused::Faults(faults)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(faults.0[0].key, "workers.cores");
    assert_eq!(state.epoch(), 1);
    let servers = &state.services().services[0].servers;
    assert_eq!(servers[0].address.to_string(), "10.0.0.1");
}

#[test]
fn servers_without_room_are_refused_and_nothing_changes() {
    let all: Vec<(u8, u16)> = (1..=SERVERS as u8).map(|n| (n, 1)).collect();
    let mut state = state(&service("rr", &all), vec![worker(0)]);
    let other = config_file(&service("rr", &[(99, 1)]));
    let problem = state.apply(other).expect_err("no room").problem();
    assert_eq!(problem.status, 409);
    assert_eq!(state.services().services[0].servers.len(), SERVERS);
}

#[test]
fn a_removed_server_is_listed_until_its_last_flow_ends() {
    let worker = worker(0);
    let mut state = state(&service("rr", &[(1, 1), (2, 1)]), vec![worker.clone()]);
    worker.adopt_newest();
    let of_two = &worker.counters().servers[ServerId(1).0 as usize];
    let load = &worker.counters().loads[ServerId(1).0 as usize];
    load.add(Connections::ACTIVE);
    of_two.connections.add(4);
    state
        .apply(config_file(&service("rr", &[(1, 0)])))
        .expect("it is valid");
    worker.adopt_newest();
    state.keep_house(Instant::now());
    let view = state.services().services.remove(0);
    let states: Vec<_> = view.servers.iter().map(|server| server.state).collect();
    assert_eq!(states, [ServerState::Draining, ServerState::Removed]);
    assert_eq!((view.servers[1].active, view.stats.connections), (1, 4));

    load.sub(Connections::ACTIVE);
    let view = state.services().services.remove(0);
    assert_eq!((view.servers.len(), view.stats.connections), (1, 4));
    let now = Instant::now();
    (0..200).for_each(|second| state.keep_house(now + Duration::from_secs(second)));
    let snapshot = worker.adopt_newest().expect("the slot was given up");
    assert_eq!(snapshot.services.server(ServerId(1)), None);
}

#[test]
fn a_server_at_its_threshold_is_full_until_the_threshold_rises() {
    let worker = worker(0);
    let with = |upper: u32| {
        let limit = format!("method = \"nat\"\nupper_threshold = {upper}\n");
        service("lc", &[(1, 1), (2, 0)]).replace("method = \"nat\"\n", &limit)
    };
    let mut state = state(&with(1), vec![worker.clone()]);
    let states = |state: &State| {
        let servers = &state.services().services[0].servers;
        servers
            .iter()
            .map(|server| server.state)
            .collect::<Vec<_>>()
    };
    assert_eq!(states(&state), [ServerState::Up, ServerState::Draining]);
    let snapshot = worker.adopt_newest().expect("one was published");
    worker.counters().loads[0].add(Connections::ACTIVE);
    let server = snapshot.services.server(ServerId(0)).expect("its slot");
    snapshot.loads.bound(ServerId(0), server);
    assert_eq!(states(&state), [ServerState::Full, ServerState::Draining]);
    let same = state.apply(config_file(&with(1)));
    same.expect("it is valid");
    assert_eq!(states(&state)[0], ServerState::Full);
    let more = state.apply(config_file(&with(2)));
    more.expect("it is valid");
    assert_eq!(states(&state)[0], ServerState::Up);
}

#[test]
fn a_reload_of_a_bad_file_tells_every_fault_and_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("weir.toml");
    let name = path.to_str().expect("a plain path");
    let port = "[limits]\nservers = 8\n[[port]]\nname = \"wan\"\ndevice = \"net_null0\"\n\
         twin = false\naddresses = [\"192.0.2.1/24\"]\n\
         [control]\nstate_directory = false\n";
    let good = port.to_owned() + &service("rr", &[(1, 1)]);
    let mut state = state("", vec![worker(0)]);
    state.file = weir_model::parse(port, name).expect("valid");

    std::fs::write(&path, good.replace("weight = 1", "weight = -1\nwieght = 2")).expect("written");
    let Err(Refused::Faults(faults)) = state.reload() else {
        panic!("it has two faults");
    };
    assert_eq!(faults.0.len(), 2, "{faults}");
    assert!(state.services().services.is_empty());
    assert!(!state.last_reload.is_ok);

    std::fs::write(&path, good).expect("written");
    let reloaded = state.reload().expect("it is valid");
    assert_eq!(reloaded.changes.len(), 2, "{:?}", reloaded.changes);
    assert!(state.last_reload.is_ok);

    std::fs::remove_file(&path).expect("removed");
    let Err(Refused::Unreadable { .. }) = state.reload() else {
        panic!("there is no file");
    };
}

/// A service of a mark, with these lines besides.
fn by_mark(lines: &str) -> String {
    format!(
        "[[mark]]\nmark = 7\nprotocol = \"tcp\"\ndestination = \"192.0.2.0/24\"\n\
         destination_ports = \"80-81\"\ninterface = \"wan\"\n\
         [[service]]\nmark = 7\nscheduler = \"rr\"\n{lines}\
         [[service.server]]\naddress = \"10.0.0.1\"\nmethod = \"nat\"\n"
    )
}

fn to_port(dst_port: u16) -> Tuple {
    Tuple {
        src: Addr::from_v4_bytes([198, 51, 100, 7]),
        dst: Addr::from_v4_bytes([192, 0, 2, 100]),
        src_port: 4000,
        dst_port,
        protocol: Protocol::Tcp,
    }
}

#[test]
fn rules_for_marks_are_published_and_a_reload_changes_them() {
    let worker = worker(0);
    let mut state = state(&by_mark(""), vec![worker.clone()]);
    let marks = || {
        let snapshot = worker.adopt_newest().expect("one was published");
        let at = |port, dst_port| {
            snapshot
                .marks
                .mark_of(&to_port(dst_port), true, Some(PortId(port)))
        };
        let key = ServiceKey::of_mark(7, Family::V4);
        assert!(snapshot.services.find(key).is_some());
        [at(0, 80), at(0, 81), at(0, 82), at(1, 80)]
    };
    assert_eq!(marks(), [7, 7, 0, 0]);
    let wanted = by_mark("")
        .replace("80-81", "82")
        .replace("mark = 7\nprotocol", "mark = 9\nprotocol");
    state.apply(config_file(&wanted)).expect("it is valid");
    assert_eq!(marks(), [0, 0, 9, 0]);
}

#[test]
fn what_a_service_says_of_its_clients_reaches_the_workers_and_a_reload_changes_it() {
    let worker = worker(0);
    let persistence = || {
        let snapshot = worker.adopt_newest().expect("one was published");
        let (_, service) = snapshot.services.iter().next().expect("one");
        service.persistence
    };
    let lines = "persistence_timeout = 360\npersistence_mask = \"255.255.0.0\"\n\
                 persistence_engine = \"sip\"\n";
    let mut state = state(&by_mark(lines), vec![worker.clone()]);
    let wanted = Persistence {
        lifetime: 36_000,
        mask: mask_of_v4(0xffff_0000),
        engine: Some(Engine::Sip),
    };
    assert_eq!(persistence(), Some(wanted));
    let six = by_mark("family = \"ipv6\"\npersistence_timeout = 1\npersistence_mask = \"64\"\n")
        .replace("10.0.0.1", "2001:db8::1")
        .replace("destination = \"192.0.2.0/24\"\n", "");
    state.apply(config_file(&six)).expect("it is valid");
    let wanted = Persistence {
        lifetime: 100,
        mask: mask_of_len(Family::V6, 64),
        engine: None,
    };
    assert_eq!(persistence(), Some(wanted));
    state.apply(config_file(&by_mark(""))).expect("it is valid");
    assert_eq!(persistence(), None);
}

#[test]
fn templates_are_listed_and_hold_the_place_of_their_server() {
    let worker = worker(0);
    let lines = "persistence_timeout = 600\n";
    let mut state = state(&by_mark(lines), vec![worker.clone()]);
    let key = TemplateKey {
        client: to_port(80).src,
        virt: addr_of_mark(7, Family::V4),
        port: 0,
        protocol: 0,
        name: None,
    };
    let (templates, now) = (std::sync::Arc::clone(state.templates()), worker.now());
    let made = templates.create(now, &key, 60_000, (ServerId(0), 0), |_| true);
    let made = made.expect("there is room");
    templates.assure(made.id);
    assert_eq!(state.services().services[0].servers[0].persistent, 1);

    let list = |filter: &str| {
        let filter = match filter {
            "" => FlowFilter::default(),
            state => FlowFilter {
                state: Some(state.parse().expect("a state")),
                ..FlowFilter::default()
            },
        };
        let mut flows = Flows::default();
        let services = state.compiler.services();
        crate::templates::list(&templates, &services, now, &filter, 10, &mut flows);
        flows.flows
    };
    let flow = list("").pop().expect("it is listed");
    assert_eq!(list("assured"), std::slice::from_ref(&flow));
    assert_eq!(list("none"), []);
    let ends = [flow.client, flow.vip, flow.server].map(|end| end.to_string());
    assert_eq!(ends, ["198.51.100.7:0", "0.0.0.7:0", "10.0.0.1:0"]);
    assert_eq!(flow.expires_seconds, 600);
    let template = flow.template.expect("it is one");
    assert_eq!((template.mark, template.flows), (Some(7), 1));

    // Its server goes, and keeps its slot as long as the template is there.
    state.apply(config_file("")).expect("it is valid");
    worker.adopt_newest();
    for _ in 0..3 {
        state.keep_house(Instant::now());
        worker.adopt_newest();
    }
    assert!(state.compiler.slots().get(ServerId(0)).is_some());
    templates.release(now, made.id, End::InTime);
    let later = now.after(60_000);
    (0..templates.buckets()).for_each(|at| templates.sweep(later, at, |_, _| false));
    let now = Instant::now();
    for second in 0..200 {
        state.keep_house(now + Duration::from_secs(second));
        worker.adopt_newest();
    }
    assert!(state.compiler.slots().get(ServerId(0)).is_none());
}
