//! One thing that is wrong with a configuration: where, what, and what to do about it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::de::{DeTable, DeValue};

/// One thing that is wrong, with its place and its cure.
///
/// Displayed as `conf/weir.toml:41:10: service[2].server[0].weight: 70000 is more than 65535; give
/// a weight from 0 to 65535`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// The file as the operator named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The key, such as `service[2].server[0].weight` (numbers count from 0 in the order of the
    /// file). Empty when the text is not TOML.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to write instead. Empty when the problem says it already.
    pub cure: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)?;
        if !self.cure.is_empty() {
            write!(f, "; {}", self.cure)?;
        }
        Ok(())
    }
}

/// Every fault that was found, in the order of the file. Displayed one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// A problem and its cure, before anybody knows where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) problem: String,
    pub(crate) cure: String,
}

impl Problem {
    pub(crate) fn new(problem: impl Into<String>, cure: impl Into<String>) -> Self {
        Problem {
            problem: problem.into(),
            cure: cure.into(),
        }
    }
}

/// One thing that is wrong with what is to be changed at run time, where there is no file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldFault {
    /// The key, such as `server[0].weight`.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to give instead. Empty when the problem says it already.
    pub cure: String,
}

impl FieldFault {
    pub(crate) fn new(key: String, problem: Problem) -> Self {
        let Problem { problem, cure } = problem;
        FieldFault { key, problem, cure }
    }
}

impl fmt::Display for FieldFault {
    /// `server[0].weight: 2147483648 is more than 2147483647; give at most 2147483647`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)?;
        if !self.cure.is_empty() {
            write!(f, "; {}", self.cure)?;
        }
        Ok(())
    }
}

/// A [`Problem`] at a key.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) problem: Problem,
    /// The place is the key itself and not its value.
    pub(crate) at_key: bool,
}

/// Gives each finding its line and column in `text` and sorts them as the file reads.
///
/// The file is parsed again: places are wanted only when something is wrong, and so need not be
/// carried along when nothing is.
pub(crate) fn locate(file: &str, text: &str, findings: Vec<Finding>) -> Faults {
    let (root, _) = DeTable::parse_recoverable(text);
    let places = Places::new(file, text);
    let mut faults: Vec<Fault> = findings
        .into_iter()
        .map(|finding| {
            let offset = offset_of(root.get_ref(), &finding.path, finding.at_key);
            places.fault(offset, finding.path, finding.problem)
        })
        .collect();
    faults.sort_by_key(|fault| (fault.line, fault.column));
    Faults(faults)
}

/// Turns bytes of a text into lines and columns. The lines are found once: a generated file of
/// 65 536 servers, all with the same fault, took minutes when each fault counted them again.
#[derive(Debug)]
pub(crate) struct Places<'t> {
    file: &'t str,
    text: &'t str,
    line_starts: Vec<usize>,
}

impl<'t> Places<'t> {
    pub(crate) fn new(file: &'t str, text: &'t str) -> Self {
        let after_newlines = text.match_indices('\n').map(|(newline, _)| newline + 1);
        Places {
            file,
            text,
            line_starts: std::iter::once(0).chain(after_newlines).collect(),
        }
    }

    /// A fault at a byte of the text.
    pub(crate) fn fault(&self, offset: usize, key: String, problem: Problem) -> Fault {
        // The first line starts at 0, so there is always one that starts at or before `offset`.
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts[line - 1];
        let before = self.text.get(start..offset).unwrap_or_default();
        Fault {
            file: self.file.to_owned(),
            line,
            column: before.chars().count() + 1,
            key,
            problem: problem.problem,
            cure: problem.cure,
        }
    }
}

/// Where the value (or key) of `path` begins; where it does not exist, the closest table round it.
fn offset_of(root: &DeTable<'_>, path: &str, at_key: bool) -> usize {
    let mut table = Some(root);
    let mut offset = 0;
    for segment in path.split('.') {
        let (name, indices) = match segment.split_once('[') {
            Some((name, rest)) => (name, rest),
            None => (segment, ""),
        };
        let Some((key, value)) = table.and_then(|table| table.get_key_value(name)) else {
            break;
        };
        offset = if at_key || value.get_ref().is_table() {
            key.span().start
        } else {
            value.span().start
        };
        let mut value = value;
        for index in indices.split(['[', ']']).filter_map(|i| i.parse().ok()) {
            let Some(element) = value
                .get_ref()
                .as_array()
                .and_then(|a| a.get::<usize>(index))
            else {
                return offset;
            };
            value = element;
            offset = value.span().start;
        }
        table = match value.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => None,
        };
    }
    offset
}
