//! Commands about sessions in browsers.

use deia_model::{LoginEnd, LoginId, LoginRecord, Timestamp};

use super::Dedup;

/// Something durable to do about sessions in browsers.
#[derive(Clone, Debug)]
pub enum LoginCommand {
    /// Open one. When its user has as many as may be, the one that was used
    /// longest ago ends.
    Open {
        /// The session.
        login: Box<LoginRecord>,
        /// Sessions of one user at most.
        max_per_user: u32,
        /// Sessions of all users at most.
        max: u32,
        /// To open no second one when the request is repeated.
        dedup: Option<Dedup>,
    },
    /// End these.
    End {
        /// Which.
        logins: Vec<LoginId>,
        /// Why.
        why: LoginEnd,
        /// Name of the caller.
        actor: String,
    },
    /// End all of a user.
    EndAll {
        /// The user.
        user: String,
        /// Name of the caller.
        actor: String,
    },
    /// Note when they were used last. No event comes of it.
    Seen(Vec<(LoginId, Timestamp)>),
}
