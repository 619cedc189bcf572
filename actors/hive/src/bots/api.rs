//! The API of the bots.

use std::sync::Arc;

use deia_ledger::{DeleteBot, Ledger, PutBot as PutBotCommand, SetDesired};
use deia_model::{
    Bot, BotDesired, BotName, BotRecord, BotSpec, BotStatus, Containment, ContainmentMeans,
    Principal, Timestamp,
};

use super::{
    BotRegistry,
    executor::factory_of,
    log,
    log::{LogFollower, LogStart},
    observed_status,
    subsystem::BotNeeds,
};
use crate::{
    HiveError,
    access::AccessApi,
    config::{Config, Settings},
    secrets::SecretResolver,
    subsystem::Deps,
};

/// Maximum size of one answer with lines of a bot's log, in bytes.
const LOG_MAX_BYTES: usize = 1 << 20;

/// The reply to [`BotsApi::put`].
#[derive(Clone, Debug, PartialEq)]
pub struct PutBot {
    /// The bot after the change.
    pub bot: Bot,
    /// True if the bot did not exist before.
    pub created: bool,
}

/// Reads and changes bots.
#[derive(Clone)]
pub struct BotsApi {
    settings: Settings,
    ledger: Ledger,
    access: AccessApi,
    registry: BotRegistry,
    resolver: Arc<SecretResolver>,
    /// Means by which the processes of attempts are ended.
    containment: ContainmentMeans,
}

impl BotsApi {
    pub(super) fn new(deps: &Deps, needs: &BotNeeds<'_>, registry: BotRegistry) -> Self {
        Self {
            settings: deps.settings.clone(),
            ledger: deps.ledger.clone(),
            access: needs.access.clone(),
            registry,
            resolver: needs.secrets.resolver().clone(),
            containment: needs.reaper.means(),
        }
    }

    fn config(&self) -> Arc<Config> {
        self.settings.get()
    }

    /// Creates a bot or replaces its specification. A running bot is restarted with the new one.
    ///
    /// # Errors
    /// [`HiveError::Invalid`], a version other than `if_version`, or too many bots.
    pub async fn put(
        &self,
        who: &Principal,
        name: BotName,
        spec: BotSpec,
        if_version: Option<u64>,
    ) -> Result<PutBot, HiveError> {
        let mut violations = spec.violations();
        violations.extend(self.config().bots.secret_places().violations(&spec.secrets));
        if !violations.is_empty() {
            return Err(HiveError::Invalid(violations));
        }
        let warnings = self.warnings(&spec).await;
        let config = self.config();
        let settings = &config.bots;
        let command = PutBotCommand {
            name,
            spec,
            actor: who.user.to_string(),
            if_version,
            ports: (settings.first_port, settings.last_port),
            max_bots: settings.max_bots,
        };
        let put = self.access.apply_for(who, command).await?;
        Ok(PutBot {
            bot: Bot {
                warnings,
                ..self.view(put.record)
            },
            created: put.created,
        })
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
        self.set_desired(who, name, BotDesired::Launched).await?;
        self.registry.launched(name);
        let record = self.record(name).await?;
        Ok(Bot {
            warnings: self.warnings(&record.spec).await,
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

    /// Returns the last lines of a bot's log, at most `lines` and 1 MiB.
    ///
    /// # Errors
    /// [`HiveError::NotFound`] when there is no such bot.
    pub async fn log(&self, name: &BotName, lines: usize) -> Result<Vec<String>, HiveError> {
        self.get(name).await?;
        let path = self.config().bot_log_path(name);
        let reading =
            tokio::task::spawn_blocking(move || log::tail(&path, lines, LOG_MAX_BYTES)).await;
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
            record.launched_at,
            &seen,
            self.config().bots.fault.failing_after,
            Timestamp::now(),
        );
        let finished = record.tasks_completed + record.tasks_failed;
        let places = f64::from(record.spec.capabilities.max_concurrent_tasks.max(1));
        let starts_programs = record.spec.executor.starts_programs();
        Bot {
            id: record.name,
            executor: record.spec.executor,
            secrets: record.spec.secrets,
            status,
            desired: record.desired,
            version: record.version,
            port: record.port,
            pids: seen.pids,
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
            warnings: Vec::new(),
            containment: starts_programs.then(|| Containment::by(self.containment)),
        }
    }

    /// Returns the reasons why a bot of that specification could not run a task now.
    async fn warnings(&self, spec: &BotSpec) -> Vec<String> {
        let Some(preflight) = factory_of(&spec.executor).preflight() else {
            return Vec::new();
        };
        let looked = tokio::task::spawn_blocking(preflight).await;
        let unresolved = self.resolver.resolve(&spec.secrets).await.err();
        let program = looked.ok().flatten().into_iter();
        program
            .chain(unresolved.map(|secret| secret.to_string()))
            .collect()
    }
}
