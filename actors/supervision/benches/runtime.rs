//! Tell, ask, spawn, and crash -> rebuilt -> next ask answered, beside bare actix, ractor and
//! kameo in the same run: `cargo bench -p deia-supervision`.
//!
//! Everything runs on one current-thread runtime. Each figure is the median of the rounds, in
//! which the contestants take turns. Writes `target/deia-bench/supervision.json`. With
//! `cargo bench -p deia-supervision --bench runtime -- growth` it shows, in one round, how the cost
//! grows with the number of children and of futures in flight, and writes
//! `supervision-growth.json`. With `-- soak` it disturbs 100,000 children for a minute and shows
//! what is left behind.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "runtime/growth.rs"]
mod growth;
#[path = "runtime/loops.rs"]
mod loops;
#[path = "runtime/others.rs"]
mod others;
#[path = "runtime/ours.rs"]
mod ours;
#[path = "runtime/soak.rs"]
mod soak;

use std::{
    collections::BTreeMap,
    future::Future,
    path::PathBuf,
    time::{Duration, Instant},
};

const ROUNDS: usize = 5;
/// Tells before the sender lets the receiver run.
pub(crate) const BATCH: u64 = 1_000;
const TELLS: u64 = 300_000;
const ASKS: u64 = 100_000;
const SPAWNS: u64 = 5_000;
const CRASHES: u64 = 3_000;

/// Operations of each contestant. All methods run on the current runtime.
pub(crate) trait Contestant {
    const NAME: &'static str;
    const SUPERVISES: bool;
    type Actor;
    fn spawn(&mut self) -> impl Future<Output = Self::Actor>;
    fn tell(&self, actor: &Self::Actor);
    fn ask(&self, actor: &Self::Actor) -> impl Future<Output = u64>;
    /// Crashes the actor; returns when its successor has answered.
    fn crash(&mut self, actor: &mut Self::Actor) -> impl Future<Output = ()>;
    /// Ends the actor without a panic, if there is such a way: the difference is the cost of the
    /// panic.
    fn fail(&mut self, _: &mut Self::Actor) -> Option<impl Future<Output = ()>> {
        None::<std::future::Ready<()>>
    }
    fn stop(&mut self, actors: Vec<Self::Actor>) -> impl Future<Output = ()>;
}

pub(crate) type Figures = BTreeMap<&'static str, BTreeMap<&'static str, Vec<f64>>>;

fn main() {
    if without_backtraces() {
        return;
    }
    std::panic::set_hook(Box::new(|_| {}));
    deia_supervision::install_panic_hook();
    if std::env::args().any(|arg| arg == "soak") {
        return soak::run();
    }
    let mut figures = Figures::new();
    if std::env::args().any(|arg| arg == "growth") {
        growth::measure(&mut figures);
        report(&figures, "supervision-growth.json");
        return;
    }
    alone(&mut figures);
    loops::measure(&mut figures);
    for round in 0..=ROUNDS {
        let mut warm_up = Figures::new();
        let figures = if round == 0 {
            &mut warm_up
        } else {
            &mut figures
        };
        run::<others::Actix>(figures);
        run::<ours::Ours>(figures);
        run::<others::Kameo>(figures);
        run::<others::Ractor>(figures);
        alone(figures);
    }
    report(&figures, "supervision.json");
}

/// Runs itself again without `RUST_BACKTRACE`, if that is set: capturing a backtrace costs more
/// than everything else in a restart.
fn without_backtraces() -> bool {
    if std::env::var_os("RUST_BACKTRACE").is_none() {
        return false;
    }
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(std::env::args_os().skip(1))
        .env_remove("RUST_BACKTRACE")
        .status()
        .unwrap();
    assert!(status.success());
    true
}

fn run<C: Contestant + Default>(figures: &mut Figures) {
    actix::System::new().block_on(async {
        let mut contestant = C::default();
        let mut actor = contestant.spawn().await;
        let tell = tells(&contestant, &actor).await;
        let ask = asks(&contestant, &actor).await;
        let spawn = spawns(&mut contestant).await;
        let mut put = |figure, value| {
            let row = figures.entry(figure).or_default();
            row.entry(C::NAME).or_default().push(value);
        };
        put("tell_ns", tell);
        put("ask_ns", ask);
        put("spawn_ns", spawn);
        if C::SUPERVISES {
            let (p50, p99) = crashes(&mut contestant, &mut actor).await;
            put("crash_to_answer_p50_us", p50);
            put("crash_to_answer_p99_us", p99);
        }
        if let Some((p50, p99)) = fails(&mut contestant, &mut actor).await {
            put("fail_to_answer_p50_us", p50);
            put("fail_to_answer_p99_us", p99);
        }
        contestant.stop(vec![actor]).await;
    });
}

/// Measures features that the others do not have: a snapshot of 10,000 children, and the memory
/// that each of them takes.
fn alone(figures: &mut Figures) {
    const CHILDREN: usize = 10_000;
    actix::System::new().block_on(async {
        let mut ours = ours::Ours::default();
        let before = resident_bytes();
        let mut children = Vec::with_capacity(CHILDREN);
        for _ in 0..CHILDREN {
            children.push(ours.spawn().await);
        }
        let each = resident_bytes().saturating_sub(before) as f64 / CHILDREN as f64;
        let begin = Instant::now();
        assert_eq!(ours.status().children[0].children.len(), CHILDREN);
        let status = begin.elapsed().as_secs_f64() * 1e3;
        let figures_are_empty = figures.is_empty();
        let mut put = |figure, value| {
            let row = figures.entry(figure).or_default();
            row.entry("deia").or_default().push(value);
        };
        put("status_of_10k_ms", status);
        // Only the first time is the memory fresh.
        if figures_are_empty {
            put("bytes_per_child", each);
        }
        ours.stop(children).await;
    });
}

/// Returns the memory of this process (Linux only, 0 elsewhere).
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_u64) * 4_096
}

pub(crate) fn ns_each(elapsed: Duration, count: u64) -> f64 {
    elapsed.as_secs_f64() * 1e9 / count as f64
}

async fn tells<C: Contestant>(contestant: &C, actor: &C::Actor) -> f64 {
    let begin = Instant::now();
    for _ in 0..TELLS / BATCH {
        for _ in 0..BATCH {
            contestant.tell(actor);
        }
        contestant.ask(actor).await;
    }
    ns_each(begin.elapsed(), TELLS)
}

async fn asks<C: Contestant>(contestant: &C, actor: &C::Actor) -> f64 {
    let begin = Instant::now();
    for _ in 0..ASKS {
        std::hint::black_box(contestant.ask(actor).await);
    }
    ns_each(begin.elapsed(), ASKS)
}

async fn spawns<C: Contestant>(contestant: &mut C) -> f64 {
    let mut actors = Vec::with_capacity(SPAWNS as usize);
    let begin = Instant::now();
    for _ in 0..SPAWNS {
        actors.push(contestant.spawn().await);
    }
    let each = ns_each(begin.elapsed(), SPAWNS);
    contestant.stop(actors).await;
    each
}

async fn crashes<C: Contestant>(contestant: &mut C, actor: &mut C::Actor) -> (f64, f64) {
    let mut times = Vec::new();
    for _ in 0..CRASHES {
        let begin = Instant::now();
        contestant.crash(actor).await;
        times.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    p50_and_p99(times)
}

async fn fails<C: Contestant>(contestant: &mut C, actor: &mut C::Actor) -> Option<(f64, f64)> {
    let mut times = Vec::new();
    for _ in 0..CRASHES {
        let begin = Instant::now();
        contestant.fail(actor)?.await;
        times.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    Some(p50_and_p99(times))
}

fn p50_and_p99(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn report(figures: &Figures, file: &str) {
    println!("medians; ratio: deia / other, below 1 is faster\n");
    let mut json = serde_json::Map::new();
    for (figure, row) in figures {
        let ours = median(&row["deia"]);
        print!("{figure:<24} deia {ours:>9.2}");
        let mut out = serde_json::Map::new();
        out.insert("deia".into(), ours.into());
        for (name, values) in row.iter().filter(|(name, _)| **name != "deia") {
            let theirs = median(values);
            print!("   {name} {theirs:>9.2} (x{:.2})", ours / theirs);
            out.insert((*name).into(), theirs.into());
            out.insert(format!("ratio_to_{name}"), (ours / theirs).into());
        }
        println!();
        json.insert((*figure).into(), out.into());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target")),
        PathBuf::from,
    );
    let directory = target.join("deia-bench");
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join(file);
    std::fs::write(&path, serde_json::to_string_pretty(&json).unwrap()).unwrap();
    println!("\nwritten to {}", path.display());
}
