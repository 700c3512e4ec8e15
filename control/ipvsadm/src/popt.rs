//! Options in the order of the command line, as the library popt takes them.
//!
//! A word that begins with one `-` is a cluster of letters, of which the last may have a value: what
//! is left of the word (after `=`, if that is next), else the next word. A word with `--` is a long
//! name, exactly, with its value after `=` or in the next word. An optional value is not taken from
//! a next word that begins with `-`. All else is an argument, wherever it stands; `--` makes
//! everything after it one.

use std::collections::VecDeque;

/// An option that may be given.
#[derive(Clone, Copy, Debug)]
pub struct Spec<T> {
    /// Without the dashes.
    pub long: &'static str,
    /// The letter, if it has one.
    pub letter: Option<char>,
    /// Whether a value follows.
    pub value: Value,
    /// What it is.
    pub is: T,
}

/// Whether a value follows an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// None.
    No,
    /// One must follow.
    Must,
    /// One may follow.
    May,
}

/// What is wrong with an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// There is none of that name.
    Unknown,
    /// Its value is missing.
    MissingValue,
    /// It takes no value.
    UnwantedValue,
}

impl Wrong {
    /// As popt says it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Wrong::Unknown => "unknown option",
            Wrong::MissingValue => "missing argument",
            Wrong::UnwantedValue => "option does not take an argument",
        }
    }
}

/// The words of a command line, read option by option.
#[derive(Debug)]
pub struct Words<'a, T: 'static> {
    table: &'static [Spec<T>],
    words: &'a [String],
    next: usize,
    /// What is left of the cluster that is being read.
    cluster: &'a str,
    arguments: VecDeque<&'a str>,
    only_arguments: bool,
}

impl<'a, T: Copy> Words<'a, T> {
    /// Reads `words`, of which the program's name is none.
    #[must_use]
    pub fn new(table: &'static [Spec<T>], words: &'a [String]) -> Self {
        Words {
            table,
            words,
            next: 0,
            cluster: "",
            arguments: VecDeque::new(),
            only_arguments: false,
        }
    }

    /// The next option with its value. `None` at the end.
    ///
    /// # Errors
    ///
    /// The word that was read last is wrong; [`Words::last_word`] tells it.
    pub fn next_option(&mut self) -> Option<Result<(T, Option<&'a str>), Wrong>> {
        if self.cluster.is_empty() {
            match self.next_word()? {
                Word::Long(name) => return Some(self.long(name)),
                Word::Cluster(letters) => self.cluster = letters,
            }
        }
        Some(self.letter())
    }

    /// The word that the last option was in.
    #[must_use]
    pub fn last_word(&self) -> &'a str {
        let at = self.next.saturating_sub(1);
        self.words.get(at).map_or("", String::as_str)
    }

    /// The next argument that is no option.
    pub fn next_argument(&mut self) -> Option<&'a str> {
        self.arguments.pop_front()
    }

    fn next_word(&mut self) -> Option<Word<'a>> {
        while let Some(word) = self.words.get(self.next) {
            self.next += 1;
            let word = word.as_str();
            if self.only_arguments || !word.starts_with('-') || word == "-" {
                self.arguments.push_back(word);
            } else if word == "--" {
                self.only_arguments = true;
            } else if let Some(name) = word.strip_prefix("--") {
                return Some(Word::Long(name));
            } else {
                return Some(Word::Cluster(&word[1..]));
            }
        }
        None
    }

    fn long(&mut self, text: &'a str) -> Result<(T, Option<&'a str>), Wrong> {
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let found = self.table.iter().find(|spec| spec.long == name);
        let spec = found.ok_or(Wrong::Unknown)?;
        let value = match spec.value {
            Value::No if attached.is_some() => return Err(Wrong::UnwantedValue),
            Value::No => None,
            _ => self.value(spec.value, attached)?,
        };
        Ok((spec.is, value))
    }

    fn letter(&mut self) -> Result<(T, Option<&'a str>), Wrong> {
        let mut letters = self.cluster.chars();
        let letter = letters.next().ok_or(Wrong::Unknown)?;
        let rest = letters.as_str();
        self.cluster = rest;
        let found = self.table.iter().find(|spec| spec.letter == Some(letter));
        let Some(spec) = found else {
            self.cluster = "";
            return Err(Wrong::Unknown);
        };
        if spec.value == Value::No {
            if rest.starts_with('=') {
                self.cluster = "";
                return Err(Wrong::UnwantedValue);
            }
            return Ok((spec.is, None));
        }
        self.cluster = "";
        let attached = (!rest.is_empty()).then(|| rest.strip_prefix('=').unwrap_or(rest));
        let value = self.value(spec.value, attached)?;
        Ok((spec.is, value))
    }

    fn value(
        &mut self,
        wanted: Value,
        attached: Option<&'a str>,
    ) -> Result<Option<&'a str>, Wrong> {
        if attached.is_some() {
            return Ok(attached);
        }
        match self.words.get(self.next) {
            None if wanted == Value::May => Ok(None),
            None => Err(Wrong::MissingValue),
            Some(word) if wanted == Value::May && word.starts_with('-') => Ok(None),
            Some(word) => {
                self.next += 1;
                Ok(Some(word))
            }
        }
    }
}

enum Word<'a> {
    Long(&'a str),
    Cluster(&'a str),
}
