//! The live stream of events, followed through restarts of the hive.

use deia_model::{Event, EventGap};
use serde::de::DeserializeOwned;

use super::{
    Client, ClientError, EventQuery, ServerEvent,
    resume::{Next, Resuming},
};

/// The next thing of a followed event log.
#[derive(Clone, Debug, PartialEq)]
pub enum Followed {
    /// An event that matches.
    Event(Box<Event>),
    /// Events are missing here.
    Gap(EventGap),
    /// The stream ended or broke, with the reason. The follower connects again by itself.
    Interrupted(String),
    /// The stream goes on where it ended: after a [`Gap`](Self::Gap), if one follows, or
    /// without any loss.
    Resumed,
}

/// A follower of the event log. When a stream ends, because the hive restarts, it was too slow,
/// or the network failed, it connects again and goes on after the last event, until it is
/// dropped.
#[derive(Debug)]
pub struct EventFollower {
    client: Client,
    query: EventQuery,
    events: Resuming,
}

impl Client {
    /// Follows the events that match: those after the id `after` of an earlier stream, or those
    /// from now on. The times of the query are not taken.
    pub fn follow_events(&self, query: EventQuery, after: Option<String>) -> EventFollower {
        EventFollower {
            client: self.clone(),
            query,
            events: Resuming::after(after),
        }
    }
}

impl EventFollower {
    /// Returns the id with which another follower continues where this one is; `None` before
    /// the first connection.
    pub fn last_id(&self) -> Option<&str> {
        self.events.last_id()
    }

    /// Connects now, so that no event after this call is missed; [`next`](Self::next)
    /// connects otherwise.
    ///
    /// # Errors
    /// [`ClientError`]: the hive does not answer, or refuses.
    pub async fn start(&mut self) -> Result<(), ClientError> {
        if !self.events.is_connected() {
            let call = || self.client.events_call(&self.query);
            self.events.connect(call).await?;
        }
        Ok(())
    }

    /// Waits for the next event. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// [`ClientError`]: the first connection failed, or the hive does not accept a later one,
    /// for example because the key was revoked. Failures that may pass are no errors later.
    pub async fn next(&mut self) -> Result<Followed, ClientError> {
        let call = || self.client.events_call(&self.query);
        Ok(match self.events.next(call).await? {
            Next::Interrupted(reason) => Followed::Interrupted(reason),
            Next::Resumed => Followed::Resumed,
            Next::Event(event) if event.kind == "deia.gap" => {
                Followed::Gap(read(&self.client, &event)?)
            }
            Next::Event(event) => Followed::Event(Box::new(read(&self.client, &event)?)),
        })
    }
}

/// Reads the data of an event.
pub(super) fn read<T: DeserializeOwned>(
    client: &Client,
    event: &ServerEvent,
) -> Result<T, ClientError> {
    let unread = |error| format!("an event ({}) cannot be read: {error}", event.kind);
    serde_json::from_str(&event.data).map_err(|error| client.protocol(unread(error)))
}
