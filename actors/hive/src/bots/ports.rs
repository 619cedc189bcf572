//! Ports of bots. The store gives each bot one of its own; here is looked what else listens on the
//! host.

use deia_ledger::{Apply, BotPorts, Ledger, MoveBot, StoreError};
use deia_model::BotRecord;

use crate::{config::Config, host::listeners};

/// Returns the ports that bots may have, and those that something listens at.
pub(super) async fn of(config: &Config) -> BotPorts {
    let looked = tokio::task::spawn_blocking(listeners::ports).await;
    BotPorts {
        first: config.bots.first_port,
        last: config.bots.last_port,
        // Unknown counts as unused: then the programs of bots find out.
        in_use: looked.unwrap_or_default(),
    }
}

/// The port of a bot that is about to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// Nothing listens there.
    Free,
    /// Something else listens at the earlier port; the bot has another one now.
    Moved { from: u16, to: u16 },
    /// Something listens there: there is no other, or it is probed and so meant to.
    InUse(u16),
}

impl Port {
    /// Returns what people should know.
    pub(super) fn warning(&self) -> Option<String> {
        match self {
            Self::Free => None,
            Self::Moved { from, to } => Some(format!(
                "something else listens at port {from}, so the bot has port {to} now"
            )),
            Self::InUse(port) => Some(format!(
                "something else listens at port {port}, and no other port is free (bots.first_port, bots.last_port)"
            )),
        }
    }
}

/// Gives a bot that is about to start another port if something else listens at its own. A bot with
/// a probe keeps it: the probe says that something is to listen there.
///
/// # Errors
/// The store did not take the change.
pub(super) async fn settle(
    ledger: &Ledger,
    config: &Config,
    record: &mut BotRecord,
) -> Result<Port, StoreError> {
    if record.spec.probe.is_some() {
        return Ok(Port::Free);
    }
    let ports = of(config).await;
    if !ports.in_use.contains(&record.port) {
        return Ok(Port::Free);
    }
    let name = record.name.clone();
    let moved = ledger.apply(MoveBot { name, ports }).await?;
    let from = std::mem::replace(&mut record.port, moved.port);
    Ok(match from == moved.port {
        true => Port::InUse(from),
        false => Port::Moved {
            from,
            to: moved.port,
        },
    })
}
