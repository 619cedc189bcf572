//! The actor that samples the signals, and makes the tree follow the level in force.

use std::sync::{Arc, OnceLock};

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture};
use deia_ledger::{Ledger, StoreError};
use deia_model::{Action, Feature, NewEvent};
use deia_supervision::{Context, Tree};
use serde_json::json;

use super::{
    NAME,
    controller::Controller,
    features::{self, Carrier},
    metrics::DegradationMetrics,
    sensors::Sensors,
};
use crate::config::Settings;

/// Message that the level in force has changed.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct LevelChanged;

/// Components that the actor shares with the subsystem.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) tree: Arc<OnceLock<Tree>>,
    pub(super) controller: Arc<Controller>,
    pub(super) sensors: Arc<Sensors>,
    pub(super) metrics: Arc<DegradationMetrics>,
}

/// Samples the signals every `degradation.sample_every`.
pub(super) struct DegradationWatcher {
    shared: Shared,
    /// True while features are being suspended or resumed.
    is_enforcing: bool,
    /// True while changes are being recorded.
    is_recording: bool,
}

impl DegradationWatcher {
    pub(super) fn new(shared: Shared) -> Self {
        Self {
            shared,
            is_enforcing: false,
            is_recording: false,
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let config = self.shared.settings.get();
        self.shared.sensors.refresh(&config);
        let measured = self.shared.sensors.measured(&config);
        let timer = std::time::Instant::now();
        self.shared.controller.sample(measured);
        self.shared.metrics.decided(timer.elapsed());
        self.follow(ctx);
        ctx.run_later(config.degradation.sample_every, Self::look);
    }

    /// Makes the tree follow the level, and records the changes.
    fn follow(&mut self, ctx: &mut Context<Self>) {
        if !self.is_enforcing && self.shared.is_behind() {
            self.is_enforcing = true;
            let shared = self.shared.clone();
            let enforcing = async move { shared.enforce().await };
            ctx.spawn(enforcing.into_actor(self).map(|(), this, ctx| {
                this.is_enforcing = false;
                this.record(ctx);
            }));
        }
        self.record(ctx);
    }

    fn record(&mut self, ctx: &mut Context<Self>) {
        if self.is_recording || self.shared.controller.next_record().is_none() {
            return;
        }
        self.is_recording = true;
        let shared = self.shared.clone();
        let recording = async move { record(&shared.controller, shared.sensors.ledger()).await };
        ctx.spawn(recording.into_actor(self).map(|(), this, _| {
            this.is_recording = false;
        }));
    }
}

impl Shared {
    /// Returns true if a feature is not as the level in force demands.
    fn is_behind(&self) -> bool {
        let tree = self.tree.get();
        tree.is_some_and(|tree| self.differing(tree).next().is_some())
    }

    /// Returns the features that are not as the level demands, and whether they are to be shed.
    fn differing<'a>(&self, tree: &'a Tree) -> impl Iterator<Item = (Feature, bool)> + 'a {
        let level = self.controller.in_force().level;
        let suspended = tree.suspended_features();
        Feature::ALL.iter().filter_map(move |feature| {
            let is_shed = suspended
                .iter()
                .any(|(name, _)| **name == *feature.as_str());
            let wanted = feature.is_shed_at(level);
            let is_in_tree = features::carrier(*feature) == Carrier::Parts;
            (is_in_tree && wanted != is_shed).then_some((*feature, wanted))
        })
    }

    /// Suspends and resumes features until all are as the level demands, which may change
    /// meanwhile.
    async fn enforce(&self) {
        let Some(tree) = self.tree.get() else { return };
        loop {
            let mut differing = self.differing(tree);
            let Some((feature, to_shed)) = differing.next() else {
                return;
            };
            drop(differing);
            let in_force = self.controller.in_force();
            let name = feature.as_str();
            let changes = match to_shed {
                true => {
                    let why = format!("level {}: {}", in_force.level, in_force.why);
                    tree.suspend_feature(name, NAME, why).await
                }
                false => tree.resume_feature(name).await,
            };
            if changes.is_empty() {
                // This version does not have the feature.
                continue;
            }
            let action = match to_shed {
                true => Action::FeatureSuspended,
                false => {
                    self.controller.note_resumed(feature);
                    Action::FeatureResumed
                }
            };
            let parts: Vec<_> = changes.iter().map(|(path, _)| path.to_string()).collect();
            for (path, error) in changes
                .iter()
                .filter_map(|(path, it)| Some((path, it.as_ref().err()?)))
            {
                tracing::warn!(
                    part = &**path,
                    feature = name,
                    %error,
                    "a part of the tree did not follow its feature; see deia supervisors show"
                );
            }
            let details = json!({
                "feature": name, "level": in_force.level, "why": &*in_force.why, "parts": parts,
            });
            let event = NewEvent::new(action, "deia", self.controller.hive()).details(details);
            self.controller.record(event);
        }
    }
}

/// Writes the records that wait, in order, until the store takes no more.
async fn record(controller: &Controller, ledger: &Ledger) {
    while let Some(command) = controller.next_record() {
        match ledger.execute(command).await {
            Ok(_) => {}
            Err(error @ (StoreError::Full(_) | StoreError::Busy | StoreError::Closed)) => {
                tracing::debug!(%error, "a change of the mode cannot be recorded yet");
                return;
            }
            Err(error) => tracing::warn!(%error, "a change of the mode could not be recorded"),
        }
        controller.record_is_done();
    }
}

impl Actor for DegradationWatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look(ctx);
    }
}

impl Handler<LevelChanged> for DegradationWatcher {
    type Result = ();

    fn handle(&mut self, _: LevelChanged, ctx: &mut Self::Context) {
        self.follow(ctx);
    }
}
