//! Arguments of `bot add` for the limits of attempts.

use clap::Args;
use deia_model::{BotLimits, OnExcess};

use crate::cli::parse;

#[derive(Debug, Args)]
pub(super) struct LimitArgs {
    /// The memory that the processes of an attempt may have resident, 1MiB or more.
    #[arg(long, value_name = "SIZE", value_parser = parse::size, conflicts_with = "file")]
    max_memory: Option<u64>,
    /// The processor time that they may use, in whole seconds.
    #[arg(long, value_name = "DURATION", value_parser = parse::whole_seconds, conflicts_with = "file")]
    max_cpu: Option<u64>,
    /// The number of descriptors that each of them may have open, 16 or more.
    #[arg(long, value_name = "N", value_parser = parse::whole(1..=u64::MAX), conflicts_with = "file")]
    max_descriptors: Option<u64>,
    /// The number of these processes.
    #[arg(long, value_name = "N", value_parser = parse::whole(1..=u64::MAX), conflicts_with = "file")]
    max_processes: Option<u64>,
    /// The fate of a task whose attempt was over a limit: try it again as its policy says, or
    /// let it fail for good.
    #[arg(long, value_name = "FATE", value_parser = parse::on_excess(), default_value = "retry", conflicts_with = "file")]
    on_excess: OnExcess,
    /// The time, in whole seconds, for which an attempt may neither write output nor report
    /// progress, for tasks that do not say it.
    #[arg(long, value_name = "DURATION", value_parser = parse::whole_seconds, conflicts_with = "file")]
    pub(super) idle_timeout: Option<u64>,
}

impl LimitArgs {
    /// Returns the limits.
    pub(super) fn limits(&self) -> BotLimits {
        BotLimits {
            memory_bytes: self.max_memory,
            cpu_seconds: self.max_cpu,
            descriptors: self.max_descriptors,
            processes: self.max_processes,
            on_excess: self.on_excess,
        }
    }
}
