//! Handlers that answer later.

use std::future::Future;

use actix::{
    Actor, ResponseActFuture,
    fut::{ActorFutureExt as _, wrap_future},
};

use crate::context::Context;

/// Answers with what `future` resolves to; the actor goes on meanwhile. To be returned by a handler
/// whose `Result` is [`ResponseActFuture`].
///
/// The future belongs to this run of the actor: see [`Context`]. The future cannot use the actor,
/// so a handler takes out of the actor what the future needs; see [`respond_with`] for what
/// follows.
///
/// ```
/// # use deia_supervision::prelude::*;
/// # #[derive(Clone)] struct Client;
/// # impl Client { async fn get(&self, _: u64) -> String { String::new() } }
/// # struct Fetcher { client: Client }
/// # impl Actor for Fetcher { type Context = Context<Self>; }
/// # #[derive(Message)] #[rtype(result = "String")] struct Fetch(u64);
/// impl Handler<Fetch> for Fetcher {
///     type Result = ResponseActFuture<Self, String>;
///
///     fn handle(&mut self, Fetch(id): Fetch, _: &mut Context<Self>) -> Self::Result {
///         let client = self.client.clone();
///         respond(async move { client.get(id).await })
///     }
/// }
/// ```
pub fn respond<A, T>(future: impl Future<Output = T> + 'static) -> ResponseActFuture<A, T>
where
    A: Actor<Context = Context<A>>,
    T: 'static,
{
    Box::pin(wrap_future::<_, A>(future))
}

/// Answers like [`respond`], but lets `then` make the answer from the output of the future, with
/// access to the actor.
///
/// ```
/// # use deia_supervision::prelude::*;
/// # async fn measure() -> u64 { 7 }
/// # struct Meter { last: u64 }
/// # impl Actor for Meter { type Context = Context<Self>; }
/// # #[derive(Message)] #[rtype(result = "u64")] struct Measure;
/// impl Handler<Measure> for Meter {
///     type Result = ResponseActFuture<Self, u64>;
///
///     fn handle(&mut self, _: Measure, _: &mut Context<Self>) -> Self::Result {
///         respond_with(measure(), |value, actor: &mut Self, _ctx| {
///             actor.last = value;
///             value
///         })
///     }
/// }
/// ```
pub fn respond_with<A, O, T, F>(
    future: impl Future<Output = O> + 'static,
    then: F,
) -> ResponseActFuture<A, T>
where
    A: Actor<Context = Context<A>>,
    O: 'static,
    T: 'static,
    F: FnOnce(O, &mut A, &mut Context<A>) -> T + 'static,
{
    Box::pin(wrap_future::<_, A>(future).map(then))
}

impl<A: Actor<Context = Self>> Context<A> {
    /// Runs `future` beside the actor, and then `then` with the actor at hand. The future ends with
    /// this run of the actor; the handle cancels it.
    pub fn spawn_with<O, F>(
        &mut self,
        future: impl Future<Output = O> + 'static,
        then: F,
    ) -> actix::SpawnHandle
    where
        O: 'static,
        F: FnOnce(O, &mut A, &mut Self) + 'static,
    {
        use actix::AsyncContext as _;
        self.spawn(wrap_future::<_, A>(future).map(then))
    }

    /// Runs `future`, and then `then` with the actor at hand; the actor does nothing else
    /// meanwhile.
    pub fn wait_with<O, F>(&mut self, future: impl Future<Output = O> + 'static, then: F)
    where
        O: 'static,
        F: FnOnce(O, &mut A, &mut Self) + 'static,
    {
        use actix::AsyncContext as _;
        self.wait(wrap_future::<_, A>(future).map(then));
    }
}
