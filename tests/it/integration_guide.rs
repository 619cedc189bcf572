//! The parts of the external integration guide that no shell runs: its code is from the
//! examples, which are run here, and its table of events from the code.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use deia_hive::config;
use deia_model::{Action, EventLevel};

use crate::{
    support::{TestApp, upper},
    tidy::root,
    webhook_support::{LOOPBACK, Manner, Receiver, example},
};

const GUIDE: &str = "docs/EXTERNAL-INTEGRATION-GUIDE.md";
/// Languages of code in the guide, and the files that it is from.
const SOURCES: [(&str, &[&str]); 3] = [
    ("python", &["examples/webhook-receiver/receiver.py"]),
    ("js", &["examples/webhook-receiver/receiver.mjs"]),
    (
        "rust",
        &[
            "examples/webhook-receiver/receiver.rs",
            "examples/external-system/main.rs",
        ],
    ),
];
const BEGIN: &str =
    "<!-- event types: written by DEIA_BLESS=1 cargo test --test it integration_guide -->\n";
const END: &str = "<!-- end of event types -->\n";

fn guide() -> String {
    fs::read_to_string(root().join(GUIDE)).unwrap()
}

/// Returns the blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let begun = text.split(&*fence).skip(1);
    begun
        .filter_map(|rest| rest.split_once("```").map(|(block, _)| block))
        .collect()
}

#[test]
fn code_of_the_guide_is_from_the_examples() {
    let text = guide();
    for (language, files) in SOURCES {
        let read = |file: &&str| fs::read_to_string(root().join(file)).unwrap();
        let sources: Vec<_> = files.iter().map(read).collect();
        let blocks = blocks(&text, language);
        assert!(!blocks.is_empty(), "the guide has no {language}");
        for block in blocks {
            let found = sources.iter().any(|source| source.contains(block));
            assert!(found, "not in {files:?}:\n{block}");
        }
    }
}

#[test]
fn blocks_of_code_are_found() {
    let text = "```js\na\nb\n```\ntext\n```rust\nc\n```\n```js\nd\n```\n";
    assert_eq!(blocks(text, "js"), ["a\nb\n", "d\n"]);
    assert_eq!(blocks(text, "python"), [""; 0]);
}

fn table() -> String {
    let level = |action: &Action| match action.level() {
        EventLevel::Info => "info",
        EventLevel::Warning => "warning",
        EventLevel::Critical => "critical",
    };
    let rows = Action::ALL.iter().map(|action| {
        let (name, meaning) = (action.as_str(), action.description());
        format!("| `{name}` | {} | {meaning} |\n", level(action))
    });
    let rows: String = rows.collect();
    format!("| type | level | meaning |\n|---|---|---|\n{rows}")
}

#[test]
fn table_of_event_types_is_that_of_the_code() {
    let text = guide();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    let expected = table();
    if std::env::var_os("DEIA_BLESS").is_some() {
        let written = format!("{before}{BEGIN}{expected}{END}{after}");
        fs::write(root().join(GUIDE), written).unwrap();
        return;
    }
    let hint = "the table is stale: DEIA_BLESS=1 cargo test --test it integration_guide";
    assert_eq!(found, expected, "{hint}");
}

/// Guides written by hand that name events.
const GUIDES: [&str; 4] = [
    GUIDE,
    "docs/AUTHENTICATION-GUIDE.md",
    "docs/AUDIT-GUIDE.md",
    "docs/OPERATIONS.md",
];

/// Returns the words in backticks that have the form of an action of one of the kinds.
fn named_actions<'a>(text: &'a str, kinds: &[&str]) -> Vec<&'a str> {
    let words = text.split('`').skip(1).step_by(2);
    let is_name = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    words
        .filter(|word| {
            let parts = word.split_once('.');
            parts.is_some_and(|(kind, name)| kinds.contains(&kind) && is_name(name))
        })
        .collect()
}

#[test]
fn guides_name_events_that_exist() {
    let kinds: Vec<_> = Action::ALL.iter().map(|action| action.kind()).collect();
    let settings = config::settings().unwrap();
    // Keys of settings, a file, and the type of test deliveries have the same form.
    let is_other = |word: &str| {
        ["audit.key", "webhook.test"].contains(&word)
            || settings.iter().any(|setting| setting.key.starts_with(word))
    };
    for guide in GUIDES {
        let text = fs::read_to_string(root().join(guide)).unwrap();
        let text: String = text.split("```").step_by(2).collect();
        for word in named_actions(&text, &kinds) {
            let is_known = Action::parse(word).is_some() || is_other(word);
            assert!(is_known, "{guide}: there is no event {word}");
        }
    }
    assert_eq!(
        named_actions("`auth.login`, `bots.seed` and `key.rotated`", &kinds),
        ["auth.login", "key.rotated"]
    );
}

#[actix_rt::test]
async fn external_system_of_the_examples_does_what_the_guide_says() {
    let Some(program) = example("external-system") else {
        return;
    };
    let settings = [&LOOPBACK[..], &["bots.seed=[]"]].concat();
    let app = TestApp::start_with(&settings).await;
    app.bot("upper-1", upper(), &["general"]).await;
    let receiver = Receiver::start(Manner::Accepts(Duration::ZERO));
    let key: PathBuf = app.data_dir().parent().unwrap().join("shop.key");
    fs::write(&key, app.key("shop", "external").await).unwrap();
    let output = Command::new(&program)
        .env("DEIA_URL", &app.url)
        .env("DEIA_KEY_FILE", &key)
        .env("HOOK_URL", receiver.url())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    let mut rest = &*said;
    for part in [
        " is ",
        "HELLO\n",
        " is completed\nthe last id is ",
        " has a secret\nthe receiver accepts deliveries: true\n",
    ] {
        let (_, after) = rest
            .split_once(part)
            .unwrap_or_else(|| panic!("no {part:?} in\n{said}"));
        rest = after;
    }
}
