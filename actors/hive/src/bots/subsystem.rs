//! The bots as a subsystem.

use std::{num::NonZero, sync::Arc, thread, time::Duration};

use deia_ledger::CommitNotice;
use deia_supervision::{ChildSpec, Handle, StartError, SupervisorHandle, SupervisorSpec, child};
use tokio::sync::oneshot;

use super::{
    BotRegistry, BotsApi, BotsChanged, Clerk, Follow, Launcher, LauncherDeps, ManagedBots, Outputs,
    StopEverything, TaskCancelled, fallback::FallbacksInUse, measurer::Measurer,
    reaper_handle::ReaperHandle, service::Services,
};
use crate::{
    access::AccessApi,
    dispatch::{BotReads, CapacityReports},
    metrics::{BOT_LOGS, Exposition, WORKERS, table},
    secrets::Secrets,
    subsystem::{Deps, Subsystem, TreeBuilder, on_group},
};

/// Name of the threads that bots run on.
const THREADS: &str = "bots";

/// The bots, and the launcher that runs them.
pub(crate) struct Bots {
    api: BotsApi,
    launcher: Handle<Launcher>,
    registry: BotRegistry,
    outputs: Outputs,
}

/// The subsystems that bots need.
pub(crate) struct BotNeeds<'a> {
    pub(crate) access: &'a AccessApi,
    /// Recipients of the bots' capacity reports.
    pub(crate) capacity_reports: CapacityReports,
    /// Notified of every read of all bots.
    pub(crate) bot_reads: Arc<dyn BotReads>,
    pub(crate) secrets: &'a Secrets,
    /// Guardian of the bots' programs.
    pub(crate) reaper: ReaperHandle,
}

impl Bots {
    pub(crate) fn declare(deps: &Deps, tree: &mut TreeBuilder, needs: BotNeeds<'_>) -> Self {
        let config = deps.settings.get();
        let (registry, outputs) = (BotRegistry::default(), Outputs::of_hive(deps));
        tree.root(|root| root.group(THREADS, config.bots.arbiters_of(cpus())));
        // A bot that blocks its thread delays other bots, but never the scheduler.
        let bots = on_group(
            SupervisorSpec::dynamic("bots").max_children(config.bots.max_bots as usize),
            THREADS,
        );
        let api = BotsApi::new(deps, &needs, registry.clone(), &outputs);
        let mut launcher_deps = launcher_deps(deps, needs, bots.handle(), &registry, &outputs);
        launcher_deps.fallbacks = api.fallbacks().clone();
        let measurer_spec = measurer(&launcher_deps);
        let (launcher_spec, launcher) = child("launcher", move || {
            let built = Launcher::new(launcher_deps.clone());
            async move { Ok::<_, StartError>(built) }
        });
        tree.core_subtree(bots);
        tree.core(launcher_spec);
        tree.core(measurer_spec);
        Self {
            api,
            launcher,
            registry,
            outputs,
        }
    }

    pub(crate) fn api(&self) -> &BotsApi {
        &self.api
    }

    pub(crate) fn registry(&self) -> &BotRegistry {
        &self.registry
    }

    pub(crate) fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// Makes the launcher start the wanted bots.
    ///
    /// # Errors
    /// The launcher takes no messages.
    pub(crate) fn begin(&self) -> Result<(), StartError> {
        let told = self.launcher.tell(Follow);
        told.map_err(|_| StartError::failed("the launcher takes no messages"))
    }

    /// Ends the running attempts, and then the bots, within that time.
    pub(crate) async fn stop(&self, limit: Duration) {
        let (done, stopped) = oneshot::channel();
        if self.launcher.tell(StopEverything(done)).is_err() {
            tracing::warn!("the launcher takes no messages; the bots end with the tree");
            return;
        }
        if tokio::time::timeout(limit, stopped).await.is_err() {
            tracing::warn!(
                "bots did not end in time; their tasks are given back at the next start"
            );
        }
    }
}

impl Subsystem for Bots {
    fn on_commit(&self, notices: &[CommitNotice]) {
        for notice in notices {
            match notice {
                // A lost message is made up for by the launcher's periodic comparison.
                CommitNotice::BotChanged { .. } => drop(self.launcher.tell(BotsChanged)),
                CommitNotice::CancelRequested(cancelling) => {
                    drop(self.launcher.tell(TaskCancelled(cancelling.clone())));
                }
                _ => {}
            }
        }
    }

    fn metrics(&self, out: &mut Exposition) {
        BOT_LOGS.write(out);
        WORKERS.write(out);
        let (in_hand, programs) = self.registry.totals();
        out.gauge(&table::BOTS_IN_HAND, u64::from(in_hand));
        out.gauge(&table::BOTS_PROGRAMS, programs as u64);
        out.gauge(&table::OUTPUTS_BYTES, self.outputs.bytes());
        let limit = self.outputs.limit().unwrap_or_default();
        out.gauge(&table::OUTPUTS_LIMIT_BYTES, limit);
        out.gauge(&table::OUTPUTS_REMOVED, self.outputs.removed());
    }
}

fn launcher_deps(
    deps: &Deps,
    needs: BotNeeds<'_>,
    bots: SupervisorHandle,
    registry: &BotRegistry,
    outputs: &Outputs,
) -> LauncherDeps {
    LauncherDeps {
        settings: deps.settings.clone(),
        ledger: deps.ledger.clone(),
        capacity_reports: needs.capacity_reports,
        bot_reads: needs.bot_reads,
        bots,
        registry: registry.clone(),
        reaper: needs.reaper.clone(),
        outputs: outputs.clone(),
        secrets: needs.secrets.resolver().clone(),
        services: Services::new(deps.settings.clone()),
        tree: deps.tree.clone(),
        managed: ManagedBots::default(),
        fallbacks: FallbacksInUse::default(),
        clerk: Clerk {
            runtime: tokio::runtime::Handle::current(),
            ledger: deps.ledger.clone(),
            reaper: needs.reaper,
        },
    }
}

fn measurer(deps: &LauncherDeps) -> ChildSpec {
    let (registry, managed) = (deps.registry.clone(), deps.managed.clone());
    let settings = deps.settings.clone();
    let (spec, _) = child("measurer", move || {
        let built = Measurer::new(registry.clone(), managed.clone(), settings.clone());
        async move { Ok::<_, StartError>(built) }
    });
    spec
}

/// Returns the number of CPUs that this process may use.
fn cpus() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}
