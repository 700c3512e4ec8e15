//! A router that is described by an OpenAPI document: an endpoint is served and described by one
//! call, so that neither is without the other. The types of the bodies are the schemas.

use std::collections::BTreeMap;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, on};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use weir_model::api::Problem;

use crate::door::Door;

/// A router and its description, under construction.
pub(super) struct Described {
    router: Router<Door>,
    /// By path and method.
    paths: BTreeMap<&'static str, Map<String, Value>>,
    schemas: SchemaGenerator,
}

type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What is said of one endpoint.
pub(super) struct Say {
    id: &'static str,
    summary: &'static str,
    query: Vec<SchemaOf>,
    is_change: bool,
    has_etag: bool,
    bodies: Vec<(&'static str, SchemaOf)>,
    /// By status.
    answers: Vec<(u16, &'static str, Option<SchemaOf>)>,
}

/// A change: whether it is only tried.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes; change.rs reads it")]
struct DryRun {
    /// Nothing is changed: the answer says what would be.
    dry_run: Option<bool>,
}

pub(super) const JSON: &str = "application/json";
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";

impl Say {
    /// An endpoint in a word and in a sentence.
    pub(super) fn new(id: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            summary,
            query: Vec::new(),
            is_change: false,
            has_etag: false,
            bodies: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// It changes the configuration: it can be tried, and be made to depend on the revision.
    pub(super) fn change(mut self) -> Self {
        self.query.push(DryRun::json_schema);
        self.is_change = true;
        self.has_etag = true;
        self
    }

    /// Its answer has the configuration's revision.
    pub(super) fn etag(mut self) -> Self {
        self.has_etag = true;
        self
    }

    /// The fields of `T` are its query.
    pub(super) fn query<T: JsonSchema>(mut self) -> Self {
        self.query.push(T::json_schema);
        self
    }

    pub(super) fn body<T: JsonSchema>(mut self) -> Self {
        self.bodies
            .push((JSON, SchemaGenerator::subschema_for::<T>));
        self
    }

    /// A merge patch (RFC 7396) of `T`.
    pub(super) fn patch<T: JsonSchema>(self) -> Self {
        let mut say = self.body::<T>();
        say.bodies
            .push((MERGE_PATCH, SchemaGenerator::subschema_for::<T>));
        say
    }

    pub(super) fn answers<T: JsonSchema>(mut self, status: u16, what: &'static str) -> Self {
        let schema: SchemaOf = SchemaGenerator::subschema_for::<T>;
        self.answers.push((status, what, Some(schema)));
        self
    }

    pub(super) fn answers_nothing(mut self, status: u16, what: &'static str) -> Self {
        self.answers.push((status, what, None));
        self
    }
}

impl Described {
    pub(super) fn new() -> Self {
        let settings = SchemaSettings::draft2020_12();
        let settings = settings.with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self {
            router: Router::new(),
            paths: BTreeMap::new(),
            schemas: settings.into_generator(),
        }
    }

    /// Serves `path` by `handler` and describes it by `say`.
    pub(super) fn on<H, T>(
        mut self,
        method: &Method,
        path: &'static str,
        say: Say,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Door>,
        T: 'static,
    {
        let word = method.as_str().to_lowercase();
        let operation = self.operation(path, say);
        self.paths.entry(path).or_default().insert(word, operation);
        let filter = MethodFilter::try_from(method.clone()).expect("a method of HTTP");
        self.router = self.router.route(path, on(filter, handler));
        self
    }

    fn operation(&mut self, path: &str, say: Say) -> Value {
        let mut parameters: Vec<Value> = path_parameters(path);
        for schema in &say.query {
            parameters.extend(query_parameters(schema(&mut self.schemas)));
        }
        if say.is_change {
            parameters.push(json!({
                "name": "If-Match", "in": "header",
                "description": "The change is done only at this revision of the configuration, an ETag.",
                "schema": {"type": "string"},
            }));
        }
        let mut responses = Map::new();
        for (status, what, schema) in say.answers {
            let mut response = json!({"description": what});
            if let Some(schema) = schema {
                response["content"] = json!({JSON: {"schema": schema(&mut self.schemas)}});
            }
            if say.has_etag {
                response["headers"]["ETag"] = json!({
                    "description": "The revision of the configuration.",
                    "schema": {"type": "string"},
                });
            }
            if status == 201 {
                response["headers"]["Location"] = json!({
                    "description": "The path of what was made.",
                    "schema": {"type": "string"},
                });
            }
            responses.insert(status.to_string(), response);
        }
        for range in ["4XX", "5XX"] {
            let problem = self.schemas.subschema_for::<Problem>();
            responses.insert(
                range.to_owned(),
                json!({
                    "description": "What went wrong, and the cure (RFC 9457).",
                    "content": {Problem::CONTENT_TYPE: {"schema": problem}},
                }),
            );
        }
        let mut operation = json!({
            "operationId": say.id,
            "summary": say.summary,
            "responses": responses,
        });
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if !say.bodies.is_empty() {
            let bodies = say.bodies.into_iter();
            let content: Map<String, Value> = bodies
                .map(|(kind, schema)| {
                    let schema = schema(&mut self.schemas);
                    (kind.to_owned(), json!({"schema": schema}))
                })
                .collect();
            operation["requestBody"] = json!({"required": true, "content": content});
        }
        operation
    }

    /// The router, and the document of all that was put on it.
    pub(super) fn finish(mut self) -> (Router<Door>, Value) {
        let mut schemas = self.schemas.take_definitions(true);
        // ipnet's own takes an IPv4 network for an IPv6 one too, and then for neither.
        if let Some(net) = schemas.get_mut("IpNet") {
            *net = json!({
                "type": "string",
                "description": "An IPv4 or IPv6 address with the length of a prefix.",
                "pattern": "^[0-9A-Fa-f.:]+/[0-9]+$",
                "examples": ["192.0.2.0/24", "2001:db8::/32"],
            });
        }
        schemas.remove("Ipv4Net");
        schemas.remove("Ipv6Net");
        let document = json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Weir",
                "version": "1",
                "description": "What a running weird, the LVS director, does and how it is changed.\n\n\
                    Keys are those of the configuration file. A change is done whole or not at all. \
                    Fields are added within /v1, none is renamed or given another meaning: ignore what \
                    you do not know.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{
                "url": "/",
                "description": "control.socket, and control.listen by HTTPS with a token.",
            }],
            "security": [{}, {"token": []}],
            "paths": self.paths,
            "components": {
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
                "schemas": schemas,
            },
        });
        (self.router, document)
    }
}

/// `{service}` and the like.
fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|segment| {
        let name = segment.strip_prefix('{')?;
        name.strip_suffix('}')
    });
    let parameter = |name: &str| {
        let (what, schema) = match name {
            "service" => (
                "The service: its key, such as tcp:192.0.2.100:80 or mark:10, or its name.",
                json!({"type": "string", "minLength": 1, "examples": ["tcp:192.0.2.100:80"]}),
            ),
            "server" => (
                "The real server: its address and port, or its name.",
                json!({"type": "string", "minLength": 1, "examples": ["10.0.0.1:80"]}),
            ),
            _ => (
                "The rule's place in the list, from 0.",
                json!({"type": "integer", "minimum": 0, "examples": [0]}),
            ),
        };
        json!({"name": name, "in": "path", "required": true, "description": what, "schema": schema})
    };
    names.map(parameter).collect()
}

fn query_parameters(schema: Schema) -> Vec<Value> {
    let object = schema.to_value();
    let properties = object["properties"].as_object().cloned();
    let properties = properties.unwrap_or_default().into_iter();
    let parameter = |(name, schema): (String, Value)| {
        let mut schema = without_null(schema);
        let what = schema.as_object_mut().and_then(|s| s.remove("description"));
        json!({"name": name, "in": "query", "description": what, "schema": schema})
    };
    properties.map(parameter).collect()
}

/// In a query there is no null: a field is there or not.
fn without_null(mut schema: Value) -> Value {
    let Some(object) = schema.as_object_mut() else {
        return schema;
    };
    object.remove("default");
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|one| one != "null");
        if let [only] = &types[..] {
            object["type"] = only.clone();
        }
    }
    if let Some(Value::Array(choices)) = object.remove("anyOf") {
        let null = json!({"type": "null"});
        let mut choices: Vec<Value> = choices.into_iter().filter(|c| *c != null).collect();
        match (choices.len(), choices.pop()) {
            (1, Some(Value::Object(only))) => object.extend(only),
            (_, last) => {
                choices.extend(last);
                object.insert("anyOf".to_owned(), choices.into());
            }
        }
    }
    schema
}
