//! The bots that a new hive is created with, from the settings.

use deia_ledger::{Apply, CommandLog, PutBot, SetDesired, StoreError};
use deia_model::BotDesired;

use super::ports;
use crate::config::Config;

/// Stores the bots of `bots.seed` and launches them.
///
/// # Errors
/// The store does not accept the bots.
pub(crate) async fn seed_bots(ledger: &dyn CommandLog, config: &Config) -> Result<(), StoreError> {
    for bot in &config.bots.seed {
        let put = PutBot {
            name: bot.name.clone(),
            spec: bot.spec.clone(),
            actor: "deia".into(),
            if_version: None,
            ports: ports::of(config).await,
            max_bots: config.bots.max_bots,
        };
        ledger.apply(put).await?;
        let launch = SetDesired {
            name: bot.name.clone(),
            desired: BotDesired::Launched,
            actor: "deia".into(),
        };
        ledger.apply(launch).await?;
    }
    Ok(())
}
