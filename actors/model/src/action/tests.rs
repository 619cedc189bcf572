use super::*;

#[test]
fn names_are_dotted_unique_and_parse_back() {
    for action in Action::ALL {
        assert!(action.as_str().contains('.'), "{action:?}");
        assert_eq!(Action::parse(action.as_str()), Some(*action));
        assert_eq!(serde_json::to_value(action).unwrap(), action.as_str());
    }
    assert_eq!(Action::parse("task.unheard_of"), None);
}

#[test]
fn unknown_actions_keep_their_name() {
    for (name, known) in [("task.dead", true), ("task.unheard_of", false)] {
        let action = EventAction::from(name.to_owned());
        assert_eq!(matches!(action, EventAction::Known(_)), known, "{name}");
        let text = serde_json::to_value(&action).unwrap();
        assert_eq!(text, name);
        assert_eq!(serde_json::from_value::<EventAction>(text).unwrap(), action);
    }
}
