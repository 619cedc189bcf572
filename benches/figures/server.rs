//! The servers under measure: the real binary, and a bare actix-web echo.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::raw::{Connection, request};

/// A server in a process of its own; ended when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
    pub(crate) key: String,
}

impl Server {
    /// Starts the real binary on that data directory. Returns it once it is ready, and the time
    /// that this took.
    pub(crate) async fn deia(data_dir: &Path) -> Result<(Self, Duration)> {
        Self::deia_with(data_dir, &[]).await
    }

    /// Starts the real binary with these settings.
    pub(crate) async fn deia_with(data_dir: &Path, settings: &[&str]) -> Result<(Self, Duration)> {
        Self::deia_on(data_dir, settings, None).await
    }

    /// Starts the real binary with these settings over those of a file.
    pub(crate) async fn deia_on(
        data_dir: &Path,
        settings: &[&str],
        file: Option<&Path>,
    ) -> Result<(Self, Duration)> {
        let begun = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_deia"))
            .args([
                "--bind",
                "127.0.0.1:0",
                "--set",
                "bots.seed=[]",
                "--set",
                "logging.filter=warn",
                "--data-dir",
            ])
            .arg(data_dir)
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .args(file.map(|file| format!("--config={}", file.display())))
            .stdout(Stdio::piped())
            .spawn()
            .context("deia does not start")?;
        let addr = listening(&mut child)?;
        let probe = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        while Connection::open(addr).await?.send(probe).await?.0 != 200 {
            if begun.elapsed() > Duration::from_secs(60) {
                bail!("deia does not get ready");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let took = begun.elapsed();
        let key = std::fs::read_to_string(data_dir.join("admin.key"))?
            .trim()
            .to_owned();
        Ok((Self { child, addr, key }, took))
    }

    /// Starts a bare actix-web server that answers JSON with JSON.
    pub(crate) fn bare() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("bare")
            .stdout(Stdio::piped())
            .spawn()?;
        let addr = listening(&mut child)?;
        Ok(Self {
            child,
            addr,
            key: "none".into(),
        })
    }

    /// Sends one request. Returns the answer as JSON.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut connection = Connection::open(self.addr).await?;
        let (status, answer) = connection
            .send(&request(method, path, &self.key, &body))
            .await?;
        if status >= 400 {
            bail!(
                "{method} {path}: {status} {}",
                String::from_utf8_lossy(answer)
            );
        }
        Ok(if answer.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(answer)?
        })
    }

    /// Puts a bot in place and launches it; returns when it is healthy.
    pub(crate) async fn launch(
        &self,
        name: &str,
        executor: Value,
        places: u32,
        types: &[&str],
    ) -> Result<()> {
        self.launch_until(name, executor, places, types, "healthy")
            .await
    }

    /// Puts a bot in place and launches it; returns when it has that status.
    pub(crate) async fn launch_until(
        &self,
        name: &str,
        executor: Value,
        places: u32,
        types: &[&str],
        status: &str,
    ) -> Result<()> {
        let capabilities = json!({"max_concurrent_tasks": places, "specializations": types});
        let spec = json!({"executor": executor, "capabilities": capabilities});
        self.call("PUT", &format!("/api/v1/bots/{name}"), &spec)
            .await?;
        self.call("POST", &format!("/api/v1/bots/{name}/launch"), &Value::Null)
            .await?;
        while self
            .call("GET", &format!("/api/v1/bots/{name}"), &Value::Null)
            .await?["status"]
            != status
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Submits `n` tasks of that type, a thousand a request, over four connections.
    pub(crate) async fn submit(&self, task_type: &str, n: usize) -> Result<()> {
        let send = |count: usize| async move {
            let task = json!({"type": task_type, "content": "hello"});
            let body = json!({"tasks": vec![task; 1_000]}).to_string();
            let request = request("POST", "/api/v1/tasks/batch", &self.key, &body);
            let mut connection = Connection::open(self.addr).await?;
            for _ in 0..count {
                let (status, answer) = connection.send(&request).await?;
                if status != 202 {
                    bail!("{status} {}", String::from_utf8_lossy(answer));
                }
            }
            Ok(())
        };
        let batches = n / 1_000;
        let shares = (0..4).map(|i| batches / 4 + usize::from(i < batches % 4));
        futures_util::future::try_join_all(shares.map(send)).await?;
        Ok(())
    }

    /// Waits until no task waits or runs.
    pub(crate) async fn drained(&self) -> Result<()> {
        loop {
            let totals = &self.call("GET", "/api/v1/queue", &Value::Null).await?["totals"];
            if ["pending", "queued", "running"]
                .iter()
                .all(|status| totals[status] == 0)
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until no task of that type waits or runs.
    pub(crate) async fn ran(&self, task_type: &str) -> Result<()> {
        loop {
            let queue = self.call("GET", "/api/v1/queue", &Value::Null).await?;
            let left = queue["lanes"].as_array().is_some_and(|lanes| {
                let count = |lane: &Value, of| lane[of].as_u64().unwrap_or(0);
                lanes.iter().any(|lane| {
                    lane["type"] == task_type && count(lane, "queued") + count(lane, "running") > 0
                })
            });
            if !left {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Returns the resident memory of the server and of its reaper, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let id = self.child.id();
        let children =
            std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let all = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .chain([id]);
        all.map(resident_bytes).sum()
    }

    /// Returns the process id of the server.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the server the way a crash does.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse::<u64>().ok())
        .unwrap_or(0)
        * 1_024
}

fn listening(child: &mut Child) -> Result<SocketAddr> {
    let stdout = child.stdout.take().context("no output")?;
    let mut line = String::new();
    let mut lines = BufReader::new(stdout);
    lines.read_line(&mut line)?;
    // Kept open, so that a later line does not end the server.
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    let addr = line.trim().rsplit("http://").next().unwrap_or_default();
    addr.parse()
        .with_context(|| format!("it said {line:?} instead of where it listens"))
}

/// Serves the bare echo: reads JSON, answers with JSON.
pub(crate) fn serve_bare() -> Result<()> {
    actix_web::rt::System::new().block_on(async {
        let app = || {
            App::new().route(
                "/api/v1/tasks/submit",
                web::post().to(|body: web::Json<Value>| async move {
                    HttpResponse::Accepted().json(body.into_inner())
                }),
            )
        };
        let server = HttpServer::new(app).workers(2).bind("127.0.0.1:0")?;
        println!("listening on http://{}", server.addrs()[0]);
        server.run().await?;
        Ok(())
    })
}

/// Creates a directory below the build directory: on a disk, as a user's would be.
pub(crate) fn data_dir(name: &str) -> Result<PathBuf> {
    let dir = crate::output_dir()
        .join("data")
        .join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}
