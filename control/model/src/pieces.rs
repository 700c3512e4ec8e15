//! Reads a big file piece by piece: what comes before the services, then some services at a time.
//!
//! The tables of a whole file of 20 000 services take half a gigabyte, and most of the time goes
//! into that memory. A piece's tables are a few hundred kilobytes, and are gone before the next.

use toml::de::DeTable;

use crate::config::{self, Config};
use crate::reader::{Placed, Report, Section};
use crate::service::Service;

/// Where a piece may begin.
const CUT: &str = "\n[[service]]";

/// Least bytes of a piece but the last.
const PIECE: usize = 64 * 1024;

/// The configuration, if `text` is big and nothing but services follows the first service.
/// `None` says that it has to be read whole, also because its TOML has an error; what is in
/// `report` is void then.
///
/// A piece is TOML of its own: a cut within a string or a list would leave an error before it. And
/// tables of two pieces do not meet, because each has but services, which the first has none of.
pub(crate) fn read(report: &Report, text: &str) -> Option<Config> {
    read_by(report, text, PIECE)
}

fn read_by(report: &Report, text: &str, piece: usize) -> Option<Config> {
    if text.len() <= 2 * piece {
        return None;
    }
    let (head, mut rest) = text.split_at(text.find(CUT)? + 1);
    let head = parse(head)?;
    if head.contains_key("service") {
        return None;
    }
    let (mut services, mut first) = (Vec::new(), 0);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(end_of_piece(rest, piece));
        first += read_services(report, now, first, &mut services)?;
        rest = later;
    }
    Some(config::read(report, &head, services))
}

fn end_of_piece(text: &str, least: usize) -> usize {
    let bytes = text.as_bytes();
    let from = least.min(bytes.len());
    let is_cut = |at: &usize| bytes[*at] == b'\n' && bytes[*at..].starts_with(CUT.as_bytes());
    let cut = (from..bytes.len()).find(is_cut);
    cut.map_or(bytes.len(), |at| at + 1)
}

/// Reads a piece that has services only, before which there were `first`. Returns how many it has.
fn read_services(
    report: &Report,
    piece: &str,
    first: usize,
    into: &mut Vec<Placed<Service>>,
) -> Option<usize> {
    let table = parse(piece)?;
    let services = table.get("service")?.get_ref().as_array()?;
    if table.len() != 1 {
        return None;
    }
    let sections = Section::root(report, &table).sections_from("service", first);
    into.extend(sections.into_iter().filter_map(Service::read));
    Some(services.len())
}

fn parse(text: &str) -> Option<DeTable<'_>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    errors.is_empty().then(|| table.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "[[port]]\nname = \"wan\"\ndevice = \"net_null0\"\ntwin = false\n";

    fn service(port: u16) -> String {
        format!(
            "[[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.1\"\nport = {port}\n\
             [[service.server]]\naddress = \"10.0.0.1\"\nmethod = \"dr\"\n"
        )
    }

    /// What is read in pieces as small as can be, with what is wrong in it.
    fn in_pieces(text: &str) -> Option<(Config, Vec<String>)> {
        let report = Report::default();
        let config = read_by(&report, text, 1)?;
        Some((config, told(report)))
    }

    fn whole(text: &str) -> (Config, Vec<String>) {
        let report = Report::default();
        let root = parse(text).expect("it is TOML");
        (config::read(&report, &root, Vec::new()), told(report))
    }

    fn told(report: Report) -> Vec<String> {
        let findings = report.into_findings().into_iter();
        let told = findings.map(|f| format!("{}: {:?} {}", f.path, f.problem, f.at_key));
        told.collect()
    }

    #[test]
    fn pieces_are_read_as_the_whole() {
        let services: String = (1..=9).map(service).collect();
        let faulty = services.replace("port = 5", "prot = 5").replace(
            "port = 7\n",
            "port = 6\nname = \"[[service]]\"\nweight = 3\n",
        );
        for text in [HEAD.to_owned() + &services, HEAD.to_owned() + &faulty] {
            let (config, told) = in_pieces(&text).expect("it can be cut");
            let (same, same_told) = whole(&text);
            assert_eq!(config, same);
            assert_eq!(told, same_told);
        }
    }

    #[test]
    fn what_cannot_be_cut_is_read_whole() {
        let services: String = (1..=9).map(service).collect();
        let in_string = services.replace("port = 4\n", "port = 4\nname = '''\n[[service]]\n'''\n");
        let in_list = services.replace("port = 4\n", "port = 4\nname = [\n[[service]]\n]\n");
        for text in [
            HEAD.to_owned(),
            String::new(),
            services.clone() + HEAD,
            HEAD.to_owned() + &services + "[limits]\n",
            HEAD.to_owned() + &services + "[limits]\n" + &service(10),
            "service = []\n".to_owned() + HEAD + &services,
            HEAD.to_owned() + &services + "port =\n",
            HEAD.to_owned() + &in_string,
            HEAD.to_owned() + &in_list,
        ] {
            assert!(in_pieces(&text).is_none(), "{text}");
        }
    }
}
