//! Means by which the processes of attempts are ended.

use serde::{Deserialize, Serialize};

/// Way in which the processes of an attempt are found and ended with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContainmentMeans {
    /// Each program is below a process that inherits all of its descendants and
    /// ends them.
    Subreaper,
    /// Processes are found by the variables of their environment.
    EnvironmentMarks,
}

/// Means by which the processes of attempts are ended on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Containment {
    /// The means in use.
    pub means: ContainmentMeans,
    /// Processes that could escape the means.
    #[schema(
        example = "processes that another service starts for a program (systemd-run, at, docker)"
    )]
    pub escape: String,
}

impl Containment {
    /// Returns the description of `means`.
    pub fn by(means: ContainmentMeans) -> Self {
        let escape = match means {
            ContainmentMeans::Subreaper => {
                "processes that another service starts for a program (systemd-run, at, docker), and processes that kill their runner, leave their group and clear their environment"
            }
            ContainmentMeans::EnvironmentMarks => {
                "processes that leave their group and clear their environment, and processes that another service starts for a program"
            }
        };
        Self {
            means,
            escape: escape.to_owned(),
        }
    }
}
