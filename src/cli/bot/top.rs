//! `deia bot top`: the bots by what they do and use.

use std::{collections::HashMap, time::Duration};

use clap::Args;
use deia_model::{Bot, BotName};
use tokio::time::{Instant, sleep};

use super::{SelectArgs, view};
use crate::cli::{context::Context, error::CliError, watch::WatchArgs};

/// Time over which the rate of tasks is measured when the table is shown once. Fixed: of
/// the command line, which has no settings.
const MEASURED_FOR: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(in crate::cli) struct TopArgs {
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

/// The number of attempts that bots had finished at a time.
struct Sample {
    at: Instant,
    finished: HashMap<BotName, u64>,
}

impl Sample {
    fn of(bots: &[Bot]) -> Self {
        let finished = |bot: &Bot| (bot.id.clone(), bot.tasks_completed + bot.tasks_failed);
        Self {
            at: Instant::now(),
            finished: bots.iter().map(finished).collect(),
        }
    }
}

impl TopArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let filter = self.select.filter();
        let client = &context.client;
        let mut before = Sample::of(&client.select_bots(&filter).await?.items);
        let mut first = true;
        let once = async || {
            if std::mem::take(&mut first) {
                sleep(MEASURED_FOR).await;
            }
            let mut page = client.select_bots(&filter).await?;
            let rates = rates(&before, &page.items, before.at.elapsed());
            before = Sample::of(&page.items);
            sort(&mut page.items, &rates);
            let table = |look: &_| view::top(&page.items, &rates, look);
            context.out.list(&page, "there are no such bots", table)
        };
        self.watch.show(context, once).await
    }
}

/// Returns the attempts that each bot has finished, per second.
#[allow(clippy::cast_precision_loss, reason = "counts to a rate")]
fn rates(before: &Sample, bots: &[Bot], passed: Duration) -> HashMap<BotName, f64> {
    let seconds = passed.as_secs_f64();
    let rate = |bot: &Bot| {
        let was = *before.finished.get(&bot.id)?;
        let more = (bot.tasks_completed + bot.tasks_failed).saturating_sub(was);
        (seconds > 0.0).then(|| (bot.id.clone(), more as f64 / seconds))
    };
    bots.iter().filter_map(rate).collect()
}

/// Sorts the bots by processor time, then by tasks, the busiest first.
fn sort(bots: &mut [Bot], rates: &HashMap<BotName, f64>) {
    let key = |bot: &Bot| {
        let rate = rates.get(&bot.id).copied().unwrap_or(0.0);
        (bot.cpu_percent.unwrap_or(0.0), rate, bot.current_load)
    };
    bots.sort_by(|a, b| {
        key(b)
            .partial_cmp(&key(a))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
}
