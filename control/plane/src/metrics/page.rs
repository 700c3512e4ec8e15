//! A page of metric families, written by the `prometheus` crate's encoder as it goes: a page of
//! tens of thousands of servers is hundreds of megabytes, and nowhere whole.

use std::fmt::Display;
use std::slice::from_ref;

use prometheus::TextEncoder;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// Metrics encoded at once at most. Of a metric each label is two strings: of few metrics the
/// allocator hands out the same ones again and again, with 512 a page takes a third longer.
const METRICS_AT_ONCE: usize = 32;

/// Bytes of text from which on it is given away.
const PIECE: usize = 64 * 1024;

/// Nobody wants more of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unwanted;

/// Whether more is wanted.
pub(super) type Result<T = ()> = std::result::Result<T, Unwanted>;

/// A page under way to `give`, which returns false when nobody wants more.
pub(super) struct Page<'g> {
    give: &'g mut dyn FnMut(String) -> bool,
    /// What is to be given away next.
    text: String,
    /// The family begun last, with the metrics that wait to be encoded.
    family: MetricFamily,
    /// Its head is in the text.
    is_headed: bool,
}

impl<'g> Page<'g> {
    /// Nothing yet.
    pub(super) fn new(give: &'g mut dyn FnMut(String) -> bool) -> Self {
        Self {
            give,
            text: String::new(),
            family: MetricFamily::default(),
            is_headed: false,
        }
    }

    /// Begins a family of numbers that only grow; its name ends in `_total`. A family without a
    /// metric is left out.
    pub(super) fn counter(&mut self, name: &str, help: &str) -> Result<Family<'_, 'g>> {
        self.family(name, help, MetricType::COUNTER)
    }

    /// Begins a family of numbers that rise and fall.
    pub(super) fn gauge(&mut self, name: &str, help: &str) -> Result<Family<'_, 'g>> {
        self.family(name, help, MetricType::GAUGE)
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType) -> Result<Family<'_, 'g>> {
        self.encode()?;
        self.is_headed = false;
        self.family.set_name(name.to_owned());
        self.family.set_help(help.to_owned());
        self.family.set_field_type(kind);
        Ok(Family(self))
    }

    /// Gives the rest away.
    pub(super) fn finish(mut self) -> Result {
        self.encode()?;
        self.give_away()
    }

    /// Writes the metrics that wait.
    fn encode(&mut self) -> Result {
        if self.family.get_metric().is_empty() {
            return Ok(());
        }
        let begin = self.text.len();
        let encoded = TextEncoder::new().encode_utf8(from_ref(&self.family), &mut self.text);
        encoded.expect("the family has a name, a type and a metric");
        self.family.mut_metric().clear();
        // The encoder takes what it is given for a whole family, whose head may be there but once.
        if std::mem::replace(&mut self.is_headed, true) {
            let lines = self.text[begin..].split_inclusive('\n');
            let head: usize = lines.take_while(|l| l.starts_with('#')).map(str::len).sum();
            self.text.drain(begin..begin + head);
        }
        if self.text.len() < PIECE {
            return Ok(());
        }
        self.give_away()
    }

    fn give_away(&mut self) -> Result {
        let room = String::with_capacity(2 * PIECE);
        let text = std::mem::replace(&mut self.text, room);
        (self.give)(text).then_some(()).ok_or(Unwanted)
    }
}

/// The family begun last: metrics of one name.
pub(super) struct Family<'p, 'g>(&'p mut Page<'g>);

impl Family<'_, '_> {
    /// Adds a metric. Its labels are those of no other of this family.
    pub(super) fn set(&mut self, labels: Labels, value: f64) -> Result {
        let family = &mut self.0.family;
        let mut metric = Metric::from_label(labels.0);
        match family.get_field_type() {
            MetricType::COUNTER => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            _ => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        family.mut_metric().push(metric);
        if family.get_metric().len() < METRICS_AT_ONCE {
            return Ok(());
        }
        self.0.encode()
    }
}

/// The labels of one metric.
#[derive(Clone, Default)]
pub(super) struct Labels(Vec<LabelPair>);

impl Labels {
    /// No label.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// And this one.
    pub(super) fn with(mut self, name: &str, value: impl Display) -> Self {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_string());
        self.0.push(pair);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_escaped_and_an_empty_family_left_out() {
        let mut text = String::new();
        let mut give = |piece: String| {
            text += &piece;
            true
        };
        let mut page = Page::new(&mut give);
        page.counter("none_total", "Nothing.").expect("wanted");
        let labels = Labels::new().with("a", "\"x\\y\nz").with("b", 1);
        let mut family = page.gauge("some", "Help.").expect("wanted");
        family.set(labels, 0.5).expect("wanted");
        page.finish().expect("wanted");
        let expected =
            "# HELP some Help.\n# TYPE some gauge\nsome{a=\"\\\"x\\\\y\\nz\",b=\"1\"} 0.5\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_family_in_several_pieces_has_one_head_and_every_metric() {
        let (metrics, padding) = (50 * METRICS_AT_ONCE + 1, "x".repeat(100));
        let mut pieces = Vec::new();
        let mut give = |piece| {
            pieces.push(piece);
            true
        };
        let mut page = Page::new(&mut give);
        for name in ["first", "second"] {
            let mut family = page.gauge(name, "Help.").expect("wanted");
            for at in 0..metrics {
                let labels = Labels::new().with("at", at).with("padding", &padding);
                family.set(labels, at as f64).expect("wanted");
            }
        }
        page.finish().expect("wanted");
        assert!(pieces.len() > 4 && pieces.iter().all(|piece| piece.len() < 3 * PIECE));
        let mut expected = String::new();
        for name in ["first", "second"] {
            expected += &format!("# HELP {name} Help.\n# TYPE {name} gauge\n");
            for at in 0..metrics {
                expected += &format!("{name}{{at=\"{at}\",padding=\"{padding}\"}} {at}\n");
            }
        }
        assert_eq!(pieces.concat(), expected);
    }

    #[test]
    fn a_page_ends_when_nobody_wants_more() {
        let mut given = 0;
        let mut give = |_| {
            given += 1;
            false
        };
        let mut page = Page::new(&mut give);
        let mut family = page.gauge("some", "Help.").expect("nothing was given yet");
        let set = |at: usize| family.set(Labels::new().with("at", at), 0.0).err();
        assert_eq!((0..100_000).find_map(set), Some(Unwanted));
        assert_eq!(given, 1);
    }
}
