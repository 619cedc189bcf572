//! The values that were read, and the text that they are rendered to.

use std::{borrow::Cow, collections::HashMap, fmt};

use deia_ledger::metrics::{Histogram, Snapshot};
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet, text,
    },
    metrics::MetricType,
    registry::{Registry, Unit},
};

use super::table::{self, Kind, Metric};

/// Content type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Values of one moment, by metric.
#[derive(Debug, Default)]
pub struct Exposition(HashMap<&'static str, Vec<Point>>);

#[derive(Debug)]
struct Point {
    labels: Vec<(&'static str, Cow<'static, str>)>,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Number(f64),
    Whole(u64),
    Sizes(Snapshot),
}

impl Exposition {
    /// Adds an integer; `labels` are the values, in the order of the table.
    pub fn count<L: Into<Cow<'static, str>>>(
        &mut self,
        metric: &Metric,
        labels: impl IntoIterator<Item = L>,
        value: u64,
    ) {
        self.add(metric, labels, Value::Whole(value));
    }

    /// Adds a number.
    pub fn number<L: Into<Cow<'static, str>>>(
        &mut self,
        metric: &Metric,
        labels: impl IntoIterator<Item = L>,
        value: f64,
    ) {
        self.add(metric, labels, Value::Number(value));
    }

    /// Adds an integer of a metric without labels.
    pub fn gauge(&mut self, metric: &Metric, value: u64) {
        self.count(metric, NO_LABELS, value);
    }

    /// Adds the current state of a histogram.
    pub fn histogram<L: Into<Cow<'static, str>>>(
        &mut self,
        metric: &Metric,
        labels: impl IntoIterator<Item = L>,
        histogram: &Histogram,
    ) {
        self.add(metric, labels, Value::Sizes(histogram.snapshot()));
    }

    /// Adds sizes that were counted elsewhere.
    pub(super) fn snapshot<L: Into<Cow<'static, str>>>(
        &mut self,
        metric: &Metric,
        labels: impl IntoIterator<Item = L>,
        snapshot: Snapshot,
    ) {
        self.add(metric, labels, Value::Sizes(snapshot));
    }

    fn add<L: Into<Cow<'static, str>>>(
        &mut self,
        metric: &Metric,
        labels: impl IntoIterator<Item = L>,
        value: Value,
    ) {
        let labels: Vec<_> = metric
            .labels
            .iter()
            .copied()
            .zip(labels.into_iter().map(Into::into))
            .collect();
        debug_assert_eq!(labels.len(), metric.labels.len(), "{}", metric.name);
        let points = self.0.entry(metric.name).or_default();
        points.push(Point { labels, value });
    }

    /// Renders the text (OpenMetrics 1.0) with every family of the table, including those without
    /// values.
    ///
    /// # Errors
    /// Does not fail while the table is well formed.
    pub fn into_text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut out = String::with_capacity(32 << 10);
        text::encode(&mut out, &registry)?;
        Ok(out)
    }
}

/// Labels of a metric that has none.
pub(crate) const NO_LABELS: [&str; 0] = [];

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in table::all() {
            let (name, unit) = family(metric);
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
                Kind::Info => MetricType::Info,
            };
            let mut family = encoder.encode_descriptor(name, metric.help, unit.as_ref(), kind)?;
            for point in self.0.get(metric.name).into_iter().flatten() {
                point.encode(metric.kind, &mut family)?;
            }
        }
        Ok(())
    }
}

/// Returns the name without the suffix that the encoder appends, and the unit.
fn family(metric: &Metric) -> (&'static str, Option<Unit>) {
    let name = metric.name;
    let name = name.strip_suffix("_total").unwrap_or(name);
    let name = name.strip_suffix("_info").unwrap_or(name);
    match (name.strip_suffix("_seconds"), name.strip_suffix("_bytes")) {
        (Some(rest), _) => (rest, Some(Unit::Seconds)),
        (_, Some(rest)) => (rest, Some(Unit::Bytes)),
        _ => (name, None),
    }
}

impl Point {
    fn encode(&self, kind: Kind, family: &mut MetricEncoder<'_>) -> fmt::Result {
        if kind == Kind::Info {
            return family.encode_info(&Labels(&self.labels));
        }
        if self.labels.is_empty() {
            return self.value.encode(kind, family);
        }
        let labels = Labels(&self.labels);
        self.value.encode(kind, &mut family.encode_family(&labels)?)
    }
}

impl Value {
    fn encode(&self, kind: Kind, series: &mut MetricEncoder<'_>) -> fmt::Result {
        match (self, kind) {
            (Self::Sizes(seen), _) => {
                series.encode_histogram::<NoLabelSet>(seen.sum, seen.count, &seen.buckets, None)
            }
            (Self::Whole(n), Kind::Counter) => series.encode_counter::<NoLabelSet, _, u64>(n, None),
            (Self::Number(n), Kind::Counter) => {
                series.encode_counter::<NoLabelSet, _, u64>(n, None)
            }
            (Self::Whole(n), _) => series.encode_gauge(n),
            (Self::Number(n), _) => series.encode_gauge(n),
        }
    }
}

struct Labels<'a>(&'a [(&'static str, Cow<'static, str>)]);

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        EncodeLabelSet::encode(&self.0, encoder)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn numbers_become_text() {
        let mut readings = Exposition::default();
        readings.count(&table::HTTP_PROBLEMS, ["not_found"], 3);
        readings.gauge(&table::STORE_QUEUE, 7);
        readings.number(&table::CPU, NO_LABELS, 1.5);
        readings.count(&table::BUILD, ["1.2.3", "debug"], 1);
        let reads = Histogram::of_durations();
        reads.observe(Duration::from_secs(2));
        readings.histogram(&table::STORE_READ_DURATION, NO_LABELS, &reads);
        let text = readings.into_text().unwrap();
        for line in [
            "# TYPE deia_http_problems counter",
            "deia_http_problems_total{code=\"not_found\"} 3",
            "deia_store_queue_commands 7",
            "# UNIT process_cpu_seconds seconds",
            "process_cpu_seconds_total 1.5",
            "# TYPE deia_build info",
            "deia_build_info{version=\"1.2.3\",profile=\"debug\"} 1",
            "# TYPE deia_store_read_duration_seconds histogram",
            "deia_store_read_duration_seconds_bucket{le=\"1.0\"} 0",
            "deia_store_read_duration_seconds_bucket{le=\"2.5\"} 1",
            "deia_store_read_duration_seconds_bucket{le=\"+Inf\"} 1",
            "deia_store_read_duration_seconds_sum 2.0",
            "deia_store_read_duration_seconds_count 1",
            "# TYPE deia_bots gauge",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
