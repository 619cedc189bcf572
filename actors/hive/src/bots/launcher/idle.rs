//! Bots that do no work: which of them are suspended, and the tasks that they have.

use std::collections::HashMap;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use deia_model::{AttemptEnd, BotName};
use deia_supervision::{ChildInfo, ChildState, Context};

use super::{
    super::{clerk::Settling, reconcile::Running},
    Launcher, Seen,
};

impl Launcher {
    /// Notes which bots are suspended, by themselves or with their supervisor, which reports only
    /// itself.
    pub(super) fn note_parked(&self, children: &[ChildInfo]) {
        for child in children {
            let Ok(name) = child.name.parse::<BotName>() else {
                continue;
            };
            if !self.touched.contains(&name) && !self.noted.contains(&name) {
                let gauges = self.deps.registry.gauges(&name);
                gauges.set_suspended(is_parked(child.state));
            }
        }
    }

    /// Gives back the tasks of bots that do not work: those of a suspended supervisor, and those
    /// for which an earlier attempt to do so failed.
    pub(super) fn take_back(
        &self,
        running: &HashMap<BotName, Running>,
        seen: &Seen,
        ctx: &mut Context<Self>,
    ) {
        let down = |name: &BotName| {
            let child = seen
                .children
                .iter()
                .find(|child| *child.name == *name.as_str());
            let state = child.map(|child| child.state);
            if state == Some(ChildState::Quarantined) {
                self.deps.registry.gauges(name).quarantined();
            }
            let idle = |state| state == ChildState::Quarantined || is_parked(state);
            !running.contains_key(name) || state.is_some_and(idle)
        };
        let bots: Vec<BotName> = seen
            .with_tasks
            .iter()
            .filter(|name| !self.touched.contains(*name) && down(name))
            .cloned()
            .collect();
        for bot in bots {
            let (deps, since) = (self.deps.clone(), seen.since);
            let up_to = seen.incarnations.get(&bot).copied().unwrap_or_default();
            let giving = async move {
                let gauges = deps.registry.gauges(&bot);
                deps.clerk
                    .settle(Settling {
                        bot,
                        up_to,
                        gauges,
                        started_before: Some(since),
                        end: AttemptEnd::GivenBack,
                    })
                    .await
            };
            ctx.spawn(giving.into_actor(self).map(|given, _, _| {
                if let Err(error) = given {
                    tracing::warn!(%error, "tasks could not be given back; retrying within seconds");
                }
            }));
        }
    }
}

/// Returns whether a child in that state stays down until it or its supervisor is resumed or
/// started again.
fn is_parked(state: ChildState) -> bool {
    matches!(state, ChildState::Suspended | ChildState::Declared)
}
