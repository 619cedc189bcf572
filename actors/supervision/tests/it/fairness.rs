//! No kind of work of an actor starves another, nor its neighbours.

use actix::{
    Addr,
    prelude::{Actor, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture},
};
use deia_supervision::{Context, ExitReason, Handle, StartError, Strategy, child};

use crate::common::{Log, Ping, Say, patient, probe, run, start};

/// Always has something to do.
struct Busy(Log);

impl Actor for Busy {
    type Context = Context<Self>;
}

fn busy(log: &Log) -> (deia_supervision::ChildSpec, Handle<Busy>) {
    let log = log.clone();
    child("busy", move || {
        let busy = Busy(log.clone());
        async move { Ok::<_, StartError>(busy) }
    })
}

#[derive(Message)]
#[rtype(result = "()")]
struct WaitForEver;

impl Busy {
    /// Waits for a future that is ready at once, and then for the next.
    fn wait_again(ctx: &mut Context<Self>, actor: &Self) {
        let ready = async {}.into_actor(actor);
        ctx.wait(ready.map(|(), actor, ctx| Self::wait_again(ctx, actor)));
    }
}

impl Handler<WaitForEver> for Busy {
    type Result = ();
    fn handle(&mut self, _: WaitForEver, ctx: &mut Self::Context) {
        Self::wait_again(ctx, self);
    }
}

/// Puts itself into the mailbox again.
#[derive(Message)]
#[rtype(result = "()")]
struct Again;

impl Handler<Again> for Busy {
    type Result = ();
    fn handle(&mut self, again: Again, ctx: &mut Self::Context) {
        let _ = ctx.handle().tell(again);
    }
}

impl Handler<Say> for Busy {
    type Result = ();
    fn handle(&mut self, message: Say, _: &mut Self::Context) {
        self.0.add(message.0.to_string());
    }
}

#[derive(Message)]
#[rtype(result = "Addr<Busy>")]
struct Address;

impl Handler<Address> for Busy {
    type Result = Addr<Busy>;
    fn handle(&mut self, _: Address, ctx: &mut Self::Context) -> Self::Result {
        ctx.address()
    }
}

#[test]
fn waits_that_never_end_leave_their_neighbours_a_turn() {
    run(async {
        let (spec, handle) = busy(&Log::default());
        let (other, other_handle, _) = probe("other", &Log::default());
        let tree = start(
            patient("root", Strategy::OneForOne)
                .child(spec)
                .child(other),
        )
        .await;
        handle.tell(WaitForEver).unwrap();
        for _ in 0..3 {
            assert_eq!(other_handle.ask(Ping).await, Ok(1));
        }
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    });
}

#[test]
fn mail_through_addresses_is_not_starved_by_a_mailbox_that_never_empties() {
    run(async {
        let log = Log::default();
        let (spec, handle) = busy(&log);
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        let address = handle.ask(Address).await.unwrap();
        for _ in 0..1_000 {
            handle.tell(Again).unwrap();
        }
        address.send(Say(1)).await.unwrap();
        assert_eq!(log.take(), ["1"]);
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    });
}
