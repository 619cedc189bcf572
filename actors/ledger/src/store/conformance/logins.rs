//! Web sessions.

use deia_model::{
    Action, KeyId, Login, LoginEnd, LoginId, LoginRecord, OpenedWith, Role, Timestamp,
};

use super::{actions, hints_of, refused};
use crate::{
    Apply, Dedup, EndLogins, EndUserLogins, Hint, Ledger, NoteLoginUses, OpenLogin, Refusal,
};

fn login(user: &str, opened_with: OpenedWith, last_seen: i64) -> LoginRecord {
    let at = Timestamp::from_millis;
    LoginRecord {
        info: Login {
            id: LoginId::new(),
            user: user.into(),
            opened_with,
            created_at: at(1),
            last_seen_at: at(last_seen),
            expires_at: at(1_000),
            ip_address: Some("192.0.2.7".into()),
            user_agent: None,
        },
        secret_sha256: [7; 32],
        basis: None,
    }
}

fn by_key(user: &str, last_seen: i64) -> LoginRecord {
    login(user, OpenedWith::Key(KeyId::new()), last_seen)
}

fn open(login: &LoginRecord) -> OpenLogin {
    OpenLogin {
        login: Box::new(login.clone()),
        max_per_user: 2,
        max: 3,
        dedup: None,
    }
}

pub(crate) async fn a_repeated_request_opens_one_session(ledger: Ledger) {
    let once = |login: &LoginRecord, byte| OpenLogin {
        login: Box::new(login.clone()),
        max_per_user: 2,
        max: 3,
        dedup: Some(Dedup {
            key: "once".into(),
            fingerprint: [byte; 32],
        }),
    };
    let first = by_key("ada", 1);
    ledger.apply(once(&first, 1)).await.unwrap();
    let again = refused(&ledger, once(&by_key("ada", 2), 1)).await;
    assert_eq!(again, Refusal::LoginOpenedAlready(first.info.id));
    let other = refused(&ledger, once(&by_key("ada", 3), 2)).await;
    assert_eq!(other, Refusal::IdempotencyMismatch);
    assert_eq!(ids(&ledger).await, [first.info.id]);
    // The same idempotency key of another user is a different one.
    ledger.apply(once(&by_key("bob", 1), 2)).await.unwrap();
}

async fn ids(ledger: &Ledger) -> Vec<LoginId> {
    let all = ledger.logins().await.unwrap();
    all.into_iter().map(|login| login.info.id).collect()
}

pub(crate) async fn sessions_are_opened_used_and_ended(ledger: Ledger) {
    let hints = hints_of(&ledger);
    let token = OpenedWith::Token {
        issuer: "idp".into(),
        role: Role::Viewer,
    };
    let (one, mut other) = (by_key("ada", 1), login("idp:bob", token, 1));
    other.basis = Some([9; 32]);
    ledger.apply(open(&one)).await.unwrap();
    ledger.apply(open(&other)).await.unwrap();
    assert_eq!(ledger.logins().await.unwrap(), [one.clone(), other.clone()]);
    let at = Timestamp::from_millis;
    for (seen, noted) in [(9, 1), (5, 0)] {
        let command = NoteLoginUses(vec![(one.info.id, at(seen)), (LoginId::new(), at(9))]);
        let done = ledger.apply(command).await.unwrap();
        assert_eq!(done, noted, "time does not go back");
    }
    assert_eq!(ledger.logins().await.unwrap()[0].info.last_seen_at, at(9));
    let end = |login: &LoginRecord| EndLogins {
        logins: vec![login.info.id],
        why: LoginEnd::LoggedOut,
        actor: "ada".into(),
    };
    assert_eq!(ledger.apply(end(&one)).await.unwrap(), 1);
    assert_eq!(ledger.apply(end(&one)).await.unwrap(), 0);
    assert_eq!(ids(&ledger).await, [other.info.id]);
    assert_eq!(*hints.lock().unwrap(), vec![Hint::LoginsChanged; 3]);
    assert_eq!(
        actions(&ledger).await,
        [Action::LoginOpened, Action::LoginOpened, Action::LoginEnded]
    );
}

pub(crate) async fn sessions_are_limited_per_user_and_in_total(ledger: Ledger) {
    let (first, second, third) = (by_key("ada", 5), by_key("ada", 3), by_key("ada", 4));
    for login in [&first, &second, &third] {
        ledger.apply(open(login)).await.unwrap();
    }
    assert_eq!(
        ids(&ledger).await,
        [first.info.id, third.info.id],
        "the idlest ended"
    );
    ledger.apply(open(&by_key("bob", 1))).await.unwrap();
    let full = refused(&ledger, open(&by_key("eve", 1))).await;
    assert_eq!(full, Refusal::TooManyLogins);
    // A user with the maximum number of sessions replaces one of them.
    ledger.apply(open(&by_key("ada", 6))).await.unwrap();
    let all = EndUserLogins {
        user: "ada".into(),
        actor: "admin".into(),
    };
    assert_eq!(ledger.apply(all).await.unwrap(), 2);
    assert_eq!(ids(&ledger).await.len(), 1);
    ledger.apply(open(&by_key("eve", 1))).await.unwrap();
}
