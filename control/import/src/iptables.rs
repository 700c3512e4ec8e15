//! What iptables-save and ip6tables-save print, and scripts of iptables commands: the marks that are
//! set in the chain PREROUTING of the table mangle.

use std::collections::HashMap;

use ipnet::IpNet;
use weir_ipvs::types::{SCTP, TCP, UDP};
use weir_ipvsadm::Names;
use weir_ipvsadm::restore::words_of;

use crate::Options;
use crate::draft::Draft;
use crate::line::{Line, lines_of};
use crate::marks::{Chains, Matches, Rule, Target, carry, is_port_name, unreached};
use crate::shared::NO_MARK;
use crate::value::{has, network};

const BASE: &str = "PREROUTING";

/// Chains that are there without being declared.
const BUILT_IN: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

/// Targets that are no chains.
const EXTENSIONS: &str =
    "AUDIT CHECKSUM CLASSIFY CLUSTERIP CONNMARK CONNSECMARK CT DNAT DNPT DROP DSCP ECN HL
    HMARK IDLETIMER LED LOG MASQUERADE NETMAP NFLOG NFQUEUE NOTRACK QUEUE RATEEST REDIRECT REJECT
    SECMARK SET SNAT SNPT SYNPROXY TCPMSS TCPOPTSTRIP TEE TOS TPROXY TRACE TTL ULOG";

/// What is known of a rule while its words are read.
struct Reading {
    matches: Matches,
    target: Option<Target>,
    mark: Option<(u32, u32)>,
    /// What cannot be carried, if anything.
    problem: Option<String>,
}

pub(crate) fn read(file: &str, text: &str, options: Options<'_>) -> Draft {
    let names = Names::new(&options.files.services(), "");
    let mut draft = Draft::default();
    let is_ipv6_file = file.contains("ip6tables")
        || file.ends_with(".v6")
        || text.lines().take(5).any(|line| line.contains("ip6tables"));
    let mut reader = Reader {
        names: &names,
        table: None,
        table_line: None,
        families: [Chains::new(), Chains::new()],
        declared: HashMap::new(),
        jumps: Vec::new(),
    };
    for line in lines_of(file, 0, text) {
        reader.line(&mut draft, &line, is_ipv6_file);
    }
    if let (Some(_), Some(line)) = (&reader.table, &reader.table_line) {
        let reason = "COMMIT is missing: iptables-restore sets nothing of this table";
        draft.remarks.refused(line, reason);
    }
    for (line, chain) in &reader.jumps {
        if !reader.declared.contains_key(chain) {
            let reason = format!("there is no chain or target {chain}");
            draft.remarks.refused(line, reason);
        }
    }
    for (chains, is_ipv6) in reader.families.iter().zip([false, true]) {
        carry(&mut draft, chains, BASE, is_ipv6);
        for rule in unreached(chains, &[BASE]) {
            let reason = "only marks that are set in PREROUTING are set before IPVS looks";
            draft.remarks.not_carried(&rule.line, reason);
        }
    }
    draft
}

struct Reader<'n> {
    names: &'n Names,
    /// The table of iptables-save that is open.
    table: Option<String>,
    table_line: Option<Line>,
    /// Chains of the table mangle, IPv4 and IPv6.
    families: [Chains; 2],
    declared: HashMap<String, ()>,
    jumps: Vec<(Line, String)>,
}

impl Reader<'_> {
    fn line(&mut self, draft: &mut Draft, line: &Line, is_ipv6: bool) {
        let text = line.text().trim();
        if text.is_empty() || text.starts_with('#') {
            return;
        }
        if let Some(table) = text.strip_prefix('*') {
            self.table = Some(table.trim().to_owned());
            self.table_line = Some(line.clone());
            return;
        }
        if text == "COMMIT" {
            if self.table.take().is_none() {
                draft
                    .remarks
                    .refused(line, "there is no table to be committed");
            }
            return;
        }
        if let Some(chain) = text.strip_prefix(':') {
            let mut words = chain.split_whitespace();
            let name = words.next().unwrap_or_default();
            self.declared.insert(name.to_owned(), ());
            // What becomes of the packets that no rule decides about.
            if !matches!(words.next(), None | Some("ACCEPT" | "-")) {
                draft.remarks.not_carried(line, NO_MARK);
            }
            return;
        }
        let mut words = words_of(text);
        if words.first().is_some_and(|word| word.starts_with('[')) {
            // Counters of iptables-save -c.
            words.remove(0);
        }
        let program = words.first().and_then(|word| word.rsplit('/').next());
        let (table, is_ipv6) = match program {
            Some("iptables" | "iptables-legacy" | "iptables-nft") => (None, false),
            Some("ip6tables" | "ip6tables-legacy" | "ip6tables-nft") => (None, true),
            _ => match &self.table {
                Some(table) => (Some(table.clone()), is_ipv6),
                None => {
                    let reason = "it stands in no table: iptables-save writes *TABLE before";
                    return draft.remarks.refused(line, reason);
                }
            },
        };
        if table.is_none() {
            words.remove(0);
        }
        self.command(draft, line, &words, table, is_ipv6);
    }

    /// `-A CHAIN RULE` and its like.
    fn command(
        &mut self,
        draft: &mut Draft,
        line: &Line,
        words: &[String],
        table: Option<String>,
        is_ipv6: bool,
    ) {
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut table = table;
        if let Some(at) = words.iter().position(|w| *w == "-t" || *w == "--table")
            && at + 1 < words.len()
        {
            table = Some(words[at + 1].to_owned());
            words.drain(at..at + 2);
        }
        let chains = &mut self.families[usize::from(is_ipv6)];
        let (verb, chain) = match words[..] {
            [verb, chain, ..] => (verb, chain),
            [verb] => (verb, ""),
            [] => return draft.remarks.refused(line, "it is no command"),
        };
        let at = match verb {
            "-A" | "--append" => usize::MAX,
            "-I" | "--insert" => 0,
            "-N" | "--new-chain" | "-P" | "--policy" | "-F" | "--flush" | "-X" | "-Z" => {
                self.declared.insert(chain.to_owned(), ());
                return;
            }
            _ => {
                return draft
                    .remarks
                    .refused(line, "iptables-restore does not know this command");
            }
        };
        let mut rest = &words[2.min(words.len())..];
        let mut place = at;
        if at == 0
            && let Some(number) = rest.first().and_then(|word| word.parse::<usize>().ok())
        {
            place = number.saturating_sub(1);
            rest = &rest[1..];
        }
        if table.as_deref().unwrap_or("filter") != "mangle" {
            return draft.remarks.not_carried(line, NO_MARK);
        }
        let reading = rule(rest, self.names);
        if let Some(Target::Chain(to, _)) = &reading.target
            && !BUILT_IN.contains(&to.as_str())
            && !has(EXTENSIONS, to)
        {
            self.jumps.push((line.clone(), to.clone()));
        }
        match finish(reading) {
            Ok(Some((matches, target))) => {
                let rules = chains.entry(chain.to_owned()).or_default();
                let rule = Rule {
                    line: line.clone(),
                    matches,
                    target,
                };
                rules.insert(place.min(rules.len()), rule);
            }
            Ok(None) => draft.remarks.not_carried(line, NO_MARK),
            Err(reason) => draft.remarks.not_carried(line, reason),
        }
    }
}

/// What a rule comes to. `None`: it is of no matter to marks.
fn finish(reading: Reading) -> Result<Option<(Matches, Target)>, String> {
    let target = match (reading.target, reading.mark) {
        (Some(Target::Mark(_)), Some((value, mask))) if mask == u32::MAX => Target::Mark(value),
        (Some(Target::Mark(_)), Some((value, mask))) if mask & value == value => {
            return Err(format!(
                "it sets some bits of the mark ({value:#x}/{mask:#x}); Weir's rules set all of it"
            ));
        }
        (Some(Target::Mark(_)), _) => {
            return Err("it changes the mark instead of setting it".to_owned());
        }
        (Some(Target::Chain(to, _)), _) if has(EXTENSIONS, &to) => return Ok(None),
        (Some(target), None) => target,
        _ => return Ok(None),
    };
    if let Some(problem) = reading.problem {
        return Err(problem);
    }
    if target == Target::Mark(0) {
        return Err("a mark of 0 is none, which Weir's rules cannot set".to_owned());
    }
    Ok(Some((reading.matches, target)))
}

fn rule(words: &[&str], names: &Names) -> Reading {
    let mut reading = Reading {
        matches: Matches::default(),
        target: None,
        mark: None,
        problem: None,
    };
    let mut words = words.iter().copied().peekable();
    while let Some(word) = words.next() {
        if word == "!" || words.peek() == Some(&"!") {
            reading.problem = Some("Weir's rules have no \"not\"".to_owned());
            continue;
        }
        let mut value = || words.next().unwrap_or_default();
        match word {
            "-s" | "--source" | "--src" => {
                let net = network(value());
                set_net(&mut reading.matches.source, net, &mut reading.problem);
            }
            "-d" | "--destination" | "--dst" => {
                let net = network(value());
                set_net(&mut reading.matches.destination, net, &mut reading.problem);
            }
            "-p" | "--protocol" => reading.matches.protocol = protocol(value()),
            "-i" | "--in-interface" => {
                let name = value();
                if is_port_name(name) {
                    reading.matches.interface = Some(name.to_owned());
                } else {
                    reading.problem = Some(format!("{name:?} is not the name of one interface"));
                }
            }
            // The same as -p, or nothing but a comment.
            "-m" | "--match" => {
                let module = value();
                if !matches!(module, "tcp" | "udp" | "sctp" | "multiport" | "comment") {
                    reading.problem = Some(format!("Weir's rules have no match {module:?}"));
                }
            }
            "--comment" => {
                value();
            }
            "--dport" | "--destination-port" | "--dports" | "--destination-ports" => {
                ports(value(), &reading.matches.protocol, names).map_or_else(
                    || reading.problem = Some("a port is not known".to_owned()),
                    |ports| reading.matches.destination_ports = ports,
                );
            }
            "--sport" | "--source-port" | "--sports" | "--source-ports" => {
                ports(value(), &reading.matches.protocol, names).map_or_else(
                    || reading.problem = Some("a port is not known".to_owned()),
                    |ports| reading.matches.source_ports = ports,
                );
            }
            "-j" | "--jump" => reading.target = Some(target(value(), true)),
            "-g" | "--goto" => reading.target = Some(target(value(), false)),
            "--set-mark" | "--set-xmark" => reading.mark = mark(value()),
            other => {
                reading
                    .problem
                    .get_or_insert_with(|| format!("Weir's rules have nothing like {other:?}"));
            }
        }
    }
    reading
}

/// `192.0.2.1` is read as `192.0.2.1/32`.
fn set_net(place: &mut Option<IpNet>, net: Option<IpNet>, problem: &mut Option<String>) {
    match net {
        // Every address: iptables-save writes it where it was given.
        Some(net) if net.prefix_len() == 0 => {}
        Some(net) => *place = Some(net),
        None => *problem = Some("it is no network in figures".to_owned()),
    }
}

fn protocol(text: &str) -> Option<String> {
    let name = match text {
        "all" | "0" => return None,
        "6" => "tcp",
        "17" => "udp",
        "132" => "sctp",
        other => other,
    };
    Some(name.to_ascii_lowercase())
}

fn target(name: &str, comes_back: bool) -> Target {
    match name {
        "MARK" => Target::Mark(0),
        "ACCEPT" | "RETURN" => Target::End,
        other => Target::Chain(other.to_owned(), comes_back),
    }
}

/// `VALUE[/MASK]`
fn mark(text: &str) -> Option<(u32, u32)> {
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
    Some((number(value)?, number(mask)?))
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// `80`, `1024:65535`, `80,443,8000:8100`
fn ports(text: &str, protocol: &Option<String>, names: &Names) -> Option<Vec<String>> {
    let transport = match protocol.as_deref() {
        Some("udp") => UDP,
        Some("sctp") => SCTP,
        _ => TCP,
    };
    let port = |text: &str| {
        let number = text.parse::<u16>().ok();
        number.or_else(|| names.port(text, transport))
    };
    text.split(',')
        .map(|one| match one.split_once(':') {
            None => port(one).map(|port| port.to_string()),
            Some((first, last)) => {
                let first = if first.is_empty() { 0 } else { port(first)? };
                let last = if last.is_empty() {
                    u16::MAX
                } else {
                    port(last)?
                };
                Some(format!("{first}-{last}"))
            }
        })
        .collect()
}
