//! Metrics of degradation.

use std::time::Duration;

use deia_ledger::metrics::Histogram;
use deia_model::{FeatureState, FeatureStatus, SignalState};

use super::controller::Controller;
use crate::metrics::{Exposition, table};

/// Durations of decisions.
pub(super) struct DegradationMetrics {
    decision: Histogram,
}

impl Default for DegradationMetrics {
    fn default() -> Self {
        Self {
            decision: Histogram::of_durations(),
        }
    }
}

impl DegradationMetrics {
    /// Counts a decision.
    pub(super) fn decided(&self, took: Duration) {
        self.decision.observe(took);
    }

    /// Writes the series.
    pub(super) fn write(
        &self,
        controller: &Controller,
        features: &[FeatureStatus],
        out: &mut Exposition,
    ) {
        let status = controller.status();
        let mut level = |of, level: deia_model::Level| {
            out.count(&table::DEGRADATION_LEVEL, [of], u64::from(level.number()));
        };
        level("force", status.level);
        level("signals", status.signals_level);
        if let Some(operator) = &status.operator {
            level("operator", operator.level);
        }
        out.gauge(&table::DEGRADATION_CHANGES, controller.changes());
        for signal in &status.signals {
            let name = || [signal.signal.as_str()];
            let tripped = u64::from(signal.tripped);
            out.count(&table::DEGRADATION_TRIPPED, name(), tripped);
            if let Some(value) = signal.value {
                out.number(&table::DEGRADATION_SIGNAL, name(), value);
                let is_over = u64::from(signal.state == SignalState::Over);
                out.count(&table::DEGRADATION_OVER, name(), is_over);
            }
        }
        out.histogram::<&str>(&table::DEGRADATION_DECISION, [], &self.decision);
        for feature in features
            .iter()
            .filter(|it| it.state != FeatureState::Absent)
        {
            let is_on = u64::from(feature.state == FeatureState::On);
            out.count(&table::FEATURE_ON, [feature.feature.as_str()], is_on);
        }
    }
}
