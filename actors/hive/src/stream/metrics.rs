//! Counts of the live stream.

use deia_ledger::metrics::Counter;

use super::hub::Hub;
use crate::metrics::{Exposition, table};

/// Reason for which the hive ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamCut {
    /// The client takes events too slowly.
    Slow,
    /// The caller has lost or changed its access.
    Access,
    /// The live stream is suspended.
    Suspended,
    /// The log cannot be read.
    Failed,
}

impl StreamCut {
    const ALL: [Self; 4] = [Self::Slow, Self::Access, Self::Suspended, Self::Failed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Access => "access",
            Self::Suspended => "suspended",
            Self::Failed => "failed",
        }
    }
}

/// Counts since the start.
#[derive(Default)]
pub(super) struct StreamMetrics {
    pub(super) sent: Counter,
    pub(super) gaps: Counter,
    pub(super) log_reads: Counter,
    /// In the order of [`StreamCut::ALL`].
    cut: [Counter; StreamCut::ALL.len()],
}

impl StreamMetrics {
    /// Counts a stream that the hive ends.
    pub(super) fn note_cut(&self, cut: StreamCut) {
        let counters = self.cut.iter().zip(StreamCut::ALL);
        for (counter, _) in counters.filter(|(_, of)| *of == cut) {
            counter.add(1);
        }
    }
}

/// Writes the series.
pub(super) fn write(hub: &Hub, out: &mut Exposition) {
    let metrics = &hub.metrics;
    out.gauge(&table::STREAM_CLIENTS, hub.clients() as u64);
    out.gauge(&table::STREAM_EVENTS, metrics.sent.get());
    for (counter, cut) in metrics.cut.iter().zip(StreamCut::ALL) {
        out.count(&table::STREAM_CUT, [cut.as_str()], counter.get());
    }
    out.gauge(&table::STREAM_GAPS, metrics.gaps.get());
    out.gauge(&table::STREAM_BUFFER_BYTES, hub.bytes() as u64);
    out.gauge(&table::STREAM_LOG_READS, metrics.log_reads.get());
}
