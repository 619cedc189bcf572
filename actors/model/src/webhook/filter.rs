//! The events that an endpoint gets.

use crate::{Event, TaskType, Visibility, WebhookSpec};

/// The filter of an endpoint, with the visibility of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointFilter {
    actions: Vec<String>,
    task_types: Vec<String>,
    tags: Vec<String>,
    owners: Vec<String>,
    visibility: Visibility,
}

impl EndpointFilter {
    /// Makes the filter of these settings for an owner who sees that much.
    pub fn new(spec: &WebhookSpec, visibility: Visibility) -> Self {
        let types = spec.task_types.iter();
        Self {
            actions: spec.events.clone(),
            task_types: types.map(|it| it.as_str().to_owned()).collect(),
            tags: spec.tags.clone(),
            owners: spec.owners.clone(),
            visibility,
        }
    }

    /// Returns the actions and kinds that may match; empty: all.
    pub fn actions(&self) -> &[String] {
        &self.actions
    }

    /// Returns whether the owner of the endpoint sees only events of its own tasks.
    pub fn sees_only_its_own(&self) -> bool {
        self.visibility != Visibility::All
    }

    /// Returns whether an event is delivered.
    pub fn matches(&self, event: &Event) -> bool {
        let any = |wanted: &[String], found: &dyn Fn(&str) -> bool| {
            wanted.is_empty() || wanted.iter().any(|it| found(it))
        };
        let action = event.action.as_str();
        let kind = action.split('.').next().unwrap_or(action);
        let task_type = event.task_type.as_ref().map(TaskType::as_str);
        any(&self.actions, &|wanted| wanted == action || wanted == kind)
            && self.is_visible(event)
            && any(&self.task_types, &|wanted| Some(wanted) == task_type)
            && any(&self.tags, &|wanted| {
                event.tags.iter().any(|tag| tag == wanted)
            })
            && any(&self.owners, &|wanted| {
                event.owner.as_deref() == Some(wanted)
            })
    }

    /// Returns whether the owner of the endpoint may see an event. Callers who see only
    /// their own tasks get events of tasks alone, as in `GET /api/v1/events`.
    fn is_visible(&self, event: &Event) -> bool {
        match &self.visibility {
            Visibility::All => true,
            Visibility::SubmittedBy(user) => {
                event.target.r#type == "task" && event.owner.as_deref() == Some(user)
            }
            Visibility::AssignedTo(_) | Visibility::Nothing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SignatureScheme, entities};

    fn event() -> Event {
        let all = entities().unwrap();
        let example = all.iter().find(|entity| entity.name == "Event").unwrap();
        let mut event: Event = serde_json::from_str(&example.example).unwrap();
        event.action = "task.completed".to_owned().into();
        event.target.r#type = "task".into();
        event.owner = Some("ada".into());
        event.task_type = Some("general".parse().unwrap());
        event.tags = vec!["a".into(), "b".into()];
        event
    }

    fn spec() -> WebhookSpec {
        WebhookSpec {
            url: "https://example.com".into(),
            description: String::new(),
            events: Vec::new(),
            task_types: Vec::new(),
            tags: Vec::new(),
            owners: Vec::new(),
            headers: Vec::new(),
            signatures: vec![SignatureScheme::V1],
            concurrency: None,
            rate_per_second: None,
        }
    }

    #[test]
    fn every_part_of_the_filter_must_match() {
        let list = |texts: &[&str]| texts.iter().map(|&it| it.to_owned()).collect::<Vec<_>>();
        for (events, types, tags, owners, expected) in [
            (&[][..], &[][..], &[][..], &[][..], true),
            (&["task"], &[], &[], &[], true),
            (
                &["task.completed"],
                &["general"],
                &["x", "b"],
                &["ada"],
                true,
            ),
            (&["task.complete"], &[], &[], &[], false),
            (&["bot", "task.failed"], &[], &[], &[], false),
            (&[], &["analysis"], &[], &[], false),
            (&[], &[], &["c"], &[], false),
            (&[], &[], &[], &["bob"], false),
        ] {
            let spec = WebhookSpec {
                events: list(events),
                task_types: types.iter().map(|it| it.parse().unwrap()).collect(),
                tags: list(tags),
                owners: list(owners),
                ..spec()
            };
            let filter = EndpointFilter::new(&spec, Visibility::All);
            assert_eq!(filter.matches(&event()), expected, "{spec:?}");
        }
    }

    #[test]
    fn owner_gets_only_events_that_it_may_see() {
        let of = |user: &str| Visibility::SubmittedBy(user.into());
        for (visibility, expected) in [
            (Visibility::All, true),
            (of("ada"), true),
            (of("bob"), false),
            (Visibility::Nothing, false),
        ] {
            let filter = EndpointFilter::new(&spec(), visibility.clone());
            assert_eq!(filter.matches(&event()), expected, "{visibility:?}");
        }
        let key = Event {
            target: crate::EventTarget {
                r#type: "key".into(),
                id: "key_1".into(),
            },
            ..event()
        };
        assert!(!EndpointFilter::new(&spec(), of("ada")).matches(&key));
    }
}
