//! A configuration is taken whole or refused whole, however big it is.

use std::fmt::Write as _;

use weir_control::reload::Refused;
use weir_control::state::{State, Ways};
use weir_control::testing::parts;
use weir_core::io::WorkerId;
use weir_model::{Operation, Rules, Server, Service, ServiceKey, parse};
use weir_worker::Handle;

/// `limits.services` allows no more.
const MOST: u32 = 65_535;

/// A file with so many services of one server each, and room for as many as there may be.
fn text(services: u32) -> String {
    let mut text = format!(
        "[limits]\nservices = {MOST}\nservers = 131072\n\
         [control]\nstate_directory = false\n\
         [[port]]\nname = \"wan\"\ndevice = \"net_null0\"\ntwin = false\n\
         addresses = [\"192.0.2.1/24\"]\n"
    );
    for number in 0..services {
        let (high, low) = (number >> 8 & 255, number & 255);
        let port = 80 + (number >> 16);
        write!(
            text,
            "[[service]]\nprotocol = \"tcp\"\naddress = \"198.18.{high}.{low}\"\nport = {port}\n\
             [[service.server]]\naddress = \"10.0.{high}.{low}\"\nmethod = \"nat\"\n"
        )
        .expect("it is memory");
    }
    text
}

/// A director of a file of that name with one service, and its worker.
fn director(file: &str) -> (State, Handle) {
    let worker = Handle::detached(WorkerId(0), 1, 131_072);
    let text = text(1);
    std::fs::write(file, &text).expect("the directory is ours");
    let parsed = parse(&text, file).unwrap_or_else(|faults| panic!("{faults}"));
    let state = State::start(parts(parsed, vec![worker.clone()]), Ways::default());
    let state = state.expect("there is room");
    worker.adopt_newest().expect("it was published");
    (state, worker)
}

#[test]
fn a_hundred_thousand_services_are_refused_and_what_was_holds() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("weir.toml");
    let file = path.to_str().expect("a plain path");
    let (mut state, worker) = director(file);
    std::fs::write(file, text(100_000)).expect("the directory is ours");
    let Err(Refused::Faults(faults)) = state.reload() else {
        panic!("there are too many");
    };
    let told = faults.to_string();
    assert!(told.contains("100000"), "{told}");
    assert_eq!((state.epoch(), state.services().services.len()), (1, 1));
    assert!(worker.adopt_newest().is_none(), "nothing was published");
}

#[test]
fn as_many_as_there_may_be_are_served_by_one_publication() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("weir.toml");
    let file = path.to_str().expect("a plain path");
    let (mut state, worker) = director(file);
    std::fs::write(file, text(MOST)).expect("the directory is ours");
    let reloaded = state.reload().unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(reloaded.epoch, 2);
    let snapshot = worker.adopt_newest().expect("it was published");
    assert_eq!(snapshot.services.len(), MOST as usize);
    assert_eq!(snapshot.services.server_count(), MOST as usize);
}

/// The same at run time: all operations of a batch, or none when the last of them cannot be done.
#[test]
fn as_many_operations_are_done_at_once_or_not_at_all() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("weir.toml");
    let (mut state, worker) = director(path.to_str().expect("a plain path"));
    let file = parse(&text(MOST), "test.toml").unwrap_or_else(|faults| panic!("{faults}"));
    let add = |service: &Service| -> [Operation; 2] {
        let (key, server): (ServiceKey, Server) = (service.key, service.servers[0].clone());
        let mut alone = service.clone();
        alone.servers.clear();
        [
            Operation::AddService(alone),
            Operation::AddServer(key, server),
        ]
    };
    let services = &file.config.services[1..];
    let mut operations: Vec<Operation> = services.iter().flat_map(add).collect();
    operations.push(Operation::AddService(services[0].clone()));
    state
        .change(&operations, Rules::File)
        .expect_err("the last is there already");
    assert_eq!((state.epoch(), state.services().services.len()), (1, 1));
    operations.pop();
    let applied = state.change(&operations, Rules::File);
    let applied = applied.unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(applied.epoch, 2);
    let snapshot = worker.adopt_newest().expect("it was published");
    assert_eq!(snapshot.services.len(), MOST as usize);
}
