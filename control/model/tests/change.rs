//! Changes at run time: what they would make of a configuration.

use weir_model::{
    ChangeFault, Config, Method, Operation, Rules, Server, Service, ServiceKey, Timeouts, Wanted,
    parse,
};

fn config() -> Config {
    let text = "[limits]\nservices = 2\nservers = 3\n\
        [[port]]\nname = \"wan\"\ndevice = \"net_null0\"\ntwin = false\n\
        [[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.100\"\nport = 80\nname = \"web\"\n\
        [[service.server]]\naddress = \"10.0.0.1\"\nmethod = \"nat\"\n";
    parse(text, "w.toml").expect("it is valid").config
}

fn plan(operations: &[Operation], rules: Rules) -> Result<weir_model::Planned, ChangeFault> {
    Wanted::new(config()).plan(operations, rules)
}

fn key(port: u16) -> ServiceKey {
    let key = config().services[0].key;
    let ServiceKey::Address {
        protocol, address, ..
    } = key
    else {
        panic!("it goes by address");
    };
    ServiceKey::Address {
        protocol,
        address,
        port,
    }
}

fn server(number: u8) -> Server {
    Server {
        address: [10, 0, 0, number].into(),
        ..config().services[0].servers[0].clone()
    }
}

fn words(operations: &[Operation]) -> String {
    plan(operations, Rules::File)
        .expect_err("it has a fault")
        .to_string()
}

#[test]
fn operations_build_on_each_other() {
    let operations = [
        Operation::AddService(Service::new(key(81))),
        Operation::AddServer(key(81), server(7)),
        Operation::RemoveServer(key(80), server(1).key()),
        Operation::AddServer(key(80), server(2)),
    ];
    // The servers of port 81 keep their own port 80: NAT maps it.
    let planned = plan(&operations, Rules::File).expect("all can be done");
    let [(_, Some(new)), (_, Some(old))] = &planned.services[..] else {
        panic!("{planned:?}");
    };
    assert_eq!((new.key, &new.servers[..]), (key(81), &[server(7)][..]));
    assert_eq!((old.key, &old.servers[..]), (key(80), &[server(2)][..]));
    let all = [operations.to_vec(), vec![Operation::RemoveServices]].concat();
    let planned = plan(&all, Rules::File).expect("all can be done");
    assert!(
        planned
            .services
            .iter()
            .all(|(_, service)| service.is_none())
    );
}

#[test]
fn an_edit_leaves_the_servers() {
    let wanted = Service {
        one_packet: false,
        persistence_timeout: Some(60),
        ..Service::new(key(80))
    };
    let planned = plan(&[Operation::EditService(wanted)], Rules::File).expect("it can be done");
    let (_, Some(service)) = &planned.services[0] else {
        panic!("{planned:?}");
    };
    assert_eq!(service.persistence_timeout, Some(60));
    assert_eq!(service.servers, [server(1)]);
}

#[test]
fn what_is_not_there_and_what_is_already_are_told() {
    let service = Service::new(key(80));
    for (operation, told) in [
        (
            Operation::AddService(service),
            "service tcp 192.0.2.100:80 is there already",
        ),
        (
            Operation::RemoveService(key(9)),
            "there is no service tcp 192.0.2.100:9",
        ),
        (
            Operation::AddServer(key(80), server(1)),
            "service tcp 192.0.2.100:80 has server 10.0.0.1:80 already",
        ),
        (
            Operation::EditServer(key(80), server(9)),
            "service tcp 192.0.2.100:80 has no server 10.0.0.9:80",
        ),
        (
            Operation::RemoveServer(key(9), server(1).key()),
            "there is no service tcp 192.0.2.100:9",
        ),
    ] {
        assert_eq!(words(&[operation]), told);
    }
}

#[test]
fn the_outcome_has_to_be_as_good_as_a_file() {
    let by_dr = Server {
        port: 81,
        method: Method::Dr,
        ..server(2)
    };
    let named = Service {
        name: Some("web".to_owned()),
        ..Service::new(key(81))
    };
    let local = Service {
        local_addresses: vec![server(1).address],
        ..Service::new(key(81))
    };
    let timeouts = Timeouts {
        tcp: 0,
        tcp_fin: 1,
        udp: 1,
    };
    for (operation, told) in [
        (Operation::AddServer(key(80), by_dr), "dr cannot map ports"),
        (
            Operation::AddService(named),
            "\"web\" is also the name of service tcp 192.0.2.100:80",
        ),
        (
            Operation::AddService(local),
            "10.0.0.1 stands for clients of tcp 192.0.2.100:81",
        ),
        (
            Operation::AddService(Service::new(key(0))),
            "port 0, every port, needs persistence",
        ),
        (
            Operation::SetTimeouts(timeouts),
            "timeouts.tcp: 0 is out of range",
        ),
    ] {
        let words = words(&[operation]);
        assert!(words.contains(told), "{words}");
    }
    let many = [2, 3, 4].map(|n| Operation::AddServer(key(80), server(n)));
    assert_eq!(
        words(&many),
        "there would be 4 servers, and limits.servers is 3"
    );
}

#[test]
fn what_the_kernel_takes_is_taken_by_its_rules() {
    let every_port = Operation::AddService(Service::new(key(0)));
    assert!(plan(&[every_port], Rules::Ipvs).is_ok());
}

#[test]
fn what_can_change_survives_json() {
    let held = config().changeable();
    let text = serde_json::to_string(&held).expect("it can be written");
    assert_eq!(held, serde_json::from_str(&text).expect("it can be read"));
}

#[test]
fn what_was_planned_is_put() {
    let mut wanted = Wanted::new(config());
    let operations = [
        Operation::AddService(Service::new(key(81))),
        Operation::AddServer(key(81), server(7)),
    ];
    let planned = wanted
        .plan(&operations, Rules::File)
        .expect("it can be done");
    assert!(wanted.put(planned).is_empty());
    let planned = wanted.plan(&[Operation::RemoveService(key(80))], Rules::File);
    let removed = wanted.put(planned.expect("it can be done"));
    assert_eq!(removed, config().services);
    assert_eq!(wanted.service(&key(80)), None);
    let held = wanted
        .service(&key(81))
        .expect("it was added, and its place is another now");
    assert_eq!(held.servers, [server(7)]);
    // One of three servers is there.
    let servers = |numbers: &[u8]| -> Vec<_> {
        let add = |n: &u8| Operation::AddServer(key(81), server(*n));
        numbers.iter().map(add).collect()
    };
    assert!(wanted.plan(&servers(&[1, 2]), Rules::File).is_ok());
    assert!(wanted.plan(&servers(&[1, 2, 3]), Rules::File).is_err());
}
