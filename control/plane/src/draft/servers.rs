//! Operations on the servers of a service.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use weir_model::api::{BodyFault, OperationMethod, Problem, ServerBody, ServiceBody};
use weir_model::change::{self, FieldFaults};
use weir_model::{Server, ServerKey, Service};

use super::{Asked, Done, Draft, exists, merge, target, to_value};

impl Draft {
    pub(super) fn servers(&mut self, word: &str, asked: &Asked<'_>) -> Result<Done, Problem> {
        let at = self.existing(word)?;
        if asked.method != OperationMethod::Post {
            return Err(asked.not_this("the list of servers"));
        }
        let server = read(self.at(at), asked.body()?, asked)?;
        if self.at(at).server(server.key()).is_some() {
            let key = self.at(at).key;
            return Err(exists(format!(
                "service {key} has a server {}",
                server.key()
            )));
        }
        self.add_server(at, server, asked)
    }

    fn add_server(
        &mut self,
        at: usize,
        server: Server,
        asked: &Asked<'_>,
    ) -> Result<Done, Problem> {
        let service = self.at(at);
        is_nobody_elses_name(service, &server, asked)?;
        let path = target::server_path(service.key, server.key());
        service.servers.push(server);
        Ok(Done::Created(path))
    }

    pub(super) fn server(
        &mut self,
        service: &str,
        word: &str,
        asked: &Asked<'_>,
    ) -> Result<Done, Problem> {
        let at = self.existing(service)?;
        let service = self.at(at);
        let found = find(service, word);
        let may_be_new = asked.method == OperationMethod::Put;
        let key = match found {
            Some(place) => Some(service.servers[place].key()),
            None => server_key(word, service.key.port()).filter(|_| may_be_new),
        };
        let key = key.ok_or_else(|| no_server(service, word))?;
        let wanted = match asked.method {
            OperationMethod::Post => return Err(asked.not_this("a server")),
            OperationMethod::Delete => {
                let place = found.ok_or_else(|| no_server(service, word))?;
                service.servers.remove(place);
                return Ok(Done::Changed);
            }
            OperationMethod::Put => with_key(asked.body()?, key),
            OperationMethod::Patch => {
                let place = found.ok_or_else(|| no_server(service, word))?;
                let mut held = to_value(&ServerBody::from(&service.servers[place]));
                let body = asked.body()?;
                if let Some(method) = body.get("method")
                    && held.get("method") != Some(method)
                    && let Some(held) = held.as_object_mut()
                {
                    // What is of a tunnel only, and was not said, does not outlive it.
                    for key in ["tunnel", "tunnel_port", "tunnel_checksum"] {
                        held.remove(key);
                    }
                }
                merge(&mut held, body);
                held
            }
        };
        let server = read(service, &wanted, asked)?;
        if server.key() != key {
            let detail = format!("the path names {key}, and this is {}", server.key());
            let cure = "leave address and port out, or add the other server and remove this one";
            return Err(asked.fault("", detail, cure));
        }
        match found {
            None => self.add_server(at, server, asked),
            Some(place) => {
                is_nobody_elses_name(service, &server, asked)?;
                service.servers[place] = server;
                Ok(Done::Changed)
            }
        }
    }
}

/// The server that `word` names: its address and port, or its name.
pub(crate) fn find(service: &Service, word: &str) -> Option<usize> {
    let mut servers = service.servers.iter();
    match server_key(word, service.key.port()) {
        Some(key) => servers.position(|server| server.key() == key),
        None => servers.position(|server| server.name.as_deref() == Some(word)),
    }
}

fn server_key(word: &str, port: u16) -> Option<ServerKey> {
    let at = word.parse::<SocketAddr>();
    let at = at.or_else(|_| word.parse::<IpAddr>().map(|ip| (ip, port).into()));
    at.ok().map(|at| ServerKey {
        address: at.ip(),
        port: at.port(),
    })
}

/// Reads one server as the only one of its service.
fn read(service: &Service, body: &Value, asked: &Asked<'_>) -> Result<Server, Problem> {
    let mut alone = to_value(&ServiceBody::without_servers(service));
    alone["servers"] = json!([body]);
    let service = change::service(&alone).map_err(|faults| faulty(faults, asked))?;
    let mut servers = service.servers.into_iter();
    servers.next().ok_or_else(|| {
        let detail = "it is no server".to_owned();
        asked.fault("", detail, "give an object")
    })
}

fn faulty(faults: FieldFaults, asked: &Asked<'_>) -> Problem {
    let own = faults.into_iter().map(|mut fault| {
        if let Some(key) = fault.key.strip_prefix("server[0]") {
            fault.key = key.trim_start_matches('.').to_owned();
        }
        BodyFault::at(asked.base, fault)
    });
    Problem::invalid_body(own.collect())
}

fn is_nobody_elses_name(
    service: &Service,
    server: &Server,
    asked: &Asked<'_>,
) -> Result<(), Problem> {
    let is_other = |other: &&Server| other.key() != server.key() && other.name == server.name;
    let other = match server.name {
        Some(_) => service.servers.iter().find(is_other),
        None => None,
    };
    other.map_or(Ok(()), |other| {
        let name = server.name.as_deref().unwrap_or_default();
        let detail = format!("{name:?} is also the name of {}", other.key());
        Err(asked.fault("/name", detail, "give it another name"))
    })
}

fn with_key(body: &Value, key: ServerKey) -> Value {
    let mut body = body.clone();
    if let Value::Object(object) = &mut body {
        let key = [("address", json!(key.address)), ("port", json!(key.port))];
        for (name, value) in key {
            if object.get(name).is_none_or(Value::is_null) {
                object.insert(name.to_owned(), value);
            }
        }
    }
    body
}

pub(crate) fn no_server(service: &Service, word: &str) -> Problem {
    let detail = format!(
        "service {} has no server {word:?}; give its name or address and port",
        service.key
    );
    Problem::new(404, "There is no such server", detail)
}
