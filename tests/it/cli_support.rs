//! A hive of its own for each journey: the real server, operated by the real
//! command line.

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::support::TestApp;

/// A running hive, operated by somebody on its machine.
pub(crate) struct CliHive {
    app: TestApp,
}

/// Exit code and output of a command.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl CliHive {
    /// With the settings of `config/deia.yaml`, but for these (`key=value`), and
    /// with the bots that every new hive has.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let app = runtime.block_on(TestApp::start_with(settings));
        let hive = Self { app };
        for bot in ["upper-1", "sim-1", "sim-2"] {
            hive.admin(&["bot", "launch", bot, "--wait", "60s"]).ok();
        }
        hive
    }

    /// The base URL.
    pub(crate) fn url(&self) -> &str {
        &self.app.url
    }

    /// A place for files of the test; the data directory is `data`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.app.data_dir().parent().unwrap().join(name)
    }

    /// `deia-admin` with these arguments, as the operator on the hive's machine.
    pub(crate) fn admin(&self, args: &[&str]) -> Said {
        self.admin_reading("", args)
    }

    /// The same with something on its standard input.
    pub(crate) fn admin_reading(&self, stdin: &str, args: &[&str]) -> Said {
        run(self.command(args), stdin)
    }

    /// The same with another key.
    pub(crate) fn admin_as(&self, key_file: &Path, args: &[&str]) -> Said {
        let mut command = self.command(args);
        command.env("DEIA_KEY_FILE", key_file);
        run(command, "")
    }

    /// The command, not yet run.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = admin_command(args);
        command
            .env("DEIA_URL", self.url())
            .env("DEIA_DATA_DIR", self.app.data_dir())
            .current_dir(self.path(""));
        command
    }

    /// Runs a command that must succeed. Returns its output in JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        self.admin(&[args, &["--output", "json"]].concat())
            .ok()
            .parsed()
    }

    /// The value of a metric without labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let text = runtime.block_on(async {
            // The client of the server belongs to a runtime that is gone.
            let client = crate::support::client().build().unwrap();
            let request = client.get(format!("{}/metrics", self.url()));
            let answer = request.bearer_auth(&self.app.admin).send().await;
            answer.unwrap().text().await.unwrap()
        });
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(&format!("{name} ")));
        value.unwrap().parse().unwrap()
    }

    /// The id of a task that is accepted.
    pub(crate) fn submit(&self, args: &[&str]) -> String {
        let accepted = self.json(&[&["task", "submit"], args].concat());
        accepted["id"].as_str().unwrap().to_owned()
    }
}

impl Said {
    /// Itself, if all went well.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.exits(0)
    }

    /// Itself, if it ended with that code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Itself, if that is among its messages and nothing is among its data.
    #[track_caller]
    pub(crate) fn only_tells(self, text: &str) -> Self {
        assert!(self.err.contains(text), "{text}: {self:?}");
        assert_eq!(self.out, "", "{self:?}");
        self
    }

    /// Parses the data as JSON.
    #[track_caller]
    pub(crate) fn parsed(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// `deia-admin` with these arguments and no settings from the environment.
pub(crate) fn admin_command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deia-admin"));
    without_settings(&mut command).args(args);
    command
}

/// Runs it to its end.
pub(crate) fn run(mut command: Command, stdin: &str) -> Said {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    said(child.wait_with_output().unwrap())
}

/// Runs it with a reader that has gone away.
pub(crate) fn run_unread(mut command: Command) -> Said {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The command must not keep our end of the pipe.
    drop(command);
    let mut err = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    let code = child.wait().unwrap().code().unwrap_or(-1);
    Said {
        code,
        out: String::new(),
        err,
    }
}

fn said(output: Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn without_settings(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DEIA") {
            command.env_remove(name);
        }
    }
    // Not the profiles of whoever runs the tests.
    command.env("DEIA_CONFIG", "no-such-directory/config.yaml");
    command.env_remove("COLUMNS").env_remove("RUST_LOG")
}
