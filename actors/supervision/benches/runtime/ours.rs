//! This crate.

use actix::prelude::{Actor, Handler, Message};
use deia_supervision::{
    Context, Handle, Intensity, StartError, Strategy, SupervisorHandle, SupervisorSpec, Tree,
    TreeStatus, child,
};

use super::Contestant;

#[derive(Message)]
#[rtype(result = "()")]
struct Tell;

#[derive(Message)]
#[rtype(result = "u64")]
struct Ask;

#[derive(Message)]
#[rtype(result = "()")]
struct Crash;

#[derive(Message)]
#[rtype(result = "()")]
struct Fail;

pub(crate) struct Counter(u64);

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Tell> for Counter {
    type Result = ();
    fn handle(&mut self, _: Tell, _: &mut Self::Context) {
        self.0 += 1;
    }
}

impl Handler<Ask> for Counter {
    type Result = u64;
    fn handle(&mut self, _: Ask, _: &mut Self::Context) -> u64 {
        self.0
    }
}

impl Handler<Crash> for Counter {
    type Result = ();
    fn handle(&mut self, _: Crash, _: &mut Self::Context) {
        panic!("told to");
    }
}

impl Handler<Fail> for Counter {
    type Result = ();
    fn handle(&mut self, _: Fail, ctx: &mut Self::Context) {
        ctx.fail("told to");
    }
}

#[derive(Default)]
pub(crate) struct Ours {
    tree: Option<(Tree, SupervisorHandle)>,
    spawned: u64,
}

impl Ours {
    pub(crate) fn status(&self) -> TreeStatus {
        let (tree, _) = self.tree.as_ref().unwrap();
        tree.status()
    }
}

impl Contestant for Ours {
    const NAME: &'static str = "deia";
    const SUPERVISES: bool = true;
    type Actor = Handle<Counter>;

    async fn spawn(&mut self) -> Self::Actor {
        if self.tree.is_none() {
            let spec = SupervisorSpec::dynamic("workers");
            let workers = spec.handle();
            let spec = SupervisorSpec::new("root", Strategy::OneForOne)
                .child(spec.intensity(Intensity::unlimited()));
            self.tree = Some((Tree::start(spec).await.unwrap(), workers));
        }
        self.spawned += 1;
        let (_, workers) = self.tree.as_ref().unwrap();
        let (spec, handle) = child(self.spawned.to_string(), || async {
            Ok::<_, StartError>(Counter(0))
        });
        workers.start_child(spec).await.unwrap();
        handle
    }

    fn tell(&self, actor: &Self::Actor) {
        actor.tell(Tell).unwrap();
    }

    async fn ask(&self, actor: &Self::Actor) -> u64 {
        actor.ask(Ask).await.unwrap()
    }

    async fn crash(&mut self, actor: &mut Self::Actor) {
        actor.tell(Crash).unwrap();
        actor.ask(Ask).await.unwrap();
    }

    fn fail(&mut self, actor: &mut Self::Actor) -> Option<impl Future<Output = ()>> {
        let actor = actor.clone();
        Some(async move {
            actor.tell(Fail).unwrap();
            actor.ask(Ask).await.unwrap();
        })
    }

    async fn stop(&mut self, actors: Vec<Self::Actor>) {
        let (_, workers) = self.tree.as_ref().unwrap();
        for actor in actors {
            let name = actor.path().rsplit('/').next().unwrap();
            workers.terminate_child(name).await.unwrap();
            workers.delete_child(name).await.unwrap();
        }
    }
}
