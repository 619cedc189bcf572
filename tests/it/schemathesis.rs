//! The OpenAPI document says what the code enforces: a schema-driven tester finds no valid
//! request that is refused, no invalid one that is accepted, and no answer that the
//! document does not have.
//!
//! Without Schemathesis the test says so and is skipped; with
//! `DEIA_TEST_SCHEMATHESIS=must` it fails instead.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output},
};

use crate::support::TestApp;

/// The restart, which `schemathesis.toml` leaves out, and the document, which the tester
/// has read before it begins.
const LEFT_OUT: usize = 2;

fn schemathesis(app: &TestApp, directory: &Path) -> Option<Output> {
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis");
    let run = Command::new("schemathesis")
        .arg("--config-file")
        .arg(settings.join("schemathesis.toml"))
        .arg("run")
        .arg(format!("{}/api/openapi.json", app.url))
        .arg("--header")
        .arg(format!("Authorization: Bearer {}", app.admin))
        .arg("--no-color")
        .env("SCHEMATHESIS_HOOKS", settings.join("hooks.py"))
        .env("NO_PROXY", "127.0.0.1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // Schemathesis leaves caches in its working directory.
        .current_dir(directory)
        .output();
    let must = std::env::var_os("DEIA_TEST_SCHEMATHESIS").is_some();
    match run {
        Ok(output) => Some(output),
        Err(error) => {
            assert!(!must, "schemathesis cannot be run: {error}");
            // Past the test harness, which would keep it to itself.
            let said = "\nSKIPPED: schemathesis is not installed; the document was NOT tested\n";
            std::io::stderr().write_all(said.as_bytes()).unwrap();
            None
        }
    }
}

#[tokio::test]
async fn the_document_says_what_the_code_enforces() {
    let settings = [
        // A restore in place restarts the hive, and moments depend on what the archive has.
        "recovery.mode=off",
        "bots.seed=[]",
        "limits.enabled=false",
        "server.max_wait=1s",
        // Endpoints may have any name, and nothing leaves: addresses for documentation are
        // the only ones that are reached.
        "webhooks.allow_ports=[]",
        "webhooks.allow_networks=[192.0.2.0/24]",
        "webhooks.deadline=1s",
        // A level that the tester sets must not refuse the requests that come after it.
        "degradation.default_duration=1s",
        "degradation.max_duration=1s",
    ];
    let app = TestApp::start_with(&settings).await;
    let directory = tempfile::tempdir().unwrap();
    let Some(output) = schemathesis(&app, directory.path()) else {
        return;
    };
    let report = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}\n{errors}");
    let tested = deia::http::table().len() - LEFT_OUT;
    assert!(report.contains(&format!("Tested: {tested}")), "{report}");
}
