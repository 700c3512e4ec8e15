//! Holds the draft against Weir's own reader, and takes out what Weir does not take.
//!
//! So the rules are told once, in `weir-model`, and what is printed here is always read there.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use weir_model::Fault;

use crate::draft::Draft;
use crate::line::Line;
use crate::render;

/// Each round takes out all that was found, so what is left is faulty only where faults hid others.
const ROUNDS: usize = 8;

/// What takes the draft's place in a file that is complete: a port for all, and one for each
/// interface that a mark rule names.
pub(crate) fn completed(tables: &str, draft: &Draft) -> String {
    let mut interfaces: BTreeSet<&str> = BTreeSet::from(["weir-import"]);
    interfaces.extend(draft.marks.iter().filter_map(|m| m.interface.as_deref()));
    let mut text = String::from(tables);
    for (index, name) in interfaces.iter().enumerate() {
        let _ = write!(
            text,
            "\n[[port]]\nname = \"{name}\"\ndevice = \"net_null{index}\"\ntwin = false\n"
        );
    }
    text
}

/// Takes out what Weir refuses, and says so at the line it came from.
pub(crate) fn settle(draft: &mut Draft) {
    drop_double_names(draft);
    for _ in 0..ROUNDS {
        let text = completed(&render::tables(draft), draft);
        let Err(faults) = weir_model::parse(&text, "") else {
            return;
        };
        let mut doomed = Doomed::default();
        for fault in &faults.0 {
            doomed.add(draft, fault);
        }
        if !doomed.take_out(draft) {
            break;
        }
    }
    let text = completed(&render::tables(draft), draft);
    if let Err(faults) = weir_model::parse(&text, "") {
        give_up(draft, &faults.to_string());
    }
}

/// A name is no reason to lose a service: where it comes again, it is left out.
fn drop_double_names(draft: &mut Draft) {
    let Draft {
        services, remarks, ..
    } = draft;
    let mut seen = BTreeSet::new();
    for service in services {
        if let Some(name) = service.name.take_if(|name| !seen.insert(name.clone())) {
            let reason =
                format!("{name:?} is the name of another service already: it has none here");
            remarks.carried(&service.line, reason);
        }
        let mut seen = BTreeSet::new();
        for server in &mut service.servers {
            if let Some(name) = server.name.take_if(|name| !seen.insert(name.clone())) {
                let reason =
                    format!("{name:?} is the name of another server already: it has none here");
                remarks.carried(&server.line, reason);
            }
        }
    }
}

/// A fault that is nobody's: nothing is printed rather than something that cannot be read.
fn give_up(draft: &mut Draft, faults: &str) {
    let lines: Vec<Line> = draft.services.iter().map(|s| s.line.clone()).collect();
    for line in lines {
        draft
            .remarks
            .not_carried(&line, format!("Weir does not take the whole: {faults}"));
    }
    draft.services.clear();
    draft.marks.clear();
    draft.timeouts = crate::draft::Timeouts::default();
    draft.settings.clear();
}

/// What a round found.
#[derive(Default)]
struct Doomed {
    services: BTreeSet<usize>,
    servers: BTreeSet<(usize, usize)>,
    marks: BTreeSet<usize>,
    timeouts: BTreeSet<&'static str>,
    settings: BTreeSet<String>,
}

impl Doomed {
    fn add(&mut self, draft: &mut Draft, fault: &Fault) {
        let reason = match fault.cure.as_str() {
            "" => format!("Weir does not take it: {}", fault.problem),
            cure => format!("Weir does not take it: {}; {cure}", fault.problem),
        };
        // The paths of faults name places of a file that nobody has.
        let reason = reason.replace("service[", "service number [");
        let (table, rest) = fault.key.split_once('[').unwrap_or((&fault.key, ""));
        let index = index_of(rest);
        match (table, index) {
            ("service", Some(at)) => {
                let Some(service) = draft.services.get(at) else {
                    return;
                };
                let server = rest
                    .split_once("server[")
                    .and_then(|(_, rest)| index_of(rest));
                let line = match server.and_then(|server| service.servers.get(server)) {
                    Some(server) => server.line.clone(),
                    None => service.line.clone(),
                };
                match server {
                    Some(server) => self.servers.insert((at, server)),
                    None => self.services.insert(at),
                };
                draft.remarks.not_carried(&line, reason);
            }
            ("mark", Some(at)) => {
                if let Some(line) = draft.marks.get(at).and_then(|m| m.line.clone()) {
                    draft.remarks.not_carried(&line, reason);
                }
                self.marks.insert(at);
            }
            ("ipvs.ftp_ports", _) => self.add_setting(draft, "ftp_ports", &reason),
            _ if fault.key.starts_with("ipvs.") || fault.key.starts_with("settings.") => {
                let name = fault.key.split('.').nth(1).unwrap_or_default();
                self.add_setting(draft, name, &reason);
            }
            _ => {
                for (key, given) in [
                    ("timeouts.tcp", &draft.timeouts.tcp),
                    ("timeouts.tcp_fin", &draft.timeouts.tcp_fin),
                    ("timeouts.udp", &draft.timeouts.udp),
                ] {
                    if key == fault.key
                        && let Some((_, line)) = given
                    {
                        draft.remarks.not_carried(line, reason.clone());
                        self.timeouts.insert(key);
                    }
                }
            }
        }
    }

    fn add_setting(&mut self, draft: &mut Draft, name: &str, reason: &str) {
        let mut settings = draft.settings.iter();
        if let Some(setting) = settings.find(|setting| setting.name == name) {
            draft.remarks.not_carried(&setting.line, reason);
            self.settings.insert(name.to_owned());
        }
    }

    /// Takes it out. Returns whether there was anything.
    fn take_out(&self, draft: &mut Draft) -> bool {
        for key in &self.timeouts {
            match *key {
                "timeouts.tcp" => draft.timeouts.tcp = None,
                "timeouts.tcp_fin" => draft.timeouts.tcp_fin = None,
                _ => draft.timeouts.udp = None,
            }
        }
        let settings = &self.settings;
        draft
            .settings
            .retain(|setting| !settings.contains(&setting.name));
        for &at in self.marks.iter().rev() {
            if at < draft.marks.len() {
                draft.marks.remove(at);
            }
        }
        for &(service, server) in self.servers.iter().rev() {
            if let Some(service) = draft.services.get_mut(service)
                && server < service.servers.len()
            {
                service.servers.remove(server);
            }
        }
        for &at in self.services.iter().rev() {
            if at >= draft.services.len() {
                continue;
            }
            let service = draft.services.remove(at);
            for server in service.servers {
                let reason = "its service could not be carried";
                draft.remarks.not_carried(&server.line, reason);
            }
        }
        let found = [
            self.services.len(),
            self.servers.len(),
            self.marks.len(),
            self.timeouts.len(),
            self.settings.len(),
        ];
        found.iter().any(|count| *count > 0)
    }
}

/// `3` of `3].server[1]`.
fn index_of(text: &str) -> Option<usize> {
    text.split(']').next()?.parse().ok()
}
