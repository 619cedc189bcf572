//! Streams of events that go on after a break.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{ClientError, ServerEvent, ServerEvents, transport::Call};

/// Pause before the first attempt to connect again, unless the hive names another. Fixed:
/// of the client library, whose callers do not depend on it.
const RETRY: Duration = Duration::from_secs(1);
/// Longest pause between two attempts. Fixed: of the client library, whose callers do not
/// depend on it.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The next thing of a stream that goes on by itself.
pub(super) enum Next {
    Event(ServerEvent),
    /// The stream ended or broke, with the reason.
    Interrupted(String),
    /// The stream goes on.
    Resumed,
}

/// A stream of events that connects again when it ends, and goes on after the last event.
#[derive(Debug)]
pub(super) struct Resuming {
    last_id: Option<String>,
    stream: Option<ServerEvents>,
    /// Number of attempts to connect since the last stream ended.
    tries: u32,
    retry: Duration,
    /// Time of the next attempt.
    next_try: Option<Instant>,
    /// True from the end of a stream until there is another.
    interrupted: bool,
}

impl Resuming {
    /// Begins after the event with that id.
    pub(super) fn after(last_id: Option<String>) -> Self {
        Self {
            last_id,
            stream: None,
            tries: 0,
            retry: RETRY,
            next_try: None,
            interrupted: false,
        }
    }

    /// Returns the id with which another stream continues where this one is.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Returns whether there is a connection.
    pub(super) fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    /// Waits for the next thing. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// The first connection failed, or the hive does not accept a later one. Failures that may
    /// pass are no errors later.
    pub(super) async fn next<'a>(
        &mut self,
        call: impl Fn() -> Call<'a>,
    ) -> Result<Next, ClientError> {
        loop {
            let Some(stream) = &mut self.stream else {
                match self.connect(&call).await {
                    Ok(true) => return Ok(Next::Resumed),
                    Ok(false) => {}
                    Err(error) if self.interrupted && error.is_passing() => self.postpone(&error),
                    Err(error) => return Err(error),
                }
                continue;
            };
            let read = stream.next().await;
            if let Some(id) = stream.last_id() {
                self.last_id = Some(id.to_owned());
            }
            self.retry = stream.retry().unwrap_or(self.retry);
            let reason = match read {
                Ok(Some(event)) => match last_words(&event) {
                    None => return Ok(Next::Event(event)),
                    Some(reason) => reason,
                },
                Ok(None) => "the hive ended the stream".into(),
                Err(error) if error.is_passing() => error.to_string(),
                Err(error) => return Err(error),
            };
            self.stream = None;
            self.interrupted = true;
            self.next_try = Some(Instant::now() + self.retry);
            return Ok(Next::Interrupted(reason));
        }
    }

    /// Connects when it is time. Returns true if an interruption is over.
    ///
    /// # Errors
    /// The hive does not answer, or refuses.
    pub(super) async fn connect<'a>(
        &mut self,
        call: impl Fn() -> Call<'a>,
    ) -> Result<bool, ClientError> {
        if let Some(at) = self.next_try {
            sleep_until(at).await;
        }
        self.tries += 1;
        let call = call().accepting_events();
        let call = call.last_event_id(self.last_id.as_deref())?;
        self.stream = Some(call.events().await?);
        self.tries = 0;
        Ok(std::mem::take(&mut self.interrupted))
    }

    fn postpone(&mut self, error: &ClientError) {
        let asked = error.problem().and_then(|problem| problem.retry_after);
        let pause = asked.unwrap_or(pause(self.retry, self.tries));
        self.next_try = Some(Instant::now() + pause.min(RETRY_MAX));
    }
}

/// Returns the reason of an event that ends the stream.
fn last_words(event: &ServerEvent) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct End {
        reason: String,
    }
    match event.kind.as_str() {
        "deia.behind" => {
            Some("the events were not taken fast enough, and the hive ended the stream".to_owned())
        }
        "deia.end" => Some(match serde_json::from_str::<End>(&event.data) {
            Ok(End { reason }) => said(&reason),
            Err(_) => "the hive ended the stream".to_owned(),
        }),
        _ => None,
    }
}

/// Returns the reason of an end as words.
fn said(reason: &str) -> String {
    match reason {
        "stopping" => "the hive stops or restarts".into(),
        "suspended" => "the live stream is suspended".into(),
        "access_changed" => "the access of the key has changed".into(),
        "failed" => "the hive cannot read on".into(),
        "forgotten" => "the task is past its retention".into(),
        other => format!("the hive ended the stream ({other})"),
    }
}

/// Returns the pause after so many failed attempts: doubled each time, within limits.
fn pause(first: Duration, tries: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(tries.saturating_sub(1));
    first.saturating_mul(doubled).min(RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit() {
        for (first_ms, tries, expected_ms) in [
            (1_000, 0, 1_000),
            (1_000, 1, 1_000),
            (1_000, 2, 2_000),
            (1_000, 4, 8_000),
            (1_000, 6, 30_000),
            (100, 2, 200),
            (60_000, 1, 30_000),
            (1_000, u32::MAX, 30_000),
        ] {
            let pause = pause(Duration::from_millis(first_ms), tries);
            assert_eq!(
                pause,
                Duration::from_millis(expected_ms),
                "{first_ms} {tries}"
            );
        }
    }
}
