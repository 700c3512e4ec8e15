//! A page of metric families, written by the `prometheus` crate's encoder.

use std::fmt::Display;

use prometheus::TextEncoder;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// The families of one scrape, in the order in which they were begun.
#[derive(Default)]
pub(super) struct Page {
    families: Vec<Family>,
}

impl Page {
    /// Begins a family of numbers that only grow; its name ends in `_total`.
    pub(super) fn counter(&mut self, name: &str, help: &str) -> &mut Family {
        self.family(name, help, MetricType::COUNTER)
    }

    /// Begins a family of numbers that rise and fall.
    pub(super) fn gauge(&mut self, name: &str, help: &str) -> &mut Family {
        self.family(name, help, MetricType::GAUGE)
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType) -> &mut Family {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        self.families.push(Family(family));
        let last = self.families.last_mut();
        last.expect("it was pushed just now")
    }

    /// The page's text. A family without a metric is left out.
    pub(super) fn text(self) -> String {
        let families = self.families.into_iter().map(|family| family.0);
        let families: Vec<_> = families
            .filter(|family| !family.get_metric().is_empty())
            .collect();
        let text = TextEncoder::new().encode_to_string(&families);
        text.expect("every family has a name, a type and a metric")
    }
}

/// Metrics of one name.
pub(super) struct Family(MetricFamily);

impl Family {
    /// Adds a metric. Its labels are those of no other of this family.
    pub(super) fn set(&mut self, labels: Labels, value: f64) {
        let mut metric = Metric::from_label(labels.0);
        match self.0.get_field_type() {
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
        self.0.mut_metric().push(metric);
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
