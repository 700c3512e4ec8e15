//! Each answer as a person reads it. Words and layout are those of `ipvsadm` where it has them.

use std::net::{IpAddr, SocketAddr};

use weir_model::api::{
    Changed, DrainState, DrainView, Drops, Flows, LinkView, MarksBody, Neighbours, Origin, Ports,
    Reloaded, Routes, ServerState, ServerView, ServiceView, Services, Stats, Status, Workers,
};
use weir_model::{Family, Mac, Method, ServiceKey};

use crate::table::Table;

/// `weir status`
pub(crate) fn status(status: &Status) -> String {
    format!(
        "weird {} on DPDK {}, process {}\n\
         Up for         {}\n\
         Configuration  {}, epoch {}\n",
        status.version,
        status.dpdk_version,
        status.pid,
        duration(status.uptime_seconds),
        status.config_file,
        status.epoch,
    )
}

/// `weir services`: the look of `ipvsadm -Ln`.
pub(crate) fn services(answer: &Services) -> String {
    let mut table = Table::new(&[
        "  -> RemoteAddress:Port",
        "Forward",
        ">Weight",
        ">ActiveConn",
        ">InActConn",
        "State",
        "Name",
    ]);
    for service in &answer.services {
        let mut line = format!("{} {}", service_cell(service), service.scheduler);
        line += &persistence(service);
        table.line(with_name(line, service.name.as_deref()));
        if let Some(line) = local_line(service) {
            table.line(line);
        }
        for server in &service.servers {
            table.row([
                server_cell(server),
                forward(server.method).to_owned(),
                server.weight.to_string(),
                server.active.to_string(),
                server.inactive.to_string(),
                server_state(server.state).to_owned(),
                server.name.clone().unwrap_or_default(),
            ]);
        }
    }
    format!("Prot LocalAddress:Port Scheduler Name\n{}", table.render())
}

/// `weir services --stats`: totals since start.
pub(crate) fn services_stats(answer: &Services) -> String {
    let headings = [
        "Prot LocalAddress:Port",
        ">Conns",
        ">InPkts",
        ">OutPkts",
        ">InBytes",
        ">OutBytes",
    ];
    counters(answer, &headings, |stats| {
        [
            stats.connections,
            stats.packets_in,
            stats.packets_out,
            stats.bytes_in,
            stats.bytes_out,
        ]
        .map(|count| count.to_string())
    })
}

/// `weir services --rate`: per second.
pub(crate) fn services_rates(answer: &Services) -> String {
    let headings = [
        "Prot LocalAddress:Port",
        ">Conns/s",
        ">InPkts/s",
        ">OutPkts/s",
        ">InBytes/s",
        ">OutBytes/s",
    ];
    counters(answer, &headings, |stats| {
        [
            stats.rates.connections_per_second,
            stats.rates.packets_in_per_second,
            stats.rates.packets_out_per_second,
            stats.rates.bytes_in_per_second,
            stats.rates.bytes_out_per_second,
        ]
        .map(|rate| format!("{rate:.0}"))
    })
}

fn counters(
    answer: &Services,
    headings: &[&str; 6],
    cells: impl Fn(&Stats) -> [String; 5],
) -> String {
    let mut table = Table::new(headings);
    let row = |first: String, stats: &Stats| {
        let [a, b, c, d, e] = cells(stats);
        [first, a, b, c, d, e]
    };
    table.line("  -> RemoteAddress:Port".to_owned());
    for service in &answer.services {
        table.row(row(service_cell(service), &service.stats));
        for server in &service.servers {
            table.row(row(server_cell(server), &server.stats));
        }
    }
    table.render()
}

/// `weir flows`: the look of `ipvsadm -Lnc`, with local end, method and worker.
pub(crate) fn flows(answer: &Flows) -> String {
    let mut table = Table::new(&[
        "Pro",
        ">Expire",
        "State",
        "Source",
        "Virtual",
        "Local",
        "Destination",
        "Forward",
        ">Worker",
    ]);
    for flow in &answer.flows {
        let seconds = flow.expires_seconds;
        table.row([
            match &flow.template {
                Some(template) if template.mark.is_some() => "IP".to_owned(),
                _ => flow.protocol.name().to_uppercase(),
            },
            format!("{:02}:{:02}", seconds / 60, seconds % 60),
            flow.state.to_string(),
            flow.client.to_string(),
            flow.vip.to_string(),
            or_dash(flow.local.map(|local| local.to_string())),
            flow.server.to_string(),
            forward(flow.method).to_owned(),
            match flow.template {
                Some(_) => "-".to_owned(),
                None => flow.worker.to_string(),
            },
        ]);
        let template = flow.template.as_ref();
        if let Some((engine, data)) = template.and_then(|t| t.engine.zip(t.engine_data.as_ref())) {
            table.line(format!("       {engine} {}", data.escape_debug()));
        }
    }
    if answer.truncated {
        let count = answer.flows.len();
        table.line(format!(
            "There may be more than these {count}: raise --limit."
        ));
    }
    table.render()
}

/// `weir ports`
pub(crate) fn ports(answer: &Ports) -> String {
    let mut table = Table::new(&[
        "Port",
        "Driver",
        "MAC",
        ">MTU",
        "Twin",
        "Link",
        ">Queues",
        ">RxPkts",
        ">RxBytes",
        ">RxMissed",
        ">RxErrors",
        ">RxNoBuf",
        ">TxPkts",
        ">TxBytes",
        ">TxErrors",
    ]);
    for port in &answer.ports {
        table.row([
            port.name.clone(),
            port.driver.clone(),
            port.mac.to_string(),
            port.mtu.to_string(),
            or_dash(port.twin.clone()),
            link(port.link),
            port.queues.to_string(),
            port.rx_packets.to_string(),
            port.rx_bytes.to_string(),
            port.rx_missed.to_string(),
            port.rx_errors.to_string(),
            port.rx_no_buffer.to_string(),
            port.tx_packets.to_string(),
            port.tx_bytes.to_string(),
            port.tx_errors.to_string(),
        ]);
    }
    for port in &answer.ports {
        let addresses: Vec<String> = port.addresses.iter().map(ToString::to_string).collect();
        let addresses = or_dash((!addresses.is_empty()).then(|| addresses.join(" ")));
        table.line(String::new());
        table.line(format!("{}: {}", port.name, port.device));
        table.line(format!("  addresses  {addresses}"));
        table.line(format!("  steering   {}", port.steering));
    }
    table.render()
}

/// `weir neighbours`
pub(crate) fn neighbours(answer: &Neighbours) -> String {
    let mut table = Table::new(&["Address", "MAC", "Port", ">VLAN", "State", "From"]);
    for neighbour in &answer.neighbours {
        table.row([
            neighbour.address.to_string(),
            or_dash(neighbour.mac.as_ref().map(Mac::to_string)),
            neighbour.port.clone(),
            or_dash(neighbour.vlan.map(|vlan| vlan.to_string())),
            neighbour.state.clone(),
            origin(neighbour.origin).to_owned(),
        ]);
    }
    table.render()
}

/// `weir routes`
pub(crate) fn routes(answer: &Routes) -> String {
    let mut table = Table::new(&["To", "Via", "Port", ">VLAN", "Source", "From"]);
    for route in &answer.routes {
        let (via, port) = match (&route.port, route.via) {
            (None, _) => ("unreachable".to_owned(), "-".to_owned()),
            (Some(port), None) => ("on link".to_owned(), port.clone()),
            (Some(port), Some(via)) => (via.to_string(), port.clone()),
        };
        table.row([
            route.to.to_string(),
            via,
            port,
            or_dash(route.vlan.map(|vlan| vlan.to_string())),
            or_dash(route.source.as_ref().map(IpAddr::to_string)),
            origin(route.origin).to_owned(),
        ]);
    }
    table.render()
}

/// `weir workers`
pub(crate) fn workers(answer: &Workers) -> String {
    let mut table = Table::new(&[
        ">Worker",
        ">Core",
        ">Flows",
        ">Full%",
        ">Created",
        ">Expired",
        ">Received",
        ">Forwarded",
        ">ToLinux",
        ">FromLinux",
        ">HandedOff",
        ">TakenOver",
        ">Dropped",
        ">Busy%",
        ">LongestTurn(us)",
        ">Epoch",
    ]);
    for worker in &answer.workers {
        let full = match worker.flows_max {
            0 => 0.0,
            max => worker.flows as f64 * 100.0 / max as f64,
        };
        table.row([
            worker.id.to_string(),
            or_dash(worker.core.map(|core| core.to_string())),
            worker.flows.to_string(),
            format!("{full:.1}"),
            worker.flows_created.to_string(),
            worker.flows_expired.to_string(),
            worker.packets_received.to_string(),
            worker.packets_forwarded.to_string(),
            worker.packets_punted.to_string(),
            worker.packets_from_linux.to_string(),
            worker.packets_handed_off.to_string(),
            worker.packets_taken_over.to_string(),
            worker.packets_dropped.to_string(),
            format!("{:.1}", worker.busy_ratio * 100.0),
            worker.longest_turn_us.to_string(),
            worker.epoch.to_string(),
        ]);
    }
    table.line(String::new());
    table.line(answer.steering.clone());
    if answer.workers.len() > 1 {
        let imbalance = answer.imbalance_ratio;
        table.line(format!(
            "packets of the busiest worker in the last seconds: {imbalance:.2} times the mean"
        ));
    }
    table.render()
}

/// `weir drops`: the most frequent first; reasons that never happened only with `all`.
pub(crate) fn drops(answer: &Drops, all: bool) -> String {
    let mut drops: Vec<_> = answer
        .drops
        .iter()
        .filter(|drop| all || drop.packets > 0)
        .collect();
    if drops.is_empty() {
        return "Nothing was dropped.\n".to_owned();
    }
    drops.sort_by_key(|drop| std::cmp::Reverse(drop.packets));
    let mut table = Table::new(&[">Packets", "Reason", "Meaning"]);
    for drop in drops {
        table.row([
            drop.packets.to_string(),
            drop.reason.clone(),
            drop.help.clone(),
        ]);
        if let Some(last) = &drop.last {
            let (age, port) = (last.age_seconds, &last.port);
            table.line(format!("    {age:.0} s ago on {port}: {}", last.summary));
        }
    }
    table.render()
}

/// `weir reload`
pub(crate) fn reloaded(answer: &Reloaded) -> String {
    if answer.changes.is_empty() {
        return format!("Reloaded; nothing changed, epoch {}.\n", answer.epoch);
    }
    let changes: String = answer
        .changes
        .iter()
        .map(|change| format!("  {change}\n"))
        .collect();
    format!("Reloaded, epoch {}:\n{changes}", answer.epoch)
}

/// The answer to a change.
pub(crate) fn changed(answer: &Changed) -> String {
    let changes = answer.changes.iter();
    let mut text = match (answer.dry_run, answer.changes.is_empty()) {
        (_, true) => "Nothing to change.\n".to_owned(),
        (true, false) => "Would change:\n".to_owned(),
        (false, false) => "Changed:\n".to_owned(),
    };
    changes.for_each(|change| text += &format!("  {change}\n"));
    if answer.flows_touched > 0 {
        let flows = match answer.flows_touched {
            1 => "1 live flow".to_owned(),
            count => format!("{count} live flows"),
        };
        text += &format!("That touches {flows}.\n");
    }
    text
}

/// `weir service show`
pub(crate) fn service(service: &ServiceView) -> String {
    services(&Services {
        services: vec![service.clone()],
    })
}

/// `weir server show`, in one service.
pub(crate) fn server(service: ServiceKey, server: &ServerView) -> String {
    let at = SocketAddr::new(server.address, server.port);
    let name = server
        .name
        .as_ref()
        .map_or(String::new(), |name| format!(" ({name})"));
    format!(
        "{service} -> {at}{name}: {}, weight {}, {}; {} active and {} other flows, {} so far\n",
        server.method,
        server.weight,
        server_state(server.state),
        server.active,
        server.inactive,
        server.stats.connections,
    )
}

/// `weir server drain`, in one service.
pub(crate) fn drain(server: &str, service: ServiceKey, drain: &DrainView) -> String {
    let left = drain.active + drain.inactive;
    match drain.state {
        DrainState::Drained => format!("{server} of {service} is drained.\n"),
        DrainState::Draining => {
            let until = drain.seconds_left;
            let until = until.map_or(String::new(), |left| format!(", {left} s to the deadline"));
            format!("{server} of {service} drains: {left} flows left{until}.\n")
        }
        DrainState::Ending => format!(
            "{server} of {service} had its time: {} flows were left and are being ended, {left} still \
             are there.\n",
            drain.flows_reset
        ),
        DrainState::Forced => format!(
            "{server} of {service} had its time: {} flows were left and were ended.\n",
            drain.flows_reset
        ),
    }
}

/// `weir mark list`
pub(crate) fn marks(answer: &MarksBody) -> String {
    let rules = answer.marks.iter().enumerate();
    rules.map(|(at, rule)| format!("{at}: {rule}\n")).collect()
}

/// `weir settings show`: as the file has them.
pub(crate) fn settings(answer: &serde_json::Value) -> String {
    let sections = ["ipvs", "timeouts", "settings"];
    let mut text = String::new();
    for section in sections {
        text += &format!("[{section}]\n");
        for (key, value) in answer[section].as_object().into_iter().flatten() {
            text += &format!("{key} = {value}\n");
        }
    }
    text
}

fn service_cell(service: &ServiceView) -> String {
    match service.key {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            let at = SocketAddr::new(address, port);
            format!("{:<4} {at}", protocol.name().to_uppercase())
        }
        ServiceKey::Mark {
            mark,
            family: Family::Ipv4,
        } => format!("FWM  {mark}"),
        ServiceKey::Mark { mark, .. } => format!("FWM  {mark} IPv6"),
    }
}

/// The words of `ipvsadm -Ln`.
fn persistence(service: &ServiceView) -> String {
    let Some(timeout) = service.persistence_timeout else {
        return String::new();
    };
    let mut words = format!(" persistent {timeout}");
    if let Some(mask) = service.persistence_mask {
        words += &format!(" mask {mask}");
    }
    if let Some(engine) = service.persistence_engine {
        words += &format!(" pe {engine}");
    }
    words
}

/// What stands for clients at the FullNAT servers, and how much of it the fullest server's flows have.
fn local_line(service: &ServiceView) -> Option<String> {
    let ports = service.local_ports?;
    let addresses: Vec<String> = service
        .local_addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    let line = format!("     local {} ports {ports}", addresses.join(" "));
    let used = service
        .servers
        .iter()
        .filter_map(|server| server.local_ports_used_ratio);
    Some(match used.reduce(f64::max) {
        Some(used) => format!("{line}, {:.1}% used", used * 100.0),
        None => line,
    })
}

fn server_cell(server: &ServerView) -> String {
    format!("  -> {}", SocketAddr::new(server.address, server.port))
}

fn with_name(line: String, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{line} {name}"),
        None => line,
    }
}

/// The words of `ipvsadm -Ln`, and for FullNAT that of DPVS's.
fn forward(method: Method) -> &'static str {
    match method {
        Method::Nat => "Masq",
        Method::Dr => "Route",
        Method::Tun => "Tunnel",
        Method::FullNat => "FullNat",
    }
}

fn server_state(state: ServerState) -> &'static str {
    match state {
        ServerState::Up => "up",
        ServerState::Draining => "draining",
        ServerState::Full => "full",
        ServerState::Removed => "removed",
    }
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Linux => "linux",
        Origin::Config => "config",
    }
}

fn link(link: LinkView) -> String {
    match (link.up, link.speed_mbps) {
        (false, _) => "down".to_owned(),
        (true, None) => "up".to_owned(),
        (true, Some(speed)) => format!("up {speed} Mb/s"),
    }
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// `3 d 04:05:06`
fn duration(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    match days {
        0 => clock,
        _ => format!("{days} d {clock}"),
    }
}
