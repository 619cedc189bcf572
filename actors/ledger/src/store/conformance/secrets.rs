//! Stored secrets: sealed values under names.

use deia_model::{Action, SecretName};

use super::{actions, refused};
use crate::{Apply, DeleteSecret, Ledger, PutSecret, Rejection, ResealSecrets, Resealed};

fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

fn put(text: &str, sealed: &[u8]) -> PutSecret {
    PutSecret {
        name: name(text),
        sealed: sealed.to_vec(),
        actor: "ada".into(),
        max: 2,
    }
}

fn delete(text: &str) -> DeleteSecret {
    DeleteSecret {
        name: name(text),
        actor: "ada".into(),
    }
}

async fn sealed(ledger: &Ledger, text: &str) -> Option<Vec<u8>> {
    let found = ledger.secret(name(text)).await.unwrap();
    found.map(|stored| stored.sealed)
}

pub(crate) async fn a_secret_is_put_changed_read_and_removed(ledger: Ledger) {
    assert_eq!(sealed(&ledger, "bots/a").await, None);
    for (bytes, new) in [(&[0, 255][..], true), (b"two", false)] {
        let done = ledger.apply(put("bots/a", bytes)).await.unwrap();
        assert_eq!(done, new);
        assert_eq!(sealed(&ledger, "bots/a").await.unwrap(), bytes);
    }
    ledger.apply(put("a/z", b"three")).await.unwrap();
    let all = ledger.secrets().await.unwrap();
    let names: Vec<_> = all.iter().map(|secret| secret.name.as_str()).collect();
    assert_eq!(names, ["a/z", "bots/a"]);
    assert!(all[1].created_at <= all[1].changed_at);
    ledger.apply(delete("bots/a")).await.unwrap();
    assert_eq!(sealed(&ledger, "bots/a").await, None);
    let again = refused(&ledger, delete("bots/a")).await;
    assert_eq!(again, Rejection::NoSuchSecret(name("bots/a")));
    assert_eq!(
        actions(&ledger).await,
        [
            Action::SecretCreated,
            Action::SecretChanged,
            Action::SecretCreated,
            Action::SecretDeleted
        ]
    );
    for event in ledger.events(0, 10).await.unwrap() {
        assert!(event.details.is_null(), "{event:?}");
    }
}

pub(crate) async fn secrets_are_limited(ledger: Ledger) {
    for text in ["a/1", "a/2", "a/2"] {
        ledger.apply(put(text, b"x")).await.unwrap();
    }
    let more = refused(&ledger, put("a/3", b"x")).await;
    assert_eq!(more, Rejection::TooManySecrets { limit: 2 });
    ledger.apply(delete("a/1")).await.unwrap();
    ledger.apply(put("a/3", b"x")).await.unwrap();
}

pub(crate) async fn only_unchanged_secrets_are_resealed(ledger: Ledger) {
    for text in ["a/1", "a/2"] {
        ledger.apply(put(text, b"old")).await.unwrap();
    }
    let reseal = |text: &str, was: &[u8]| Resealed {
        name: name(text),
        was: was.to_vec(),
        sealed: b"new".to_vec(),
    };
    let command = ResealSecrets {
        secrets: vec![
            reseal("a/1", b"old"),
            reseal("a/2", b"older"),
            reseal("a/3", b"old"),
        ],
        actor: "deia".into(),
    };
    assert_eq!(ledger.apply(command).await.unwrap(), 1);
    assert_eq!(sealed(&ledger, "a/1").await.unwrap(), b"new");
    assert_eq!(sealed(&ledger, "a/2").await.unwrap(), b"old");
    assert_eq!(sealed(&ledger, "a/3").await, None);
}
