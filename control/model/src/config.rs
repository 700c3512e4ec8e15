//! The configuration file as a whole.

use toml::de::DeTable;

use crate::fault::{self, Faults, Finding, Places, Problem};
use crate::ipvs::Ipvs;
use crate::limits::{Limits, Settings, Timeouts};
use crate::mark::MarkRule;
use crate::network::{Neighbour, Port, Route};
use crate::operation::{Control, Log, Metrics};
use crate::pieces;
use crate::reader::{Placed, Report, Section};
use crate::runtime::{Eal, Workers};
use crate::service::{Server, Service, ServiceKey};
use crate::validate;

/// A valid configuration: it exists only if nothing is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[eal]`
    pub eal: Eal,
    /// `[workers]`
    pub workers: Workers,
    /// `[limits]`
    pub limits: Limits,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// `[settings]`
    pub settings: Settings,
    /// `[ipvs]`
    pub ipvs: Ipvs,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[control]`
    pub control: Control,
    /// `[log]`
    pub log: Log,
    /// `[[port]]`, in the order of the file, which is the order of port numbers.
    pub ports: Vec<Port>,
    /// `[[route]]`
    pub routes: Vec<Route>,
    /// `[[neighbour]]`
    pub neighbours: Vec<Neighbour>,
    /// `[[mark]]`, in the order of the file: the first that is true of a packet counts.
    pub marks: Vec<MarkRule>,
    /// `[[service]]`
    pub services: Vec<Service>,
}

impl Config {
    /// The service with this key.
    #[must_use]
    pub fn service(&self, key: ServiceKey) -> Option<&Service> {
        self.services.iter().find(|service| service.key == key)
    }

    /// The port with this name.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<&Port> {
        self.ports.iter().find(|port| port.name == name)
    }

    /// Every real server of every service.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.services.iter().flat_map(|service| &service.servers)
    }
}

/// A valid configuration with the text it was read from, so that what is found later (by the
/// machine, by a reload) can still be given its place.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// What the file says.
    pub config: Config,
    name: String,
    text: String,
}

impl ConfigFile {
    /// The file as the operator named it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives each finding its place in this file. No finding is no fault.
    pub(crate) fn locate(&self, findings: Vec<Finding>) -> Result<(), Faults> {
        if findings.is_empty() {
            return Ok(());
        }
        Err(fault::locate(&self.name, &self.text, findings))
    }
}

/// Reads a configuration from the text of a file. `file_name` is only for messages.
///
/// # Errors
///
/// Every fault of the file, in its order. While the text is not TOML, only the faults of its
/// syntax are known.
pub fn parse(text: &str, file_name: &str) -> Result<ConfigFile, Faults> {
    let report = Report::default();
    if let Some(config) = pieces::read(&report, text) {
        return finish(config, report, text, file_name);
    }
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(syntax(&errors, text, file_name));
    }
    let report = Report::default();
    let config = read(&report, root.get_ref(), Vec::new());
    finish(config, report, text, file_name)
}

/// What of a file can be changed at run time: the part that it has of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// `[[service]]`, if there is one, or `service = []`.
    pub services: Option<Vec<Service>>,
    /// `[[mark]]`, likewise.
    pub marks: Option<Vec<MarkRule>>,
    /// `[ipvs]`
    pub ipvs: Option<Ipvs>,
    /// `[timeouts]`
    pub timeouts: Option<Timeouts>,
    /// `[settings]`
    pub settings: Option<Settings>,
}

/// Reads the part of a file that can be changed at run time; the rest may be missing and is not
/// looked at. What the part has to do with the rest is not looked at either.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_part(text: &str, file_name: &str) -> Result<Part, Faults> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(syntax(&errors, text, file_name));
    }
    let (report, root) = (Report::default(), root.get_ref());
    let s = Section::root(&report, root);
    for name in ["eal", "workers", "limits", "metrics", "control", "log"] {
        let _ = s.section(name);
    }
    for name in ["port", "route", "neighbour"] {
        let _ = s.sections(name);
    }
    let services = read_all(&s, "service", Service::read);
    let marks = read_all(&s, "mark", MarkRule::read);
    let ipvs = Ipvs::read(s.section("ipvs"));
    let timeouts = Timeouts::read(s.section("timeouts"));
    let settings = Settings::read(s.section("settings"));
    s.finish();
    let findings = report.into_findings();
    if !findings.is_empty() {
        return Err(fault::locate(file_name, text, findings));
    }
    let has = |name| root.contains_key(name);
    Ok(Part {
        services: has("service").then(|| values(services)),
        marks: has("mark").then(|| values(marks)),
        ipvs: has("ipvs").then_some(ipvs),
        timeouts: has("timeouts").then_some(timeouts),
        settings: has("settings").then_some(settings),
    })
}

fn syntax(errors: &[toml::de::Error], text: &str, file_name: &str) -> Faults {
    let places = Places::new(file_name, text);
    let faults = errors.iter().map(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let problem = Problem::new(error.message().replace('\n', "; "), "");
        places.fault(offset, String::new(), problem)
    });
    Faults(faults.collect())
}

fn finish(
    config: Config,
    report: Report,
    text: &str,
    file_name: &str,
) -> Result<ConfigFile, Faults> {
    let findings = report.into_findings();
    if !findings.is_empty() {
        return Err(fault::locate(file_name, text, findings));
    }
    Ok(ConfigFile {
        config,
        name: file_name.to_owned(),
        text: text.to_owned(),
    })
}

/// Reads the whole file, of which `services` have been read already. What could not be built is
/// left out and noted in `report`.
pub(crate) fn read(
    report: &Report,
    root: &DeTable<'_>,
    mut services: Vec<Placed<Service>>,
) -> Config {
    let s = Section::root(report, root);
    let eal = Eal::read(s.section("eal"));
    let workers = Workers::read(s.section("workers"));
    let limits = Limits::read(s.section("limits"));
    let timeouts = Timeouts::read(s.section("timeouts"));
    let settings = Settings::read(s.section("settings"));
    let ipvs = Ipvs::read(s.section("ipvs"));
    let metrics = Metrics::read(s.section("metrics"));
    let control = Control::read(s.section("control"));
    let log = Log::read(s.section("log"));
    let ports = read_all(&s, "port", Port::read);
    let routes = read_all(&s, "route", Route::read);
    let neighbours = read_all(&s, "neighbour", Neighbour::read);
    let marks = read_all(&s, "mark", MarkRule::read);
    services.extend(read_all(&s, "service", Service::read));
    s.finish();

    // A port that is there and faulty is not missing.
    if !root.contains_key("port") {
        let cure = "give at least one [[port]] with a name and a device";
        report.add("port", Problem::new("there is no port", cure));
    }
    validate::ports(report, &eal, &ports);
    validate::routes(report, &ports, &routes);
    validate::neighbours(report, &ports, &neighbours);
    validate::marks(report, &ports, &marks);
    validate::services(report, &limits, &services);
    validate::local_ends(report, &workers, &services);
    Config {
        eal,
        workers,
        limits,
        timeouts,
        settings,
        ipvs,
        metrics,
        control,
        log,
        ports: values(ports),
        routes: values(routes),
        neighbours: values(neighbours),
        marks: values(marks),
        services: values(services),
    }
}

fn read_all<'d, T>(
    s: &Section<'d>,
    name: &'static str,
    read: impl Fn(Section<'d>) -> Option<Placed<T>>,
) -> Vec<Placed<T>> {
    s.sections(name).into_iter().filter_map(read).collect()
}

fn values<T>(placed: Vec<Placed<T>>) -> Vec<T> {
    placed.into_iter().map(|placed| placed.value).collect()
}

#[cfg(test)]
mod tests;
