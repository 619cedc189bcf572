//! Growth of the cost with the number of children, and with the futures that one actor has in
//! flight.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context as TaskContext, Poll, Waker},
    time::Instant,
};

use actix::prelude::{Actor, AsyncContext, Handler, Message, WrapFuture};
use deia_supervision::{Context, StartError, Strategy, SupervisorSpec, Tree, child};

use super::{Contestant, Figures, ns_each, others, ours};

/// Numbers of children or futures, and the names of the rows.
const CHILDREN: [(usize, &str, &str, &str); 3] = [
    (1_000, "start_1k_ns_each", "stop_1k_ns_each", "status_1k_ms"),
    (
        10_000,
        "start_10k_ns_each",
        "stop_10k_ns_each",
        "status_10k_ms",
    ),
    (
        100_000,
        "start_100k_ns_each",
        "stop_100k_ns_each",
        "status_100k_ms",
    ),
];

const IN_FLIGHT: [(usize, &str); 3] = [
    (100, "wake_1_of_100_ns"),
    (1_000, "wake_1_of_1k_ns"),
    (10_000, "wake_1_of_10k_ns"),
];
const WAKES: u64 = 2_000;

pub(crate) fn measure(figures: &mut Figures) {
    for (count, start, stop, status) in CHILDREN {
        children::<others::Actix>(figures, count, start, stop);
        children::<others::Kameo>(figures, count, start, stop);
        children::<others::Ractor>(figures, count, start, stop);
        children::<ours::Ours>(figures, count, start, stop);
        put(figures, status, "deia", status_of(count));
    }
    for (count, name) in IN_FLIGHT {
        put(figures, name, "deia", wakes_deia(count));
        put(figures, name, "actix", wakes_actix(count));
    }
}

fn put(figures: &mut Figures, figure: &'static str, who: &'static str, value: f64) {
    let row = figures.entry(figure).or_default();
    row.entry(who).or_default().push(value);
}

fn children<C: Contestant + Default>(
    figures: &mut Figures,
    count: usize,
    start: &'static str,
    stop: &'static str,
) {
    actix::System::new().block_on(async {
        let mut contestant = C::default();
        let first = contestant.spawn().await;
        let mut actors = Vec::with_capacity(count);
        let begin = Instant::now();
        for _ in 0..count {
            actors.push(contestant.spawn().await);
        }
        put(
            figures,
            start,
            C::NAME,
            ns_each(begin.elapsed(), count as u64),
        );
        // Asked for; only here also waited for, one by one.
        let begin = Instant::now();
        contestant.stop(actors).await;
        put(
            figures,
            stop,
            C::NAME,
            ns_each(begin.elapsed(), count as u64),
        );
        contestant.stop(vec![first]).await;
    });
}

fn status_of(count: usize) -> f64 {
    actix::System::new().block_on(async {
        let mut ours = ours::Ours::default();
        for _ in 0..count {
            ours.spawn().await;
        }
        let begin = Instant::now();
        assert_eq!(ours.status().children[0].children.len(), count);
        begin.elapsed().as_secs_f64() * 1e3
    })
}

/// A future that is never done and counts how often it was polled.
#[derive(Clone, Default)]
struct Pending(Arc<Mutex<(u64, Option<Waker>)>>);

impl Pending {
    fn wake(&self) -> u64 {
        let state = self.0.lock().unwrap();
        state.1.as_ref().unwrap().wake_by_ref();
        state.0
    }
}

impl Future for Pending {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap();
        state.0 += 1;
        state.1 = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Spawn(Pending);

struct Holder;

impl Actor for Holder {
    type Context = Context<Self>;
}

impl Handler<Spawn> for Holder {
    type Result = ();
    fn handle(&mut self, message: Spawn, ctx: &mut Self::Context) {
        ctx.spawn(message.0.into_actor(self));
    }
}

struct BareHolder;

impl Actor for BareHolder {
    type Context = actix::Context<Self>;
}

impl Handler<Spawn> for BareHolder {
    type Result = ();
    fn handle(&mut self, message: Spawn, ctx: &mut Self::Context) {
        ctx.spawn(message.0.into_actor(self));
    }
}

async fn wakes(futures: &[Pending]) -> f64 {
    while futures.iter().any(|future| future.0.lock().unwrap().0 == 0) {
        tokio::task::yield_now().await;
    }
    let begin = Instant::now();
    for number in 0..WAKES {
        let future = &futures[number as usize * 7_919 % futures.len()];
        let polls = future.wake();
        while future.0.lock().unwrap().0 == polls {
            tokio::task::yield_now().await;
        }
    }
    ns_each(begin.elapsed(), WAKES)
}

fn wakes_deia(count: usize) -> f64 {
    actix::System::new().block_on(async {
        let (spec, handle) = child("holder", || async { Ok::<_, StartError>(Holder) });
        let root = SupervisorSpec::new("root", Strategy::OneForOne).child(spec.mailbox(count));
        let tree = Tree::start(root).await.unwrap();
        let futures: Vec<_> = (0..count).map(|_| Pending::default()).collect();
        for future in &futures {
            handle.tell(Spawn(future.clone())).unwrap();
        }
        let each = wakes(&futures).await;
        tree.shutdown().await;
        each
    })
}

fn wakes_actix(count: usize) -> f64 {
    actix::System::new().block_on(async {
        let holder = BareHolder.start();
        let futures: Vec<_> = (0..count).map(|_| Pending::default()).collect();
        for future in &futures {
            holder.do_send(Spawn(future.clone()));
        }
        wakes(&futures).await
    })
}
