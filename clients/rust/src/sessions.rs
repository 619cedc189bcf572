//! Sessions: tasks of a user that go to one bot.

use deia_model::{NewSession, Page, PageRequest, Session, SessionFilter, SessionId};

use super::{Client, ClientError, EndSessionRequest};

impl Client {
    /// Starts a session; name it in `session_id` of tasks. With an idempotency key the call
    /// may be repeated: one session is started.
    ///
    /// # Errors
    /// A conflict if the user has too many active sessions.
    pub async fn start_session(
        &self,
        session: &NewSession,
        idempotency_key: Option<&str>,
    ) -> Result<Session, ClientError> {
        self.post(&["api", "v1", "sessions"])
            .idempotency_key(idempotency_key)?
            .json(session)?
            .answer()
            .await
    }

    /// Lists sessions, the newest first, as many as the page asks for.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn sessions(
        &self,
        filter: &SessionFilter,
        page: &PageRequest,
    ) -> Result<Page<Session>, ClientError> {
        self.gather(page, || {
            self.get(&["api", "v1", "sessions"])
                .query("active", filter.active)
                .query("user", filter.user.as_ref())
                .query("bot", filter.bot.as_ref())
        })
        .await
    }

    /// Returns a session.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn session(&self, id: SessionId) -> Result<Session, ClientError> {
        self.get(&["api", "v1", "sessions", &id.to_string()])
            .answer()
            .await
    }

    /// Ends a session. Its waiting tasks stay, or are cancelled.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn end_session(
        &self,
        id: SessionId,
        request: &EndSessionRequest,
    ) -> Result<Session, ClientError> {
        self.post(&["api", "v1", "sessions", &id.to_string(), "end"])
            .json(request)?
            .answer()
            .await
    }
}
