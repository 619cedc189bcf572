//! The API of the bots.

use std::sync::Arc;

use deia_ledger::{DeleteBot, Ledger, PutBot as PutBotCommand, SetDesired};
use deia_model::{
    Bot, BotDesired, BotFilter, BotLiveness, BotName, BotRecord, BotSpec, BotStatus, Containment,
    ContainmentMeans, Principal, Timestamp,
};

use super::{
    BotRegistry, StatusLimits,
    executor::{Readiness, factory_of},
    fallback::FallbacksInUse,
    log,
    log::{LogFollower, LogStart},
    observed_status,
    output::Outputs,
    ports,
    registry::BotSnapshot,
    remote::RemoteWork,
    subsystem::BotNeeds,
};
use crate::{
    HiveError,
    access::AccessApi,
    config::{Config, Settings},
    secrets::SecretResolver,
    subsystem::Deps,
};

/// The reply to [`BotsApi::put`].
#[derive(Clone, Debug, PartialEq)]
pub struct PutBot {
    /// The bot after the change.
    pub bot: Bot,
    /// True if the bot did not exist before.
    pub created: bool,
}

/// The way in which a specification is put in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutHow {
    /// Version that the bot must have; 0: none.
    pub if_version: Option<u64>,
    /// True if the running tasks are given back instead of being waited for.
    pub at_once: bool,
}

/// Reads and changes bots.
#[derive(Clone)]
pub struct BotsApi {
    settings: Settings,
    pub(super) ledger: Ledger,
    pub(super) access: AccessApi,
    pub(super) registry: BotRegistry,
    fallbacks: FallbacksInUse,
    work: RemoteWork,
    resolver: Arc<SecretResolver>,
    /// Means by which the processes of attempts are ended.
    containment: ContainmentMeans,
}

impl BotsApi {
    pub(super) fn new(
        deps: &Deps,
        needs: &BotNeeds<'_>,
        registry: BotRegistry,
        outputs: &Outputs,
    ) -> Self {
        Self {
            settings: deps.settings.clone(),
            ledger: deps.ledger.clone(),
            access: needs.access.clone(),
            work: RemoteWork::new(
                deps.settings.clone(),
                deps.ledger.clone(),
                needs.access.clone(),
                registry.clone(),
                outputs.clone(),
            ),
            registry,
            fallbacks: FallbacksInUse::default(),
            resolver: needs.secrets.resolver().clone(),
            containment: needs.reaper.means(),
        }
    }

    /// Returns the API of remote workers.
    pub fn work(&self) -> &RemoteWork {
        &self.work
    }

    /// Returns the bots whose fallback bots are in use.
    pub(super) fn fallbacks(&self) -> &FallbacksInUse {
        &self.fallbacks
    }

    pub(super) fn config(&self) -> Arc<Config> {
        self.settings.get()
    }

    /// Creates a bot or replaces its specification. A running bot is restarted with the new one:
    /// once its running tasks have ended, for `bots.replace_drain` at most, or `at_once`.
    ///
    /// # Errors
    /// [`HiveError::Invalid`], a version other than the expected one, or too many bots.
    pub async fn put(
        &self,
        who: &Principal,
        name: BotName,
        spec: BotSpec,
        how: PutHow,
    ) -> Result<PutBot, HiveError> {
        let PutHow {
            if_version,
            at_once,
        } = how;
        let mut violations = spec.violations_of(&name);
        violations.extend(self.config().bots.secret_places().violations(&spec.secrets));
        if violations.is_empty() {
            violations = factory_of(&spec.executor).violations(&self.config());
        }
        if !violations.is_empty() {
            return Err(HiveError::Invalid(violations));
        }
        let warnings = self.warnings(&spec).await;
        let config = self.config();
        let settings = &config.bots;
        let command = PutBotCommand {
            name: name.clone(),
            spec,
            actor: who.user.to_string(),
            if_version,
            ports: ports::of(&config).await,
            max_bots: settings.max_bots,
        };
        self.registry.replace_at_once(&name, at_once);
        let put = self.access.apply_for(who, command).await;
        let put = put.inspect_err(|_| self.registry.replace_at_once(&name, false))?;
        Ok(PutBot {
            bot: Bot {
                warnings,
                ..self.view(put.record)
            },
            created: put.created,
        })
    }

    /// Returns the selected bots, by name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn select(&self, filter: &BotFilter) -> Result<Vec<Bot>, HiveError> {
        let bots = self.ledger.bots().await?.into_iter();
        let selected = bots.filter(|record| filter.matches(&record.spec));
        Ok(selected.map(|record| self.view(record)).collect())
    }

    /// Returns all bots, by name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self) -> Result<Vec<Bot>, HiveError> {
        Ok(self
            .ledger
            .bots()
            .await?
            .into_iter()
            .map(|record| self.view(record))
            .collect())
    }

    /// Returns one bot.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn get(&self, name: &BotName) -> Result<Bot, HiveError> {
        Ok(self.view(self.record(name).await?))
    }

    async fn record(&self, name: &BotName) -> Result<BotRecord, HiveError> {
        let record = self.ledger.bot(name.clone()).await?;
        record.ok_or_else(|| HiveError::NotFound {
            kind: "bot",
            id: name.to_string(),
        })
    }

    /// Removes a stopped bot.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], or the bot is launched or still holds tasks.
    pub async fn delete(&self, who: &Principal, name: &BotName) -> Result<(), HiveError> {
        let command = DeleteBot {
            name: name.clone(),
            actor: who.user.to_string(),
        };
        self.access.apply_for(who, command).await?;
        self.registry.forget(name);
        Ok(())
    }

    /// Launches a bot; its status follows. A running bot is left as it is, a `failing` or suspended
    /// one is started again.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn launch(&self, who: &Principal, name: &BotName) -> Result<Bot, HiveError> {
        let bot = self.get(name).await?;
        let down = matches!(bot.status, BotStatus::Failing | BotStatus::Stopped);
        if bot.desired == BotDesired::Launched && !down {
            return Ok(bot);
        }
        if bot.desired == BotDesired::Draining && down {
            // The bot does not work: it is stopped first, so that it starts again.
            self.set_desired(who, name, BotDesired::Stopped).await?;
        }
        let mut record = self.record(name).await?;
        let port = match record.desired {
            BotDesired::Stopped => ports::settle(&self.ledger, &self.config(), &mut record).await?,
            // It may listen there itself.
            _ => ports::Port::Free,
        };
        self.set_desired(who, name, BotDesired::Launched).await?;
        self.registry.launched(name);
        let record = self.record(name).await?;
        let mut warnings = self.warnings(&record.spec).await;
        warnings.extend(port.warning());
        Ok(Bot {
            warnings,
            ..self.view(record)
        })
    }

    /// Stops a bot: its attempts are ended and their tasks given back.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn stop(&self, who: &Principal, name: &BotName) -> Result<Bot, HiveError> {
        self.set_desired(who, name, BotDesired::Stopped).await
    }

    /// Lets a bot finish its running tasks, take no new ones, and then stop. A stopped bot stays
    /// stopped.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn drain(&self, who: &Principal, name: &BotName) -> Result<Bot, HiveError> {
        let bot = self.set_desired(who, name, BotDesired::Draining).await?;
        if bot.desired == BotDesired::Draining {
            self.registry.draining(name);
        }
        Ok(bot)
    }

    async fn set_desired(
        &self,
        who: &Principal,
        name: &BotName,
        desired: BotDesired,
    ) -> Result<Bot, HiveError> {
        let command = SetDesired {
            name: name.clone(),
            desired,
            actor: who.user.to_string(),
        };
        Ok(self.view(self.access.apply_for(who, command).await?))
    }

    /// Returns the last lines of a bot's log, at most `lines` and
    /// `bots.log_answer_max_bytes`.
    ///
    /// # Errors
    /// [`HiveError::NotFound`] when there is no such bot.
    pub async fn log(&self, name: &BotName, lines: usize) -> Result<Vec<String>, HiveError> {
        self.get(name).await?;
        let config = self.config();
        let path = config.bot_log_path(name);
        let most = config.bots.log_answer_max_bytes.as_u64();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let reading = tokio::task::spawn_blocking(move || log::tail(&path, lines, most)).await;
        let read = reading.map_err(|error| HiveError::Internal(error.to_string()))?;
        read.map_err(|error| HiveError::Internal(error.to_string()))
    }

    /// Returns a reader that follows a bot's log.
    ///
    /// # Errors
    /// [`HiveError::NotFound`] when there is no such bot.
    pub async fn follow_log(
        &self,
        name: &BotName,
        start: LogStart,
    ) -> Result<LogFollower, HiveError> {
        self.get(name).await?;
        Ok(LogFollower::new(self.config().bot_log_path(name), start))
    }

    /// Converts a record to the public view of a bot.
    #[allow(clippy::cast_precision_loss, reason = "counts to shares")]
    fn view(&self, record: BotRecord) -> Bot {
        let seen = self.registry.snapshot(&record.name);
        let status = observed_status(
            record.desired,
            record.generation(),
            &seen,
            &StatusLimits::of(&self.config().bots),
            Timestamp::now(),
        );
        let finished = record.tasks_completed + record.tasks_failed;
        let places = f64::from(record.spec.capabilities.max_concurrent_tasks.max(1));
        let (unreachable, liveness) = (unreachable_because(&seen), liveness_of(&seen));
        let starts_programs = record.spec.executor.starts_programs();
        let out = self.fallbacks.get();
        let stands_in = out.values().map(|out| &out.fallback);
        let stands_in = stands_in.filter(|it| it.by.contains(&record.name));
        Bot {
            fallback_in_use: out.get(&record.name).map(|out| out.in_use.clone()),
            stands_in_for: stands_in.map(|it| it.bot.clone()).collect(),
            fallback: record.spec.fallback,
            id: record.name,
            executor: record.spec.executor,
            secrets: record.spec.secrets,
            status,
            desired: record.desired,
            version: record.version,
            port: record.port,
            pids: seen.pids,
            limits: record.spec.limits,
            cpu_percent: seen.usage.map(|usage| rounded(usage.cpu_percent)),
            memory_bytes: seen.usage.map(|usage| usage.memory_bytes),
            descriptors: seen.usage.and_then(|usage| usage.descriptors),
            processes: seen.usage.map(|usage| usage.processes),
            capabilities: record.spec.capabilities,
            success_rate: (finished > 0).then(|| record.tasks_completed as f64 / finished as f64),
            current_load: f64::from(seen.running) / places,
            running_tasks: seen.running,
            last_heartbeat: seen.heartbeat,
            launched_at: record.launched_at,
            tasks_completed: record.tasks_completed,
            tasks_failed: record.tasks_failed,
            restarts: seen.restarts,
            last_exit: seen.last_exit,
            fault: seen.fault,
            pause: seen.pause,
            circuit: seen.circuit,
            unreachable,
            liveness,
            idle_timeout_seconds: record.spec.idle_timeout_seconds,
            probe: record.spec.probe,
            group: record.spec.group,
            labels: record.spec.labels,
            template: record.spec.template,
            warnings: Vec::new(),
            containment: starts_programs.then(|| Containment::by(self.containment)),
        }
    }

    /// Returns the reasons why a bot of that specification could not run a task now.
    async fn warnings(&self, spec: &BotSpec) -> Vec<String> {
        let program = match factory_of(&spec.executor).preflight() {
            Some(preflight) => tokio::task::spawn_blocking(preflight).await.ok().flatten(),
            None => None,
        };
        let unresolved = self.resolver.resolve(&spec.secrets).await.err();
        let program = program.into_iter();
        program
            .chain(unresolved.map(|secret| secret.to_string()))
            .chain(self.missing_fallbacks(spec).await)
            .collect()
    }

    /// Returns a warning for each fallback bot that does not exist. It may be created later, so
    /// that a fleet can be put in place in any order.
    async fn missing_fallbacks(&self, spec: &BotSpec) -> Vec<String> {
        let mut missing = Vec::new();
        for bot in &spec.fallback {
            if matches!(self.ledger.bot(bot.clone()).await, Ok(None)) {
                missing.push(format!(
                    "the fallback bot {bot} does not exist; it is left out until it does"
                ));
            }
        }
        missing
    }
}

/// Returns a percentage with one decimal.
fn rounded(percent: f64) -> f64 {
    (percent * 10.0).round() / 10.0
}

/// Returns the reason why the bot can be given no tasks, as its executor and its probes say.
fn unreachable_because(seen: &BotSnapshot) -> Option<String> {
    let reason = seen.readiness.reason().or(seen.probed.reason());
    reason.filter(|_| seen.up).map(str::to_owned)
}

/// Returns the parts of a bot that live.
fn liveness_of(seen: &BotSnapshot) -> BotLiveness {
    let is_reached = seen.readiness == Readiness::Ready && seen.probed.lets_pass();
    BotLiveness {
        process: (!seen.pids.is_empty()).then_some(true),
        channel: seen.up && seen.trouble.is_none() && is_reached,
        progress_at: seen.progress_at,
    }
}
