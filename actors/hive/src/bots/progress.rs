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

use super::{
    attempt::StopCause,
    bot::{Attempt, AttemptKey, BotActor},
};

/// The progress of an attempt. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    /// Reported by the attempt.
    Told(Arc<Told>),
    /// Estimated from the expected duration.
    Timed { began: Instant, takes: Duration },
}

/// The reports of an attempt.
#[derive(Debug)]
pub(crate) struct Told {
    /// Bits of the last number, and those of a NaN before the first.
    progress: AtomicU64,
    began: Instant,
    /// Time of the last sign of life, in milliseconds after the beginning.
    active_at: AtomicU64,
}

impl Progress {
    /// Returns the progress of an attempt that has reported nothing yet.
    pub(crate) fn told() -> Self {
        Self::Told(Arc::new(Told {
            progress: AtomicU64::new(f64::NAN.to_bits()),
            began: Instant::now(),
            active_at: AtomicU64::new(0),
        }))
    }

    /// Returns the progress of an attempt that begins now.
    pub(crate) fn timed(takes: Duration) -> Self {
        let began = Instant::now();
        Self::Timed { began, takes }
    }

    /// Reports progress. Only the last report counts.
    pub(crate) fn tell(&self, progress: f64) {
        if let Self::Told(told) = self {
            told.progress.store(progress.to_bits(), Ordering::Relaxed);
        }
        self.active();
    }

    /// Notes a sign of life of the attempt: it has written output, or reported anything.
    pub(crate) fn active(&self) {
        if let Self::Told(told) = self {
            let ms = u64::try_from(told.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            told.active_at.fetch_max(ms, Ordering::Relaxed);
        }
    }

    /// Returns the time for which the attempt has given no sign of life.
    pub(super) fn idle_for(&self) -> Duration {
        match self {
            Self::Told(told) => {
                let active_at = Duration::from_millis(told.active_at.load(Ordering::Relaxed));
                told.began.elapsed().saturating_sub(active_at)
            }
            // It advances by itself until the expected duration is over.
            Self::Timed { began, takes } => began.elapsed().saturating_sub(*takes),
        }
    }

    /// Returns the progress, 0 to 1; `None` before anything is known.
    pub(super) fn now(&self) -> Option<f64> {
        match self {
            Self::Told(told) => {
                let bits = told.progress.load(Ordering::Relaxed);
                Some(f64::from_bits(bits)).filter(|it| !it.is_nan())
            }
            Self::Timed { takes, .. } if takes.is_zero() => None,
            Self::Timed { began, takes } => {
                Some((began.elapsed().as_secs_f64() / takes.as_secs_f64()).min(1.0))
            }
        }
    }
}

impl BotActor {
    /// Ends the attempts that have given no sign of life for too long, and notes the last sign of
    /// the others.
    pub(super) fn end_idle_attempts(&self) {
        for attempt in self.attempts.values() {
            let idle_for = attempt.progress.idle_for();
            self.gauges.progressed(idle_for);
            if let Some(for_seconds) = attempt.idle_limit
                && idle_for >= Duration::from_secs(for_seconds)
            {
                attempt.stop(StopCause::Idle { for_seconds });
            }
        }
    }

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
    #[test]
    fn signs_of_life_end_the_idle_time() {
        let second = Duration::from_secs(1);
        let past = |ago: Duration| Instant::now().checked_sub(ago).unwrap();
        let told = Progress::Told(Arc::new(Told {
            progress: AtomicU64::new(0),
            began: past(10 * second),
            active_at: AtomicU64::new(4_000),
        }));
        assert!((6 * second..7 * second).contains(&told.idle_for()));
        told.active();
        assert!(told.idle_for() < second);
        for (takes, idle) in [(20, 0), (8, 2)] {
            let timed = Progress::Timed {
                began: past(10 * second),
                takes: takes * second,
            };
            assert_eq!(timed.idle_for().as_secs(), idle, "{takes}");
        }
    }
}
