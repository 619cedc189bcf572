//! Helpers that this crate offers to the tests of others.

use std::time::Duration;

use actix::prelude::Message;
use deia_supervision::{
    AskError, Event, EventKind, ExitReason, Strategy,
    testing::{self, Crash, Fail, Incarnation, NotSeen, Stop, wait_for},
};

use crate::common::{patient, start};

#[derive(Debug, Message, PartialEq)]
#[rtype(result = "()")]
struct Number(u32);

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_probe_records_in_order() {
    testing::run(async {
        let (spec, handle, recording) = testing::probe::<Number>("probe");
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        for number in 0..3 {
            handle.tell(Number(number)).unwrap();
        }
        testing::idle().await;
        assert_eq!(recording.take(), [Number(0), Number(1), Number(2)]);
        tree.restart_path("root/probe").await.unwrap();
        handle.ask(Number(3)).await.unwrap();
        assert_eq!(recording.take(), [Number(3)]);
        tree.shutdown().await;
    });
}

#[test]
fn a_crasher_ends_as_it_is_told() {
    testing::run(async {
        let (spec, handle) = testing::crasher("a");
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        for (number, code) in ["panicked", "failed", "normal"].into_iter().enumerate() {
            let exit = handle.monitor();
            match code {
                "panicked" => assert_eq!(handle.ask(Crash).await, Err(AskError::Crashed)),
                "failed" => handle.tell(Fail).unwrap(),
                _ => handle.tell(Stop).unwrap(),
            }
            assert_eq!(exit.await.unwrap().code(), code);
            assert_eq!(handle.ask(Incarnation).await, Ok(number as u64 + 2));
        }
        tree.shutdown().await;
    });
}

#[test]
fn waiting_for_an_event_has_a_deadline() {
    testing::run(async {
        let (spec, handle) = testing::crasher("a");
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        let mut events = tree.subscribe();
        let crashed = |event: &Event| matches!(event.kind, EventKind::Crashed { .. });
        let nothing = wait_for(&mut events, SECOND, crashed).await;
        assert_eq!(nothing.unwrap_err(), NotSeen::TimedOut);
        handle.tell(Crash).unwrap();
        let event = wait_for(&mut events, SECOND, crashed).await.unwrap();
        assert_eq!(&*event.path, "root/a");
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
        drop(tree);
        let ended = wait_for(&mut events, SECOND, crashed).await;
        assert_eq!(ended.unwrap_err(), NotSeen::Ended);
    });
}
