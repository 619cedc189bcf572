//! The work of a sample without a store and without actors, for the figures.

use std::time::Duration;

use deia_model::Timestamp;

use super::{
    decide::{Moment, State, decide},
    fixtures::calm,
    sensors,
    signals::Measured,
};
use crate::config::{Config, DegradationSettings};

/// A course of signals that is decided sample by sample.
pub struct DegradationSamples {
    policy: DegradationSettings,
    measured: Measured,
    state: State,
    at: Moment,
}

impl DegradationSamples {
    /// Creates the course of a calm hive.
    ///
    /// # Panics
    /// If the defaults are invalid, which a test rules out.
    #[allow(clippy::unwrap_used, reason = "a figure fails by panicking")]
    pub fn new() -> Self {
        let at = Moment {
            steady: Duration::ZERO,
            wall: Timestamp::now(),
        };
        Self {
            policy: *Config::defaults().unwrap().degradation,
            measured: calm(),
            state: State::new(at),
            at,
        }
    }

    /// Decides one sample, and returns the level.
    pub fn decide(&mut self) -> u8 {
        let every = self.policy.sample_every;
        self.at.steady += every;
        let decision = decide(&self.measured, self.state.clone(), &self.policy, self.at);
        self.state = decision.state;
        decision.in_force.level.number()
    }

    /// Reads the memory and the pressure of the host, as each sample does beside the actor.
    pub fn read_host(&self) {
        sensors::read_host();
    }
}

impl Default for DegradationSamples {
    fn default() -> Self {
        Self::new()
    }
}
