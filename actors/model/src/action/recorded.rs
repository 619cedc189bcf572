//! The action of a recorded event, which another version may have written.

use serde::{Deserialize, Serialize, Serializer};

use super::Action;

/// The action of a recorded event: a known one, or the name of an unknown one. A newer
/// version may have written the log, or may read it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "String")]
pub enum EventAction {
    /// An action that this version knows.
    Known(Action),
    /// The dotted name of an action that this version does not know.
    Other(String),
}

impl EventAction {
    /// Returns the action, if this version knows it.
    pub fn known(&self) -> Option<Action> {
        match self {
            Self::Known(action) => Some(*action),
            Self::Other(_) => None,
        }
    }

    /// Returns the dotted name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(action) => action.as_str(),
            Self::Other(name) => name,
        }
    }
}

impl From<String> for EventAction {
    fn from(name: String) -> Self {
        Action::parse(&name).map_or(Self::Other(name), Self::Known)
    }
}

impl From<Action> for EventAction {
    fn from(action: Action) -> Self {
        Self::Known(action)
    }
}

impl PartialEq<Action> for EventAction {
    fn eq(&self, action: &Action) -> bool {
        matches!(self, Self::Known(known) if known == action)
    }
}

impl Serialize for EventAction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
