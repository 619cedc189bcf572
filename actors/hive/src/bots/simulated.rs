//! The simulated executor: behaves as its profile says, deterministically.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use deia_ledger::ClaimedTask;
use deia_model::{SimulatedExecutor, SimulatedProfile};
use futures_util::FutureExt;
use rustix::time::{ClockId, clock_gettime};

use super::{
    attempt::{ExecutionResult, FaultPhase, StopCause, StopSignal, stop_requested},
    executor::{
        BotDown, Execution, ExecutionEnd, Executor, ExecutorFactory, IncarnationParts, Started,
    },
    progress::Progress,
};

/// Number of characters of a task's content that are echoed. Fixed: of bots for trials.
const ECHO_CHARS: usize = 64;

/// The fate of a simulated attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The attempt succeeds.
    Succeed,
    /// The attempt fails.
    Fail,
    /// The attempt takes the bot down.
    Crash,
    /// The attempt never ends by itself.
    Hang,
}

/// The plan of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SimulatedPlan {
    /// Duration of the attempt.
    pub(crate) latency: Duration,
    /// Fate of the attempt.
    pub(crate) fate: Fate,
}

/// Draws plans from a profile: equal profiles give equal sequences of plans.
#[derive(Clone, Debug)]
pub(crate) struct Simulator {
    profile: SimulatedProfile,
    state: u64,
}

impl Simulator {
    /// Returns a sequence that begins with the profile's seed.
    pub(crate) fn new(profile: SimulatedProfile) -> Self {
        Self {
            profile,
            state: profile.seed,
        }
    }

    /// Returns the next plan. Every plan takes two draws, so that a change of one share does not
    /// shift the rest.
    pub(crate) fn draw(&mut self) -> SimulatedPlan {
        let latency = self.next_u64();
        let fate = self.next_unit();
        let span = self
            .profile
            .latency_max_ms
            .saturating_sub(self.profile.latency_min_ms);
        // Spans are far below 2^64, so the bias of the remainder is negligible.
        let latency_ms = self.profile.latency_min_ms + latency % (span.saturating_add(1));
        SimulatedPlan {
            latency: Duration::from_millis(latency_ms),
            fate: fate_of(&self.profile, fate),
        }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Returns a number evenly distributed in [0, 1).
    fn next_unit(&mut self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "53 bits fit exactly")]
        let numerator = (self.next_u64() >> 11) as f64;
        numerator / 9_007_199_254_740_992.0
    }
}

/// Maps a number of the unit interval to a fate, in this order: hang, crash, success, failure. If
/// the shares sum to more than 1, hangs and crashes replace successes.
fn fate_of(profile: &SimulatedProfile, draw: f64) -> Fate {
    let crash_from = profile.hang_rate;
    let success_from = crash_from + profile.crash_rate;
    if draw < crash_from {
        Fate::Hang
    } else if draw < success_from {
        Fate::Crash
    } else if draw < success_from + profile.success_rate {
        Fate::Succeed
    } else {
        Fate::Fail
    }
}

/// Factory for simulated executors. A restarted bot continues the sequence of draws; otherwise the
/// draw that took the bot down would come first again.
pub(super) struct SimulatedFactory {
    profile: SimulatedProfile,
    simulator: Arc<Mutex<Simulator>>,
}

impl SimulatedFactory {
    pub(super) fn new(spec: &SimulatedExecutor) -> Self {
        let profile = spec.profile();
        Self {
            profile,
            simulator: Arc::new(Mutex::new(Simulator::new(profile))),
        }
    }

    fn executor(&self) -> Simulation {
        Simulation {
            profile: self.profile,
            simulator: Arc::clone(&self.simulator),
        }
    }
}

impl ExecutorFactory for SimulatedFactory {
    fn make(&self, _: IncarnationParts) -> Box<dyn Executor> {
        Box::new(self.executor())
    }
}

/// The simulated executor of one incarnation.
struct Simulation {
    profile: SimulatedProfile,
    simulator: Arc<Mutex<Simulator>>,
}

impl Executor for Simulation {
    fn start(&mut self, claimed: ClaimedTask, stop: StopSignal) -> Started {
        let profile = self.profile;
        let simulator = self.simulator.lock();
        let plan = simulator.unwrap_or_else(PoisonError::into_inner).draw();
        let no_load = profile.cpu_ms == 0 && profile.memory_bytes == 0;
        let at_once =
            no_load && plan.latency.is_zero() && matches!(plan.fate, Fate::Succeed | Fate::Fail);
        // Without latency and load the first poll ends the attempt, so no task is spawned.
        if at_once
            && let Some(Ok(result)) = play(plan, &profile, &claimed, stop.clone()).now_or_never()
        {
            return Started::Done(result);
        }
        Started::Running(Execution {
            end: Box::pin(async move { play(plan, &profile, &claimed, stop).await }),
            progress: Progress::timed(plan.latency),
        })
    }
}

/// Simulates one attempt. A stop ends it at once.
pub(crate) async fn play(
    plan: SimulatedPlan,
    profile: &SimulatedProfile,
    claimed: &ClaimedTask,
    mut stop: StopSignal,
) -> ExecutionEnd {
    let began = Instant::now();
    let elapsed_ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let already = stop.borrow().clone();
    if let Some(cause) = already {
        return Ok(ExecutionResult::stopped(cause, 0));
    }
    let worked = tokio::select! {
        biased;
        worked = work(plan, profile) => worked,
        cause = stop_requested(&mut stop) => Err(Interruption::Stopped(cause)),
    };
    Ok(match (worked, plan.fate) {
        (Err(Interruption::Stopped(cause)), _) => ExecutionResult::stopped(cause, elapsed_ms()),
        (Err(Interruption::NoMemory), _) => ExecutionResult::bot_fault(
            FaultPhase::Start,
            format!("{} bytes of memory are not available", profile.memory_bytes),
            elapsed_ms(),
        ),
        (Ok(()), Fate::Crash) => {
            return Err(BotDown {
                reason: "simulated crash".into(),
                result: None,
            });
        }
        (Ok(()), Fate::Fail) => ExecutionResult::failed("simulated failure", elapsed_ms()),
        (Ok(()), Fate::Succeed | Fate::Hang) => {
            ExecutionResult::succeeded(answer(claimed), elapsed_ms())
        }
    })
}

enum Interruption {
    Stopped(StopCause),
    NoMemory,
}

/// Uses the time, the memory and the CPU that the plan asks for.
async fn work(plan: SimulatedPlan, profile: &SimulatedProfile) -> Result<(), Interruption> {
    let _burden = match (profile.memory_bytes, profile.cpu_ms) {
        (0, 0) => {
            wait(plan.latency).await;
            None
        }
        (memory_bytes, cpu_ms) => {
            let load = Load::begin(memory_bytes, cpu_ms);
            let (load, ()) = tokio::join!(load.done(), wait(plan.latency));
            Some(load?)
        }
    };
    if plan.fate == Fate::Hang {
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Waits. Without latency the timer is not touched.
async fn wait(latency: Duration) {
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
}

/// Memory held and CPU time burnt off the arbiter. Dropping it ends both.
struct Load {
    dropped: Arc<AtomicBool>,
    thread: tokio::task::JoinHandle<Option<Held>>,
}

impl Load {
    fn begin(memory_bytes: u64, cpu_ms: u64) -> Self {
        let dropped = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&dropped);
        let thread = tokio::task::spawn_blocking(move || {
            let held = Held::new(memory_bytes)?;
            burn(Duration::from_millis(cpu_ms), &told);
            Some(held)
        });
        Self { dropped, thread }
    }

    async fn done(mut self) -> Result<Held, Interruption> {
        match (&mut self.thread).await {
            Ok(Some(held)) => Ok(held),
            _ => Err(Interruption::NoMemory),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Relaxed);
    }
}

/// Allocated memory with every page touched.
struct Held(Vec<u8>);

impl Held {
    fn new(bytes: u64) -> Option<Self> {
        let bytes = usize::try_from(bytes).ok()?;
        let mut memory = Vec::new();
        memory.try_reserve_exact(bytes).ok()?;
        memory.resize(bytes, 1);
        Some(Self(memory))
    }
}

impl Drop for Held {
    /// Frees the memory off the arbiter: that takes time.
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.0);
        if let (false, Ok(runtime)) = (memory.is_empty(), tokio::runtime::Handle::try_current()) {
            runtime.spawn_blocking(move || drop(memory));
        }
    }
}

/// Burns that much CPU time, or until told to end.
fn burn(cpu: Duration, told_to_end: &AtomicBool) {
    let used = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
    let until = used() + cpu;
    while !told_to_end.load(Ordering::Relaxed) && used() < until {
        for _ in 0..1_000 {
            std::hint::spin_loop();
        }
    }
}

/// Returns the answer of a success: the bot and the beginning of the content.
fn answer(claimed: &ClaimedTask) -> String {
    #[derive(serde::Serialize)]
    struct Answer<'a> {
        bot: &'a str,
        echo: &'a str,
    }
    let content = claimed.task.content.as_deref().unwrap_or_default();
    let end = content
        .char_indices()
        .nth(ECHO_CHARS)
        .map_or(content.len(), |(at, _)| at);
    let answer = Answer {
        bot: claimed.bot.as_str(),
        echo: &content[..end],
    };
    // Two strings always serialise.
    serde_json::to_string(&answer).unwrap_or_default()
}

#[cfg(test)]
mod tests;
