//! Access that was taken away or changed after the restored moment, and is as before again.

use std::collections::HashMap;

use deia_ledger::{Ledger, StoreError, StoredWebhook};
use deia_model::{
    AccessKind, KeyRecord, SecretInfo, Timestamp, User, ValidAgain, WebSessionRecord,
};

/// The comparison of the access that two stores give.
pub(super) struct Access {
    pub(super) valid_again: Vec<ValidAgain>,
    /// Number of keys that only the later store has.
    pub(super) keys_lost: u64,
}

/// Compares the access that a restored store gives with that of a later one.
pub(super) async fn compare(
    restored: &Ledger,
    later: &Ledger,
    now: Timestamp,
) -> Result<Access, StoreError> {
    let (old_keys, new_keys) = (restored.keys().await?, later.keys().await?);
    let mut valid_again = keys(&old_keys, &new_keys, now);
    valid_again.extend(users(&restored.users().await?, &later.users().await?));
    let sessions = (restored.web_sessions().await?, later.web_sessions().await?);
    valid_again.extend(web_sessions(&sessions.0, &sessions.1, now));
    valid_again.extend(secrets(&restored.secrets().await?, &later.secrets().await?));
    let endpoints = (restored.all_webhooks().await?, later.all_webhooks().await?);
    valid_again.extend(webhooks(&endpoints.0, &endpoints.1));
    let known: HashMap<_, _> = old_keys.iter().map(|it| (it.info.id, it)).collect();
    let is_lost = |key: &&KeyRecord| works(key, now) && !known.contains_key(&key.info.id);
    Ok(Access {
        valid_again,
        keys_lost: new_keys.iter().filter(is_lost).count() as u64,
    })
}

fn again(
    kind: AccessKind,
    id: String,
    user: Option<&str>,
    change: impl Into<String>,
) -> ValidAgain {
    ValidAgain {
        kind,
        id,
        user: user.map(str::to_owned),
        change: change.into(),
    }
}

fn works(key: &KeyRecord, now: Timestamp) -> bool {
    key.owner.active && key.info.is_in_force(now)
}

fn keys(restored: &[KeyRecord], later: &[KeyRecord], now: Timestamp) -> Vec<ValidAgain> {
    let later: HashMap<_, _> = later.iter().map(|it| (it.info.id, it)).collect();
    let changed = |key: &KeyRecord| {
        let info = &key.info;
        let change = match later.get(&info.id).map(|it| &it.info) {
            None => "was deleted",
            Some(other) if other.revoked_at.is_some() => "was revoked",
            Some(other) if !other.is_in_force(now) => "has expired",
            Some(other) if other.expires_at != info.expires_at => "had another time of expiry",
            Some(other) if other.role != info.role || other.scopes != info.scopes => {
                "has other rights"
            }
            Some(other) if other.allow_ips != info.allow_ips => "has other addresses",
            // A user without access is one of the changes of users.
            Some(_) => return None,
        };
        Some(again(
            AccessKind::Key,
            info.id.to_string(),
            Some(&info.user),
            change,
        ))
    };
    let valid = restored.iter().filter(|it| works(it, now));
    valid.filter_map(changed).collect()
}

fn users(restored: &[User], later: &[User]) -> Vec<ValidAgain> {
    let later: HashMap<_, _> = later.iter().map(|it| (it.id.as_str(), it)).collect();
    let changed = |user: &User| {
        let change = match later.get(user.id.as_str()) {
            None => "was deleted".to_owned(),
            Some(other) if !other.active => "was deactivated".to_owned(),
            Some(other) if other.role != user.role => {
                format!("had the role {}, and has {} again", other.role, user.role)
            }
            Some(_) => return None,
        };
        Some(again(
            AccessKind::User,
            user.id.clone(),
            Some(&user.id),
            change,
        ))
    };
    let active = restored.iter().filter(|it| it.active);
    active.filter_map(changed).collect()
}

fn web_sessions(
    restored: &[WebSessionRecord],
    later: &[WebSessionRecord],
    now: Timestamp,
) -> Vec<ValidAgain> {
    let open = |it: &&WebSessionRecord| it.info.expires_at > now;
    let later: HashMap<_, _> = later
        .iter()
        .filter(open)
        .map(|it| (it.info.id, ()))
        .collect();
    let ended = restored.iter().filter(open);
    let ended = ended.filter(|it| !later.contains_key(&it.info.id));
    ended
        .map(|it| {
            let id = it.info.id.to_string();
            again(AccessKind::WebSession, id, Some(&it.info.user), "was ended")
        })
        .collect()
}

fn secrets(restored: &[SecretInfo], later: &[SecretInfo]) -> Vec<ValidAgain> {
    let later: HashMap<_, _> = later.iter().map(|it| (it.name.to_string(), it)).collect();
    let changed = |secret: &SecretInfo| {
        let name = secret.name.to_string();
        let change = match later.get(&name) {
            None => "was deleted",
            Some(other) if other.changed_at != secret.changed_at => {
                "was changed, and has its former value"
            }
            Some(_) => return None,
        };
        Some(again(AccessKind::Secret, name, None, change))
    };
    restored.iter().filter_map(changed).collect()
}

fn webhooks(restored: &[StoredWebhook], later: &[StoredWebhook]) -> Vec<ValidAgain> {
    let later: HashMap<_, _> = later.iter().map(|it| (it.webhook.id, it)).collect();
    let changed = |stored: &StoredWebhook| {
        let endpoint = &stored.webhook;
        let change = match later.get(&endpoint.id).map(|it| &it.webhook) {
            None => "was deleted, and gets events again",
            Some(other) if other.disabled.is_some() => "was disabled, and gets events again",
            Some(other) if other.spec != endpoint.spec => "has its former settings",
            Some(_) => return None,
        };
        let owner = Some(endpoint.owner.as_str());
        Some(again(
            AccessKind::Webhook,
            endpoint.id.to_string(),
            owner,
            change,
        ))
    };
    let enabled = restored.iter().filter(|it| it.webhook.disabled.is_none());
    enabled.filter_map(changed).collect()
}
