//! The archive: its cost to the life of tasks, the exposure under load, the time of a restore,
//! and the size of a day of restore points.

use std::{
    cell::RefCell,
    fs::{self, File},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use crate::{
    ROUNDS, median,
    raw::{Connection, rate, request},
    rounded,
    server::{Server, data_dir},
};

/// Tasks whose lives are measured.
const TASKS: usize = 50_000;
/// Tasks of the store that is restored.
const RESTORED_TASKS: usize = 500_000;
/// Restore points of a day, one every 10 minutes.
const POINTS_OF_A_DAY: u32 = 144;

/// A hive with an archive in another directory.
struct Archived {
    deia: Server,
    dir: PathBuf,
    archive: PathBuf,
}

impl Archived {
    async fn start(mode: &str, settings: &[&str]) -> Result<Self> {
        let dir = data_dir("recovery")?;
        let archive = dir.with_extension("archive");
        let _ = fs::remove_dir_all(&archive);
        let url = format!("recovery.url={}", url_of(&archive)?);
        let mode = format!("recovery.mode={mode}");
        let settings = [
            &[
                url.as_str(),
                &mode,
                "recovery.drill_every=0s",
                "limits.enabled=false",
            ],
            settings,
        ]
        .concat();
        let (deia, _) = Server::deia_with(&dir, &settings).await?;
        let this = Self { deia, dir, archive };
        if !mode.ends_with("off") {
            this.until(|status| status["points"].as_u64() > Some(0))
                .await?;
        }
        Ok(this)
    }

    async fn status(&self) -> Result<Value> {
        let path = "/api/disaster-recovery/status";
        self.deia.call("GET", path, &Value::Null).await
    }

    async fn until(&self, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        let begun = Instant::now();
        loop {
            let status = self.status().await?;
            if is_so(&status) {
                return Ok(status);
            }
            if begun.elapsed() > Duration::from_secs(300) {
                bail!("the archive does not get there: {status}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn url_of(dir: &Path) -> Result<String> {
    Ok(format!("file://{}", std::path::absolute(dir)?.display()))
}

/// Measures the figures of the archive. The reference is the same hive without one.
pub(crate) async fn measure() -> Result<Value> {
    let (mut shares, mut exposures) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let without = lifecycle("off", None).await?;
        let samples = RefCell::default();
        let with = lifecycle("async", Some(&samples)).await?;
        shares.push(with / without);
        exposures.push(p99(&mut samples.into_inner()));
    }
    let answered = sync_of_async().await?;
    let restore = restore().await?;
    let day = a_day().await?;
    Ok(json!({
        "lifecycle_of_without": rounded(median(shares)),
        "exposure_p99_seconds": rounded(median(exposures)),
        "submit_in_sync_of_async": rounded(answered),
        "restore": restore,
        "day": day,
    }))
}

fn p99(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples
        .get(samples.len() * 99 / 100)
        .copied()
        .unwrap_or(f64::NAN)
}

/// Measures the rate of whole lives, and notes the exposure meanwhile.
async fn lifecycle(mode: &str, exposures: Option<&RefCell<Vec<f64>>>) -> Result<f64> {
    let archived = Archived::start(mode, &[]).await?;
    let deia = &archived.deia;
    for name in ["noop-1", "noop-2"] {
        deia.launch(name, json!({"kind": "simulated"}), 256, &["noop"])
            .await?;
    }
    let work = async {
        let begun = Instant::now();
        deia.submit("noop", TASKS).await?;
        deia.drained().await?;
        #[allow(clippy::cast_precision_loss, reason = "a count to a rate")]
        Ok::<_, anyhow::Error>(TASKS as f64 / begun.elapsed().as_secs_f64())
    };
    let watching = async {
        loop {
            if let Some(exposures) = exposures {
                let seen = exposure(deia.addr, &deia.key).await?;
                exposures.borrow_mut().push(seen);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        rate = work => rate,
        ended = watching => ended,
    }
}

async fn exposure(addr: SocketAddr, key: &str) -> Result<f64> {
    let mut connection = Connection::open(addr).await?;
    let status = request("GET", "/api/disaster-recovery/status", key, "");
    let (code, body) = connection.send(&status).await?;
    ensure!(code == 200, "{}", String::from_utf8_lossy(body));
    let status: Value = serde_json::from_slice(body)?;
    Ok(status["exposure_seconds"].as_f64().unwrap_or(f64::NAN))
}

/// Measures durable submissions that wait for the archive, as a share of those that do not.
async fn sync_of_async() -> Result<f64> {
    let mut rates = Vec::new();
    for mode in ["async", "sync"] {
        let archived = Archived::start(mode, &[]).await?;
        let body = json!({"type": "general", "content": "hello"}).to_string();
        let submit = request("POST", "/api/v1/tasks/submit", &archived.deia.key, &body);
        let time = Duration::from_secs(4);
        rates.push(rate(archived.deia.addr, 64, time, &submit, 202).await?.0);
    }
    Ok(rates[1] / rates[0])
}

/// Measures an offline restore of the newest commit beside a plain, synced copy of the database.
async fn restore() -> Result<Value> {
    let archived = Archived::start("async", &[]).await?;
    archived.deia.submit("nobody", RESTORED_TASKS).await?;
    let path = "/api/disaster-recovery/backup";
    archived.deia.call("POST", path, &json!({})).await?;
    archived
        .until(|status| status["exposure_seconds"] == 0.0)
        .await?;
    let Archived { deia, dir, archive } = archived;
    deia.kill();
    let database = fs::metadata(dir.join("deia.db"))?.len();
    let (mut copies, mut restores) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        copy(&dir.join("deia.db"), &dir.with_extension("copy"))?;
        copies.push(begun.elapsed().as_secs_f64());
        let to = dir.with_extension("restored");
        let _ = fs::remove_dir_all(&to);
        let begun = Instant::now();
        let done = Command::new(env!("CARGO_BIN_EXE_deia"))
            .args(["restore", "--from"])
            .arg(url_of(&archive)?)
            .arg("--to")
            .arg(&to)
            .output()?;
        ensure!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        restores.push(begun.elapsed().as_secs_f64());
    }
    let (copied, restored) = (median(copies), median(restores));
    #[allow(clippy::cast_precision_loss, reason = "bytes to gigabytes")]
    let gigabytes = database as f64 / 1e9;
    Ok(json!({
        "database_mb": rounded(gigabytes * 1e3),
        "seconds_per_gb": rounded(restored / gigabytes),
        "copy_seconds_per_gb": rounded(copied / gigabytes),
        "of_copy": rounded(restored / copied),
        "archive_of_database": rounded(size_of(&archive)? / 1e9 / gigabytes),
    }))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut copy = File::create(to)?;
    io::copy(&mut File::open(from)?, &mut copy)?;
    copy.sync_all()?;
    fs::remove_file(to)?;
    Ok(())
}

/// Measures the size of an archive with as many restore points as a day has, of a hive that runs
/// 100 tasks for each.
async fn a_day() -> Result<Value> {
    let archived = Archived::start("async", &["recovery.point_every=1h"]).await?;
    let deia = &archived.deia;
    deia.launch("noop", json!({"kind": "simulated"}), 64, &["noop"])
        .await?;
    for _ in 0..POINTS_OF_A_DAY {
        deia.submit("noop", 100).await?;
        deia.drained().await?;
        let path = "/api/disaster-recovery/restore-point";
        deia.call("POST", path, &json!({})).await?;
    }
    let size = |of: &str| size_below(&archived.archive, of);
    let database = fs::metadata(archived.dir.join("deia.db"))?.len()
        + fs::metadata(archived.dir.join("deia.db-wal"))?.len();
    #[allow(clippy::cast_precision_loss, reason = "bytes to megabytes")]
    let database = database as f64;
    Ok(json!({
        "points": POINTS_OF_A_DAY,
        "tasks": POINTS_OF_A_DAY * 100,
        "database_mb": rounded(database / 1e6),
        "points_mb": rounded(size("points")? / 1e6),
        "log_mb": rounded(size("log")? / 1e6),
        "snapshots_mb": rounded(size("snapshots")? / 1e6),
        "archive_of_database": rounded(size_of(&archived.archive)? / database),
    }))
}

fn size_of(dir: &Path) -> Result<f64> {
    size_below(dir, "")
}

/// Returns the bytes of the files below a directory whose path has that name, or of all.
#[allow(clippy::cast_precision_loss, reason = "a count to a share")]
fn size_below(dir: &Path, name: &str) -> Result<f64> {
    let mut bytes = 0.0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let counts = name.is_empty() || entry.file_name() == name;
        bytes += match entry.file_type()?.is_dir() {
            true => size_below(&entry.path(), if counts { "" } else { name })?,
            false if counts => entry.metadata()?.len() as f64,
            false => 0.0,
        };
    }
    Ok(bytes)
}
