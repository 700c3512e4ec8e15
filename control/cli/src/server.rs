//! `weir server`: a server is named by itself, and found in the services that have it.

use std::io::{self, IsTerminal as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};
use weir_model::ServiceKey;
use weir_model::api::{DrainState, DrainView, Problem, ServerView, Services, path};

use crate::change::{Body, ServerOptions, Trial};
use crate::client::{Client, Error, Request, Verb};
use crate::{Outcome, show};

/// Between two looks at a drain.
const LOOK: Duration = Duration::from_secs(1);

/// Changes of servers.
#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    /// Add a server to a service.
    Add {
        /// The service's name or key.
        service: String,
        /// The server's address, with its port if it is not the service's.
        #[arg(value_name = "ADDR[:PORT]")]
        server: String,
        #[command(flatten)]
        options: Box<ServerOptions>,
        #[command(flatten)]
        trial: Trial,
    },
    /// Change some of a server; what is not given stays.
    Set {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        options: Box<ServerOptions>,
        #[command(flatten)]
        trial: Trial,
    },
    /// Remove a server.
    Remove {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        trial: Trial,
    },
    /// Show a server in each service that has it.
    Show {
        #[command(flatten)]
        which: Which,
    },
    /// Give a server no new flows, and wait for the others to end.
    ///
    /// Every service that has the server is drained of it, or the one that is given. Exit status with
    /// --wait: 0 when no flow was left before the deadline, 3 when some were. Those are ended, TCP by a
    /// reset to both ends, which takes some seconds.
    Drain {
        #[command(flatten)]
        which: Which,
        /// When the flows that are left are ended, such as 90s, 10m or 1h; without it never.
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        deadline: Option<u32>,
        /// Wait, and tell how many flows are left.
        #[arg(long)]
        wait: bool,
        /// Call the drain off: the server gets its weight back.
        #[arg(long, conflicts_with_all = ["deadline", "wait"])]
        stop: bool,
    },
}

/// One server.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// The server's name, or its address and port.
    #[arg(value_name = "NAME|ADDR:PORT")]
    server: String,
    /// Only in this service, by its name or key.
    #[arg(long)]
    service: Option<String>,
}

fn seconds(text: &str) -> Result<u32, String> {
    let wrong = |_| "give a time such as 90s, 10m or 1h".to_owned();
    let time = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text).map_err(|e| wrong(e.to_string()))?,
    };
    u32::try_from(time.as_secs()).map_err(|e| wrong(e.to_string()))
}

/// A server in a service.
struct Place {
    service: ServiceKey,
    server: ServerView,
}

impl Place {
    fn path(&self) -> String {
        path::server(&self.service.word(), &self.word())
    }

    fn drain(&self) -> String {
        path::drain(&self.service.word(), &self.word())
    }

    fn word(&self) -> String {
        SocketAddr::new(self.server.address, self.server.port).to_string()
    }
}

impl Which {
    /// Where it is; at least one place.
    fn places(&self, client: &Client) -> Result<Vec<Place>, Error> {
        let body = client.ask(&Request::get(path::SERVICES))?;
        let services: Services = serde_json::from_slice(&body).map_err(Error::NotUnderstood)?;
        let is_meant = |key: ServiceKey, name: Option<&str>| {
            self.service
                .as_deref()
                .is_none_or(|word| word.parse() == Ok(key) || name.is_some_and(|name| name == word))
        };
        let mut places = Vec::new();
        for service in services.services {
            if !is_meant(service.key, service.name.as_deref()) {
                continue;
            }
            let is_removed =
                |view: &ServerView| view.state == weir_model::api::ServerState::Removed;
            let servers = service.servers.into_iter();
            let own = servers.filter(|view| !is_removed(view) && self.is(view, service.key));
            places.extend(own.map(|server| Place {
                service: service.key,
                server,
            }));
        }
        if places.is_empty() {
            let server = &self.server;
            let detail = match &self.service {
                Some(service) => format!("there is no server {server:?} in service {service}"),
                None => format!("no service has a server {server:?}"),
            };
            let title = "There is no such server";
            return Err(Error::Refused(Problem::new(404, title, detail)));
        }
        Ok(places)
    }

    fn is(&self, view: &ServerView, service: ServiceKey) -> bool {
        let word = &self.server;
        let address = word.parse::<IpAddr>();
        let at = address.map(|address| SocketAddr::new(address, service.port()));
        match at.or_else(|_| word.parse()) {
            Ok(at) => (view.address, view.port) == (at.ip(), at.port()),
            Err(_) => view.name.as_ref() == Some(word),
        }
    }

    /// The one place where it is.
    fn place(&self, client: &Client) -> Result<Place, Error> {
        let mut places = self.places(client)?;
        if places.len() > 1 {
            let keys: Vec<_> = places.iter().map(|place| place.service.word()).collect();
            let detail = format!(
                "{} services have the server {:?}; give one of them by --service: {}",
                keys.len(),
                self.server,
                keys.join(", ")
            );
            let title = "It is not clear which server is meant";
            return Err(Error::Refused(Problem::new(409, title, detail)));
        }
        places.pop().ok_or(Error::Empty)
    }
}

impl ServerCommand {
    pub(crate) fn run(&self, client: &Client, json: bool) -> Result<Outcome, Error> {
        let request = match self {
            Self::Add {
                service,
                server,
                options,
                trial,
            } => {
                let at = server.parse::<SocketAddr>();
                let (address, port) = match at {
                    Ok(at) => (at.ip().to_string(), Some(at.port())),
                    Err(_) => (server.clone(), None),
                };
                let body = Body::default().with("address", Some(address));
                let body = options.body(body.with("port", port)).value();
                trial.request(Verb::Post, &path::servers(service), Some(body))
            }
            Self::Set {
                which,
                options,
                trial,
            } => {
                let body = options.body(Body::default()).value();
                trial.request(Verb::Patch, &which.place(client)?.path(), Some(body))
            }
            Self::Remove { which, trial } => {
                trial.request(Verb::Delete, &which.place(client)?.path(), None)
            }
            Self::Show { which } => return shown(&which.places(client)?, json),
            Self::Drain {
                which,
                deadline,
                wait,
                stop,
            } => {
                let places = which.places(client)?;
                return match (stop, wait) {
                    (true, _) => call_off(client, &places),
                    (false, wait) => drain(client, &places, *deadline, *wait, json),
                };
            }
        };
        let body = client.ask(&request)?;
        Outcome::changed(&body, json)
    }
}

fn shown(places: &[Place], json: bool) -> Result<Outcome, Error> {
    if json {
        let list = places.iter().map(|place| {
            let mut value = serde_json::to_value(&place.server).unwrap_or_default();
            value["service"] = json!(place.service.word());
            value
        });
        return Ok(Outcome::text(Value::from_iter(list).to_string() + "\n"));
    }
    let lines = places
        .iter()
        .map(|place| show::server(place.service, &place.server));
    Ok(Outcome::text(lines.collect()))
}

fn call_off(client: &Client, places: &[Place]) -> Result<Outcome, Error> {
    let mut text = String::new();
    for place in places {
        client.ask(&Request {
            verb: Verb::Delete,
            path: place.drain(),
            body: None,
        })?;
        text += &format!("{} of {} drains no longer.\n", place.word(), place.service);
    }
    Ok(Outcome::text(text))
}

fn drain(
    client: &Client,
    places: &[Place],
    deadline: Option<u32>,
    wait: bool,
    json: bool,
) -> Result<Outcome, Error> {
    let body = Body::default().with("deadline_seconds", deadline).value();
    let look = |place: &Place, verb, body| -> Result<DrainView, Error> {
        let path = place.drain();
        let answer = client.ask(&Request { verb, path, body })?;
        serde_json::from_slice(&answer).map_err(Error::NotUnderstood)
    };
    let begin = places.iter();
    let begin = begin.map(|place| look(place, Verb::Post, Some(body.clone())));
    let mut views = begin.collect::<Result<Vec<_>, _>>()?;
    if wait {
        let mut progress = Progress::default();
        let is_under_way =
            |view: &DrainView| matches!(view.state, DrainState::Draining | DrainState::Ending);
        while views.iter().any(is_under_way) {
            progress.tell(places, &views);
            sleep(LOOK);
            let again = places.iter().map(|place| look(place, Verb::Get, None));
            views = again.collect::<Result<Vec<_>, _>>()?;
        }
        progress.end();
    }
    let is_forced =
        |view: &DrainView| matches!(view.state, DrainState::Forced | DrainState::Ending);
    let code = match views.iter().any(is_forced) {
        true => Outcome::NOT_AS_WISHED,
        false => 0,
    };
    let all = places.iter().zip(&views);
    let text = if json {
        let list = all.map(|(place, view)| {
            let mut value = serde_json::to_value(view).unwrap_or_default();
            value["service"] = json!(place.service.word());
            value["server"] = json!(place.word());
            value
        });
        Value::from_iter(list).to_string() + "\n"
    } else {
        all.map(|(place, view)| show::drain(&place.word(), place.service, view))
            .collect()
    };
    Ok(Outcome { text, code })
}

/// How many flows are left, on standard error: one line that changes, or a line for each change.
#[derive(Debug, Default)]
struct Progress {
    last: String,
}

impl Progress {
    fn tell(&mut self, places: &[Place], views: &[DrainView]) {
        let (active, inactive) = views.iter().fold((0, 0), |(active, inactive), view| {
            (active + view.active, inactive + view.inactive)
        });
        let left = views.iter().filter_map(|view| view.seconds_left).max();
        let flows = format!("{active} active and {inactive} other flows left");
        let mut error = io::stderr();
        // Nobody may be there to read it.
        let _ = if error.is_terminal() {
            let left = left.map_or(String::new(), |left| format!(", {left} s to the deadline"));
            write!(error, "\r\x1b[K{flows}{left}")
        } else if flows != self.last {
            let word = places.first().map(Place::word).unwrap_or_default();
            writeln!(error, "{word}: {flows}")
        } else {
            Ok(())
        };
        self.last = flows;
    }

    fn end(&self) {
        let mut error = io::stderr();
        if error.is_terminal() && !self.last.is_empty() {
            let _ = write!(error, "\r\x1b[K");
        }
    }
}
