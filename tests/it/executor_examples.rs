//! The bots of `examples/bots/http` and `examples/bots/llm`, as a reader starts them.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    service_support::{QUICK, put, store_secret, until_status},
    support::{TestApp, block_until, task},
    tidy::root,
    webhook_support::present,
};

const SIGNING: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const RAW: &str = "a secret that is no base64 and long enough";

/// A program of the examples. It is killed when this is dropped.
struct Example {
    child: Child,
    url: String,
}

impl Example {
    /// Starts a program of `examples/bots`; `None` if its interpreter is not there.
    fn start(interpreter: &str, script: &str, variable: (&str, &str)) -> Option<Self> {
        let places = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&places).map(|place| place.join(interpreter));
        let found = found.into_iter().find(|path| path.exists());
        let interpreter = present(found.unwrap_or_else(|| PathBuf::from(interpreter)))?;
        let mut child = Command::new(interpreter)
            .arg(root().join("examples/bots").join(script))
            .env(variable.0, variable.1)
            .env("PORT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = block_until("the example listens", || {
            let line = lines.next()?.unwrap();
            line.strip_prefix("listening on ").map(str::to_owned)
        });
        // The program must not wait for somebody who reads what it prints.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { child, url })
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the specification of an example, for a program at that address.
fn spec(path: &str, of: &str, url: &str) -> Value {
    let text = std::fs::read_to_string(root().join("examples/bots").join(path)).unwrap();
    serde_json::from_str(&text.replace(of, url)).unwrap()
}

const SERVICES: [(&str, &str); 2] = [("python3", "http/service.py"), ("node", "http/service.mjs")];

#[tokio::test]
async fn example_services_verify_the_signature_and_carry_tasks_out() {
    for (interpreter, script) in SERVICES {
        for secret in [SIGNING, RAW] {
            let variable = ("SIGNING_SECRET", secret);
            let Some(example) = Example::start(interpreter, script, variable) else {
                continue;
            };
            let app = TestApp::start_with(&QUICK).await;
            store_secret(&app, "upper-service", secret).await;
            let spec = spec("http/bot.json", "http://127.0.0.1:8900", &example.url);
            put(&app, "upper", &spec["executor"], &spec["secrets"]).await;
            until_status(&app, "upper", "healthy").await;
            let id = app.submit(&task("gr\u{fc}\u{df}e")).await;
            let result = app.result(&id).await;
            assert_eq!(result["output"], "GR\u{dc}SSE", "{script}: {result}");
            let id = app.submit(&task("")).await;
            let result = app.result(&id).await;
            assert_eq!(result["failure_class"], "permanent", "{script}: {result}");
        }
    }
}

#[tokio::test]
async fn example_services_refuse_the_signature_of_another() {
    for (interpreter, script) in SERVICES {
        let variable = ("SIGNING_SECRET", SIGNING);
        let Some(example) = Example::start(interpreter, script, variable) else {
            continue;
        };
        let app = TestApp::start_with(&QUICK).await;
        store_secret(&app, "upper-service", RAW).await;
        let spec = spec("http/bot.json", "http://127.0.0.1:8900", &example.url);
        put(&app, "upper", &spec["executor"], &spec["secrets"]).await;
        let id = app.submit(&task("x")).await;
        let shown = until_status(&app, "upper", "failing").await;
        let reason = shown["fault"]["reason"].as_str().unwrap();
        assert!(reason.contains("the signature is wrong"), "{shown}");
        let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
        assert_eq!(task["failures"], 0, "{script}: {task}");
    }
}

#[tokio::test]
async fn example_of_a_language_model_answers_in_both_apis() {
    let variable = ("API_KEY", "the key of the trial");
    let Some(example) = Example::start("python3", "llm/provider.py", variable) else {
        return;
    };
    for api in ["chat", "responses"] {
        let app = TestApp::start_with(&QUICK).await;
        store_secret(&app, "echo-key", variable.1).await;
        let mut spec = spec("llm/bot.json", "http://127.0.0.1:8901", &example.url);
        spec["executor"]["api"] = json!(api);
        put(&app, "echo", &spec["executor"], &spec["secrets"]).await;
        until_status(&app, "echo", "healthy").await;
        let id = app.submit(&task("say this again")).await;
        let result = app.result(&id).await;
        assert_eq!(result["output"], "say this again", "{api}: {result}");
        // Four words of the system, and three of the task twice.
        assert_eq!(result["tokens_used"], 10, "{api}: {result}");
        assert_eq!(result["cost_cents"], 1, "{api}: {result}");
        for (content, class) in [("too long", "context"), ("cut", "budget")] {
            let id = app.submit(&task(content)).await;
            let result = app.result(&id).await;
            assert_eq!(result["failure_class"], class, "{api}: {result}");
        }
        app.submit(&task("rate limit")).await;
        app.until("the bot pauses", async |app| {
            let bot = app.get("/api/v1/bots/echo").await.is(200).body;
            bot["pause"]["class"] == "rate_limited"
        })
        .await;
    }
}
