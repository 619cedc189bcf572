//! Typed declarations, handlers that answer later, and where a tree can run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use deia_supervision::{
    AutoShutdown, ChildSpec, Criticality, MailOnEscalation, MailWhileSuspended, prelude::*,
};

use crate::common::{idle, run, start};

struct Adder {
    sum: u64,
    log: Vec<&'static str>,
}

impl Actor for Adder {
    type Context = Context<Self>;
}

fn adder() -> Adder {
    let log = Vec::new();
    Adder { sum: 0, log }
}

#[derive(Message)]
#[rtype(result = "u64")]
struct AddLater(u64);

impl Handler<AddLater> for Adder {
    type Result = ResponseActFuture<Self, u64>;

    fn handle(&mut self, AddLater(number): AddLater, _: &mut Context<Self>) -> Self::Result {
        let pause = tokio::time::sleep(Duration::from_secs(number));
        respond_with(pause, move |(), actor: &mut Self, _| {
            actor.sum += number;
            actor.sum
        })
    }
}

#[derive(Message)]
#[rtype(result = "u64")]
struct EchoLater(u64);

impl Handler<EchoLater> for Adder {
    type Result = ResponseActFuture<Self, u64>;

    fn handle(&mut self, EchoLater(number): EchoLater, _: &mut Context<Self>) -> Self::Result {
        respond(async move {
            tokio::time::sleep(Duration::from_secs(number)).await;
            number
        })
    }
}

#[derive(Message)]
#[rtype(result = "String")]
struct Trace;

impl Handler<Trace> for Adder {
    type Result = String;
    fn handle(&mut self, _: Trace, _: &mut Context<Self>) -> String {
        self.log.join(" ")
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Beside;

impl Handler<Beside> for Adder {
    type Result = ();
    fn handle(&mut self, _: Beside, ctx: &mut Context<Self>) {
        let pause = || tokio::time::sleep(Duration::from_secs(5));
        ctx.spawn_with(pause(), |(), actor, _| actor.log.push("spawned"));
        let cancelled = ctx.spawn_with(pause(), |(), actor, _| actor.log.push("cancelled"));
        ctx.cancel_future(cancelled);
        let pause = tokio::time::sleep(Duration::from_secs(2));
        ctx.wait_with(pause, |(), actor, _| actor.log.push("waited"));
    }
}

#[test]
fn handlers_answer_later_with_the_actor_at_hand() {
    run(async {
        let spec = worker("adder", adder);
        let handle = spec.handle();
        let tree = start(SupervisorSpec::one_for_one("root").child(spec)).await;
        let (slow, quick) = (handle.ask(AddLater(3)), handle.ask(AddLater(1)));
        let echo = handle.ask(EchoLater(2));
        assert_eq!(quick.await, Ok(1), "they do not wait for each other");
        assert_eq!(echo.await, Ok(2));
        assert_eq!(slow.await, Ok(4));
        handle.tell(Beside).unwrap();
        // Nothing else happens while it waits.
        assert_eq!(handle.ask(Trace).await.as_deref(), Ok("waited"));
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(handle.ask(Trace).await.as_deref(), Ok("waited spawned"));
        tree.shutdown().await;
    });
}

#[test]
fn each_incarnation_is_built_from_a_clone_of_its_deps() {
    run(async {
        let clones = Arc::new(AtomicUsize::new(0));
        let spec = worker_async("adder", Arc::clone(&clones), |clones| async move {
            match clones.fetch_add(1, SeqCst) {
                1 => Err("not this time"),
                _ => Ok(adder()),
            }
        });
        assert_eq!(spec.name(), "adder");
        let handle = spec.restart(Restart::Transient);
        let tree = start(SupervisorSpec::one_for_one("root").child(handle)).await;
        let failed = tree.restart_path("root/adder").await;
        assert!(failed.unwrap_err().to_string().contains("not this time"));
        idle().await;
        assert_eq!(clones.load(SeqCst), 3);
        tree.shutdown().await;
    });
}

/// All settings of a declaration can be read back, whichever kind it is.
#[test]
fn start_defaults_of_every_kind() {
    let second = Duration::from_secs(1);
    let spec = worker("a", adder)
        .restart(Restart::Transient)
        .start_within(second)
        .shutdown(Shutdown::Brutal)
        .feature("one")
        .feature("two")
        .criticality(Criticality::Optional)
        .mailbox(7)
        .mail_on_escalation(MailOnEscalation::Drop)
        .mail_while_suspended(MailWhileSuspended::Refuse)
        .poison_after(3)
        .placement(Placement::Own);
    let typed = (spec.get_restart(), spec.get_shutdown(), spec.get_mailbox());
    assert_eq!(typed, (Restart::Transient, Shutdown::Brutal, 7));
    let spec = ChildSpec::from(spec);
    assert_eq!(spec.get_start_within(), Some(second));
    assert_eq!(spec.get_features().collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(spec.get_criticality(), Criticality::Optional);
    assert_eq!(spec.get_mail_on_escalation(), MailOnEscalation::Drop);
    assert_eq!(spec.get_mail_while_suspended(), MailWhileSuspended::Refuse);
    assert_eq!(spec.get_poison_after(), Some(3));
    assert_eq!(spec.get_placement(), Some(&Placement::Own));

    let spec = worker("a", adder);
    assert_eq!(spec.get_start_within(), Some(Duration::from_secs(300)));
    assert_eq!(spec.get_features().count(), 0);
    assert_eq!(spec.get_mail_on_escalation(), MailOnEscalation::Keep);
    assert_eq!(spec.get_mail_while_suspended(), MailWhileSuspended::Keep);
    assert_eq!(spec.get_poison_after(), None);

    let spec = SupervisorSpec::rest_for_one("root");
    assert_eq!(spec.get_strategy(), Strategy::RestForOne);
    assert_eq!(
        spec.get_intensity(),
        &Intensity::new(1, Duration::from_secs(5))
    );
    assert_eq!(spec.get_auto_shutdown(), AutoShutdown::Never);
    assert_eq!(spec.get_max_children(), None);
    assert_eq!(spec.get_watchdog(), Some(Duration::from_secs(10)));
    assert_eq!(spec.get_restart(), Restart::Permanent);
    assert_eq!(spec.get_shutdown(), Shutdown::Infinity);
    assert_eq!(spec.get_start_within(), None);
    assert_eq!(spec.get_budget(), None);
    assert_eq!(spec.get_on_exhausted(), OnExhausted::Escalate);
    assert_eq!(spec.get_backoff(), &Backoff::none());
    assert!(!spec.is_significant());
    let spec = SupervisorSpec::dynamic("root")
        .intensity(Intensity::unlimited())
        .auto_shutdown(AutoShutdown::AllSignificant)
        .max_children(3)
        .watchdog(None)
        .feature("one");
    assert_eq!(spec.get_intensity(), &Intensity::unlimited());
    assert_eq!(spec.get_auto_shutdown(), AutoShutdown::AllSignificant);
    assert_eq!(
        (spec.get_max_children(), spec.get_watchdog()),
        (Some(3), None)
    );
    assert_eq!(spec.get_features().collect::<Vec<_>>(), ["one"]);
    let spec = SupervisorSpec::one_for_all("root").child(worker("a", adder));
    assert_eq!(spec.get_children()[0].name(), "a");
    let text = format!("{spec:?} {:?}", worker("b", adder));
    for part in ["\"root\"", "OneForAll", "\"a\"", "Worker", "\"b\""] {
        assert!(text.contains(part), "{text}");
    }
}

/// Outside of an actix system and a `LocalSet`, there is an error rather than a panic.
#[test]
fn a_tree_without_a_local_set_does_not_start() {
    deia_supervision::install_panic_hook();
    let root = || SupervisorSpec::one_for_one("root").child(worker("a", adder));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let failed = runtime.block_on(Tree::start(root()));
    assert!(matches!(failed, Err(StartError::NoLocalSet)), "{failed:?}");
    let local = tokio::task::LocalSet::new();
    let ended = local.block_on(&runtime, async {
        let tree = Tree::start(root()).await.unwrap();
        tree.shutdown().await
    });
    assert_eq!(ended, ExitReason::Shutdown);
}

/// A reason can be passed on as an error, with its causes.
#[test]
fn exit_reasons_are_errors() {
    run(async {
        let (spec, handle) = deia_supervision::testing::crasher("a");
        let inner = SupervisorSpec::one_for_one("inner")
            .intensity(Intensity::new(0, Duration::from_secs(1)))
            .child(spec);
        let tree = start(SupervisorSpec::one_for_one("root").child(inner)).await;
        let ended = tree.monitor("root/inner").unwrap();
        handle.tell(deia_supervision::testing::Crash).unwrap();
        let reason: Box<dyn std::error::Error> = Box::new(ended.await.unwrap());
        let source = reason.source().unwrap();
        assert!(source.to_string().contains("told to crash"), "{source}");
        assert!(source.source().is_none());
        tree.shutdown().await;
    });
}
