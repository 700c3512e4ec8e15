use std::path::Path;

use weir_core::load::Connections;
use weir_core::service::ServerId;
use weir_ipvs::{Changes as _, DaemonState};
use weir_model::api::ServerState;
use weir_model::{ChangeFault, Operation, Rules, Server, Service, ServiceKey};

use super::ChangeRefused;
use crate::ipvs::table::IpvsTable;
use crate::state::State;
use crate::testing::{config_file, service, state, state_of, worker};

fn web() -> ServiceKey {
    let file = config_file(&service("rr", &[(1, 1)]));
    file.config.services[0].key
}

fn server(number: u8) -> Server {
    let mut file = config_file(&service("rr", &[(number, 1)]));
    file.config.services.remove(0).servers.remove(0)
}

fn add(number: u8) -> Operation {
    Operation::AddServer(web(), server(number))
}

fn servers(state: &State) -> Vec<String> {
    let service = state.service(&web());
    let servers = service.iter().flat_map(|service| &service.servers);
    servers.map(|server| server.key().to_string()).collect()
}

#[test]
fn a_change_is_published_and_one_that_changes_nothing_is_not() {
    let worker = worker(0);
    let mut state = state(&service("rr", &[(1, 1)]), vec![worker.clone()]);
    let applied = state.change(&[add(2)], Rules::File).expect("it is valid");
    assert_eq!((applied.epoch, applied.changes.count()), (2, 1));
    let snapshot = worker.adopt_newest().expect("it was published");
    assert!(snapshot.services.server(ServerId(1)).is_some());
    let again = [Operation::EditServer(web(), server(2))];
    let applied = state.change(&again, Rules::File).expect("it is valid");
    assert_eq!((applied.epoch, applied.changes.count()), (2, 0));
}

/// As recorded of a kernel, whose `wrr` begins its list again at every edit.
#[test]
fn an_edit_to_what_a_server_was_restarts_the_walk_of_wrr() {
    let worker = worker(0);
    let weights = [(1, 3), (2, 2), (3, 1)];
    let mut state = state(&service("wrr", &weights), vec![worker.clone()]);
    let picks = |state: &mut State, count: usize| {
        drop(worker.adopt_newest());
        let services = &state.publisher.newest().services;
        let service = services.iter().next().expect("there is one").1;
        let number = |_| {
            let id = weir_core::testing::pick(service, services).expect("one is usable");
            services.server(id).expect("its slot").addr.0 as u8
        };
        (0..count).map(number).collect::<Vec<u8>>()
    };
    assert_eq!(picks(&mut state, 4), [3, 2, 1, 1]);
    let mut same = server(2);
    same.weight = 2;
    let edit = [Operation::EditServer(web(), same)];
    let applied = state.change(&edit, Rules::Ipvs).expect("it is valid");
    assert_eq!(applied.changes.count(), 0);
    assert_eq!(picks(&mut state, 6), [1, 2, 1, 3, 2, 1]);
}

#[test]
fn all_of_a_change_is_done_or_nothing() {
    let mut state = state(&service("rr", &[(1, 1)]), vec![worker(0)]);
    let operations = [add(2), add(1)];
    let refused = state.change(&operations, Rules::File);
    assert!(matches!(
        refused,
        Err(ChangeRefused::Fault(ChangeFault::ServerExists(..)))
    ));
    assert_eq!((servers(&state).len(), state.epoch()), (1, 1));
    let preview = state.preview(&[add(2)], Rules::File);
    let preview = preview.expect("it is valid").changes;
    assert_eq!(preview.count(), 1);
    assert_eq!((servers(&state).len(), state.epoch()), (1, 1));
}

#[test]
fn a_server_removed_and_added_again_at_run_time_keeps_its_slot() {
    let worker = worker(0);
    let mut state = state(&service("rr", &[(1, 1), (2, 1)]), vec![worker.clone()]);
    (0..3).for_each(|_| worker.counters().loads[1].add(Connections::ACTIVE));
    let key = server(2).key();
    let removed = state.change(&[Operation::RemoveServer(web(), key)], Rules::Ipvs);
    removed.expect("it is there");
    let view = state.services().services.remove(0);
    assert_eq!(view.servers[1].state, ServerState::Removed);
    state
        .change(&[add(2)], Rules::Ipvs)
        .expect("it is not there");
    let view = state.services().services.remove(0);
    assert_eq!((view.servers.len(), view.servers[1].active), (2, 3));
}

#[test]
fn services_come_and_go() {
    let mut state = state(&service("rr", &[(1, 1)]), vec![worker(0)]);
    let ServiceKey::Address {
        protocol, address, ..
    } = web()
    else {
        panic!("it goes by address");
    };
    let key = ServiceKey::Address {
        protocol,
        address,
        port: 81,
    };
    let new = Operation::AddService(Service::new(key));
    state.change(&[new], Rules::File).expect("it is valid");
    assert!(state.service(&key).is_some());
    state
        .change(&[Operation::RemoveServices], Rules::File)
        .expect("it is valid");
    assert!(state.services().services.is_empty());
}

#[test]
fn a_service_for_every_port_begins_nothing_until_it_is_persistent() {
    let worker = worker(0);
    let mut state = state("", vec![worker.clone()]);
    let ServiceKey::Address {
        protocol, address, ..
    } = web()
    else {
        panic!("it goes by address");
    };
    let key = ServiceKey::Address {
        protocol,
        address,
        port: 0,
    };
    let scheduler = || {
        let snapshot = worker.adopt_newest().expect("it was published");
        let (_, service) = snapshot.services.iter().next().expect("one");
        format!("{:?}", service.scheduler)
    };
    let mut service = Service::new(key);
    let add = [
        Operation::AddService(service.clone()),
        Operation::AddServer(key, server(1)),
    ];
    state
        .change(&add, Rules::Ipvs)
        .expect("the kernel takes it");
    assert_eq!(scheduler(), "None");
    service.persistence_timeout = Some(60);
    let edit = [Operation::EditService(service)];
    state.change(&edit, Rules::Ipvs).expect("valid");
    assert_ne!(scheduler(), "None");
}

fn at(directory: &Path, services: &str) -> State {
    let control = format!("[control]\nstate_directory = \"{}\"\n", directory.display());
    state_of(config_file(&(control + services)), vec![worker(0)])
}

#[test]
fn what_was_changed_is_there_after_the_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().join("not/there/yet");
    let file = service("rr", &[(1, 1)]);
    let mut first = at(&place, &file);
    assert!(!place.exists(), "nothing was changed");
    for number in [2, 3] {
        first.change(&[add(number)], Rules::Ipvs).expect("valid");
    }
    // Nobody closes anything.
    std::mem::forget(first);
    let mut second = at(&place, &file);
    assert_eq!(
        servers(&second),
        ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]
    );
    let remove = |number| Operation::RemoveServer(web(), server(number).key());
    second.change(&[remove(1)], Rules::Ipvs).expect("valid");
    drop(second);
    let mut third = at(&place, &file);
    assert_eq!(servers(&third), ["10.0.0.2:80", "10.0.0.3:80"]);
    // As the file says it again: nothing is to be kept.
    let back = [remove(2), remove(3), add(1)];
    third.change(&back, Rules::Ipvs).expect("valid");
    drop(third);
    assert_eq!(servers(&at(&place, &file)), ["10.0.0.1:80"]);
    assert_eq!(std::fs::read_dir(&place).expect("it is there").count(), 0);
}

#[test]
fn synchronisation_daemons_and_what_follows_them_are_there_after_the_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = |state, interface: &str| weir_ipvs::Daemon {
        state,
        interface: interface.to_owned(),
        sync_id: 7,
        max_length: 1400,
        group: Some("ff02::81".parse().expect("an address")),
        port: 8848,
        ttl: 1,
    };
    let master = daemon(DaemonState::Master, "wan");
    let backup = daemon(DaemonState::Backup, "lan");
    let file = service("rr", &[(1, 1)]);
    let mut first = at(dir.path(), &file);
    let mut table = IpvsTable(&mut first);
    table.start_daemon(backup.clone()).expect("it is noted");
    table.start_daemon(master.clone()).expect("it is noted");
    first.change(&[add(2)], Rules::Ipvs).expect("valid");
    drop(first);
    let mut second = at(dir.path(), &file);
    assert_eq!(servers(&second).len(), 2);
    let mut table = IpvsTable(&mut second);
    assert_eq!(table.daemons(), [master.clone(), backup]);
    table.stop_daemon(DaemonState::Backup).expect("it is noted");
    // A reload has what is kept written anew.
    let control = format!("[control]\nstate_directory = {:?}\n", dir.path());
    let other = config_file(&(control + &service("rr", &[(1, 1), (3, 1)])));
    second.apply(other).expect("it is valid");
    drop(second);
    let mut third = at(dir.path(), &service("rr", &[(1, 1), (3, 1)]));
    assert_eq!(servers(&third).len(), 3);
    assert_eq!(IpvsTable(&mut third).daemons(), [master]);
    let mut table = IpvsTable(&mut third);
    table.stop_daemon(DaemonState::Master).expect("it is noted");
    let remove = Operation::RemoveServer(web(), server(2).key());
    third.change(&[remove], Rules::Ipvs).expect("valid");
    drop(third);
    // Nothing holds that the file does not say.
    at(dir.path(), &service("rr", &[(1, 1), (3, 1)]));
    assert_eq!(
        std::fs::read_dir(dir.path()).expect("it is there").count(),
        0
    );
}

#[test]
fn a_change_of_the_file_is_applied_over_what_was_changed() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut first = at(dir.path(), &service("rr", &[(1, 1), (2, 1)]));
    let mut heavy = server(1);
    heavy.weight = 9;
    let mut light = server(2);
    light.weight = 0;
    let changes = [
        Operation::EditServer(web(), heavy),
        Operation::EditServer(web(), light),
        add(3),
    ];
    first.change(&changes, Rules::Ipvs).expect("valid");
    drop(first);
    let weights = |state: &State| -> Vec<_> {
        let service = state.service(&web()).expect("it is there");
        service.servers.iter().map(|server| server.weight).collect()
    };
    let second = at(dir.path(), &service("rr", &[(1, 1), (2, 5), (4, 1)]));
    assert_eq!(weights(&second), [9, 5, 1, 1]);
    // And by a reload.
    let mut second = second;
    let control = format!(
        "[control]\nstate_directory = \"{}\"\n",
        dir.path().display()
    );
    let file = config_file(&(control + &service("rr", &[(1, 2), (2, 5), (4, 1)])));
    second.apply(file).expect("it is valid");
    assert_eq!(weights(&second), [2, 5, 1, 1]);
    let same = second.wanted.config().clone();
    drop(second);
    let third = at(dir.path(), &service("rr", &[(1, 2), (2, 5), (4, 1)]));
    assert_eq!(third.config(), &same);
}

#[test]
fn a_torn_line_is_left_out_and_a_broken_file_is_set_aside() {
    use std::io::Write as _;
    let dir = tempfile::tempdir().expect("a directory");
    let file = service("rr", &[(1, 1)]);
    let mut first = at(dir.path(), &file);
    first.change(&[add(2)], Rules::Ipvs).expect("valid");
    first.change(&[add(3)], Rules::Ipvs).expect("valid");
    drop(first);
    let journal = dir.path().join("run-time.1.journal");
    let mut journal = std::fs::OpenOptions::new()
        .append(true)
        .open(journal)
        .expect("there");
    journal.write_all(b"[{\"remove_serv").expect("written");
    assert_eq!(servers(&at(dir.path(), &file)).len(), 3);
    std::fs::write(dir.path().join("run-time.json"), "{").expect("written");
    assert_eq!(servers(&at(dir.path(), &file)).len(), 1);
    assert!(dir.path().join("run-time.json.bad").exists());
}

#[test]
fn without_a_directory_changes_last_until_the_end_but_through_reloads() {
    let text = service("rr", &[(1, 1)]);
    let mut state = state_of(config_file(&text), vec![worker(0)]);
    state.change(&[add(2)], Rules::Ipvs).expect("valid");
    let wider = text.clone() + "[timeouts]\nudp = 7\n";
    state.apply(config_file(&wider)).expect("it is valid");
    assert_eq!(servers(&state).len(), 2);
    assert_eq!(state.config().timeouts.udp, 7);
}
