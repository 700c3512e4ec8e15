//! From the lines of files to the lines that keepalived reads: comments are cut, files included,
//! conditions decided, definitions put in, sequences written out.
//!
//! Everything is bounded: a line of twenty characters can ask for a million others.

use std::collections::HashMap;
use std::path::Path;

use crate::Options;
use crate::draft::Draft;
use crate::line::{Line, lines_of};

/// Lines that are made of all files together.
const LINES_MAX: usize = 200_000;
/// Bytes of them.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// Files that include each other.
const INCLUDES_MAX: usize = 16;
/// Files altogether.
const FILES_MAX: usize = 1000;
/// Definitions within definitions, and sequences within sequences.
const DEPTH_MAX: usize = 24;
/// Bytes of one line.
const LINE_MAX: usize = 64 * 1024;

/// A line as keepalived reads it.
#[derive(Debug)]
pub(super) struct Logical {
    pub(super) line: Line,
    pub(super) text: String,
}

pub(super) struct Expander<'d, 'o> {
    draft: &'d mut Draft,
    options: Options<'o>,
    definitions: HashMap<String, String>,
    /// Variables of the sequences that are being written out.
    variables: Vec<(String, String)>,
    lines: Vec<Logical>,
    bytes: usize,
    /// Work that was done, whether or not a line came of it.
    steps: usize,
    files: usize,
    includes: usize,
    is_exhausted: bool,
}

impl<'d, 'o> Expander<'d, 'o> {
    pub(super) fn new(draft: &'d mut Draft, options: Options<'o>) -> Self {
        Expander {
            draft,
            options,
            definitions: HashMap::new(),
            variables: Vec::new(),
            lines: Vec::new(),
            bytes: 0,
            steps: 0,
            files: 0,
            includes: 0,
            is_exhausted: false,
        }
    }

    pub(super) fn finish(self) -> Vec<Logical> {
        self.lines
    }

    /// Reads a file.
    pub(super) fn read(&mut self, file: &str, text: &str) {
        let number = self.files;
        self.files += 1;
        // A definition goes on where a line ends in a backslash; so does any other line.
        let mut before: Option<(Line, String)> = None;
        for line in lines_of(file, number, text) {
            let bare = without_comment(line.text());
            let (part, goes_on) = match bare.trim_end().strip_suffix('\\') {
                Some(part) => (part, true),
                None => (bare.as_str(), false),
            };
            let (first, mut whole) = match before.take() {
                Some((first, mut whole)) => {
                    whole.push('\n');
                    whole.push_str(part);
                    (first, whole)
                }
                None => (line.clone(), part.to_owned()),
            };
            if goes_on && whole.len() < LINE_MAX {
                before = Some((first, whole));
                continue;
            }
            if definition(whole.trim_start()).is_none() && !whole.trim_start().starts_with('@') {
                whole = whole.replace('\n', " ");
            }
            self.physical(&first, &whole);
            if self.is_exhausted {
                return;
            }
        }
        if let Some((first, whole)) = before {
            self.physical(&first, &whole);
        }
    }

    fn physical(&mut self, line: &Line, text: &str) {
        let trimmed = text.trim();
        let mut words = trimmed.split_whitespace();
        // Includes are looked for before anything else, so neither conditions nor definitions
        // work on them.
        if let (Some(word), Some(pattern)) = (words.next(), words.next())
            && matches!(
                word,
                "include" | "includer" | "includem" | "includew" | "includeb" | "includea"
            )
        {
            return self.include(line, pattern.trim_matches('"'));
        }
        self.feed(line, trimmed, 0);
    }

    fn include(&mut self, line: &Line, pattern: &str) {
        if self.includes >= INCLUDES_MAX || self.files >= FILES_MAX {
            let reason = "too many files are included: a file may include itself";
            return self.draft.remarks.not_carried(line, reason);
        }
        let found = self.options.files.named(pattern, Path::new(line.file()));
        if found.is_empty() {
            let reason = format!("no file {pattern} could be read");
            return self.draft.remarks.not_carried(line, reason);
        }
        self.includes += 1;
        for (path, text) in found {
            if self.files < FILES_MAX {
                self.read(&path.to_string_lossy(), &text);
            }
        }
        self.includes -= 1;
    }

    fn feed(&mut self, line: &Line, text: &str, depth: usize) {
        self.steps += 1;
        if depth > DEPTH_MAX || self.steps > LINES_MAX || self.bytes > BYTES_MAX {
            if !self.is_exhausted {
                self.is_exhausted = true;
                let reason = "definitions and sequences make more lines than are read here: write \
                              them out, or import in parts";
                self.draft.remarks.not_carried(line, reason);
            }
            return;
        }
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        if let Some(rest) = text.strip_prefix('@') {
            return self.condition(line, rest, depth);
        }
        if let Some((name, value)) = definition(text) {
            self.definitions.insert(name.to_owned(), value.to_owned());
            return;
        }
        if text.starts_with("~SEQ") || text.starts_with("~LST") {
            return self.sequence(line, text, depth);
        }
        let replaced = self.replaced(text);
        if replaced == text {
            self.bytes += text.len() + 64;
            let text = text.replace("${_HASH}", "#").replace("${_BANG}", "!");
            self.lines.push(Logical {
                line: line.clone(),
                text,
            });
            return;
        }
        // What was put in may be several lines, and conditions and sequences of its own.
        for part in replaced.split('\n') {
            self.feed(line, part, depth + 1);
            if self.is_exhausted {
                return;
            }
        }
    }

    /// `@id TEXT`, `@^id TEXT`
    fn condition(&mut self, line: &Line, rest: &str, depth: usize) {
        let (id, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let (id, is_not) = match id.strip_prefix('^') {
            Some(id) => (id, true),
            None => (id, false),
        };
        let is_taken = match self.options.config_id {
            Some(own) => (own == id) != is_not,
            None => {
                let reason = if is_not {
                    format!("taken, because no config-id was given: it holds for all but {id}")
                } else {
                    format!("it holds for the config-id {id} only: give it to take this line")
                };
                if is_not {
                    self.draft.remarks.carried(line, reason);
                } else {
                    self.draft.remarks.not_carried(line, reason);
                }
                is_not
            }
        };
        if is_taken {
            self.feed(line, text, depth + 1);
        }
    }

    /// `~SEQ(var, start, step, end) TEXT`, `~LST({a, b}, {1, 2}, …) TEXT`
    fn sequence(&mut self, line: &Line, text: &str, depth: usize) {
        let parts = text.split_once('(').and_then(|(word, rest)| {
            let (arguments, text) = rest.split_once(')')?;
            Some((word, self.replaced(arguments), text))
        });
        let rounds = parts.as_ref().and_then(|(word, arguments, _)| match *word {
            "~SEQ" => numbers(arguments, false),
            "~SEQx" => numbers(arguments, true),
            "~LST" => list(arguments),
            _ => None,
        });
        let (Some((_, _, text)), Some(rounds)) = (parts, rounds) else {
            let reason = "keepalived says: this ~SEQ or ~LST is invalid";
            return self.draft.remarks.refused(line, reason);
        };
        for variables in rounds {
            let count = variables.len();
            self.variables.extend(variables);
            self.feed(line, text, depth + 1);
            self.variables.truncate(self.variables.len() - count);
            if self.is_exhausted {
                return;
            }
        }
    }

    /// Puts definitions in, once: `${NAME}` anywhere, `$NAME` before a blank or the end.
    fn replaced(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            let (name, length) = match after.strip_prefix('{') {
                Some(braced) => match braced.find('}') {
                    Some(end) => (&braced[..end], end + 2),
                    None => ("", 0),
                },
                None => {
                    let end = after.find(|c: char| !is_name(c)).unwrap_or(after.len());
                    let is_apart = after[end..].chars().next().is_none_or(char::is_whitespace);
                    if is_apart {
                        (&after[..end], end)
                    } else {
                        ("", 0)
                    }
                }
            };
            match self.value(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&rest[at..=at + length]),
            }
            rest = &after[length..];
            if out.len() > LINE_MAX {
                return out;
            }
        }
        out.push_str(rest);
        out
    }

    fn value(&self, name: &str) -> Option<&str> {
        let variable = self.variables.iter().rfind(|(own, _)| own == name);
        match variable {
            Some((_, value)) => Some(value),
            None if name == "_INSTANCE" => self.options.config_id,
            None => self.definitions.get(name).map(String::as_str),
        }
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// `$NAME=VALUE`
fn definition(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.strip_prefix('$')?.split_once('=')?;
    let is_good = name.chars().all(is_name) && !name.starts_with(|c: char| c.is_ascii_digit());
    (is_good && !name.is_empty()).then_some((name, value.trim_end()))
}

/// A line up to `#` or `!`, where these are not in quotes.
fn without_comment(text: &str) -> String {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            '#' | '!' if !is_quoted => return text[..at].to_owned(),
            _ => {}
        }
    }
    text.to_owned()
}

type Round = Vec<(String, String)>;

/// The rounds of `var, start, step, end`; start and step may be left out.
fn numbers(arguments: &str, is_hex: bool) -> Option<Vec<Round>> {
    let mut words = arguments.split(',').map(str::trim);
    let name = words.next().filter(|name| !name.is_empty())?;
    let numbers: Vec<i64> = words.map(number).collect::<Option<_>>()?;
    let towards = |start: i64, end: i64| if end >= start { 1 } else { -1 };
    let (start, step, end) = match numbers[..] {
        [end] => (towards(0, end), towards(0, end), end),
        [start, end] => (start, towards(start, end), end),
        [start, step, end] => (start, step, end),
        _ => return None,
    };
    let is_good = step != 0 && (end >= start) == (step > 0) || start == end;
    let count = end.abs_diff(start) / step.unsigned_abs().max(1);
    if !is_good || count > LINES_MAX as u64 {
        return None;
    }
    let mut rounds = Vec::new();
    let mut at = start;
    while if step > 0 { at <= end } else { at >= end } {
        let value = if is_hex {
            format!("{at:x}")
        } else {
            at.to_string()
        };
        rounds.push(vec![(name.to_owned(), value)]);
        match at.checked_add(step).filter(|_| step != 0) {
            Some(next) => at = next,
            None => break,
        }
    }
    Some(rounds)
}

fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The rounds of `var, a, b, c` or of `{v, w}, {a, b}, {c, d}`.
fn list(arguments: &str) -> Option<Vec<Round>> {
    let mut groups: Vec<Vec<String>> = Vec::new();
    let mut rest = arguments.trim();
    while !rest.is_empty() {
        let (group, after) = match rest.strip_prefix('{') {
            Some(braced) => braced.split_once('}')?,
            None => match rest.find(',') {
                Some(at) => rest.split_at(at),
                None => (rest, ""),
            },
        };
        groups.push(
            group
                .split(',')
                .map(|word| word.trim().to_owned())
                .collect(),
        );
        let after = after.trim_start();
        rest = after.strip_prefix(',').unwrap_or(after).trim_start();
    }
    let (names, rounds) = groups.split_first()?;
    if names.iter().any(String::is_empty) || rounds.is_empty() {
        return None;
    }
    rounds
        .iter()
        .map(|values| {
            let is_whole = values.len() == names.len();
            is_whole.then(|| names.iter().cloned().zip(values.iter().cloned()).collect())
        })
        .collect()
}
