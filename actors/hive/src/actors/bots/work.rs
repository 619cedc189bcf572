//! The executor of one bot, ready to run attempts.

use std::sync::{Arc, Mutex, PoisonError};

use deia_ledger::ClaimedTask;
use deia_model::{CommandExecutor, SimulatedProfile};
use futures_util::FutureExt;

use super::{
    attempt::{AttemptOutcome, StopSignal},
    command::{self, CommandContext},
    progress::Progress,
    simulated::{self, Fate, Played, SimulatedPlan, Simulator},
};

/// How this bot runs an attempt.
pub(super) enum Work {
    /// As a program.
    Command(Box<CommandContext>),
    /// As it is told.
    Simulated {
        /// Draws what happens. Shared by all incarnations of the bot: a restart
        /// goes on with the sequence, or the draw that took the bot down would
        /// come first again.
        simulator: SharedSimulator,
        /// What it draws from.
        profile: SimulatedProfile,
    },
}

/// A simulator that outlives the incarnations of its bot.
pub(super) type SharedSimulator = Arc<Mutex<Simulator>>;

fn draw(simulator: &SharedSimulator) -> SimulatedPlan {
    let mut simulator = simulator.lock().unwrap_or_else(PoisonError::into_inner);
    simulator.draw()
}

/// An attempt that was begun.
pub(super) enum Begun {
    /// It has ended already.
    Ended(AttemptOutcome),
    /// It goes on.
    Going(std::pin::Pin<Box<dyn Future<Output = Played>>>, Progress),
}

impl Work {
    /// Returns a simulated executor that goes on with the draws of `simulator`.
    pub(super) fn simulated(profile: SimulatedProfile, simulator: SharedSimulator) -> Self {
        Self::Simulated { simulator, profile }
    }

    /// Returns the command whose program can be looked at without a task.
    pub(super) fn command(&self) -> Option<&CommandExecutor> {
        match self {
            Self::Command(cx) => Some(&cx.spec),
            Self::Simulated { .. } => None,
        }
    }

    /// Begins an attempt.
    pub(super) fn begin(&mut self, claimed: ClaimedTask, stop: StopSignal) -> Begun {
        match self {
            Self::Command(cx) => {
                let (cx, progress) = (cx.clone(), Progress::told());
                let told = progress.clone();
                let attempt =
                    async move { Played::Done(command::run(&cx, &claimed, told, stop).await) };
                Begun::Going(Box::pin(attempt), progress)
            }
            Self::Simulated { simulator, profile } => {
                let (plan, profile) = (draw(simulator), *profile);
                let no_load = profile.cpu_ms == 0 && profile.memory_bytes == 0;
                let at_once = no_load
                    && plan.latency.is_zero()
                    && matches!(plan.fate, Fate::Succeed | Fate::Fail);
                // Without latency and load the first poll ends it: no task of its own is needed.
                if at_once
                    && let Some(Played::Done(outcome)) =
                        simulated::play(plan, &profile, &claimed, stop.clone()).now_or_never()
                {
                    return Begun::Ended(outcome);
                }
                let progress = Progress::timed(plan.latency);
                let attempt = async move { simulated::play(plan, &profile, &claimed, stop).await };
                Begun::Going(Box::pin(attempt), progress)
            }
        }
    }
}
