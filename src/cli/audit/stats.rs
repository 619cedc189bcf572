//! `deia audit stats`.

use clap::Args;
use deia_model::Timestamp;

use super::view;
use crate::cli::{context::Context, error::CliError, parse, task};

/// A span of time, in whole hours.
#[derive(Debug, Args)]
pub(in crate::cli) struct StatsArgs {
    /// From the hour of this time on: a time such as 2026-11-20T08:30:00Z, or a span before
    /// now such as 7d; from the first entry when absent.
    #[arg(long, value_name = "TIME", value_parser = parse::time_past)]
    since: Option<Timestamp>,
    /// Up to the hour of this time: a time, or a span before now.
    #[arg(long, value_name = "TIME", value_parser = parse::time_past)]
    until: Option<Timestamp>,
    /// Show at most this many actions and actors, and as many of the last hours.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = parse::whole(1..=100_u32))]
    top: u32,
}

impl StatsArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (client, out) = (&context.client, &context.out);
        task::tell_of_span(out, self.since, self.until);
        let statistics = client.audit_statistics(self.since, self.until).await?;
        out.one(&statistics, |look| {
            view::statistics(&statistics, self.top as usize, look)
        })
    }
}
