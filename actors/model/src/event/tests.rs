//! Tests of events and their filters.

use super::*;

#[test]
fn levels_and_results_have_the_names_of_their_json() {
    for level in EventLevel::ALL {
        assert_eq!(level.as_str().parse(), Ok(level));
        assert_eq!(serde_json::json!(level), level.as_str());
    }
    for result in EventResult::ALL {
        assert_eq!(result.as_str().parse(), Ok(result));
        assert_eq!(serde_json::json!(result), result.as_str());
    }
    assert!("Info".parse::<EventLevel>().is_err());
    assert!("".parse::<EventResult>().is_err());
    assert!(EventLevel::ALL.is_sorted());
}

#[test]
fn every_field_of_a_filter_must_match() {
    let event = Event {
        seq: 1,
        timeline: 1,
        at: Timestamp::from_millis(1_000),
        action: Action::BotCrashed.into(),
        level: EventLevel::Warning,
        actor: "deia".into(),
        target: EventTarget {
            r#type: "bot".into(),
            id: "b-1".into(),
        },
        owner: None,
        task_type: "brief".parse().ok(),
        bot_id: None,
        tags: vec!["nightly".into(), "eu".into()],
        attempt: None,
        status: None,
        session_id: None,
        v: 1,
        result: EventResult::Success,
        details: serde_json::Value::Null,
        trace_id: None,
    };
    let all = EventFilter::default();
    let tagged = |tags: &[&str]| EventFilter {
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        ..EventFilter::default()
    };
    let of_type = |name: &str| EventFilter {
        task_type: name.parse().ok(),
        ..EventFilter::default()
    };
    let action = |name: &str| EventFilter {
        action: Some(name.into()),
        ..all.clone()
    };
    let at = |ms: i64| Some(Timestamp::from_millis(ms));
    for (filter, expected) in [
        (all.clone(), true),
        (action("bot"), true),
        (action("bot.crashed"), true),
        (action("bot."), false),
        (action("bo"), false),
        (action("task"), false),
        (of_type("brief"), true),
        (of_type("other"), false),
        (tagged(&["eu"]), true),
        (tagged(&["eu", "nightly"]), true),
        (tagged(&["eu", "us"]), false),
        (
            EventFilter {
                target: Some("b-2".into()),
                ..action("bot")
            },
            false,
        ),
        (
            EventFilter {
                actor: Some("ada".into()),
                ..all.clone()
            },
            false,
        ),
        (
            EventFilter {
                after: at(1_000),
                before: at(1_001),
                ..all.clone()
            },
            true,
        ),
        (
            EventFilter {
                before: at(1_000),
                ..all
            },
            false,
        ),
    ] {
        assert_eq!(filter.matches(&event), expected, "{filter:?}");
    }
}

#[test]
fn position_has_one_spelling() {
    let at = Position {
        timeline: 2,
        seq: 4_711,
    };
    assert_eq!(at.to_string().parse(), Ok(at));
    for text in [
        "", "1", "1.", ".1", "1.2.3", "01.2", "1.+2", "-1.2", "1-2", "a.b",
    ] {
        assert_eq!(text.parse::<Position>(), Err(InvalidPosition), "{text}");
    }
}
