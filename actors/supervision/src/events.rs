//! Events of a tree, as they happen: logged, and sent to all subscribers.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tokio::sync::broadcast;

use crate::{event_stream::EventStream, exit::ExitReason, health::Health, shedding::Suspended};

/// Events that a subscriber may be behind. Fixed: of the library, which has no settings.
const EVENTS_KEPT: usize = 4_096;

/// Something that happened to one child.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// Path of the child, from the root: `hive/core/scheduler`.
    #[serde(serialize_with = "text")]
    pub path: Arc<str>,
    /// Time of the event, by the wall clock.
    pub at: Timestamp,
    /// Kind of the event.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Kind of an event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// The child is up for the first time, or again after it had been stopped on request.
    Started {
        /// Number of the run, from 1.
        incarnation: u64,
    },
    /// The child ended, or failed to start, although nobody had asked it to stop.
    Crashed {
        /// Number of the run that ended, from 1.
        incarnation: u64,
        /// Reason for which the run ended.
        exit: ExitReason,
    },
    /// The child is restarted after a delay.
    Restarting {
        /// Delay before the restart.
        #[serde(serialize_with = "milliseconds", rename = "delay_ms")]
        delay: Duration,
        /// Number of restarts in a row before this one.
        attempt: u32,
    },
    /// The child is up again.
    Restarted {
        /// Number of the run, from 1.
        incarnation: u64,
    },
    /// This supervisor gave up.
    Escalated {
        /// Exit of the supervisor, which names the child and its last exit.
        exit: ExitReason,
    },
    /// The child used up its budget and stays down.
    Quarantined {
        /// Last exit of the child.
        exit: ExitReason,
    },
    /// The child was stopped, to be resumed.
    Suspended {
        /// Cause of the suspension: by whom, for what reason, and since when.
        #[serde(flatten)]
        cause: Suspended,
    },
    /// The health that the child reports has changed.
    HealthChanged {
        /// Health that the child reports now.
        health: Health,
    },
    /// Several runs in a row had crashed on messages of one type, so the messages of that type that
    /// still waited were dropped. See [`ChildSpec::poison_after`](crate::ChildSpec::poison_after).
    PoisonMail {
        /// Rust type name of the messages.
        message_type: &'static str,
        /// Number of messages that were dropped.
        dropped: usize,
    },
    /// The child was resumed.
    Resumed,
    /// The child goes on on another arbiter. Either it was moved on request, or its arbiter was
    /// blocked: its run there was abandoned, and `Restarted` follows, unless it is temporary. This
    /// is not a failure.
    Moved,
    /// The child's arbiter makes progress again after the child was `Stuck`, and the child has not
    /// been moved; or the child makes progress again, or was stopped, after it was `Stalled`.
    Recovered,
    /// The child blocks its arbiter. The event comes from the watchdog, so that it is sent even if
    /// the arbiter is the one on which the tree runs. The path is that of the root if that arbiter
    /// is blocked by something that is not a child.
    Stuck {
        /// Rust type name of the message being handled, if known.
        message_type: Option<&'static str>,
    },
    /// An arbiter other than that of the tree is blocked by something that is not a child. The path
    /// is that of the root.
    ArbiterBlocked {
        /// Name of the arbiter: see [`ArbiterStatus`](crate::ArbiterStatus).
        #[serde(serialize_with = "text")]
        arbiter: Arc<str>,
    },
    /// Too many arbiters of its group were blocked and replaced: a blocked one keeps its place, and
    /// its group has one less until it makes progress again. See
    /// [`SupervisorSpec::arbiter_replacements`](crate::SupervisorSpec::arbiter_replacements). The
    /// path is that of the root.
    ArbiterNotReplaced {
        /// Name of the arbiter.
        #[serde(serialize_with = "text")]
        arbiter: Arc<str>,
    },
    /// An arbiter that was `ArbiterBlocked` makes progress again before it was given up.
    ArbiterRecovered {
        /// Name of the arbiter.
        #[serde(serialize_with = "text")]
        arbiter: Arc<str>,
    },
    /// The child has mail and has handled none of it for too long, although its arbiter lives: see
    /// [`ChildSpec::stalled_after`](crate::ChildSpec::stalled_after). The event comes from the
    /// watchdog.
    Stalled {
        /// Number of messages waiting.
        waiting: usize,
    },
    /// The child ended because it was asked to, or because its work was done.
    Stopped {
        /// Reason for which the run ended: `normal`, `shutdown` or `killed`, or the failure that
        /// occurred while stopping.
        exit: ExitReason,
    },
}

pub(crate) fn text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

pub(crate) fn optional_text<S: Serializer>(
    text: &Option<Arc<str>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_some(&text.as_deref())
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// Destination of events. Sending never waits: a subscriber that does not keep up gets the number
/// of events that it missed.
pub(crate) struct Events {
    /// Sender of the events; `None` once the tree has ended, so that streams end with it even if
    /// somebody still holds the tree.
    sender: RwLock<Option<broadcast::Sender<Event>>>,
    /// Number of streams, counted here because the channel would take a lock to return it.
    streams: Arc<AtomicUsize>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self {
            sender: RwLock::new(Some(broadcast::Sender::new(EVENTS_KEPT))),
            streams: Arc::default(),
        }
    }

    pub(crate) fn subscribe(&self) -> EventStream {
        let sender = self.sender.read().unwrap_or_else(PoisonError::into_inner);
        let receiver = sender.as_ref().map(broadcast::Sender::subscribe);
        EventStream::new(receiver, &self.streams)
    }

    /// Ends all streams, those that are subscribed later included.
    pub(crate) fn close(&self) {
        let mut sender = self.sender.write().unwrap_or_else(PoisonError::into_inner);
        *sender = None;
    }

    /// Logs an event, and sends it if anybody listens.
    pub(crate) fn emit(&self, path: &Arc<str>, kind: EventKind) {
        self.emit_of(path, None, kind);
    }

    /// Logs and sends an event of one run of a child.
    pub(crate) fn emit_of(&self, path: &Arc<str>, incarnation: Option<u64>, kind: EventKind) {
        kind.log(path, incarnation);
        if self.streams.load(Ordering::SeqCst) == 0 {
            return;
        }
        let sender = self.sender.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = &*sender {
            let _ = sender.send(Event {
                path: Arc::clone(path),
                at: Timestamp::now(),
                kind,
            });
        }
    }
}

impl EventKind {
    /// Logs the event, whether or not anybody subscribes: as an error if somebody must act, as a
    /// warning if the supervisor does, else as part of the life cycle.
    fn log(&self, path: &str, incarnation: Option<u64>) {
        match self {
            Self::Crashed { incarnation, exit } => tracing::warn!(
                path,
                incarnation,
                cause = exit.code(),
                error = exit.message(),
                location = exit.location().map(ToString::to_string),
                message_type = exit.message_type(),
                "child crashed"
            ),
            Self::Restarting { delay, attempt } => {
                let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(path, attempt, delay_ms, "child restarts in {delay_ms} ms");
            }
            Self::Restarted { incarnation } => tracing::info!(path, incarnation, "child restarted"),
            Self::Escalated { exit } => tracing::error!(
                path,
                incarnation,
                cause = exit.code(),
                error = exit.message(),
                location = exit.location().map(ToString::to_string),
                message_type = exit.message_type(),
                "supervisor gave up and escalates"
            ),
            Self::Quarantined { exit } => tracing::error!(
                path,
                incarnation,
                cause = exit.code(),
                error = exit.message(),
                location = exit.location().map(ToString::to_string),
                message_type = exit.message_type(),
                "child quarantined: its restart budget is used up; it stays down until it is started by hand"
            ),
            Self::Stuck { message_type } => {
                tracing::error!(
                    path,
                    incarnation,
                    cause = "stuck",
                    message_type,
                    "child blocks its arbiter"
                );
            }
            Self::Recovered => tracing::info!(path, "child makes progress again"),
            Self::Stalled { waiting } => {
                tracing::error!(path, waiting, "child has mail and handles none of it");
            }
            Self::Moved => tracing::warn!(path, "child moves to another arbiter"),
            Self::ArbiterBlocked { arbiter } => tracing::error!(
                path,
                %arbiter,
                "arbiter blocked by something that is not a child; its children are moved"
            ),
            Self::ArbiterNotReplaced { arbiter } => tracing::error!(
                path,
                %arbiter,
                "blocked arbiter not replaced: too many of its group were; find what blocks them"
            ),
            Self::ArbiterRecovered { arbiter } => {
                tracing::info!(path, %arbiter, "arbiter makes progress again");
            }
            Self::HealthChanged { health } if health.is_healthy() => {
                tracing::info!(path, "child is healthy again");
            }
            Self::HealthChanged { health } => tracing::warn!(path, %health, "child is not healthy"),
            Self::PoisonMail {
                message_type,
                dropped,
            } => tracing::error!(
                path,
                message_type,
                dropped,
                "dropped {dropped} messages of a type that crashed the child again and again"
            ),
            Self::Suspended { cause } => {
                tracing::info!(path, by = cause.by, why = cause.why, "child suspended")
            }
            Self::Resumed => tracing::info!(path, "child resumed"),
            Self::Started { incarnation } => tracing::debug!(path, incarnation, "child started"),
            Self::Stopped { exit } if exit.is_abnormal() => {
                tracing::info!(path, cause = %exit, "child did not stop in order");
            }
            Self::Stopped { exit } => tracing::debug!(path, cause = exit.code(), "child stopped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fmt,
        sync::{Mutex, PoisonError},
    };

    use tracing::{Level, Metadata, field::Field, span};

    use super::*;

    /// Keeps the level and the message of each event.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<(Level, String)>>>);

    impl tracing::Subscriber for Log {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            let mut message = String::new();
            event.record(&mut |field: &Field, value: &dyn fmt::Debug| {
                if field.name() == "message" {
                    message = format!("{value:?}");
                }
            });
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push((*event.metadata().level(), message));
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn events_are_logged_although_nobody_subscribed() {
        let exit = ExitReason::Failed("x".into());
        let crashed = EventKind::Crashed {
            incarnation: 2,
            exit: exit.clone(),
        };
        let restarting = EventKind::Restarting {
            delay: Duration::from_millis(200),
            attempt: 1,
        };
        let cases = [
            (crashed, Level::WARN, "child crashed"),
            (restarting, Level::INFO, "child restarts in 200 ms"),
            (
                EventKind::Restarted { incarnation: 3 },
                Level::INFO,
                "child restarted",
            ),
            (
                EventKind::Quarantined { exit: exit.clone() },
                Level::ERROR,
                "child quarantined",
            ),
            (
                EventKind::Escalated { exit: exit.clone() },
                Level::ERROR,
                "supervisor gave up",
            ),
            (
                EventKind::Stuck { message_type: None },
                Level::ERROR,
                "child blocks its arbiter",
            ),
            (
                EventKind::Suspended {
                    cause: Suspended::now(None, None),
                },
                Level::INFO,
                "child suspended",
            ),
            (
                EventKind::Stopped { exit },
                Level::INFO,
                "child did not stop",
            ),
            (
                EventKind::Started { incarnation: 1 },
                Level::DEBUG,
                "child started",
            ),
        ];
        let log = Log::default();
        let events = Events::new();
        // With only one subscriber alive, tracing asks the thread that reaches a log statement
        // first, which may be that of another test, and then skips it on every thread.
        let _other = tracing::Dispatch::new(Log::default());
        tracing::subscriber::with_default(log.clone(), || {
            for (kind, ..) in cases.clone() {
                events.emit(&"root/child".into(), kind);
            }
        });
        let lines = log.0.lock().unwrap();
        assert_eq!(lines.len(), cases.len(), "{lines:?}");
        for ((level, message), (kind, expected, begins)) in lines.iter().zip(&cases) {
            assert_eq!(level, expected, "{kind:?}");
            assert!(message.starts_with(begins), "{kind:?}: {message}");
        }
    }
}
