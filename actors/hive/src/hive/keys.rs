//! Keys.

use super::{Hive, NewKey, tasks::unexpected};
use crate::{
    HiveError,
    auth::{ApiKey, Principal, Role},
    ledger::{Command, Dedup, Outcome},
    model::{KeyId, KeyInfo, KeyRecord, Timestamp, Violation},
};

impl Hive {
    /// Makes a key. Its text is in the answer and nowhere else.
    ///
    /// # Errors
    /// [`HiveError::Invalid`] for a user that is not 1 to 128 characters of
    /// `a-z A-Z 0-9 . _ @ -`, or an expiry that is past; that the same request
    /// made its key already.
    pub async fn create_key(
        &self,
        who: &Principal,
        user: String,
        role: Role,
        expires_at: Option<Timestamp>,
        dedup: Option<Dedup>,
    ) -> Result<NewKey, HiveError> {
        let violations = violations(&user, expires_at, Timestamp::now());
        if !violations.is_empty() {
            return Err(HiveError::Invalid(violations));
        }
        let key = ApiKey::generate()?;
        let record = KeyRecord::new(&key, user, role, expires_at);
        match self
            .inner
            .ledger
            .apply(Command::AddKey {
                key: record,
                actor: who.user.to_string(),
                dedup,
            })
            .await?
        {
            Outcome::Key(info) => {
                self.reload_keys().await?;
                Ok(NewKey {
                    info,
                    text: key.reveal(),
                })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// All keys, oldest first.
    ///
    /// # Errors
    /// What keeps the store from reading.
    pub async fn keys(&self) -> Result<Vec<KeyInfo>, HiveError> {
        Ok(self
            .inner
            .ledger
            .keys()
            .await?
            .into_iter()
            .map(|key| key.info)
            .collect())
    }

    /// Revokes a key; it is refused from the next request on.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], or that it is the last admin key in force.
    pub async fn revoke_key(&self, who: &Principal, id: KeyId) -> Result<KeyInfo, HiveError> {
        match self
            .inner
            .ledger
            .apply(Command::RevokeKey {
                key: id,
                actor: who.user.to_string(),
            })
            .await?
        {
            Outcome::Key(info) => {
                self.reload_keys().await?;
                Ok(info)
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn reload_keys(&self) -> Result<(), HiveError> {
        Ok(self.inner.keyring.reload(&self.inner.ledger).await?)
    }
}

fn violations(user: &str, expires_at: Option<Timestamp>, now: Timestamp) -> Vec<Violation> {
    let mut found = Vec::new();
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"._@-".contains(&b);
    if user.is_empty() || user.len() > 128 || !user.bytes().all(ok) {
        let detail = "must be 1 to 128 characters of a-z, A-Z, 0-9, '.', '_', '@' and '-'".into();
        found.push(Violation {
            pointer: "/user".into(),
            detail,
        });
    }
    if expires_at.is_some_and(|at| at <= now) {
        found.push(Violation {
            pointer: "/expires_at".into(),
            detail: "is in the past".into(),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_expiries_are_checked() {
        let (past, now, future) = (
            Timestamp::from_millis(1),
            Timestamp::from_millis(2),
            Timestamp::from_millis(3),
        );
        for (user, expires_at, expected) in [
            ("ada", None, vec![]),
            ("ada.l@example-1.org", Some(future), vec![]),
            ("", None, vec!["/user"]),
            ("a b", None, vec!["/user"]),
            ("ada", Some(past), vec!["/expires_at"]),
            ("ä", Some(now), vec!["/user", "/expires_at"]),
        ] {
            let found = violations(user, expires_at, now);
            assert_eq!(
                found.iter().map(|v| v.pointer.as_str()).collect::<Vec<_>>(),
                expected,
                "{user}"
            );
        }
    }
}
