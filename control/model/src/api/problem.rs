//! What went wrong with a request.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::BodyFault;
use crate::fault::{Fault, Faults};

/// A problem document (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// What kind of problem it is; `about:blank`: what the status says (RFC 9457 §4.2.1).
    #[serde(rename = "type", default = "about_blank")]
    pub kind: String,
    /// The kind in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// This one in a sentence, with its cure.
    #[serde(default)]
    pub detail: String,
    /// With [`Problem::INVALID_CONFIG`]: every fault of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// With [`Problem::INVALID_BODY`]: every fault of the body.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub errors: Box<[BodyFault]>,
}

impl Problem {
    /// The content type of a problem document.
    pub const CONTENT_TYPE: &'static str = "application/problem+json";
    /// The [`kind`](Problem::kind) of a reload that was refused for its file.
    pub const INVALID_CONFIG: &'static str = "urn:weir:invalid-config";

    /// The [`kind`](Problem::kind) of a change that was refused for its body.
    pub const INVALID_BODY: &'static str = "urn:weir:invalid-body";

    /// A problem that its HTTP status names, told in `detail`.
    #[must_use]
    pub fn new(status: u16, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Problem {
            kind: about_blank(),
            title: title.into(),
            status,
            detail: detail.into(),
            faults: Vec::new(),
            errors: [].into(),
        }
    }

    /// The body has faults, so nothing was changed. Status 422.
    #[must_use]
    pub fn invalid_body(errors: Vec<BodyFault>) -> Self {
        Problem {
            kind: Self::INVALID_BODY.to_owned(),
            title: "The change has faults".to_owned(),
            status: 422,
            detail: "Nothing was changed.".to_owned(),
            faults: Vec::new(),
            errors: errors.into(),
        }
    }

    /// The file has faults, so nothing was changed. Status 422.
    #[must_use]
    pub fn invalid_config(faults: Faults) -> Self {
        Problem {
            kind: Self::INVALID_CONFIG.to_owned(),
            title: "The configuration has faults".to_owned(),
            status: 422,
            detail: "Nothing was changed; the director goes on as before.".to_owned(),
            faults: faults.0,
            errors: [].into(),
        }
    }
}

fn is_empty(errors: &[BodyFault]) -> bool {
    errors.is_empty()
}

fn about_blank() -> String {
    "about:blank".to_owned()
}

impl fmt::Display for Problem {
    /// The sentence, then each fault on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        for fault in &self.faults {
            write!(f, "\n{fault}")?;
        }
        for error in &*self.errors {
            write!(f, "\n{}: {}", error.pointer, error.detail)?;
            if !error.cure.is_empty() {
                write!(f, "; {}", error.cure)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}
