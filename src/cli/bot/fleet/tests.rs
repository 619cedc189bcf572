use serde_json::json;

use super::*;

const FILE: &str = r#"
group: agents
labels: { team: core }
groups:
  agents:
    limits: { memory_bytes: 104857600 }
templates:
  coder:
    executor: { kind: command, command: ["agent", "--yes"], env: { MODEL: "a" } }
    capabilities: { specializations: [development], max_concurrent_tasks: 2 }
bots:
  - name: reviewer
    executor: { kind: simulated }
    limits: null
    launch: false
  - name: coder
    count: 2
    template: coder
    labels: { tier: "1" }
    executor: { env: { MODEL: "b" } }
  - names: [x, y]
    template: coder
    group: others
    capabilities: { max_concurrent_tasks: 1 }
"#;

#[test]
fn entries_are_expanded_over_groups_and_templates() {
    let fleet = Fleet::read(FILE).unwrap();
    let names: Vec<_> = fleet.bots.iter().map(|bot| bot.name.as_str()).collect();
    assert_eq!(names, ["reviewer", "coder-1", "coder-2", "x", "y"]);
    let launched: Vec<_> = fleet.bots.iter().map(|bot| bot.launch).collect();
    assert_eq!(launched, [false, true, true, true, true]);
    let spec = |at: usize| serde_json::to_value(&fleet.bots[at].spec).unwrap();
    assert_eq!(
        spec(1),
        json!({"executor": {"kind": "command", "command": ["agent", "--yes"],
                "env": {"MODEL": "b"}},
            "capabilities": {"bot_type": "general", "specializations": ["development"],
                "max_concurrent_tasks": 2},
            "limits": {"memory_bytes": 104_857_600},
            "group": "agents", "labels": {"team": "core", "tier": "1"}, "template": "coder"})
    );
    assert_eq!(spec(0)["limits"], Value::Null);
    assert_eq!(spec(0)["executor"], json!({"kind": "simulated"}));
    assert_eq!(
        (
            &spec(3)["group"],
            &spec(3)["capabilities"]["max_concurrent_tasks"]
        ),
        (&json!("others"), &json!(1))
    );
    assert_eq!(spec(3)["limits"], Value::Null, "of another group");
}

#[test]
fn json_is_read_as_well() {
    let fleet = Fleet::read(r#"{"bots":[{"name":"a","executor":{"kind":"simulated"}}]}"#);
    let fleet = fleet.unwrap();
    assert_eq!(fleet.bots.len(), 1);
    assert!(!fleet.has_scope());
}

#[test]
fn errors_name_the_place() {
    for (text, part) in [
        ("bots: []\nbot: 1", "unknown field `bot`"),
        ("[", ""),
        ("bots: [{}]", "bots[0]: expected name"),
        ("bots: [{name: A}]", "bots[0]: the name A is not valid"),
        ("bots: [{name: a, count: 0}]", "bots[0].count"),
        (
            "bots: [{name: a, template: t}]",
            "bots[0].template: there is no template t",
        ),
        ("bots: [{name: a, launch: 1}]", "bots[0].launch"),
        ("bots: [{name: a}]", "bots[0]: missing field `executor`"),
        (
            "bots: [{name: a, executor: {kind: simulated}}, {names: [a], executor: {kind: simulated}}]",
            "bots[1]: the name a is there twice",
        ),
        (
            "bots: [{name: a, executor: {kind: simulated}, capabilities: {max_concurrent_tasks: 0}}]",
            "bots[0].capabilities.max_concurrent_tasks: is 0",
        ),
        (
            "bots: [{name: a, executor: {kind: simulated}, colour: red}]",
            "colour",
        ),
    ] {
        let error = Fleet::read(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}

fn bot(name: &str, spec: Value) -> Bot {
    let mut bot = json!({
        "id": name, "status": "healthy", "desired": "launched", "version": 7, "port": 8001,
        "pids": [], "success_rate": null, "current_load": 0.0, "capabilities": {},
        "running_tasks": 0, "last_heartbeat": null, "launched_at": null, "tasks_completed": 0,
        "tasks_failed": 0, "restarts": 0, "last_exit": null, "executor": {"kind": "simulated"},
    });
    let fields = spec.as_object().unwrap().clone();
    bot.as_object_mut().unwrap().extend(fields);
    serde_json::from_value(bot).unwrap()
}

#[test]
fn steps_lead_to_the_fleet_and_touch_no_bots_of_others() {
    let text = "group: g\nbots:\n- {name: new, executor: {kind: simulated}}\n\
        - {name: same, executor: {kind: simulated}}\n\
        - {name: other, executor: {kind: simulated}, capabilities: {max_concurrent_tasks: 3}}\n";
    let fleet = Fleet::read(text).unwrap();
    let present = [
        bot("same", json!({"group": "g"})),
        bot("other", json!({})),
        bot("left", json!({"group": "g"})),
        bot("foreign", json!({"group": "h"})),
        bot("free", json!({})),
    ];
    let steps = plan(&fleet, &present, true);
    let kinds: Vec<_> = steps.iter().map(|it| (it.name.as_str(), it.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("new", Kind::Create),
            ("same", Kind::Unchanged),
            ("other", Kind::Change),
            ("left", Kind::Remove),
        ]
    );
    assert_eq!(
        steps[2].changes,
        [
            "capabilities.max_concurrent_tasks: 1 -> 3",
            "group: none -> \"g\""
        ]
    );
    assert_eq!((steps[0].version, steps[2].version), (None, Some(7)));
    let kept = plan(&fleet, &present, false);
    assert!(kept.iter().all(|step| step.kind != Kind::Remove));
}

#[test]
fn a_file_without_groups_owns_the_bots_with_its_labels() {
    let text = "labels: {fleet: f}\nbots: [{name: a, executor: {kind: simulated}}]";
    let fleet = Fleet::read(text).unwrap();
    assert!(fleet.has_scope());
    for (spec, owned) in [
        (json!({"labels": {"fleet": "f", "x": "y"}}), true),
        (json!({"labels": {"fleet": "f"}, "group": "g"}), true),
        (json!({"labels": {"fleet": "other"}}), false),
        (json!({}), false),
    ] {
        assert_eq!(fleet.owns(&bot("b", spec.clone())), owned, "{spec}");
    }
}
