//! Verification of an audit trail, per core, beside a loop that only hashes.

use std::{hint::black_box, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use deia_model::{Event, Timestamp};
use deia_trail::{
    Beginning, Trail, TrailOptions, TrailReader,
    bundle::Bundle,
    details::{Details, Record},
    entry::commitment,
    hash::{Hash, leaf, node},
    note::{KeyName, SigningKey},
    verify::{Verification, Verifier},
};
use serde_json::{Value, json};

use crate::{median, rounded, server::data_dir};

const ENTRIES: u64 = 200_000;
/// Entries that are sealed together, as under load.
const SEALED: u64 = 4_000;
const ROUNDS: usize = 15;
const ORIGIN: &str = "deia.example/audit";

/// Verifies a trail of events as the lives of tasks leave them, with and without details, and
/// hashes its leaves and nodes (and details) alone. Times are those of the CPU, of one thread.
pub(crate) fn measure() -> Result<Value> {
    let dir = data_dir("audit-verify")?.join("audit");
    write(&dir)?;
    let trail = TrailReader::new(&dir);
    let bundles: Vec<_> = (0..ENTRIES.div_ceil(256))
        .map(|index| {
            Ok((
                trail.bundle(index, ENTRIES)?,
                trail.details_of_bundle(index)?,
            ))
        })
        .collect::<Result<_>>()?;
    let bytes: usize = bundles.iter().map(|(bundle, _)| bundle.bytes().len()).sum();
    let mut times = [vec![], vec![], vec![], vec![]];
    for _ in 0..ROUNDS {
        times[0].push(timed(|| hash_all(&bundles, false))?);
        times[1].push(timed(|| verify(&trail, false))?);
        times[2].push(timed(|| hash_all(&bundles, true))?);
        times[3].push(timed(|| verify(&trail, true))?);
    }
    let ratio = |bare: usize, ours: usize| {
        let pairs = times[bare].iter().zip(&times[ours]);
        median(pairs.map(|(bare, ours)| bare / ours).collect())
    };
    let per_second = |at: usize| {
        #[expect(clippy::cast_precision_loss, reason = "it is a rate")]
        let entries = ENTRIES as f64;
        rounded(entries / median(times[at].clone()))
    };
    Ok(json!({
        "entries": ENTRIES,
        "bytes_per_entry": bytes as u64 / ENTRIES,
        "hashed_per_second": per_second(0),
        "verified_per_second": per_second(1),
        "of_hashing": rounded(ratio(0, 1)),
        "hashed_with_details_per_second": per_second(2),
        "verified_with_details_per_second": per_second(3),
        "of_hashing_with_details": rounded(ratio(2, 3)),
        "with_details_of_hashing_without": rounded(ratio(0, 3)),
    }))
}

fn event(seq: u64) -> Result<Event> {
    let action = ["task.submitted", "task.started", "task.completed"];
    let details = match seq % 3 {
        0 => json!(null),
        1 => json!({"bot_id": "noop-1", "queue_ms": 3}),
        _ => json!({"run_ms": 12, "queue_ms": 3, "exit_code": 0, "output_bytes": 1_234}),
    };
    let at = 1_790_000_000_000 + i64::try_from(seq)?;
    let event = json!({
        "seq": seq, "timeline": 1, "at": Timestamp::from_millis(at),
        "action": action[usize::try_from(seq % 3)?], "level": "info", "actor": "noop-1",
        "bot_id": "noop-1", "target": {"type": "task", "id": format!("task_01h455vb4pex5vsk{seq:010}")},
        "owner": "admin", "result": "success", "task_type": "noop", "attempt": 1,
        "status": "completed", "v": 1, "details": details
    });
    Ok(serde_json::from_value(event)?)
}

fn write(dir: &Path) -> Result<()> {
    let name = KeyName::new(ORIGIN).context("no name of a key")?;
    let options = TrailOptions {
        dir: dir.to_owned(),
        keys: vec![SigningKey::generate(&name)?],
        hook: |_| (),
        take_over: true,
        on_change: deia_trail::OnChange::default(),
    };
    let beginning = Beginning {
        origin: ORIGIN,
        first: None,
    };
    let mut trail = Trail::begin(options, &beginning)?;
    for from in (0..ENTRIES).step_by(usize::try_from(SEALED)?) {
        let events = (from..from + SEALED).map(|n| event(n + 1));
        trail.append(&events.collect::<Result<Vec<_>>>()?)?;
        trail.seal(Timestamp::now())?;
    }
    Ok(())
}

fn verify(trail: &TrailReader, check_details: bool) -> Result<()> {
    let verification = Verification {
        check_details,
        ..Verification::default()
    };
    let report = Verifier::new(trail, verification)?.run();
    ensure!(
        report.sound && report.checked.entries == ENTRIES,
        "{report:?}"
    );
    Ok(())
}

/// Hashes the entries, the nodes of full tiles above them, and the details.
fn hash_all(bundles: &[(Bundle, Vec<Record>)], with_details: bool) -> Result<()> {
    let mut leaves = Vec::with_capacity(256);
    let mut roots = Vec::with_capacity(bundles.len());
    for (bundle, records) in bundles {
        leaves.clear();
        leaves.extend(bundle.iter().map(leaf));
        roots.extend(root(&leaves));
        for record in records.iter().filter(|_| with_details) {
            if let Details::Kept { salt, json } = &record.details {
                black_box(commitment(salt, json));
            }
        }
    }
    for above in roots.chunks(256) {
        black_box(root(above));
    }
    Ok(())
}

/// Returns the root of a full tile.
fn root(row: &[Hash]) -> Option<Hash> {
    let mut nodes: [Hash; 256] = row.try_into().ok()?;
    let mut width = nodes.len();
    while width > 1 {
        width /= 2;
        for i in 0..width {
            nodes[i] = node(&nodes[2 * i], &nodes[2 * i + 1]);
        }
    }
    Some(nodes[0])
}

/// Returns the seconds of CPU time that a step took on this thread.
fn timed(step: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begun = cpu_time()?;
    step()?;
    Ok((cpu_time()? - begun).as_secs_f64())
}

fn cpu_time() -> Result<Duration> {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Ok(Duration::new(
        u64::try_from(time.tv_sec)?,
        u32::try_from(time.tv_nsec)?,
    ))
}
