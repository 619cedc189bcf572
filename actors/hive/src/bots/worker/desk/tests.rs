use deia_model::{FailureClass, TaskId};

use super::*;
use crate::bots::{
    command::tests::claimed,
    output::{OutputLimits, Outputs},
    worker::protocol::{Failure, Garbage, Message},
};

/// A desk with an attempt on it whose order was taken, and whose output may have 8 bytes.
struct Setup {
    desk: Desk,
    ticket: Ticket,
    _dir: tempfile::TempDir,
}

impl Setup {
    fn new() -> Self {
        let setup = Self::untaken();
        assert!(matches!(setup.desk.take_order(), Some(Order::Task(..))));
        setup
    }

    fn untaken() -> Self {
        let (desk, dir) = (Desk::new(), tempfile::tempdir().unwrap());
        let claimed = claimed("x");
        let limits = OutputLimits { memory: 8, file: 8 };
        let (task, attempt) = (claimed.task.id, claimed.task.attempt);
        let spool = Outputs::of(dir.path()).keep(task, attempt, limits);
        let ticket = desk.open(claimed, spool, Progress::told());
        Self {
            desk,
            ticket,
            _dir: dir,
        }
    }

    fn output(&self, text: &str) -> Message {
        Message::Output {
            id: self.ticket.key.task,
            attempt: self.ticket.key.number,
            text: text.into(),
        }
    }

    fn result(&self, output: &str) -> Message {
        Message::Result(Success {
            id: self.ticket.key.task,
            attempt: self.ticket.key.number,
            output: Some(output.into()),
            tokens_used: None,
            cost_cents: None,
        })
    }

    async fn take(&self, message: Message) -> Result<(), Garbage> {
        self.desk.settle(&message).await;
        self.desk.take(message)
    }

    async fn end(&mut self) -> End {
        (&mut self.ticket.answer).await.unwrap().end
    }
}

#[tokio::test]
async fn an_attempt_is_answered_once() {
    let mut setup = Setup::new();
    let gone = || Err(Garbage::NoAttempt(setup.ticket.key));
    setup.take(setup.output("abc")).await.unwrap();
    setup.take(setup.result("de")).await.unwrap();
    for late in [setup.output("f"), setup.result("g")] {
        assert_eq!(setup.take(late).await, gone());
    }
    let failure = Message::Error(Failure {
        id: setup.ticket.key.task,
        attempt: setup.ticket.key.number,
        message: "late".into(),
        class: Some(FailureClass::Internal),
        retry_after_ms: None,
        tokens_used: None,
        cost_cents: None,
    });
    assert_eq!(setup.take(failure).await, gone());
    let answer = (&mut setup.ticket.answer).await.unwrap();
    assert!(matches!(answer.end, End::Success(_)));
    let kept = answer.spool.finish(false).await.unwrap();
    assert_eq!(kept.bytes, b"abcde");
}

#[tokio::test]
async fn answers_of_others_change_nothing() {
    let setup = Setup::new();
    let AttemptKey { task, number } = setup.ticket.key;
    for (id, attempt) in [(task, number + 1), (TaskId::new(), number)] {
        let other = AttemptKey {
            task: id,
            number: attempt,
        };
        let progress = Message::Progress {
            id,
            attempt,
            value: 1.0,
        };
        assert_eq!(setup.take(progress).await, Err(Garbage::NoAttempt(other)));
    }
    assert_eq!(setup.desk.attempts(), [setup.ticket.key]);
}

#[tokio::test]
async fn only_an_attempt_that_was_alone_is_answered_for_the_program() {
    let over = || {
        End::OverLimit(Overrun {
            class: FailureClass::Internal,
            words: "it had 3 processes".into(),
        })
    };
    let mut setup = Setup::new();
    setup.desk.answer_sole(over());
    assert!(matches!(setup.end().await, End::OverLimit(_)));
    let setup = Setup::new();
    let limits = OutputLimits { memory: 8, file: 8 };
    let other = claimed("y");
    let spool = Outputs::of(setup._dir.path()).keep(other.task.id, other.task.attempt, limits);
    let _ticket = setup.desk.open(other, spool, Progress::told());
    setup.desk.answer_sole(over());
    assert_eq!(setup.desk.attempts().len(), 2);
}

#[tokio::test]
async fn output_over_the_limit_ends_no_attempt_well() {
    let too_much = SpoolError::TooMuch { max_bytes: 8 };
    // The answer is there before the attempt has heard of the limit.
    let mut setup = Setup::new();
    setup.take(setup.output("123456789")).await.unwrap();
    setup.take(setup.output("more")).await.unwrap();
    setup.take(setup.result("")).await.unwrap();
    assert!(matches!(setup.end().await, End::NotKept(fault) if fault == too_much));
    // The answer itself is too long.
    let mut setup = Setup::new();
    setup.take(setup.output("12345678")).await.unwrap();
    setup.take(setup.result("9")).await.unwrap();
    assert!(matches!(setup.end().await, End::NotKept(fault) if fault == too_much));
}

#[tokio::test]
async fn an_attempt_that_was_not_given_is_taken_back() {
    let setup = Setup::untaken();
    assert!(!setup.desk.cancel(setup.ticket.key, "no".into()));
    assert!(setup.desk.take_order().is_none() && setup.desk.attempts().is_empty());
    let setup = Setup::new();
    assert!(setup.desk.cancel(setup.ticket.key, "no".into()));
    assert!(matches!(
        setup.desk.take_order(),
        Some(Order::Cancel { .. })
    ));

    let mut setup = Setup::untaken();
    setup.desk.cancel_for_stop(setup.ticket.key);
    assert!(matches!(setup.end().await, End::Killed { refused: false }));
    assert!(setup.desk.take_order().is_none());
}

#[test]
fn a_stop_takes_precedence_and_pings_do_not_pile_up() {
    let desk = Desk::new();
    for wish in [Wish::Kill, Wish::Stop, Wish::Kill] {
        desk.wish(wish);
    }
    assert_eq!(*desk.wish.borrow(), Some(Wish::Stop));
    desk.ping(1);
    desk.ping(2);
    assert!(matches!(desk.take_order(), Some(Order::Ping(1))));
    assert!(desk.take_order().is_none());
}
