//! The messages to the dispatcher.

use std::sync::{Arc, atomic::AtomicBool};

use actix::{Handler, Message};
use deia_model::WebhookId;

use super::Dispatcher;

/// Message that events were appended.
#[derive(Message)]
#[rtype(result = "()")]
pub(in super::super) struct EventsAppended;

/// Message that endpoints or users changed, or that there is work for an endpoint.
#[derive(Message)]
#[rtype(result = "()")]
pub(in super::super) struct EndpointsChanged;

/// Message that there is work for an endpoint.
#[derive(Message)]
#[rtype(result = "()")]
pub(in super::super) struct EndpointWork(pub(in super::super) WebhookId);

/// Message that an endpoint was disabled by its actor.
#[derive(Message)]
#[rtype(result = "()")]
pub(in super::super) struct EndpointOver(pub(in super::super) WebhookId);

/// Message that the actor of an endpoint has nothing to do.
#[derive(Message)]
#[rtype(result = "()")]
pub(in super::super) struct EndpointIdle(pub(in super::super) WebhookId);

/// Notes what the dispatcher was told and has not looked at, so that it is told once.
#[derive(Clone, Default)]
pub(in super::super) struct Told {
    pub(in super::super) events: Arc<AtomicBool>,
    pub(in super::super) endpoints: Arc<AtomicBool>,
}

impl Handler<EventsAppended> for Dispatcher {
    type Result = ();

    fn handle(&mut self, _: EventsAppended, ctx: &mut Self::Context) {
        if !self.index.is_empty() {
            self.look(ctx);
        }
    }
}

impl Handler<EndpointsChanged> for Dispatcher {
    type Result = ();

    fn handle(&mut self, _: EndpointsChanged, ctx: &mut Self::Context) {
        self.load(ctx);
    }
}

impl Handler<EndpointWork> for Dispatcher {
    type Result = ();

    fn handle(&mut self, work: EndpointWork, ctx: &mut Self::Context) {
        self.wake(work.0, ctx);
    }
}

impl Handler<EndpointOver> for Dispatcher {
    type Result = ();

    fn handle(&mut self, over: EndpointOver, ctx: &mut Self::Context) {
        self.forget(over.0, ctx);
    }
}

impl Handler<EndpointIdle> for Dispatcher {
    type Result = ();

    fn handle(&mut self, idle: EndpointIdle, ctx: &mut Self::Context) {
        self.rest(idle.0, ctx);
    }
}
