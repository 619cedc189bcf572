//! The only public door.

mod bots;
mod data_dir;
mod event_log_lines;
mod health;
mod instance;
mod keys;
mod logins;
mod meter;
mod metrics;
mod outputs;
mod parts;
mod probes;
mod queue;
mod recover;
mod restart;
mod secrets;
mod spans;
mod start;
mod stop;
mod store_options;
mod task_watch;
mod tasks;
#[cfg(test)]
mod tests;
mod users;

use std::{
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    time::Instant,
};

pub use data_dir::{DataDirError, Exposed, exposed, is_in_use, refuse_links};
use deia_ledger::{Apply, Ledger, LedgerCommand, Refusal, StoreError, anchor::Anchor};
pub use deia_ledger::{NewUser, Submission};
use deia_model::{Bot, ContainmentMeans, KeyInfo, Principal, Timestamp, Via};
use deia_supervision::{ArbiterStatus, ChildSpec, Handle, Tree, TreeStatus};
pub use keys::KeyRotation;
pub use logins::OpenedLogin;
pub use parts::PartAction;
pub use recover::{AdminKeyReset, reset_admin_key};
pub use restart::RestartCheck;
pub use secrets::{SecretRotation, check_secrets_key, rotate_secrets_key};
pub use start::HiveStartError;
pub use store_options::store_options;
use tokio::sync::{Notify, watch};

use self::data_dir::DataDir;
use crate::{
    HiveError,
    actors::{
        access::AccessCaches,
        bots::{Board, Launcher, Outputs},
        scheduler::{Dispatcher, Scheduler},
    },
    auth::{Denial, Denials, Denied, Issuers, Keyring, Logins, TokenError, looks_like_a_token},
    config::Config,
    hive::{meter::FlowMeter, task_watch::TaskWatch},
    secrets::{SealingKeys, SecretResolver},
};

/// A bot and whether it is new.
#[derive(Clone, Debug, PartialEq)]
pub struct PutBot {
    /// The bot as it now stands.
    pub bot: Bot,
    /// Whether it is new.
    pub created: bool,
}

/// A new key: the only time that its text is seen.
#[derive(Clone)]
pub struct NewKey {
    /// What listings show of it.
    pub info: KeyInfo,
    /// The key itself.
    pub text: String,
    /// Whether its user was made with it.
    pub user_created: bool,
}

/// Makes the last child of the tree, which serves the hive to the outside.
pub type FrontFactory = Box<dyn FnOnce(&Hive) -> ChildSpec>;

/// A running hive. Cheap to clone; all clones are the same hive.
///
/// Whoever calls has checked the permission; what a principal may see of what
/// exists is checked here.
#[derive(Clone)]
pub struct Hive {
    inner: Arc<Inner>,
}

struct Inner {
    config: Arc<Config>,
    ledger: Ledger,
    caches: Arc<AccessCaches>,
    keyring: Arc<Keyring>,
    denials: Arc<Denials>,
    issuers: Arc<Issuers>,
    logins: Arc<Logins>,
    board: Board,
    outputs: Outputs,
    /// Means by which the processes of attempts are ended.
    containment: ContainmentMeans,
    sealing: Arc<SealingKeys>,
    resolver: Arc<SecretResolver>,
    watch: TaskWatch,
    meter: FlowMeter,
    tree: Arc<OnceLock<Tree>>,
    scheduler: Handle<Scheduler>,
    dispatcher: Arc<Dispatcher>,
    launcher: Handle<Launcher>,
    state: AtomicU8,
    state_changed: Notify,
    cpu: health::CpuMeter,
    metrics: metrics::PartMetrics,
    restart: restart::Restart,
    started_at: Timestamp,
    started: Instant,
    probe: probes::Probe,
    /// Locked as long as the hive lives.
    data_dir: DataDir,
    /// The file of the store.
    database: Anchor,
}

/// What the hive is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Ready,
    /// It takes everything, but begins no attempt; soon it is another start.
    Restarting,
    Stopping,
}

impl State {
    fn of(number: u8) -> Self {
        match number {
            0 => Self::Starting,
            1 => Self::Ready,
            2 => Self::Restarting,
            _ => Self::Stopping,
        }
    }

    /// Returns whether submissions are accepted.
    fn takes_work(self) -> bool {
        matches!(self, Self::Ready | Self::Restarting)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
        }
    }
}

impl Hive {
    /// The settings it runs with.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Who comes with this key, from there. Takes no lock and does no I/O.
    ///
    /// # Errors
    /// [`Denied`], with nothing in it that the bearer did not know.
    pub fn authenticate(&self, key: &str, from: Option<IpAddr>) -> Result<Principal, Denied> {
        let now = Timestamp::now();
        self.inner.keyring.authenticate(key, from, now)
    }

    /// Who comes with this key or token. Waits only for the keys of the issuer of a
    /// token whose key is not known; and, from a `crowd`, for the turn of a token that
    /// was not seen before, so that many bad ones take one processor at most.
    ///
    /// # Errors
    /// As [`Self::authenticate`].
    pub async fn authenticate_bearer(
        &self,
        text: &str,
        from: Option<IpAddr>,
        crowd: bool,
    ) -> Result<Principal, Denied> {
        if !looks_like_a_token(text) {
            return self.authenticate(text, from);
        }
        let issuers = &self.inner.issuers;
        let who = issuers.authenticate(text, crowd, Timestamp::now());
        who.await.map_err(|error| Denied::stranger(error.into()))
    }

    /// Who they are now, and whether they would still be let in: what somebody is
    /// asked who has a long answer.
    ///
    /// # Errors
    /// [`Denied`], when they would not be let in now.
    pub fn still(&self, who: &Principal, from: Option<IpAddr>) -> Result<Principal, Denied> {
        let now = Timestamp::now();
        match &who.via {
            Via::Key(_) => self.inner.keyring.still(who, from, now),
            Via::Token {
                issuer,
                expires_at,
                basis,
            } => {
                let why = match self.inner.issuers.still(issuer, Some(basis)) {
                    _ if *expires_at <= now => TokenError::Expired,
                    Ok(true) => return Ok(who.clone()),
                    Ok(false) => TokenError::Key,
                    Err(unknown) => unknown,
                };
                Err(Denied {
                    user: Some(who.user.clone()),
                    ..Denied::stranger(why.into())
                })
            }
            Via::Login { id, .. } => self.login_still(*id, from, now),
            // The listener knows how long it stands.
            Via::Certificate => Ok(who.clone()),
        }
    }

    /// Returns when the caller is let in no longer by the clock alone, as far as that
    /// is known now: the end of a key, a token or a session.
    pub fn let_in_until(&self, who: &Principal) -> Option<Timestamp> {
        let key = who.key().and_then(|key| self.known_key(key));
        let own = match &who.via {
            Via::Token { expires_at, .. } => Some(*expires_at),
            Via::Login { id, .. } => self.inner.logins.over_at(*id),
            Via::Key(_) | Via::Certificate => None,
        };
        let of_key = key.and_then(|key| key.expires_at);
        [own, of_key].into_iter().flatten().min()
    }

    /// Applies a command for a caller, unless their access has changed since they
    /// were let in.
    async fn apply_for<C: LedgerCommand>(
        &self,
        who: &Principal,
        command: C,
    ) -> Result<C::Reply, StoreError> {
        let by_token = matches!(who.via, Via::Token { .. } | Via::Login { key: None, .. });
        // The store cannot know whether the issuer still vouches for the token.
        if by_token && self.still(who, None).is_err() {
            return Err(StoreError::Refused(Refusal::AccessChanged));
        }
        self.inner.ledger.apply_for(who, command).await
    }

    /// Is told whenever keys or users have changed.
    pub fn access_changes(&self) -> watch::Receiver<()> {
        self.inner.keyring.changes()
    }

    /// Notes that a request was let in: a session that is used goes on.
    pub fn note_admitted(&self, who: &Principal) {
        if let Via::Login { id, .. } = who.via {
            self.inner.logins.note_use(id, Timestamp::now());
        }
    }

    /// Notes that a request was refused. It is recorded a little later.
    pub fn note_denial(&self, denial: Denial) {
        self.inner.denials.note(denial);
    }

    /// Returns whether the hive accepts work: it has started and is not stopping. A
    /// hive that restarts accepts work for the start that follows.
    pub fn is_ready(&self) -> bool {
        self.state().takes_work()
    }

    /// Returns whether it makes way for its next start: it accepts everything, and no
    /// attempt begins.
    pub(crate) fn is_restarting(&self) -> bool {
        self.state() == State::Restarting
    }

    /// Waits while the hive is starting, so that a request that came in early is
    /// not refused.
    ///
    /// # Errors
    /// [`HiveError::Unavailable`] when it is stopping, or does not get ready.
    async fn takes_work(&self) -> Result<(), HiveError> {
        if self.state() == State::Starting {
            let started = async {
                loop {
                    let changed = self.inner.state_changed.notified();
                    tokio::pin!(changed);
                    changed.as_mut().enable();
                    if self.state() != State::Starting {
                        return;
                    }
                    changed.await;
                }
            };
            // The state below tells whether it became ready in time.
            let _ = tokio::time::timeout(self.config().server.max_wait, started).await;
        }
        match self.state() {
            state if state.takes_work() => Ok(()),
            state => Err(HiveError::Unavailable(state.as_str())),
        }
    }

    /// The supervision tree, live. `None` before it is up.
    pub fn supervisors(&self) -> Option<TreeStatus> {
        self.inner.tree.get().map(Tree::status)
    }

    /// Returns the threads that the actors run on, that of the supervisors first; none
    /// before the tree is up.
    pub fn arbiters(&self) -> Vec<ArbiterStatus> {
        self.inner
            .tree
            .get()
            .map(Tree::arbiters)
            .unwrap_or_default()
    }

    /// One child of the tree and all below it; `path` as in `hive/core/scheduler`.
    pub fn supervisor(&self, path: &str) -> Option<TreeStatus> {
        self.inner.tree.get().and_then(|tree| tree.status_of(path))
    }

    fn state(&self) -> State {
        State::of(self.inner.state.load(Ordering::Acquire))
    }

    fn set_state(&self, state: State) {
        self.inner.state.store(state as u8, Ordering::Release);
        self.inner.state_changed.notify_waiters();
    }

    /// Goes from one state to another. Returns `false` if it is in a third one.
    fn change_state(&self, from: State, to: State) -> bool {
        let state = &self.inner.state;
        let (from, to) = (from as u8, to as u8);
        let changed = state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        self.inner.state_changed.notify_waiters();
        changed.is_ok()
    }
}
