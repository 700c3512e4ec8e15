//! Requests about the servers of a service.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use weir_model::api::{BodyFault, OperationMethod, Problem, ServerBody, ServiceBody, path};
use weir_model::body::{self, FieldFaults};
use weir_model::{Operation, Server, ServerKey, Service, ServiceKey};

use super::{Draft, Prepared, exists, merge, no_service, to_value};

impl Draft<'_> {
    pub(super) fn servers(
        &mut self,
        word: &str,
        request: &Prepared,
    ) -> Result<Option<String>, Problem> {
        let key = self.existing(word)?;
        if request.method != OperationMethod::Post {
            return Err(request.not_this("the list of servers"));
        }
        let service = self.service(&key).ok_or_else(|| no_service(word))?;
        let server = read(service, request.body()?, request)?;
        if service.server(server.key()).is_some() {
            let server = server.key();
            return Err(exists(format!("service {key} has a server {server}")));
        }
        self.put_server(key, server, request)
    }

    pub(super) fn server(
        &mut self,
        service: &str,
        word: &str,
        request: &Prepared,
    ) -> Result<Option<String>, Problem> {
        let at = self.existing(service)?;
        let service = self.service(&at).ok_or_else(|| no_service(service))?;
        let held = find(service, word).map(|place| &service.servers[place]);
        let may_be_new = request.method == OperationMethod::Put;
        let key = held.map(Server::key);
        let key = key.or_else(|| server_key(word, at.port()).filter(|_| may_be_new));
        let key = key.ok_or_else(|| no_server(service, word))?;
        let wanted = match request.method {
            OperationMethod::Post => return Err(request.not_this("a server")),
            OperationMethod::Delete => {
                self.operations.push(Operation::RemoveServer(at, key));
                self.edit(at, |servers| servers.retain(|server| server.key() != key));
                return Ok(None);
            }
            OperationMethod::Put => with_key(request.body()?, key),
            OperationMethod::Patch => {
                let mut held = held.map_or(Value::Null, |held| to_value(ServerBody::from(held)));
                let body = request.body()?;
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
        let server = read(service, &wanted, request)?;
        if server.key() != key {
            let detail = format!("the path names {key}, and this is {}", server.key());
            let cure = "leave address and port out, or add the other server and remove this one";
            return Err(request.fault("", detail, cure));
        }
        self.put_server(at, server, request)
    }

    /// Adds the server, or puts it in the place of the one with its key.
    fn put_server(
        &mut self,
        at: ServiceKey,
        server: Server,
        request: &Prepared,
    ) -> Result<Option<String>, Problem> {
        let key = server.key();
        let Some(service) = self.service(&at) else {
            return Err(no_service(&at.word()));
        };
        let namesake = |other: &&Server| other.key() != key && other.name == server.name;
        if let Some(name) = &server.name
            && let Some(other) = service.servers.iter().find(namesake)
        {
            let detail = format!("{name:?} is also the name of {}", other.key());
            return Err(request.fault("/name", detail, "give it another name"));
        }
        let is_new = service.server(key).is_none();
        self.operations.push(match is_new {
            true => Operation::AddServer(at, server.clone()),
            false => Operation::EditServer(at, server.clone()),
        });
        self.edit(at, |servers| {
            match servers.iter_mut().find(|held| held.key() == key) {
                Some(held) => *held = server,
                None => servers.push(server),
            }
        });
        Ok(is_new.then(|| path::server(&at.word(), &key.to_string())))
    }

    fn edit(&mut self, at: ServiceKey, edit: impl FnOnce(&mut Vec<Server>)) {
        let held = self.held;
        let touched = self.touched.entry(at);
        let touched = touched.or_insert_with(|| held.service(&at).cloned());
        if let Some(service) = touched {
            edit(&mut service.servers);
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
fn read(service: &Service, body: &Value, request: &Prepared) -> Result<Server, Problem> {
    let mut alone = to_value(ServiceBody::without_servers(service));
    alone["servers"] = json!([body]);
    let service = body::service(&alone).map_err(|faults| faulty(faults, request))?;
    let mut servers = service.servers.into_iter();
    servers.next().ok_or_else(|| {
        let detail = "it is no server".to_owned();
        request.fault("", detail, "give an object")
    })
}

fn faulty(faults: FieldFaults, request: &Prepared) -> Problem {
    let own = faults.into_iter().map(|mut fault| {
        if let Some(key) = fault.key.strip_prefix("server[0]") {
            fault.key = key.trim_start_matches('.').to_owned();
        }
        BodyFault::at(&request.base, fault)
    });
    Problem::invalid_body(own.collect())
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
