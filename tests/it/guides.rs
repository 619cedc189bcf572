//! The shell examples of the guides, run as they stand against a hive with the
//! defaults. A comment that begins with `# ` is what must be printed by then,
//! where `...` stands for anything.

use std::{path::Path, process::Command};

use crate::support::TestApp;

/// The guides whose examples are run, each against a hive of its own.
const GUIDES: &[&str] = &[
    "README.md",
    "docs/OPERATIONS.md",
    "docs/AUTHENTICATION-GUIDE.md",
];

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
fn run(block: &str, app: &TestApp) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_deia-admin"))
        .parent()
        .unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let script = block.replace("http://127.0.0.1:8000", &app.url);
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
    out
}

#[actix_rt::test]
async fn the_examples_do_what_they_say() {
    for guide in GUIDES {
        let text =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(guide)).unwrap();
        let examples = examples(&text);
        assert!(!examples.is_empty(), "{guide} has no examples");
        let app = TestApp::start_with(&[]).await;
        app.until("its bots are healthy", async |app| {
            let bots = app.get("/api/v1/bots").await.body;
            bots["items"]
                .as_array()
                .unwrap()
                .iter()
                .all(|bot| bot["status"] == "healthy")
        })
        .await;
        for block in examples {
            if block.contains("curl") && !is_there("curl") {
                eprintln!("skipped, curl is not installed:\n{block}");
                continue;
            }
            let output = run(&block, &app);
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
