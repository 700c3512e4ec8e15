//! Lines of the files that are read, and what is to be said of them.

use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

/// One line of a file, shared by everything that was made from it.
#[derive(Clone, Debug)]
pub struct Line {
    /// Which of the files in the order they were opened; included files count from 1.
    file_number: usize,
    number: usize,
    file: Rc<str>,
    text: Rc<str>,
}

impl Line {
    /// The file as it was named.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Its number, from 1.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// What stands there, without the end of the line.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    fn place(&self) -> (usize, usize) {
        (self.file_number, self.number)
    }

    /// A line of no file, for what concerns a file as a whole.
    pub(crate) fn whole_file(file: &str) -> Self {
        Line {
            file_number: 0,
            number: 0,
            file: file.into(),
            text: "".into(),
        }
    }
}

impl PartialEq for Line {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Line {}

impl Hash for Line {
    /// By the place alone: a line may be long, and may be looked for often.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place().hash(state);
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.number)
    }
}

/// The lines of a text, which is the `file_number`th file.
pub(crate) fn lines_of(file: &str, file_number: usize, text: &str) -> Vec<Line> {
    let file: Rc<str> = file.into();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let numbered = text.lines().enumerate();
    let lines = numbered.map(|(index, text)| Line {
        file_number,
        number: index + 1,
        file: file.clone(),
        text: text.into(),
    });
    lines.collect()
}

/// How a line fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// It was carried, and there is something to know about it: an old word, a value that the
    /// other program takes for another.
    Carried,
    /// Weir has nothing like it.
    NotCarried,
    /// The program whose file it is refuses or ignores it.
    Refused,
}

/// What is to be said of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The line.
    pub line: Line,
    /// How it fared.
    pub fate: Fate,
    /// Why.
    pub reason: String,
}

/// The remarks of one import.
#[derive(Debug, Default)]
pub(crate) struct Remarks(Vec<Remark>);

impl Remarks {
    pub(crate) fn add(&mut self, line: &Line, fate: Fate, reason: impl Into<String>) {
        self.0.push(Remark {
            line: line.clone(),
            fate,
            reason: reason.into(),
        });
    }

    pub(crate) fn carried(&mut self, line: &Line, reason: impl Into<String>) {
        self.add(line, Fate::Carried, reason);
    }

    pub(crate) fn not_carried(&mut self, line: &Line, reason: impl Into<String>) {
        self.add(line, Fate::NotCarried, reason);
    }

    pub(crate) fn refused(&mut self, line: &Line, reason: impl Into<String>) {
        self.add(line, Fate::Refused, reason);
    }

    /// In the order of the files, each thing once: a line that stands for many (a sequence, a
    /// group with many members) may have been remarked upon for each of them.
    /// What is refused need not be told that it could not be carried either.
    pub(crate) fn into_sorted(mut self) -> Vec<Remark> {
        let refused = self.0.iter().filter(|r| r.fate == Fate::Refused);
        let refused: HashSet<Line> = refused.map(|remark| remark.line.clone()).collect();
        self.0
            .retain(|r| r.fate != Fate::NotCarried || !refused.contains(&r.line));
        let mut seen = HashSet::new();
        self.0
            .retain(|r| seen.insert((r.line.clone(), r.fate, r.reason.clone())));
        self.0.sort_by_key(|r| r.line.place());
        self.0
    }
}
