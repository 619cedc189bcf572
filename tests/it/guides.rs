//! The shell examples of the guides, run as they are against a hive with the defaults,
//! except that webhooks reach this machine where a guide is about them. A comment that
//! begins with `# ` must be printed by then, where `...` stands for anything. Links between
//! documents lead to files and headings that exist.

use std::{collections::BTreeMap, path::Path, process::Command, time::Duration};

use crate::{
    support::TestApp,
    tidy::root,
    webhook_support::{Manner, Receiver},
};

/// The guides whose examples are run, each against a hive of its own with these settings.
const GUIDES: &[(&str, &[&str])] = &[
    ("README.md", &[]),
    ("docs/OPERATIONS.md", &[]),
    ("docs/RUNBOOK.md", &[]),
    ("docs/AUTHENTICATION-GUIDE.md", &[]),
    ("docs/AUDIT-GUIDE.md", &[]),
    ("docs/RECOVERY-GUIDE.md", &["recovery.mode=async"]),
    ("docs/BOT-AUTHORS-GUIDE.md", &[]),
    (
        "docs/EXTERNAL-INTEGRATION-GUIDE.md",
        &[
            "webhooks.allow_http=true",
            "webhooks.allow_networks=[127.0.0.0/8]",
            // A stream whose reader has left ends with the next heartbeat.
            "stream.heartbeat=200ms",
        ],
    ),
];
/// The receiver of webhooks in the examples.
const RECEIVER: &str = "http://127.0.0.1:9000";

/// The blocks of a guide that a shell can run.
fn examples(text: &str) -> Vec<String> {
    let blocks = text.split("```sh\n").skip(1);
    let blocks =
        blocks.filter_map(|rest| rest.split_once("\n```").map(|(block, _)| block.to_owned()));
    // Building is what has been done when this runs.
    blocks.filter(|block| !block.contains("cargo ")).collect()
}

/// Returns the lines that a block promises to print, each as the parts between `...`.
fn promised(block: &str) -> Vec<Vec<&str>> {
    let comments = block.lines().filter_map(|line| line.strip_prefix("# "));
    comments
        .map(|text| {
            text.split("...")
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .collect()
        })
        .collect()
}

fn is_printed(parts: &[&str], output: &str) -> bool {
    let mut rest = output;
    parts.iter().all(|part| match rest.split_once(part) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

fn is_there(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Makes there what `cargo run --release` alone makes: `deia`, and nothing else.
fn built(dir: &Path) {
    if !dir.exists() {
        std::fs::create_dir_all(dir).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_deia"), dir.join("deia")).unwrap();
    }
}

/// Runs a block in the directory above the data directory, as a user would.
fn run(block: &str, app: &TestApp, receiver: &Receiver) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_deia-admin"))
        .parent()
        .unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let script = block.replace("http://127.0.0.1:8000", &app.url);
    let script = script.replace(RECEIVER, &receiver.origin());
    built(&app.data_dir().parent().unwrap().join("target/release"));
    let output = Command::new("sh")
        .args(["-e", "-c", &script])
        .current_dir(app.data_dir().parent().unwrap())
        .env("PATH", path)
        .env("DEIA_URL", &app.url)
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(
        output.status.success(),
        "{block}\n--- out\n{out}\n--- err\n{err}"
    );
    out.replace(&receiver.origin(), RECEIVER)
}

#[actix_rt::test]
async fn the_examples_do_what_they_say() {
    let receiver = Receiver::start(Manner::Accepts(Duration::ZERO));
    for (guide, settings) in GUIDES {
        let text =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(guide)).unwrap();
        let examples = examples(&text);
        assert!(!examples.is_empty(), "{guide} has no examples");
        let app = TestApp::start_with(settings).await;
        app.until("its bots are healthy", async |app| {
            let bots = app.get("/api/v1/bots").await.body;
            bots["items"]
                .as_array()
                .unwrap()
                .iter()
                .all(|bot| bot["status"] == "healthy")
        })
        .await;
        app.until("a checkpoint covers an entry", async |app| {
            let checkpoint = app.get("/api/audit/checkpoint").await.body;
            checkpoint["size"].as_u64().is_some_and(|size| size > 0)
        })
        .await;
        for block in examples {
            if block.contains("curl") && !is_there("curl") {
                eprintln!("skipped, curl is not installed:\n{block}");
                continue;
            }
            let output = run(&block, &app, &receiver);
            for parts in promised(&block) {
                assert!(
                    is_printed(&parts, &output),
                    "{guide}: {parts:?} is not in\n{output}\nof\n{block}"
                );
            }
        }
    }
}

#[test]
fn promises_can_be_broken() {
    assert_eq!(promised("a\n# x ... y\nb"), [vec!["x", "y"]]);
    assert!(is_printed(&["x", "y"], "1 x 2 y"));
    assert!(!is_printed(&["y", "x"], "1 x 2 y"));
    assert_eq!(
        examples("```sh\ncargo run\n```\n```sh\nls\n```\n```text\nno\n```"),
        ["ls"]
    );
}

/// Returns a document without its blocks of code.
fn without_code(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// Returns the anchor of a heading, as renderers of Markdown form it.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Returns the targets of the links of a document.
fn links(text: &str) -> Vec<&str> {
    let rest = text.split("](").skip(1);
    let targets = rest.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    targets
        .filter(|target| !target.contains("://") && !target.contains(' '))
        .collect()
}

/// Returns the documents at the root of the repository and below `docs`, by path.
fn documents() -> BTreeMap<String, String> {
    let folders = ["", "docs/", "docs/decisions/"];
    let mut found = BTreeMap::new();
    for folder in folders {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                let text = std::fs::read_to_string(root().join(folder).join(&name)).unwrap();
                found.insert(format!("{folder}{name}"), without_code(&text));
            }
        }
    }
    found
}

#[test]
fn links_between_documents_lead_to_files_and_headings() {
    let documents = documents();
    let mut broken = Vec::new();
    for (name, text) in &documents {
        let folder = root().join(name).parent().unwrap().to_owned();
        for link in links(text) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => root().join(name),
                path => folder.join(path),
            };
            let has_heading = || {
                let text = std::fs::read_to_string(&target).unwrap();
                let text = without_code(&text);
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                headings.any(|line| anchor(line) == heading)
            };
            if !target.exists() || !heading.is_empty() && !has_heading() {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(documents.len() > 50, "{}", documents.len());
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn links_and_headings_are_found() {
    assert_eq!(
        links("[a](b.md#c), [d](https://e) and [f](#g)"),
        ["b.md#c", "#g"]
    );
    assert_eq!(anchor("## Where is ...?"), "where-is-");
    assert_eq!(anchor("### `deia.gap` and others"), "deiagap-and-others");
    assert_eq!(without_code("a\n```sh\n# b\n```\nc"), "a\n\nc");
}
