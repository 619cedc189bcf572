//! Interface of sessions.

use std::{net::IpAddr, time::Duration};

use deia_ledger::{EndSession, Idempotency, Ledger, StartSession, StartedSession};
use deia_model::{NewSession, Page, PageRequest, Principal, Session, SessionFilter, SessionId};

use crate::{HiveError, access::AccessApi, config::Settings, subsystem::Deps};

/// Maximum length of the name of a caller's program that is kept, in characters. Fact:
/// the API, whose schema states it.
const USER_AGENT_MAX: usize = 256;

/// The caller who starts a session, as the front sees it.
#[derive(Clone, Debug, Default)]
pub struct SessionOrigin<'a> {
    /// Address of the caller.
    pub address: Option<IpAddr>,
    /// The program of the caller, without secrets.
    pub user_agent: Option<&'a str>,
}

/// Interface to sessions. Callers who see only their own tasks see only their own sessions.
#[derive(Clone)]
pub struct SessionsApi {
    settings: Settings,
    ledger: Ledger,
    access: AccessApi,
}

impl SessionsApi {
    pub(super) fn new(deps: &Deps, access: &AccessApi) -> Self {
        Self {
            settings: deps.settings.clone(),
            ledger: deps.ledger.clone(),
            access: access.clone(),
        }
    }

    /// Starts a session; it is on disk when this returns.
    ///
    /// # Errors
    /// [`HiveError::Invalid`], also for a bot that is not launched; a conflict if the user has
    /// too many sessions; an idempotency mismatch.
    pub async fn start(
        &self,
        who: &Principal,
        new: NewSession,
        origin: SessionOrigin<'_>,
        idempotency: Option<Idempotency>,
    ) -> Result<StartedSession, HiveError> {
        let settings = self.settings.get().messaging.sessions.clone();
        let violations = new.violations(settings.max_idle_ttl.as_secs());
        if !violations.is_empty() {
            return Err(HiveError::Invalid(violations));
        }
        let idle_ttl = new.idle_ttl_seconds.map(Duration::from_secs);
        let agent = |text: &str| text.chars().take(USER_AGENT_MAX).collect();
        let command = StartSession {
            session: new,
            user: who.user.to_string(),
            idle_ttl: idle_ttl.unwrap_or(settings.idle_ttl),
            max_per_user: settings.max_per_user,
            ip_address: origin.address.map(|address| address.to_string()),
            user_agent: origin.user_agent.map(agent),
            idempotency,
        };
        Ok(self.access.apply_for(who, command).await?)
    }

    /// Returns a session.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], also if the caller may not see it.
    pub async fn get(&self, who: &Principal, id: SessionId) -> Result<Session, HiveError> {
        let found = self.ledger.session(id, only_of(who)).await?;
        found.ok_or_else(|| HiveError::NotFound {
            kind: "session",
            id: id.to_string(),
        })
    }

    /// Lists sessions, the newest first.
    ///
    /// # Errors
    /// [`HiveError::BadCursor`].
    pub async fn list(
        &self,
        who: &Principal,
        filter: SessionFilter,
        page: PageRequest,
    ) -> Result<Page<Session>, HiveError> {
        Ok(self.ledger.sessions(filter, only_of(who), page).await?)
    }

    /// Ends a session, and returns it. Its waiting tasks stay, and go to its bot while that
    /// lives, or are cancelled. A repeated call changes nothing else.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn end(
        &self,
        who: &Principal,
        id: SessionId,
        cancel_waiting: bool,
    ) -> Result<Session, HiveError> {
        let command = EndSession {
            session: id,
            actor: who.user.to_string(),
            only_of: only_of(who),
            cancel_waiting,
        };
        Ok(self.access.apply_for(who, command).await?)
    }
}

/// Returns the user whose sessions alone the caller may see; `None`: all.
fn only_of(who: &Principal) -> Option<String> {
    who.role.sees_only_its_own().then(|| who.user.to_string())
}
