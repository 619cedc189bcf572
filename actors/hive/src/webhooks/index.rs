//! Matching of events: once for all endpoints.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use deia_model::{Event, WebhookId};

use super::feed::Feed;

/// The most selective property of an endpoint's filter, under which it is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Owner(String),
    Tag(String),
    TaskType(String),
    /// An action, or a kind of actions.
    Action(String),
    Any,
}

/// The endpoints by what they want: an event is compared only with endpoints that share a
/// property with it.
#[derive(Default)]
pub(super) struct Index {
    by_key: HashMap<Key, Vec<(WebhookId, Arc<Feed>)>>,
    /// Actions and kinds that any endpoint wants; empty: all.
    actions: Arc<[String]>,
    is_empty: bool,
}

impl Index {
    /// Makes the index of these endpoints.
    pub(super) fn new<'a>(feeds: impl Iterator<Item = (&'a WebhookId, &'a Arc<Feed>)>) -> Self {
        let mut by_key: HashMap<_, Vec<_>> = HashMap::new();
        let mut actions = BTreeSet::new();
        let (mut wants_all, mut is_empty) = (false, true);
        for (id, feed) in feeds {
            is_empty = false;
            let endpoint = feed.endpoint.load();
            let wanted = endpoint.filter.actions();
            wants_all |= wanted.is_empty();
            actions.extend(wanted.iter().cloned());
            for key in keys_of(&endpoint.stored.webhook, &endpoint.filter) {
                by_key.entry(key).or_default().push((*id, feed.clone()));
            }
        }
        if wants_all {
            actions.clear();
        }
        Self {
            by_key,
            actions: actions.into_iter().collect(),
            is_empty,
        }
    }

    /// Returns whether there are no endpoints.
    pub(super) fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Returns the actions and kinds that any endpoint wants; empty: all.
    pub(super) fn actions(&self) -> Arc<[String]> {
        self.actions.clone()
    }

    /// Pushes an event to the endpoints that it matches, and calls `pushed` for each.
    pub(super) fn push(&self, event: &Arc<Event>, mut pushed: impl FnMut(WebhookId, &Arc<Feed>)) {
        let action = event.action.as_str();
        let kind = action.split('.').next().unwrap_or(action);
        let mut keys = vec![Key::Any, Key::Action(action.to_owned())];
        if kind != action {
            keys.push(Key::Action(kind.to_owned()));
        }
        keys.extend(event.owner.clone().map(Key::Owner));
        let task_type = event.task_type.as_ref();
        keys.extend(task_type.map(|it| Key::TaskType(it.as_str().to_owned())));
        keys.extend(event.tags.iter().cloned().map(Key::Tag));
        for (id, feed) in keys.iter().filter_map(|key| self.by_key.get(key)).flatten() {
            if feed.endpoint.load().filter.matches(event) {
                // An endpoint that is found under two keys gets the event once.
                feed.push(event);
                pushed(*id, feed);
            }
        }
    }
}

/// Returns the keys of an endpoint, all of the same property.
fn keys_of(webhook: &deia_model::Webhook, filter: &deia_model::EndpointFilter) -> Vec<Key> {
    let spec = &webhook.spec;
    let all = |texts: &[String], key: fn(String) -> Key| texts.iter().cloned().map(key).collect();
    if filter.sees_only_its_own() {
        return vec![Key::Owner(webhook.owner.clone())];
    }
    if !spec.owners.is_empty() {
        return all(&spec.owners, Key::Owner);
    }
    if !spec.tags.is_empty() {
        return all(&spec.tags, Key::Tag);
    }
    if !spec.task_types.is_empty() {
        let types = spec.task_types.iter();
        return types
            .map(|it| Key::TaskType(it.as_str().to_owned()))
            .collect();
    }
    match spec.events.is_empty() {
        true => vec![Key::Any],
        false => all(&spec.events, Key::Action),
    }
}
