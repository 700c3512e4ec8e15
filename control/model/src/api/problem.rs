//! What went wrong with a request.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Faults};

/// A problem document (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl Problem {
    /// The content type of a problem document.
    pub const CONTENT_TYPE: &'static str = "application/problem+json";
    /// The [`kind`](Problem::kind) of a reload that was refused for its file.
    pub const INVALID_CONFIG: &'static str = "urn:weir:invalid-config";

    /// A problem that its HTTP status names, told in `detail`.
    #[must_use]
    pub fn new(status: u16, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Problem {
            kind: about_blank(),
            title: title.into(),
            status,
            detail: detail.into(),
            faults: Vec::new(),
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
        }
    }
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
        Ok(())
    }
}

impl std::error::Error for Problem {}
