//! Reads one table of the file key by key, and notes every fault on the way instead of stopping at
//! the first.
//!
//! The calls of a [`Section`] are the table of keys: each names its key, its type, its default and
//! its range, and no other list exists. A test holds the shipped `conf/weir.toml` against them.

mod place;
mod words;

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;

use toml::de::{DeInteger, DeTable, DeValue};

use crate::fault::{Finding, Problem};
use words::{closest, describe, parse_choice, words};

pub(crate) use place::{Path, Placed};
pub(crate) use words::Choice;

/// Where findings gather while a file is read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    findings: RefCell<Vec<Finding>>,
    #[cfg(test)]
    pub(crate) keys: RefCell<std::collections::BTreeMap<String, Option<String>>>,
}

impl Report {
    pub(crate) fn add(&self, path: impl Display, problem: Problem) {
        self.findings.borrow_mut().push(Finding {
            path: path.to_string(),
            problem,
            at_key: false,
        });
    }

    fn add_at_key(&self, path: String, problem: Problem) {
        self.findings.borrow_mut().push(Finding {
            path,
            problem,
            at_key: true,
        });
    }

    pub(crate) fn into_findings(self) -> Vec<Finding> {
        self.findings.into_inner()
    }
}

/// One table of the file, or its absence, which means all defaults.
#[derive(Debug)]
pub(crate) struct Section<'d> {
    report: &'d Report,
    path: Path,
    table: Option<&'d DeTable<'d>>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'d> Section<'d> {
    /// The whole file.
    pub(crate) fn root(report: &'d Report, table: &'d DeTable<'d>) -> Self {
        Section::new(report, Path::default(), Some(table))
    }

    fn new(report: &'d Report, path: Path, table: Option<&'d DeTable<'d>>) -> Self {
        Section {
            report,
            path,
            table,
            asked: RefCell::default(),
        }
    }

    /// The section's own path, such as `service[2]`.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of one of the section's keys.
    pub(crate) fn key(&self, name: &str) -> String {
        self.path.key(name)
    }

    /// Notes a fault at one of the section's keys.
    pub(crate) fn fault(&self, name: &str, problem: Problem) {
        self.report.add(self.key(name), problem);
    }

    /// Notes a fault at any path.
    pub(crate) fn fault_at(&self, path: impl Display, problem: Problem) {
        self.report.add(path, problem);
    }

    fn value(&self, name: &'static str, default: Option<&dyn Display>) -> Option<&'d DeValue<'d>> {
        self.asked.borrow_mut().push(name);
        #[cfg(test)]
        self.report
            .keys
            .borrow_mut()
            .insert(general(&self.key(name)), default.map(ToString::to_string));
        #[cfg(not(test))]
        let _ = default;
        Some(self.table?.get(name)?.get_ref())
    }

    fn wrong_type(&self, path: impl Display, value: &DeValue<'_>, wanted: &str) {
        let problem = format!("is {} and not {wanted}", describe(value));
        self.report
            .add(path, Problem::new(problem, format!("give {wanted}")));
    }

    /// True when the key is there and is no empty list.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        let value = self.table.and_then(|table| table.get(name));
        value.is_some_and(|value| value.get_ref().as_array().is_none_or(|a| !a.is_empty()))
    }

    /// `true` or `false`.
    pub(crate) fn bool(&self, name: &'static str, default: bool) -> bool {
        match self.value(name, Some(&default)) {
            None => default,
            Some(DeValue::Boolean(value)) => *value,
            Some(other) => {
                self.wrong_type(self.key(name), other, "true or false");
                default
            }
        }
    }

    /// A whole number within `range`; `noun` is what it counts, with its unit.
    pub(crate) fn number<T: Number>(
        &self,
        name: &'static str,
        noun: &str,
        default: T,
        range: RangeInclusive<T>,
    ) -> T {
        self.value(name, Some(&default))
            .and_then(|value| self.to_number(|| self.key(name), value, noun, &range))
            .unwrap_or(default)
    }

    /// As [`Section::number`], of a key without a default that may be left out.
    pub(crate) fn optional_number<T: Number>(
        &self,
        name: &'static str,
        noun: &str,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        let value = self.value(name, None)?;
        self.to_number(|| self.key(name), value, noun, &range)
    }

    /// As [`Section::number`], of a key that must be given.
    pub(crate) fn required_number<T: Number>(
        &self,
        name: &'static str,
        noun: &str,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        let Some(value) = self.value(name, None) else {
            self.missing(name, &in_range(noun, &range));
            return None;
        };
        self.to_number(|| self.key(name), value, noun, &range)
    }

    /// A list of whole numbers within `range`.
    pub(crate) fn numbers<T: Number>(
        &self,
        name: &'static str,
        noun: &str,
        default: &[T],
        range: RangeInclusive<T>,
    ) -> Vec<T> {
        let shown: Vec<String> = default.iter().map(ToString::to_string).collect();
        match self.elements(name, &format!("[{}]", shown.join(", "))) {
            None => default.to_vec(),
            Some(elements) => elements
                .into_iter()
                .filter_map(|(path, value)| self.to_number(|| path, value, noun, &range))
                .collect(),
        }
    }

    fn to_number<T: Number, P: Display>(
        &self,
        path: impl FnOnce() -> P,
        value: &DeValue<'_>,
        noun: &str,
        range: &RangeInclusive<T>,
    ) -> Option<T> {
        let cure = || format!("give {}", in_range(noun, range));
        let DeValue::Integer(integer) = value else {
            let problem = format!("is {} and not a whole number", describe(value));
            self.report.add(path(), Problem::new(problem, cure()));
            return None;
        };
        // Out of i128 is also out of every range; the sign tells on which side.
        let wide = to_i128(integer);
        let number = wide.and_then(|wide| T::try_from(wide).ok());
        if let Some(number) = number.filter(|number| range.contains(number)) {
            return Some(number);
        }
        let is_below = integer.as_str().starts_with('-')
            || number.is_some_and(|number| number < *range.start());
        let problem = if is_below {
            format!("{integer} is less than {}", range.start())
        } else {
            format!("{integer} is more than {}", range.end())
        };
        self.report.add(path(), Problem::new(problem, cure()));
        None
    }

    /// Text that `parse` understands, of a key that may be left out.
    pub(crate) fn optional<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, Problem>,
    ) -> Option<T> {
        let value = self.value(name, None)?;
        self.to_parsed(|| self.key(name), value, parse)
    }

    /// As [`Section::optional`], with a default.
    pub(crate) fn text<T: Display>(
        &self,
        name: &'static str,
        default: T,
        parse: impl Fn(&str) -> Result<T, Problem>,
    ) -> T {
        self.value(name, Some(&default))
            .and_then(|value| self.to_parsed(|| self.key(name), value, parse))
            .unwrap_or(default)
    }

    /// As [`Section::optional`], of a key that must be given; `wanted` says what it is.
    pub(crate) fn required<T>(
        &self,
        name: &'static str,
        wanted: &str,
        parse: impl Fn(&str) -> Result<T, Problem>,
    ) -> Option<T> {
        let Some(value) = self.value(name, None) else {
            self.missing(name, wanted);
            return None;
        };
        self.to_parsed(|| self.key(name), value, parse)
    }

    /// Text, or `false` for none. `default` is `None` where it depends on other keys.
    pub(crate) fn text_or_false<T>(
        &self,
        name: &'static str,
        default: Option<&str>,
        parse: impl Fn(&str) -> Result<T, Problem>,
    ) -> OrFalse<T> {
        let default = default.as_ref().map(|text| text as &dyn Display);
        match self.value(name, default) {
            None => OrFalse::Absent,
            Some(DeValue::Boolean(false)) => OrFalse::False,
            Some(DeValue::String(text)) => match parse(text) {
                Ok(value) => OrFalse::Given(value),
                Err(problem) => {
                    self.fault(name, problem);
                    OrFalse::Absent
                }
            },
            Some(other) => {
                self.wrong_type(self.key(name), other, "text in quotes, or false for none");
                OrFalse::Absent
            }
        }
    }

    /// A list of texts that `parse` understands.
    pub(crate) fn texts<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, Problem>,
    ) -> Vec<T> {
        self.placed_texts(name, parse)
            .into_iter()
            .map(|placed| placed.value)
            .collect()
    }

    /// As [`Section::texts`]; a single text may stand without brackets.
    pub(crate) fn one_or_more<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, Problem>,
    ) -> Vec<T> {
        let value = self.table.and_then(|table| table.get(name));
        match value.map(|value| value.get_ref()) {
            Some(DeValue::String(_)) => self.optional(name, parse).into_iter().collect(),
            _ => self.texts(name, parse),
        }
    }

    /// As [`Section::texts`], each with its own path.
    pub(crate) fn placed_texts<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, Problem>,
    ) -> Vec<Placed<T>> {
        self.elements(name, "[]")
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(path, value)| {
                let value = self.to_parsed(|| path.clone(), value, &parse)?;
                Some(Placed { path, value })
            })
            .collect()
    }

    fn to_parsed<T, P: Display>(
        &self,
        path: impl FnOnce() -> P,
        value: &DeValue<'_>,
        parse: impl Fn(&str) -> Result<T, Problem>,
    ) -> Option<T> {
        let DeValue::String(text) = value else {
            self.wrong_type(path(), value, "text in quotes");
            return None;
        };
        parse(text)
            .map_err(|problem| self.report.add(path(), problem))
            .ok()
    }

    /// The elements of a list with their paths, or `None` if it is absent or no list.
    fn elements(&self, name: &'static str, default: &str) -> Option<Vec<(Path, &'d DeValue<'d>)>> {
        match self.value(name, Some(&default))? {
            DeValue::Array(array) => {
                let elements = array.iter().enumerate();
                Some(
                    elements
                        .map(|(i, e)| (self.path.to(name, Some(i)), e.get_ref()))
                        .collect(),
                )
            }
            other => {
                self.wrong_type(self.key(name), other, "a list in brackets");
                None
            }
        }
    }

    /// One of the words of `T`.
    pub(crate) fn choice<T: Choice>(&self, name: &'static str, default: T) -> T {
        self.value(name, Some(&default.word()))
            .and_then(|value| self.to_parsed(|| self.key(name), value, parse_choice))
            .unwrap_or(default)
    }

    /// One of the words of `T`, which must be given.
    pub(crate) fn required_choice<T: Choice>(&self, name: &'static str) -> Option<T> {
        let Some(value) = self.value(name, None) else {
            self.missing(name, &format!("a {}: {}", T::NOUN, words::<T>()));
            return None;
        };
        self.to_parsed(|| self.key(name), value, parse_choice)
    }

    /// One of the words of `T`, of a key that may be left out.
    pub(crate) fn optional_choice<T: Choice>(&self, name: &'static str) -> Option<T> {
        let value = self.value(name, None)?;
        self.to_parsed(|| self.key(name), value, parse_choice)
    }

    /// A table within this one; all defaults if it is absent.
    pub(crate) fn section(&self, name: &'static str) -> Section<'d> {
        let table = match self.value(name, None) {
            None => None,
            Some(DeValue::Table(table)) => Some(table),
            Some(other) => {
                self.wrong_type(self.key(name), other, &format!("a table, [{name}]"));
                None
            }
        };
        Section::new(self.report, self.path.to(name, None), table)
    }

    /// The tables written `[[name]]`, in the order of the file.
    pub(crate) fn sections(&self, name: &'static str) -> Vec<Section<'d>> {
        self.sections_from(name, 0)
    }

    /// As [`Section::sections`], of a piece of the file before which there were `first` of them.
    pub(crate) fn sections_from(&self, name: &'static str, first: usize) -> Vec<Section<'d>> {
        let wanted = || format!("a list of tables, [[{}]]", general(&self.key(name)));
        let array = match self.value(name, None) {
            None => return Vec::new(),
            Some(DeValue::Array(array)) => array,
            Some(other) => {
                self.wrong_type(self.key(name), other, &wanted());
                return Vec::new();
            }
        };
        let mut sections = Vec::with_capacity(array.len());
        for (index, element) in array.iter().enumerate() {
            let path = self.path.to(name, Some(first + index));
            match element.get_ref() {
                DeValue::Table(table) => {
                    sections.push(Section::new(self.report, path, Some(table)));
                }
                other => self.wrong_type(path, other, &wanted()),
            }
        }
        sections
    }

    /// Notes that a key must be given.
    fn missing(&self, name: &str, wanted: &str) {
        self.fault(name, Problem::new("is missing", format!("give {wanted}")));
    }

    /// Call it last: what is in the table and was not asked for is unknown.
    pub(crate) fn finish(self) {
        let asked = self.asked.borrow();
        for key in self.table.into_iter().flat_map(|table| table.keys()) {
            let name = key.get_ref().as_ref();
            if asked.contains(&name) {
                continue;
            }
            let cure = match closest(name, &asked) {
                Some(known) => format!("did you mean {known}?"),
                None => format!("known here: {}", asked.join(", ")),
            };
            self.report
                .add_at_key(self.key(name), Problem::new("is not a known key", cure));
        }
    }
}

/// What a key that takes text or `false` held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OrFalse<T> {
    /// The key is not there, or what was there is a noted fault.
    Absent,
    /// `false`.
    False,
    /// Text.
    Given(T),
}

/// A whole number a key may hold.
pub(crate) trait Number: Copy + PartialOrd + Display + TryFrom<i128> {}
impl<T: Copy + PartialOrd + Display + TryFrom<i128>> Number for T {}

fn to_i128(integer: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn in_range<T: Number>(noun: &str, range: &RangeInclusive<T>) -> String {
    format!("{noun} from {} to {}", range.start(), range.end())
}

/// `service[2].server[0].weight` → `service.server.weight`.
fn general(path: &str) -> String {
    let mut depth = 0;
    path.chars()
        .filter(|c| {
            depth += i32::from(*c == '[');
            let keep = depth == 0;
            depth -= i32::from(*c == ']');
            keep
        })
        .collect()
}
