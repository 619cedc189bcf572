//! The receivers of `examples/webhook-receiver`.

use std::{
    io::{BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use tempfile::NamedTempFile;

use super::Delivered;
use crate::{
    support::{client, until},
    tidy::root,
};

/// The receivers of `examples/webhook-receiver`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Language {
    Python,
    Node,
    Rust,
}

impl Language {
    pub(crate) const ALL: [Self; 3] = [Self::Python, Self::Node, Self::Rust];

    /// Returns the command that starts the receiver; `None` if what it needs is not there.
    fn command(self) -> Option<Command> {
        let example_dir = root().join("examples/webhook-receiver");
        // Made by .ci/run.
        let installed = root().join("target/webhook-receiver");
        match self {
            Self::Python => {
                let mut command = Command::new(present(installed.join("venv/bin/python"))?);
                command.arg(example_dir.join("receiver.py"));
                Some(command)
            }
            Self::Node => {
                present(installed.join("node_modules/standardwebhooks"))?;
                // Packages are looked up from the place of the script. Other tests may
                // start it at this moment, so it is replaced as a whole.
                let script = installed.join("receiver.mjs");
                let copy = NamedTempFile::new_in(&installed).unwrap();
                std::fs::copy(example_dir.join("receiver.mjs"), copy.path()).unwrap();
                copy.persist(&script).unwrap();
                let mut command = Command::new("node");
                command.arg(script);
                Some(command)
            }
            Self::Rust => Some(Command::new(example("webhook-receiver")?)),
        }
    }
}

/// Returns the program of an example, which `cargo test` builds unless it is told to build
/// only one test; `None` if it is not there.
pub(crate) fn example(name: &str) -> Option<PathBuf> {
    let tests = std::env::current_exe().unwrap();
    let built = tests.parent().and_then(Path::parent).unwrap();
    present(built.join("examples").join(name))
}

/// Returns the path if there is such a file. If not, says that a part was not tested; with
/// `DEIA_TEST_RECEIVERS=must` that is a failure.
pub(crate) fn present(path: PathBuf) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    let must = std::env::var_os("DEIA_TEST_RECEIVERS").is_some();
    assert!(!must, "{} is not there", path.display());
    // Past the test harness, which would keep it to itself.
    let said = format!(
        "\nSKIPPED: NOT tested, as {} is not there\n",
        path.display()
    );
    std::io::stderr().write_all(said.as_bytes()).unwrap();
    None
}

/// A receiver of the examples, started as a reader would. It is killed when this is dropped.
pub(crate) struct ExampleReceiver {
    child: Child,
    url: String,
    lines: Arc<Mutex<Vec<String>>>,
}

impl ExampleReceiver {
    /// Starts it on a port, 0 for any; `None` if it cannot be run here.
    pub(crate) async fn start(language: Language, secret: &str, port: u16) -> Option<Self> {
        let mut command = language.command()?;
        let command = command
            .env("WEBHOOK_SECRET", secret)
            .env("PORT", port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (out, kept) = (child.stdout.take().unwrap(), lines.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        let listening = until("the receiver listens", async || {
            let first = lines.lock().unwrap().first().cloned();
            first.and_then(|line: String| line.strip_prefix("listening on ").map(str::to_owned))
        });
        let url = listening.await;
        Some(Self { child, url, lines })
    }

    /// Returns the lines that it has printed about events.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap()[1..].to_vec()
    }

    /// Returns the status that it answers to a delivery.
    pub(crate) async fn answer(&self, delivered: &Delivered) -> u16 {
        let client = client().pool_max_idle_per_host(0).build().unwrap();
        let request = client.post(&self.url).body(delivered.body.clone());
        let answer = request.headers(delivered.headers()).send().await.unwrap();
        answer.status().as_u16()
    }
}

impl Drop for ExampleReceiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
