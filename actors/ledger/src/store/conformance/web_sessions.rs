//! Web sessions.

use deia_model::{
    Action, KeyId, OpenedWith, Role, Timestamp, WebSession, WebSessionEnd, WebSessionId,
    WebSessionRecord,
};

use super::{actions, notices_of, refused};
use crate::{
    Apply, CommitNotice, EndUserWebSessions, EndWebSessions, Idempotency, Ledger,
    NoteWebSessionUses, OpenWebSession, Rejection,
};

fn web_session(user: &str, opened_with: OpenedWith, last_seen: i64) -> WebSessionRecord {
    let at = Timestamp::from_millis;
    WebSessionRecord {
        info: WebSession {
            id: WebSessionId::new(),
            user: user.into(),
            opened_with,
            created_at: at(1),
            last_seen_at: at(last_seen),
            expires_at: at(1_000),
            ip_address: Some("192.0.2.7".into()),
            user_agent: None,
        },
        secret_sha256: [7; 32],
        trust_anchor: None,
    }
}

fn by_key(user: &str, last_seen: i64) -> WebSessionRecord {
    web_session(user, OpenedWith::Key(KeyId::new()), last_seen)
}

fn open(web_session: &WebSessionRecord) -> OpenWebSession {
    OpenWebSession {
        web_session: Box::new(web_session.clone()),
        max_per_user: 2,
        max: 3,
        idempotency: None,
    }
}

pub(crate) async fn a_repeated_request_opens_one_session(ledger: Ledger) {
    let once = |web_session: &WebSessionRecord, byte| OpenWebSession {
        web_session: Box::new(web_session.clone()),
        max_per_user: 2,
        max: 3,
        idempotency: Some(Idempotency {
            key: "once".into(),
            fingerprint: [byte; 32],
        }),
    };
    let first = by_key("ada", 1);
    ledger.apply(once(&first, 1)).await.unwrap();
    let again = refused(&ledger, once(&by_key("ada", 2), 1)).await;
    assert_eq!(again, Rejection::WebSessionOpenedAlready(first.info.id));
    let other = refused(&ledger, once(&by_key("ada", 3), 2)).await;
    assert_eq!(other, Rejection::IdempotencyMismatch);
    assert_eq!(ids(&ledger).await, [first.info.id]);
    // The same idempotency key of another user is a different one.
    ledger.apply(once(&by_key("bob", 1), 2)).await.unwrap();
}

async fn ids(ledger: &Ledger) -> Vec<WebSessionId> {
    let all = ledger.web_sessions().await.unwrap();
    all.into_iter()
        .map(|web_session| web_session.info.id)
        .collect()
}

pub(crate) async fn sessions_are_opened_used_and_ended(ledger: Ledger) {
    let notices = notices_of(&ledger);
    let token = OpenedWith::Token {
        issuer: "idp".into(),
        role: Role::Viewer,
    };
    let (one, mut other) = (by_key("ada", 1), web_session("idp:bob", token, 1));
    other.trust_anchor = Some([9; 32]);
    ledger.apply(open(&one)).await.unwrap();
    ledger.apply(open(&other)).await.unwrap();
    assert_eq!(
        ledger.web_sessions().await.unwrap(),
        [one.clone(), other.clone()]
    );
    let at = Timestamp::from_millis;
    for (seen, noted) in [(9, 1), (5, 0)] {
        let command =
            NoteWebSessionUses(vec![(one.info.id, at(seen)), (WebSessionId::new(), at(9))]);
        let done = ledger.apply(command).await.unwrap();
        assert_eq!(done, noted, "time does not go back");
    }
    assert_eq!(
        ledger.web_sessions().await.unwrap()[0].info.last_seen_at,
        at(9)
    );
    let end = |web_session: &WebSessionRecord| EndWebSessions {
        web_sessions: vec![web_session.info.id],
        why: WebSessionEnd::LoggedOut,
        actor: "ada".into(),
    };
    assert_eq!(ledger.apply(end(&one)).await.unwrap(), 1);
    assert_eq!(ledger.apply(end(&one)).await.unwrap(), 0);
    assert_eq!(ids(&ledger).await, [other.info.id]);
    assert_eq!(
        *notices.lock().unwrap(),
        vec![CommitNotice::WebSessionsChanged; 3]
    );
    assert_eq!(
        actions(&ledger).await,
        [Action::AuthLogin, Action::AuthLogin, Action::AuthLogout]
    );
}

pub(crate) async fn sessions_are_limited_per_user_and_in_total(ledger: Ledger) {
    let (first, second, third) = (by_key("ada", 5), by_key("ada", 3), by_key("ada", 4));
    for web_session in [&first, &second, &third] {
        ledger.apply(open(web_session)).await.unwrap();
    }
    assert_eq!(
        ids(&ledger).await,
        [first.info.id, third.info.id],
        "the idlest ended"
    );
    ledger.apply(open(&by_key("bob", 1))).await.unwrap();
    let full = refused(&ledger, open(&by_key("eve", 1))).await;
    assert_eq!(full, Rejection::TooManyWebSessions);
    // A user with the maximum number of sessions replaces one of them.
    ledger.apply(open(&by_key("ada", 6))).await.unwrap();
    let all = EndUserWebSessions {
        user: "ada".into(),
        actor: "admin".into(),
    };
    assert_eq!(ledger.apply(all).await.unwrap(), 2);
    assert_eq!(ids(&ledger).await.len(), 1);
    ledger.apply(open(&by_key("eve", 1))).await.unwrap();
}
