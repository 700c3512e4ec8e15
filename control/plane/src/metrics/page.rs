//! Prometheus's text format, version 0.0.4, written as it goes: a page of tens of thousands of
//! servers is hundreds of megabytes, and nowhere whole.

use std::fmt::{Display, Error, Result, Write};

/// A page under way to `W`.
#[derive(Debug)]
pub(super) struct Page<W> {
    to: W,
}

impl<W: Write> Page<W> {
    /// Nothing yet.
    pub(super) fn new(to: W) -> Self {
        Self { to }
    }

    /// Begins a family of numbers that only grow; its name ends in `_total`.
    pub(super) fn counter<'p>(&'p mut self, name: &'p str, help: &'p str) -> Family<'p, W> {
        self.family(name, help, "counter")
    }

    /// Begins a family of numbers that rise and fall.
    pub(super) fn gauge<'p>(&'p mut self, name: &'p str, help: &'p str) -> Family<'p, W> {
        self.family(name, help, "gauge")
    }

    fn family<'p>(&'p mut self, name: &'p str, help: &'p str, kind: &'static str) -> Family<'p, W> {
        Family {
            to: &mut self.to,
            name,
            header: Some((help, kind)),
        }
    }
}

/// Metrics of one name. A family without a metric is left out.
#[derive(Debug)]
pub(super) struct Family<'p, W> {
    to: &'p mut W,
    name: &'p str,
    /// Help and kind, until they are written. Helps are ours and need no escape.
    header: Option<(&'p str, &'static str)>,
}

impl<'p, W: Write> Family<'p, W> {
    /// Adds a metric. Its labels are those of no other of this family.
    pub(super) fn set(&mut self, labels: &Labels, value: f64) -> Result {
        let name = self.begin()?;
        match &labels.0[..] {
            "" => writeln!(self.to, "{name} {value}"),
            labels => writeln!(self.to, "{name}{{{labels}}} {value}"),
        }
    }

    /// As [`Family::set`], with the label `direction` besides.
    pub(super) fn set_direction(&mut self, labels: &Labels, way: &str, value: f64) -> Result {
        let (name, labels) = (self.begin()?, &labels.0);
        writeln!(self.to, "{name}{{{labels},direction=\"{way}\"}} {value}")
    }

    fn begin(&mut self) -> std::result::Result<&'p str, Error> {
        let name = self.name;
        if let Some((help, kind)) = self.header.take() {
            write!(self.to, "# HELP {name} {help}\n# TYPE {name} {kind}\n")?;
        }
        Ok(name)
    }
}

/// The labels of one metric, as they stand in the page.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels(String);

impl Labels {
    /// No label.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// And this one.
    pub(super) fn with(mut self, name: &str, value: impl Display) -> Self {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0 += name;
        self.0 += "=\"";
        let written = write!(Escaped(&mut self.0), "{value}");
        written.expect("a string takes everything");
        self.0.push('"');
        self
    }
}

/// Writes a label's value.
struct Escaped<'s>(&'s mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> Result {
        for c in text.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                other => self.0.push(other),
            }
        }
        Ok(())
    }
}

/// Gives what is written away in pieces.
#[derive(Debug)]
pub(super) struct InPieces<G> {
    piece: String,
    give: G,
}

/// Bytes of a piece, about.
const PIECE: usize = 64 * 1024;

impl<G: FnMut(String) -> bool> InPieces<G> {
    /// `give` returns false when nobody wants more, which ends the writing with an error.
    pub(super) fn new(give: G) -> Self {
        Self {
            piece: String::new(),
            give,
        }
    }

    /// Gives the rest away.
    pub(super) fn finish(mut self) {
        (self.give)(self.piece);
    }
}

impl<G: FnMut(String) -> bool> Write for InPieces<G> {
    fn write_str(&mut self, text: &str) -> Result {
        if self.piece.len() + text.len() > PIECE && !self.piece.is_empty() {
            let full = std::mem::replace(&mut self.piece, String::with_capacity(PIECE));
            if !(self.give)(full) {
                return Err(Error);
            }
        }
        self.piece += text;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_escaped_and_an_empty_family_left_out() {
        let mut text = String::new();
        let mut page = Page::new(&mut text);
        page.counter("none_total", "Nothing.");
        let labels = Labels::new().with("a", "\"x\\y\nz").with("b", 1);
        page.gauge("some", "Help.").set(&labels, 0.5).expect("text");
        let expected =
            "# HELP some Help.\n# TYPE some gauge\nsome{a=\"\\\"x\\\\y\\nz\",b=\"1\"} 0.5\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn pieces_make_the_whole_and_end_when_nobody_wants_more() {
        let line = "x".repeat(1000);
        let mut pieces = Vec::new();
        let mut out = InPieces::new(|piece| {
            pieces.push(piece);
            true
        });
        (0..200).for_each(|_| out.write_str(&line).expect("it is wanted"));
        out.finish();
        assert_eq!(pieces.concat(), line.repeat(200));
        assert!(pieces.len() > 2 && pieces.iter().all(|piece| piece.len() <= PIECE));

        let mut out = InPieces::new(|_| false);
        assert!((0..200).any(|_| out.write_str(&line).is_err()));
    }
}
