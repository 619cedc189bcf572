//! A program that is started once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CommandExecutor, variables, words};
use crate::Violation;

/// A program that is started once and runs until the bot is stopped. Tasks come as lines of
/// JSON on its standard input, and it answers with lines of JSON on its standard output,
/// several at a time if it greets with `max_concurrent`. Its standard error goes to the
/// bot's log. A program that ends is started again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkerExecutor {
    /// Program and arguments, started without a shell. The program is found by `PATH`.
    #[schema(schema_with = words)]
    pub command: Vec<String>,
    /// Additional environment variables, for values that are not secret: they are
    /// stored and shown in plain text. Secrets belong in `secrets`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(schema_with = variables)]
    pub env: BTreeMap<String, String>,
    /// Working directory of the program; the data directory's `work/<bot>` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = r"^/[^\u0000]*$")]
    pub working_dir: Option<String>,
}

impl WorkerExecutor {
    /// Returns the program, as that of a command.
    pub fn program(&self) -> CommandExecutor {
        CommandExecutor {
            command: self.command.clone(),
            env: self.env.clone(),
            working_dir: self.working_dir.clone(),
        }
    }

    pub(super) fn violations(&self, at: &str) -> Vec<Violation> {
        self.program().violations(at)
    }
}
