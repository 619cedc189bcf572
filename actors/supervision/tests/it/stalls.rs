//! Children that have mail and handle none of it although their thread lives.

use std::time::Duration;

use actix::prelude::{AsyncContext, Handler, Message, WrapFuture};
use deia_supervision::{
    ChildState, Event, EventKind, ExitReason, OnStall, Strategy, testing::wait_for,
};

use crate::{
    blocking::{Blocker, FOR_EVER, LIMIT, Where, blocker, start, until},
    common::{Log, Say, patient},
};

/// Waits for what never comes.
#[derive(Message)]
#[rtype(result = "()")]
struct Hang;

impl Handler<Hang> for Blocker {
    type Result = ();
    fn handle(&mut self, _: Hang, ctx: &mut Self::Context) {
        ctx.wait(std::future::pending().into_actor(self));
    }
}

/// The worker's thread lives, so only its mail shows that it is stalled.
#[test]
fn a_child_that_handles_no_mail_is_stalled_and_restarted_if_that_is_wanted() {
    for on_stall in [OnStall::Report, OnStall::Restart] {
        actix::System::new().block_on(async {
            let log = Log::default();
            let (a, handle) = blocker("a", &log);
            let root = patient("root", Strategy::OneForOne);
            let tree = start(root.child(a).stalled_after(LIMIT).on_stall(on_stall)).await;
            let status = || tree.status_of("root/a").unwrap();
            let mut events = tree.subscribe();
            let is_kind = |kind: &'static str| {
                move |event: &Event| serde_json::to_value(event).unwrap()["event"] == kind
            };
            handle.tell(Hang).unwrap();
            handle.tell(Say(1)).unwrap();
            let stalled = wait_for(&mut events, FOR_EVER, is_kind("stalled")).await;
            let stalled = stalled.unwrap();
            assert_eq!(&*stalled.path, "root/a");
            assert_eq!(stalled.kind, EventKind::Stalled { waiting: 1 });
            if on_stall == OnStall::Report {
                assert_eq!(
                    (status().state, status().stalled),
                    (ChildState::Running, true)
                );
                tree.restart_path("root/a").await.unwrap();
            } else {
                wait_for(&mut events, FOR_EVER, is_kind("restarted"))
                    .await
                    .unwrap();
                assert_eq!((status().incarnation, status().restarts), (2, 1));
                assert_eq!(status().last_exit.unwrap().reason.code(), "stalled");
            }
            assert!(handle.ask(Where).await.is_ok());
            assert_eq!(log.take(), ["1"]);
            until("it is not stalled", async || !status().stalled).await;
            assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
        });
    }
}

/// A worker that waits has no mail, and the other is suspended with its mail.
#[test]
fn a_child_without_mail_or_on_leave_is_not_stalled() {
    actix::System::new().block_on(async {
        let (a, a_handle) = blocker("a", &Log::default());
        let (b, b_handle) = blocker("b", &Log::default());
        let (control, control_handle) = blocker("control", &Log::default());
        let root = patient("root", Strategy::OneForOne);
        let root = root.child(a).child(b).child(control);
        let limit = Duration::from_millis(1);
        let tree = start(root.stalled_after(limit).on_stall(OnStall::Restart)).await;
        let mut events = tree.subscribe();
        a_handle.tell(Hang).unwrap();
        tree.suspend_path("root/b").await.unwrap();
        b_handle.tell(Say(1)).unwrap();
        // Mail that nobody handles is found, and each child was looked at meanwhile.
        control_handle.tell(Hang).unwrap();
        control_handle.tell(Say(1)).unwrap();
        let is_restarted = |event: &Event| matches!(event.kind, EventKind::Restarted { .. });
        let restarted = wait_for(&mut events, FOR_EVER, is_restarted).await;
        assert_eq!(&*restarted.unwrap().path, "root/control");
        let status = |path| tree.status_of(path).unwrap();
        assert!(!status("root/a").stalled && !status("root/b").stalled);
        assert_eq!(status("root/a").incarnation, 1);
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    });
}
