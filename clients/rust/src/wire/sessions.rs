//! Shapes of requests about sessions.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The options of the end of a session. An empty body takes the defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndSessionRequest {
    /// True to cancel the waiting tasks of the session; otherwise they stay, and go to the
    /// bot of the session while that lives.
    #[serde(default)]
    pub cancel_waiting: bool,
}
