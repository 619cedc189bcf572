//! Bots.

use std::sync::Arc;

use deia_ledger::{DeleteBot, Ledger, PutBot as PutBotCommand, SetDesired};
use deia_model::{
    Bot, BotDesired, BotName, BotRecord, BotSpec, BotStatus, Containment, ContainmentMeans,
    Principal, Timestamp,
};

use super::{
    Board,
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

/// The most that is shown of a bot's log at once, in bytes.
const LOG_MAX_BYTES: usize = 1 << 20;

/// A bot and whether it is new.
#[derive(Clone, Debug, PartialEq)]
pub struct PutBot {
    /// The bot as it now stands.
    pub bot: Bot,
    /// Whether it is new.
    pub created: bool,
}

/// The bots that there are, and how they stand.
#[derive(Clone)]
pub struct BotsApi {
    settings: Settings,
    ledger: Ledger,
    access: AccessApi,
    board: Board,
    resolver: Arc<SecretResolver>,
    /// Means by which the processes of attempts are ended.
    containment: ContainmentMeans,
}

impl BotsApi {
    pub(super) fn new(deps: &Deps, needs: &BotNeeds<'_>, board: Board) -> Self {
        Self {
            settings: deps.settings.clone(),
            ledger: deps.ledger.clone(),
            access: needs.access.clone(),
            board,
            resolver: needs.secrets.resolver().clone(),
            containment: needs.guardian.means(),
        }
    }

    fn config(&self) -> Arc<Config> {
        self.settings.get()
    }

    /// Puts a bot in place or replaces its specification. A launched bot is
    /// stopped and started with the new one.
    ///
    /// # Errors
    /// [`HiveError::Invalid`], another version than `if_version`, or no room.
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

    /// All bots, by name.
    ///
    /// # Errors
    /// What keeps the store from reading.
    pub async fn list(&self) -> Result<Vec<Bot>, HiveError> {
        Ok(self
            .ledger
            .bots()
            .await?
            .into_iter()
            .map(|record| self.view(record))
            .collect())
    }

    /// One bot.
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
    /// [`HiveError::NotFound`], or that it is launched or has tasks in hand.
    pub async fn delete(&self, who: &Principal, name: &BotName) -> Result<(), HiveError> {
        let command = DeleteBot {
            name: name.clone(),
            actor: who.user.to_string(),
        };
        self.access.apply_for(who, command).await?;
        self.board.forget(name);
        Ok(())
    }

    /// Means a bot to run; its status follows. One that runs already is left
    /// as it is, one that is `failing` or suspended is started again.
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
            // It does not work and is to be started anew, not to go on.
            self.set_desired(who, name, BotDesired::Stopped).await?;
        }
        self.set_desired(who, name, BotDesired::Launched).await?;
        self.board.launched(name);
        let record = self.record(name).await?;
        Ok(Bot {
            warnings: self.warnings(&record.spec).await,
            ..self.view(record)
        })
    }

    /// Means a bot not to run: what it has in hand is ended and given back.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn stop(&self, who: &Principal, name: &BotName) -> Result<Bot, HiveError> {
        self.set_desired(who, name, BotDesired::Stopped).await
    }

    /// Lets a bot finish what it has in hand, take nothing new, and then stop.
    /// One that is stopped stays so.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn drain(&self, who: &Principal, name: &BotName) -> Result<Bot, HiveError> {
        let bot = self.set_desired(who, name, BotDesired::Draining).await?;
        if bot.desired == BotDesired::Draining {
            self.board.draining(name);
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

    /// The last lines of a bot's log, at most `lines` and 1 MiB.
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

    /// A reader of a bot's log that goes on with what comes.
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

    /// Makes the outside's view of a bot.
    #[allow(clippy::cast_precision_loss, reason = "counts to shares")]
    fn view(&self, record: BotRecord) -> Bot {
        let seen = self.board.observe(&record.name);
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

    /// Returns why a bot of that specification could not carry out a task now.
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
