//! What a path of the API names.

use percent_encoding::percent_decode_str;
use weir_model::api::Problem;

/// What an operation changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The list of services.
    Services,
    /// A service, by its name or key.
    Service(String),
    /// The list of a service's servers.
    Servers(String),
    /// A server, by its name or address and port.
    Server(String, String),
    /// The list of rules for marks.
    Marks,
    /// A rule, by its place from 0.
    Mark(usize),
    /// `[ipvs]`, `[timeouts]` and `[settings]`.
    Settings,
    /// All of this.
    Config,
}

impl Target {
    /// What `path` names.
    ///
    /// # Errors
    /// It names nothing that can be changed.
    pub fn of(path: &str) -> Result<Self, Problem> {
        let nothing = || {
            let detail = format!("{path} names nothing that can be changed");
            Problem::new(404, "Not found", detail)
        };
        let rest = path.strip_prefix("/v1/").ok_or_else(nothing)?;
        let segments: Option<Vec<String>> = rest.split('/').map(decode).collect();
        let segments = segments.ok_or_else(nothing)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        Ok(match segments[..] {
            ["services"] => Self::Services,
            ["services", service] => Self::Service(service.to_owned()),
            ["services", service, "servers"] => Self::Servers(service.to_owned()),
            ["services", service, "servers", server] => {
                Self::Server(service.to_owned(), server.to_owned())
            }
            ["marks"] => Self::Marks,
            ["marks", index] => Self::Mark(index.parse().map_err(|_| nothing())?),
            ["settings"] => Self::Settings,
            ["config"] => Self::Config,
            _ => return Err(nothing()),
        })
    }
}

fn decode(segment: &str) -> Option<String> {
    let text = percent_decode_str(segment).decode_utf8().ok()?;
    (!text.is_empty()).then(|| text.into_owned())
}
