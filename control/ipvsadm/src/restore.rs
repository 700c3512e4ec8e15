//! A saved table, to be put back whole or not at all.

use crate::change::Change;
use crate::command::{Command, Stop, parse};
use crate::names::Names;

/// The changes of a saved table, each with the number of its line.
///
/// Blank lines and those that begin with `#` are none. A word may be in double quotes.
///
/// # Errors
///
/// The first line that is refused, with its number.
pub fn changes(
    program: &str,
    text: &str,
    names: &Names,
) -> Result<Vec<(usize, Change)>, (usize, Stop)> {
    let mut changes = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let words = words_of(line);
        if words.is_empty() {
            continue;
        }
        match parse(program, &words, names) {
            Ok(Command::Change(change)) => changes.push((number, change)),
            // The original would list, help or save in the midst of its work.
            Ok(_) => return Err((number, Stop::hint(program))),
            Err(stop) => return Err((number, stop)),
        }
    }
    Ok(changes)
}

/// The words of a line of a saved table.
#[must_use]
pub fn words_of(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut is_quoted = false;
    for c in line.chars() {
        match c {
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            '#' if words.is_empty() && word.is_none() => break,
            c if c.is_whitespace() && !is_quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
