//! The health that children report.

use actix::prelude::{Actor, Handler, Message};
use deia_supervision::{Context, EventKind, Health, StartError, Strategy, child};

use crate::common::{idle, patient, run, start};

struct Moody;

impl Actor for Moody {
    type Context = Context<Self>;
}

/// Changes its health so many times, and ends unwell.
#[derive(Message)]
#[rtype(result = "()")]
struct Waver(usize);

impl Handler<Waver> for Moody {
    type Result = ();
    fn handle(&mut self, message: Waver, ctx: &mut Self::Context) {
        for number in 0..message.0 {
            ctx.set_health(Health::Healthy);
            ctx.set_health(Health::degraded(number));
        }
    }
}

/// However fast it is, its supervisor keeps up.
#[test]
fn a_child_that_wavers_does_not_outrun_its_supervisor() {
    run(async {
        let (a, handle) = child("a", || async { Ok::<_, StartError>(Moody) });
        let tree = start(patient("root", Strategy::OneForOne).child(a)).await;
        let mut events = tree.subscribe();
        for round in 1..=2 {
            handle.ask(Waver(10_000 * round)).await.unwrap();
            idle().await;
            let told: Vec<_> = std::iter::from_fn(|| events.try_recv()).collect();
            assert_eq!(told.len(), 1, "only the latest is told");
            let health = Health::degraded(10_000 * round - 1);
            let kind = told.into_iter().next().unwrap().unwrap().kind;
            assert_eq!(kind, EventKind::HealthChanged { health });
        }
        tree.shutdown().await;
    });
}
