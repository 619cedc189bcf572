//! Bare actix, kameo and ractor.

use actix::prelude::{Actor as _, Addr, Handler, Message};
use kameo::actor::Spawn as _;
use ractor::{ActorProcessingErr, RpcReplyPort, SupervisionEvent};
use tokio::sync::mpsc;

use super::Contestant;

#[derive(Message)]
#[rtype(result = "()")]
struct Tell;

#[derive(Message)]
#[rtype(result = "u64")]
struct Ask;

struct Crash;

// Bare actix: no supervision that could survive a panic.

pub(crate) struct ActixCounter(u64);

impl actix::Actor for ActixCounter {
    type Context = actix::Context<Self>;
}

impl Handler<Tell> for ActixCounter {
    type Result = ();
    fn handle(&mut self, _: Tell, _: &mut Self::Context) {
        self.0 += 1;
    }
}

impl Handler<Ask> for ActixCounter {
    type Result = u64;
    fn handle(&mut self, _: Ask, _: &mut Self::Context) -> u64 {
        self.0
    }
}

#[derive(Default)]
pub(crate) struct Actix;

impl Contestant for Actix {
    const NAME: &'static str = "actix";
    const SUPERVISES: bool = false;
    type Actor = Addr<ActixCounter>;

    async fn spawn(&mut self) -> Self::Actor {
        ActixCounter(0).start()
    }

    fn tell(&self, actor: &Self::Actor) {
        actor.do_send(Tell);
    }

    async fn ask(&self, actor: &Self::Actor) -> u64 {
        actor.send(Ask).await.unwrap()
    }

    async fn crash(&mut self, _: &mut Self::Actor) {}

    async fn stop(&mut self, actors: Vec<Self::Actor>) {
        drop(actors);
        tokio::task::yield_now().await;
    }
}

// kameo

pub(crate) struct KameoCounter(u64);

impl kameo::Actor for KameoCounter {
    type Args = ();
    type Error = kameo::error::Infallible;
    async fn on_start(
        (): (),
        _: kameo::actor::ActorRef<Self>,
    ) -> Result<Self, kameo::error::Infallible> {
        Ok(Self(0))
    }
}

impl kameo::message::Message<Tell> for KameoCounter {
    type Reply = ();
    async fn handle(&mut self, _: Tell, _: &mut kameo::message::Context<Self, ()>) {
        self.0 += 1;
    }
}

impl kameo::message::Message<Ask> for KameoCounter {
    type Reply = u64;
    async fn handle(&mut self, _: Ask, _: &mut kameo::message::Context<Self, u64>) -> u64 {
        self.0
    }
}

impl kameo::message::Message<Crash> for KameoCounter {
    type Reply = ();
    async fn handle(&mut self, _: Crash, _: &mut kameo::message::Context<Self, ()>) {
        panic!("told to");
    }
}

struct KameoSupervisor;

impl kameo::Actor for KameoSupervisor {
    type Args = ();
    type Error = kameo::error::Infallible;
    async fn on_start(
        (): (),
        _: kameo::actor::ActorRef<Self>,
    ) -> Result<Self, kameo::error::Infallible> {
        Ok(Self)
    }
}

#[derive(Default)]
pub(crate) struct Kameo {
    supervisor: Option<kameo::actor::ActorRef<KameoSupervisor>>,
}

impl Contestant for Kameo {
    const NAME: &'static str = "kameo";
    const SUPERVISES: bool = true;
    type Actor = kameo::actor::ActorRef<KameoCounter>;

    async fn spawn(&mut self) -> Self::Actor {
        let supervisor = self
            .supervisor
            .get_or_insert_with(|| KameoSupervisor::spawn(()));
        KameoCounter::supervise(supervisor, ())
            .restart_limit(u32::MAX, std::time::Duration::from_secs(5))
            .spawn_with_mailbox(kameo::mailbox::unbounded())
            .await
    }

    fn tell(&self, actor: &Self::Actor) {
        actor.tell(Tell).try_send().unwrap();
    }

    async fn ask(&self, actor: &Self::Actor) -> u64 {
        actor.ask(Ask).await.unwrap()
    }

    async fn crash(&mut self, actor: &mut Self::Actor) {
        actor.tell(Crash).try_send().unwrap();
        while actor.ask(Ask).await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    async fn stop(&mut self, actors: Vec<Self::Actor>) {
        for actor in actors {
            actor.kill();
        }
        tokio::task::yield_now().await;
    }
}

// ractor: the supervisor spawns a successor, and tells who holds the address.

pub(crate) enum RactorMessage {
    Tell,
    Ask(RpcReplyPort<u64>),
    Crash,
}

struct RactorCounter;

impl ractor::Actor for RactorCounter {
    type Msg = RactorMessage;
    type State = u64;
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ractor::ActorRef<RactorMessage>,
        (): (),
    ) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ractor::ActorRef<RactorMessage>,
        message: RactorMessage,
        state: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RactorMessage::Tell => *state += 1,
            RactorMessage::Ask(reply) => reply.send(*state)?,
            RactorMessage::Crash => panic!("told to"),
        }
        Ok(())
    }
}

struct RactorSupervisor;

type Successors = mpsc::UnboundedSender<ractor::ActorRef<RactorMessage>>;

impl ractor::Actor for RactorSupervisor {
    type Msg = RactorMessage;
    type State = Successors;
    type Arguments = Successors;

    async fn pre_start(
        &self,
        _: ractor::ActorRef<RactorMessage>,
        successors: Successors,
    ) -> Result<Successors, ActorProcessingErr> {
        Ok(successors)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ractor::ActorRef<RactorMessage>,
        event: SupervisionEvent,
        successors: &mut Successors,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(..) = event {
            let (actor, _) =
                ractor::Actor::spawn_linked(None, RactorCounter, (), myself.get_cell()).await?;
            successors.send(actor)?;
        }
        Ok(())
    }
}

#[derive(Default)]
pub(crate) struct Ractor {
    supervisor: Option<(
        ractor::ActorRef<RactorMessage>,
        mpsc::UnboundedReceiver<ractor::ActorRef<RactorMessage>>,
    )>,
}

impl Contestant for Ractor {
    const NAME: &'static str = "ractor";
    const SUPERVISES: bool = true;
    type Actor = ractor::ActorRef<RactorMessage>;

    async fn spawn(&mut self) -> Self::Actor {
        if self.supervisor.is_none() {
            let (sender, receiver) = mpsc::unbounded_channel();
            let (supervisor, _) = ractor::Actor::spawn(None, RactorSupervisor, sender)
                .await
                .unwrap();
            self.supervisor = Some((supervisor, receiver));
        }
        let (supervisor, _) = self.supervisor.as_ref().unwrap();
        ractor::Actor::spawn_linked(None, RactorCounter, (), supervisor.get_cell())
            .await
            .unwrap()
            .0
    }

    fn tell(&self, actor: &Self::Actor) {
        actor.cast(RactorMessage::Tell).unwrap();
    }

    async fn ask(&self, actor: &Self::Actor) -> u64 {
        ractor::call!(actor, RactorMessage::Ask).unwrap()
    }

    async fn crash(&mut self, actor: &mut Self::Actor) {
        actor.cast(RactorMessage::Crash).unwrap();
        *actor = self.supervisor.as_mut().unwrap().1.recv().await.unwrap();
        self.ask(actor).await;
    }

    async fn stop(&mut self, actors: Vec<Self::Actor>) {
        for actor in actors {
            actor.stop(None);
        }
        tokio::task::yield_now().await;
    }
}
