//! The actor that keeps messages and sessions in order: it ends those that are over, takes
//! sessions from bots that died, and forgets old records.

use std::time::{Duration, Instant};

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture};
use deia_ledger::{Apply, CloseMessages, Ledger, ReleaseBot, SettleSessions};
use deia_model::{BotName, Timestamp};
use deia_supervision::Context;

use super::lost_bots::{LostBots, Observed};
use crate::{
    HiveError,
    bots::BotsApi,
    config::{MessagingSettings, Settings},
};

/// Maximum number of changes of each kind in one command: it must not delay others.
/// Fixed: bounds one step, so that others get their turn; the whole has no limit here.
const STEP: u32 = 200;

/// Message that a bot may take tasks no more, so that its sessions need another.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct BotMayBeLost;

/// Looks every `messaging.look_every`, and when a bot was stopped, in bounded steps.
pub(super) struct Keeper {
    ledger: Ledger,
    settings: Settings,
    bots: BotsApi,
    lost: LostBots,
    /// True while a step runs: one at a time.
    busy: bool,
    /// True if another step is due at once.
    again: bool,
    /// True if the last step failed and that was logged.
    failing: bool,
}

impl Keeper {
    pub(super) fn new(ledger: Ledger, settings: Settings, bots: BotsApi) -> Self {
        Self {
            ledger,
            settings,
            bots,
            lost: LostBots::default(),
            busy: false,
            again: false,
            failing: false,
        }
    }

    fn look_again(&mut self, ctx: &mut Context<Self>) {
        ctx.run_later(self.settings.get().messaging.look_every, |this, ctx| {
            this.step(ctx);
            this.look_again(ctx);
        });
    }

    fn step(&mut self, ctx: &mut Context<Self>) {
        if self.busy {
            self.again = true;
            return;
        }
        self.busy = true;
        let (ledger, bots) = (self.ledger.clone(), self.bots.clone());
        let settings = self.settings.get().messaging.clone();
        let mut lost = std::mem::take(&mut self.lost);
        let stepping = async move {
            let done = step_once(&ledger, &bots, &settings, &mut lost).await;
            (done, lost)
        };
        ctx.spawn(
            stepping
                .into_actor(self)
                .map(|(done, lost), this, ctx| this.stepped(done, lost, ctx)),
        );
    }

    fn stepped(&mut self, done: Result<bool, HiveError>, lost: LostBots, ctx: &mut Context<Self>) {
        (self.busy, self.lost) = (false, lost);
        match &done {
            Err(HiveError::StorageFull(_)) | Ok(_) => {}
            Err(error) if !self.failing => {
                tracing::warn!(%error, "messages and sessions could not be kept in order; retrying");
            }
            Err(_) => {}
        }
        self.failing = done.is_err();
        if done.is_ok_and(|more| more) || std::mem::take(&mut self.again) {
            self.step(ctx);
        }
    }
}

/// Does some of everything that is due. Returns whether there may be more.
async fn step_once(
    ledger: &Ledger,
    bots: &BotsApi,
    settings: &MessagingSettings,
    lost: &mut LostBots,
) -> Result<bool, HiveError> {
    let mut most = release_lost(ledger, bots, settings, lost).await?;
    let now = Timestamp::now();
    let forget_before = before(now, settings.retention);
    if ledger.has_messages_to_close(now, forget_before).await? {
        let command = CloseMessages {
            limit: STEP,
            forget_before,
        };
        most = most.max(ledger.apply(command).await?);
    }
    let forget_before = before(now, settings.sessions.retention);
    if ledger.has_sessions_to_settle(now, forget_before).await? {
        let command = SettleSessions {
            limit: STEP,
            forget_before,
        };
        most = most.max(ledger.apply(command).await?);
    }
    Ok(most >= u64::from(STEP))
}

fn before(now: Timestamp, retention: Duration) -> Timestamp {
    now.minus_millis(u64::try_from(retention.as_millis()).unwrap_or(u64::MAX))
}

/// Takes sessions and their tasks from bots that died. Returns the greatest number of changes
/// of one command.
async fn release_lost(
    ledger: &Ledger,
    bots: &BotsApi,
    settings: &MessagingSettings,
    lost: &mut LostBots,
) -> Result<u64, HiveError> {
    let needed: Vec<BotName> = ledger.bots_of_sessions().await?;
    let seen = match needed.is_empty() {
        true => Vec::new(),
        false => bots.list().await?,
    };
    let observed = Observed {
        needed: &needed,
        bots: &seen,
        now: Instant::now(),
        failing_grace: settings.sessions.failing_grace,
    };
    let mut most = 0;
    for gone in lost.find(&observed) {
        let command = ReleaseBot {
            bot: gone.bot,
            although_launched: gone.although_launched,
            reason: gone.reason.to_owned(),
            limit: STEP,
        };
        most = most.max(ledger.apply(command).await?);
    }
    Ok(most)
}

impl Actor for Keeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.step(ctx);
        self.look_again(ctx);
    }
}

impl Handler<BotMayBeLost> for Keeper {
    type Result = ();

    fn handle(&mut self, _: BotMayBeLost, ctx: &mut Self::Context) {
        self.step(ctx);
    }
}
