//! Messages between bots: accepted, delivered, read, failed, expired, forgotten.

use std::time::Duration;

use deia_model::{
    Action, BotMessageId, DeliveryStatus, Message, MessageFilter, NewMessage, PageRequest,
    Priority, Timestamp,
};

use super::{
    bot_name, count,
    entities::{put_command, spec},
    notices_of, refused,
};
use crate::{
    Apply, CloseMessages, CommitNotice, DeleteBot, Idempotency, Ledger, ReadMessage, Rejection,
    SendMessage, SentMessage, StoreError, TakeMessages,
};

const LONG: Duration = Duration::from_secs(3_600);

pub(super) async fn put_bots(ledger: &Ledger, names: &[&str]) {
    for name in names {
        let put = put_command(name, spec(1), None);
        ledger.apply(put).await.unwrap();
    }
}

fn to(receiver: &str, content: &str) -> NewMessage {
    NewMessage {
        receiver_bot: bot_name(receiver),
        content: content.into(),
        sender_bot: None,
        priority: Priority::default(),
        ttl_seconds: None,
        session_id: None,
    }
}

fn send(message: NewMessage) -> SendMessage {
    SendMessage {
        message,
        actor: "ada".into(),
        ttl: LONG,
        max_inbox: 10,
        idempotency: None,
    }
}

async fn sent(ledger: &Ledger, message: NewMessage) -> BotMessageId {
    ledger.apply(send(message)).await.unwrap().message.id
}

fn take(bot: &str) -> TakeMessages {
    TakeMessages {
        bot: bot_name(bot),
        actor: "key-of-b".into(),
        limit: 100,
        max_bytes: 1 << 20,
        redeliver_after: LONG,
        max_deliveries: 3,
    }
}

/// Takes messages such that they are due again at once.
fn take_again(bot: &str) -> TakeMessages {
    TakeMessages {
        redeliver_after: Duration::ZERO,
        ..take(bot)
    }
}

async fn taken(ledger: &Ledger, take: TakeMessages) -> Vec<String> {
    let messages = ledger.apply(take).await.unwrap();
    let content = |message: Message| message.content.unwrap();
    messages.into_iter().map(content).collect()
}

fn read(message: BotMessageId) -> ReadMessage {
    ReadMessage {
        message,
        actor: "key-of-b".into(),
        only_for: Some(bot_name("b")),
    }
}

async fn close(ledger: &Ledger) -> u64 {
    let command = CloseMessages {
        limit: 100,
        forget_before: Timestamp::from_millis(0),
    };
    ledger.apply(command).await.unwrap()
}

async fn found(ledger: &Ledger, id: BotMessageId) -> Message {
    ledger.message(id, None).await.unwrap().unwrap()
}

pub(crate) async fn message_is_delivered_read_and_recorded(ledger: Ledger) {
    put_bots(&ledger, &["a", "b"]).await;
    let notices = notices_of(&ledger);
    let message = NewMessage {
        sender_bot: Some(bot_name("a")),
        priority: Priority::P1,
        ..to("b", "hello")
    };
    let id = sent(&ledger, message).await;
    let told = CommitNotice::MessageSent(bot_name("b"));
    assert!(notices.lock().unwrap().contains(&told));
    let next = ledger.next_delivery(bot_name("b")).await.unwrap();
    assert!(next.unwrap() <= Timestamp::now());
    let [given] = &ledger.apply(take("b")).await.unwrap()[..] else {
        panic!("one message");
    };
    assert_eq!(given.content.as_deref(), Some("hello"));
    assert_eq!(given.delivery_status, DeliveryStatus::Delivered);
    assert_eq!((given.retry_count, given.id), (0, id));
    assert!(given.delivered_at.is_some() && given.read_at.is_none());
    assert_eq!(taken(&ledger, take("b")).await, [""; 0], "not due again");
    assert_eq!(taken(&ledger, take("a")).await, [""; 0], "not its inbox");
    for _ in 0..2 {
        let noted = ledger.apply(read(id)).await.unwrap();
        assert_eq!(noted.delivery_status, DeliveryStatus::Read);
        assert!(noted.read_at.is_some());
    }
    assert_eq!(found(&ledger, id).await.sender_bot, Some(bot_name("a")));
    for (action, times) in [
        (Action::MessageSent, 1),
        (Action::MessageDelivered, 1),
        (Action::MessageRead, 1),
    ] {
        assert_eq!(count(&ledger, action).await, times, "{action:?}");
    }
    let events = ledger.events(0, 100).await.unwrap();
    let event = events.iter().find(|it| it.action == Action::MessageSent);
    let event = event.unwrap();
    assert_eq!(event.target.r#type, "message");
    assert_eq!(event.target.id, id.to_string());
    assert_eq!(event.details["receiver_bot"], "b");
    assert!(!event.details.to_string().contains("hello"));
}

pub(crate) async fn urgent_messages_come_first_then_the_oldest(ledger: Ledger) {
    put_bots(&ledger, &["b"]).await;
    for (content, priority) in [
        ("1", Priority::P2),
        ("2", Priority::P0),
        ("3", Priority::P2),
        ("4", Priority::P1),
    ] {
        let message = NewMessage {
            priority,
            ..to("b", content)
        };
        sent(&ledger, message).await;
    }
    let two = TakeMessages {
        limit: 2,
        ..take("b")
    };
    assert_eq!(taken(&ledger, two).await, ["2", "4"]);
    assert_eq!(taken(&ledger, take("b")).await, ["1", "3"]);
}

pub(crate) async fn unread_message_is_delivered_again_and_fails_at_last(ledger: Ledger) {
    put_bots(&ledger, &["b"]).await;
    let id = sent(&ledger, to("b", "x")).await;
    for n in 0..3 {
        let given = ledger.apply(take_again("b")).await.unwrap();
        assert_eq!(given[0].retry_count, n);
    }
    assert_eq!(taken(&ledger, take_again("b")).await, [""; 0]);
    assert_eq!(ledger.next_delivery(bot_name("b")).await.unwrap(), None);
    assert_eq!(close(&ledger).await, 1);
    assert_eq!(close(&ledger).await, 0, "once");
    let message = found(&ledger, id).await;
    assert_eq!(message.delivery_status, DeliveryStatus::Failed);
    let failure = message.failure.unwrap();
    assert!(failure.contains("3 times"), "{failure}");
    assert_eq!(count(&ledger, Action::MessageFailed).await, 1);
    let late = refused(&ledger, read(id)).await;
    let expected = Rejection::MessageIsOver {
        message: id,
        status: DeliveryStatus::Failed,
    };
    assert_eq!(late, expected);
}

pub(crate) async fn message_expires_unless_it_was_read(ledger: Ledger) {
    put_bots(&ledger, &["b"]).await;
    let over = SendMessage {
        ttl: Duration::ZERO,
        ..send(to("b", "late"))
    };
    let id = ledger.apply(over).await.unwrap().message.id;
    let kept = sent(&ledger, to("b", "kept")).await;
    ledger.apply(read(kept)).await.unwrap();
    assert_eq!(taken(&ledger, take("b")).await, [""; 0], "never given late");
    let late = refused(&ledger, read(id)).await;
    assert!(matches!(late, Rejection::MessageIsOver { .. }), "{late:?}");
    let now = Timestamp::now();
    let work = ledger.has_messages_to_close(now, Timestamp::from_millis(0));
    assert!(work.await.unwrap());
    assert_eq!(close(&ledger).await, 1);
    let status = |message: Message| message.delivery_status;
    assert_eq!(status(found(&ledger, id).await), DeliveryStatus::Expired);
    assert_eq!(status(found(&ledger, kept).await), DeliveryStatus::Read);
    assert_eq!(count(&ledger, Action::MessageExpired).await, 1);
}

pub(crate) async fn messages_name_bots_that_exist(ledger: Ledger) {
    put_bots(&ledger, &["b"]).await;
    let nobody = Some(bot_name("nobody"));
    for (message, expected) in [
        (to("nobody", "x"), &["/receiver_bot"][..]),
        (
            NewMessage {
                sender_bot: nobody.clone(),
                ..to("b", "x")
            },
            &["/sender_bot"],
        ),
        (
            NewMessage {
                sender_bot: nobody,
                ..to("nobody", "x")
            },
            &["/receiver_bot", "/sender_bot"],
        ),
    ] {
        let Rejection::Invalid(found) = refused(&ledger, send(message)).await else {
            panic!("names a bot that is not there");
        };
        let pointers: Vec<_> = found.iter().map(|it| it.pointer.as_str()).collect();
        assert_eq!(pointers, expected);
    }
    assert_eq!(count(&ledger, Action::MessageSent).await, 0);
}

pub(crate) async fn inbox_has_a_limit(ledger: Ledger) {
    put_bots(&ledger, &["b", "c"]).await;
    let narrow = |receiver: &str| SendMessage {
        max_inbox: 2,
        ..send(to(receiver, "x"))
    };
    let first = ledger.apply(narrow("b")).await.unwrap().message.id;
    ledger.apply(narrow("b")).await.unwrap();
    let full = Rejection::InboxFull {
        receiver: bot_name("b"),
        limit: 2,
    };
    assert_eq!(refused(&ledger, narrow("b")).await, full);
    ledger.apply(narrow("c")).await.unwrap();
    ledger.apply(take("b")).await.unwrap();
    assert_eq!(refused(&ledger, narrow("b")).await, full, "still unread");
    ledger.apply(read(first)).await.unwrap();
    ledger.apply(narrow("b")).await.unwrap();
}

pub(crate) async fn repeated_send_makes_one_message(ledger: Ledger) {
    put_bots(&ledger, &["b"]).await;
    let repeated = |fingerprint| SendMessage {
        idempotency: Some(Idempotency {
            key: "k".into(),
            fingerprint: [fingerprint; 32],
        }),
        ..send(to("b", "x"))
    };
    let first: SentMessage = ledger.apply(repeated(1)).await.unwrap();
    ledger.apply(take("b")).await.unwrap();
    let second = ledger.apply(repeated(1)).await.unwrap();
    assert_eq!(first.message, second.message, "the same answer");
    assert!(!first.replayed && second.replayed);
    let other = refused(&ledger, repeated(2)).await;
    assert_eq!(other, Rejection::IdempotencyMismatch);
    assert_eq!(count(&ledger, Action::MessageSent).await, 1);
}

pub(crate) async fn delivery_is_bounded_by_bytes(ledger: Ledger) {
    put_bots(&ledger, &["b"]).await;
    for content in ["aaaa", "bb", "c"] {
        sent(&ledger, to("b", content)).await;
    }
    let small = |max_bytes| TakeMessages {
        max_bytes,
        ..take("b")
    };
    assert_eq!(taken(&ledger, small(3)).await, ["aaaa"], "one at least");
    assert_eq!(taken(&ledger, small(3)).await, ["bb", "c"]);
}

pub(crate) async fn messages_of_a_removed_bot_fail(ledger: Ledger) {
    put_bots(&ledger, &["b", "c"]).await;
    let unread = sent(&ledger, to("b", "x")).await;
    let was_read = sent(&ledger, to("b", "y")).await;
    let other = sent(&ledger, to("c", "z")).await;
    ledger.apply(read(was_read)).await.unwrap();
    let delete = DeleteBot {
        name: bot_name("b"),
        actor: "ada".into(),
    };
    ledger.apply(delete).await.unwrap();
    let failed = found(&ledger, unread).await;
    assert_eq!(failed.delivery_status, DeliveryStatus::Failed);
    assert_eq!(failed.failure.as_deref(), Some("its receiver was removed"));
    let status = |message: Message| message.delivery_status;
    assert_eq!(status(found(&ledger, was_read).await), DeliveryStatus::Read);
    assert_eq!(status(found(&ledger, other).await), DeliveryStatus::Queued);
    assert_eq!(count(&ledger, Action::MessageFailed).await, 1);
    put_bots(&ledger, &["b"]).await;
    assert_eq!(taken(&ledger, take("b")).await, [""; 0], "another bot");
}

pub(crate) async fn messages_are_listed_by_bot_page_by_page(ledger: Ledger) {
    put_bots(&ledger, &["a", "b", "c"]).await;
    let from = |sender: &str, receiver: &str, content: &str| NewMessage {
        sender_bot: Some(bot_name(sender)),
        ..to(receiver, content)
    };
    let mut ids = Vec::new();
    for (sender, receiver) in [("a", "b"), ("b", "a"), ("a", "c"), ("c", "c"), ("b", "c")] {
        ids.push(sent(&ledger, from(sender, receiver, "x")).await);
    }
    ledger.apply(read(ids[0])).await.unwrap();
    let list = async |filter: MessageFilter, only_of: Option<&str>, limit: u32| {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let page = PageRequest { limit, cursor };
            let page = ledger.messages(filter.clone(), only_of.map(bot_name), page);
            let page = page.await.unwrap();
            assert!(page.items.iter().all(|it| it.content.is_none()));
            let place = |it: Message| ids.iter().position(|id| *id == it.id).unwrap();
            all.extend(page.items.into_iter().map(place));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return all;
            }
        }
    };
    let of = |sender: Option<&str>, receiver: Option<&str>| MessageFilter {
        sender: sender.map(bot_name),
        receiver: receiver.map(bot_name),
        ..MessageFilter::default()
    };
    let read = MessageFilter {
        status: Some(DeliveryStatus::Read),
        ..MessageFilter::default()
    };
    for (filter, only_of, expected) in [
        (of(None, None), None, &[4, 3, 2, 1, 0][..]),
        (of(Some("a"), None), None, &[2, 0]),
        (of(None, Some("c")), None, &[4, 3, 2]),
        (of(Some("b"), Some("c")), None, &[4]),
        (of(None, None), Some("a"), &[2, 1, 0]),
        (of(None, None), Some("c"), &[4, 3, 2]),
        (of(None, Some("c")), Some("a"), &[2]),
        (read, None, &[0]),
    ] {
        for limit in [1, 2, 10] {
            let listed = list(filter.clone(), only_of, limit).await;
            assert_eq!(listed, expected, "{filter:?} {only_of:?} {limit}");
        }
    }
    let page = PageRequest {
        limit: 1,
        cursor: Some("nonsense".into()),
    };
    let bad = ledger.messages(MessageFilter::default(), None, page).await;
    assert!(matches!(bad, Err(StoreError::BadCursor)), "{bad:?}");
    for (bot, sees) in [("a", true), ("b", true), ("c", false)] {
        let found = ledger.message(ids[0], Some(bot_name(bot))).await.unwrap();
        assert_eq!(found.is_some(), sees, "{bot}");
    }
}

pub(crate) async fn ended_messages_are_forgotten(ledger: Ledger) {
    put_bots(&ledger, &["b"]).await;
    let ended = sent(&ledger, to("b", "x")).await;
    let open = sent(&ledger, to("b", "y")).await;
    ledger.apply(read(ended)).await.unwrap();
    let later = Timestamp::now().plus_millis(1_000);
    let forget = CloseMessages {
        limit: 100,
        forget_before: later,
    };
    let work = ledger.has_messages_to_close(Timestamp::now(), later);
    assert!(work.await.unwrap());
    assert_eq!(ledger.apply(forget).await.unwrap(), 1);
    assert_eq!(ledger.message(ended, None).await.unwrap(), None);
    assert_eq!(found(&ledger, open).await.id, open);
}
