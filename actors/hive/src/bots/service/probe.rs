//! Probes of a service, and what its bot offers by them.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use reqwest::Method;
use tokio::sync::watch;

use super::{ServiceContext, plain_headers};
use crate::{
    bots::{
        executor::{Offer, Readiness},
        log::Stream,
    },
    outgoing::{ExchangeError, OutgoingRequest},
};

/// Way in which a service is probed.
#[derive(Clone, Debug)]
pub(in crate::bots) enum ProbeBy {
    /// A connection to that address, which is closed at once.
    Connection { url: String },
    /// A GET of that address with these headers, answered by a status of 200 to 299.
    Get {
        url: String,
        headers: BTreeMap<String, String>,
    },
}

/// Limits of probes (`bots.http.probe_*`, `bots.llm.probe_*`).
#[derive(Clone, Copy, Debug)]
pub(in crate::bots) struct ProbeLimits {
    pub(in crate::bots) every: Duration,
    pub(in crate::bots) timeout: Duration,
    /// Failures in a row after which the service cannot be reached.
    pub(in crate::bots) failures: u32,
}

/// Reason why a service cannot be reached.
#[derive(Debug)]
enum Unreachable {
    /// There was no answer, or no connection.
    NoAnswer(ExchangeError),
    /// The answer says that the service does not work.
    Status(u16),
}

impl Unreachable {
    /// Returns the reason in general, for people.
    fn reason(&self) -> &'static str {
        match self {
            Self::Status(_) => "its health probe answers with a failure",
            Self::NoAnswer(error) => match error {
                ExchangeError::Refused(_) => "its address may not be reached",
                ExchangeError::Lookup(_) => "its name cannot be looked up",
                ExchangeError::Connect(_) => "it cannot be connected to",
                ExchangeError::Tls(_) => "no secure connection to it can be made",
                ExchangeError::TimedOut { .. } => "it does not answer in time",
                ExchangeError::Closed(_)
                | ExchangeError::Malformed(_)
                | ExchangeError::Request(_) => "its answer to the health probe is broken",
            },
        }
    }

    /// Returns the reason in full, for the bot's log.
    fn detail(&self) -> String {
        match self {
            Self::NoAnswer(error) => error.to_string(),
            Self::Status(status) => format!("it answered {status}"),
        }
    }
}

/// Memory of the probes: one failure shows that a service does not work yet, and several in a row
/// that it does not any more. Pure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reach {
    slots: u32,
    /// Failures in a row after which the service cannot be reached.
    limit: u32,
    failures: u32,
    readiness: Readiness,
}

impl Reach {
    fn new(slots: u32, limit: u32) -> Self {
        Self {
            slots,
            limit,
            failures: 0,
            readiness: Readiness::Starting,
        }
    }

    /// Takes the result of a probe: the reason of a failure.
    fn note(&mut self, failure: Option<&'static str>) {
        let Some(reason) = failure else {
            self.failures = 0;
            self.readiness = Readiness::Ready;
            return;
        };
        self.failures = self.failures.saturating_add(1);
        if self.readiness != Readiness::Ready || self.failures >= self.limit {
            self.readiness = Readiness::Unreachable(reason);
        }
    }

    fn offer(&self) -> Offer {
        Offer {
            slots: match self.readiness {
                Readiness::Ready => self.slots,
                Readiness::Starting | Readiness::Unreachable(_) => 0,
            },
            readiness: self.readiness,
        }
    }
}

/// Probes the service of one incarnation of a bot.
pub(in crate::bots) struct Prober {
    service: Arc<ServiceContext>,
    by: ProbeBy,
    limits: ProbeLimits,
    reach: Reach,
    offers: watch::Sender<Offer>,
}

impl Prober {
    pub(in crate::bots) fn new(
        service: Arc<ServiceContext>,
        by: ProbeBy,
        limits: ProbeLimits,
        slots: u32,
    ) -> Self {
        let reach = Reach::new(slots, limits.failures);
        Self {
            service,
            by,
            limits,
            reach,
            offers: watch::Sender::new(reach.offer()),
        }
    }

    /// Returns what the bot offers, as it changes.
    pub(in crate::bots) fn offers(&self) -> watch::Receiver<Offer> {
        self.offers.subscribe()
    }

    /// Probes the service until this is dropped.
    pub(in crate::bots) async fn run(mut self) -> Infallible {
        let every = self.limits.every;
        loop {
            let since = self.service.since_success();
            let pause = match since.filter(|since| *since < every) {
                // A task that was carried out proves as much.
                Some(since) => {
                    self.note(None);
                    every.saturating_sub(since)
                }
                None => {
                    let failure = self.probe().await.err();
                    self.note(failure.as_ref());
                    every
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    fn note(&mut self, failure: Option<&Unreachable>) {
        self.reach.note(failure.map(Unreachable::reason));
        let offer = self.reach.offer();
        let before = self.offers.send_replace(offer);
        if before == offer {
            return;
        }
        let log = &self.service.log;
        match (offer.readiness, failure) {
            (Readiness::Unreachable(_), Some(failure)) => {
                let said = format!(
                    "the service cannot be reached, and its bot is given no tasks: {}",
                    failure.detail()
                );
                log.line(None, Stream::Deia, &said);
                tracing::warn!(bot = %self.service.bot, reason = failure.detail(), "service of a bot cannot be reached");
            }
            _ => log.line(None, Stream::Deia, "the service can be reached"),
        }
    }

    async fn probe(&self) -> Result<(), Unreachable> {
        let (line, limit) = (&self.service.line, self.limits.timeout);
        let (url, headers) = match &self.by {
            ProbeBy::Connection { url } => {
                let knocked = line.knock(url, limit).await;
                return knocked.map_err(Unreachable::NoAnswer);
            }
            ProbeBy::Get { url, headers } => (url, headers),
        };
        // Secrets of requests are not for this address, which may be another host.
        let request = OutgoingRequest {
            method: Method::GET,
            headers: plain_headers(headers),
            body: Bytes::new(),
        };
        let opened = line.open(url, request, limit).await;
        let status = opened.map_err(Unreachable::NoAnswer)?.status;
        match (200..300).contains(&status) {
            true => Ok(()),
            false => Err(Unreachable::Status(status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: Option<&str> = Some("down");

    #[test]
    fn service_is_unreachable_after_failures_in_a_row_and_ready_after_a_success() {
        use Readiness::{Ready, Unreachable};
        for (limit, probes, expected) in [
            (3, &[DOWN][..], Unreachable("down")),
            (3, &[None], Ready),
            (3, &[None, DOWN, DOWN], Ready),
            (3, &[None, DOWN, DOWN, None, DOWN, DOWN], Ready),
            (3, &[None, DOWN, DOWN, DOWN], Unreachable("down")),
            (3, &[DOWN, None, DOWN], Ready),
            (1, &[None, DOWN], Unreachable("down")),
            (1, &[None, DOWN, None], Ready),
        ] {
            let mut reach = Reach::new(4, limit);
            assert_eq!(reach.offer().slots, 0, "nothing is known yet");
            for probe in probes {
                reach.note(*probe);
            }
            let offer = reach.offer();
            assert_eq!(offer.readiness, expected, "{limit}: {probes:?}");
            assert_eq!(offer.slots == 4, expected == Ready);
        }
    }
}
