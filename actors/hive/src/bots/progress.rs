//! Progress of attempts, reported by their programs or estimated from time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use deia_ledger::{Apply, NoteProgress, ProgressReport};
use deia_supervision::Context;

use super::bot::{Attempt, AttemptKey, BotActor};

/// The progress of an attempt. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    /// Reported by the attempt: the bits of the last number, and those of a NaN before the first.
    Told(Arc<AtomicU64>),
    /// Estimated from the expected duration.
    Timed { began: Instant, takes: Duration },
}

impl Progress {
    /// Returns the progress of an attempt that has reported nothing yet.
    pub(crate) fn told() -> Self {
        Self::Told(Arc::new(AtomicU64::new(f64::NAN.to_bits())))
    }

    /// Returns the progress of an attempt that begins now.
    pub(crate) fn timed(takes: Duration) -> Self {
        let began = Instant::now();
        Self::Timed { began, takes }
    }

    /// Reports progress. Only the last report counts.
    pub(crate) fn tell(&self, progress: f64) {
        if let Self::Told(cell) = self {
            cell.store(progress.to_bits(), Ordering::Relaxed);
        }
    }

    /// Returns the progress, 0 to 1; `None` before anything is known.
    pub(super) fn now(&self) -> Option<f64> {
        match self {
            Self::Told(cell) => {
                Some(f64::from_bits(cell.load(Ordering::Relaxed))).filter(|it| !it.is_nan())
            }
            Self::Timed { takes, .. } if takes.is_zero() => None,
            Self::Timed { began, takes } => {
                Some((began.elapsed().as_secs_f64() / takes.as_secs_f64()).min(1.0))
            }
        }
    }
}

impl BotActor {
    /// Reports the progress of all attempts in one command. A lost report is replaced by the next
    /// one.
    pub(super) fn note_progress(&mut self, ctx: &mut Context<Self>) {
        let news = |(key, attempt): (&AttemptKey, &mut Attempt)| {
            let progress = attempt.progress.now()?;
            (attempt.noted.replace(progress) != Some(progress)).then_some(ProgressReport {
                task: key.task,
                attempt: key.number,
                lease: attempt.lease,
                progress,
            })
        };
        let reports: Vec<_> = self.attempts.iter_mut().filter_map(news).collect();
        if !reports.is_empty() {
            let ledger = self.ledger.clone();
            let noting = async move { ledger.apply(NoteProgress(reports)).await };
            ctx.spawn(noting.into_actor(self).map(|noted, _, _| {
                if let Err(error) = noted {
                    tracing::debug!(%error, "the progress of attempts could not be recorded");
                }
            }));
        }
    }
}

/// Parses the progress from a line of a program: a number from 0 to 1, or a percentage.
pub(crate) fn parse(line: &str) -> Option<f64> {
    let line = line.trim();
    let progress = match line.strip_suffix('%') {
        Some(percent) => percent.trim_end().parse::<f64>().ok()? / 100.0,
        None => line.parse().ok()?,
    };
    (0.0..=1.0).contains(&progress).then_some(progress)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_parsed_from_lines() {
        for (line, expected) in [
            ("0", Some(0.0)),
            ("0.25", Some(0.25)),
            ("1", Some(1.0)),
            (" 50% ", Some(0.5)),
            ("12.5 %", Some(0.125)),
            ("100%", Some(1.0)),
            ("1.01", None),
            ("101%", None),
            ("-0.1", None),
            ("NaN", None),
            ("inf", None),
            ("", None),
            ("%", None),
            ("half", None),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    #[test]
    fn last_report_of_progress_counts() {
        let progress = Progress::told();
        assert_eq!(progress.now(), None);
        progress.tell(0.2);
        progress.clone().tell(0.4);
        assert_eq!(progress.now(), Some(0.4));
        assert_eq!(Progress::timed(Duration::ZERO).now(), None);
        let far = Progress::timed(Duration::from_secs(1_000)).now().unwrap();
        assert!((0.0..0.5).contains(&far), "{far}");
    }
}
