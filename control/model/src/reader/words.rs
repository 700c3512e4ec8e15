//! Words that values may be, and words for what stands there instead.

use toml::de::DeValue;

use crate::fault::Problem;

/// Words that a key may have as its value. A later word for the same value is an alias.
pub(crate) trait Choice: Copy + PartialEq + 'static {
    /// What is chosen, in a word, for messages.
    const NOUN: &'static str;
    /// The words.
    const WORDS: &'static [(&'static str, Self)];

    /// The word of a value.
    fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, value)| *value == self)
            .map_or("", |(word, _)| word)
    }
}

pub(super) fn parse_choice<T: Choice>(text: &str) -> Result<T, Problem> {
    let known = T::WORDS.iter().find(|(word, _)| *word == text);
    known.map(|(_, value)| *value).ok_or_else(|| {
        Problem::new(
            format!("{text:?} is not a {}", T::NOUN),
            format!("give {}", words::<T>()),
        )
    })
}

/// `rr or wrr`: the words of a choice without its aliases.
pub(super) fn words<T: Choice>() -> String {
    let mut words: Vec<&str> = T::WORDS
        .iter()
        .filter(|(word, value)| *word == value.word())
        .map(|(word, _)| *word)
        .collect();
    let last = words.pop().unwrap_or_default();
    if words.is_empty() {
        last.to_owned()
    } else {
        format!("{} or {last}", words.join(", "))
    }
}

/// The known key that `name` is most likely a slip of.
pub(super) fn closest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let distance = |key: &str| strsim::osa_distance(&name.replace('-', "_"), key);
    let best = known.iter().min_by_key(|key| distance(key))?;
    // A third of the word wrong is still a slip; more is another word.
    (distance(best) <= (best.len() / 3).max(1)).then_some(best)
}

/// What the operator wrote, for `is … and not …`.
pub(super) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text {text:?}"),
        DeValue::Integer(integer) => format!("the number {integer}"),
        DeValue::Float(float) => format!("the number {float}"),
        DeValue::Boolean(value) => format!("{value}"),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
