//! The way to the service of a bot.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use deia_model::Violation;
use tokio::sync::OnceCell;

use crate::{
    config::{BotSettings, Config, Settings},
    outgoing::{
        ExchangeError, HeadLimits, Incoming, OutgoingClient, OutgoingOptions, OutgoingRequest,
        ReachPolicy, SystemLookup, TargetUrl, system_tls,
    },
};

/// Size of the head of an answer that is accepted, in bytes: what servers and clients allow in
/// practice (RFC 9110, 5.4, sets no limit). Fact: RFC 9110, 5.4: a client limits the fields that it
/// processes.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Time for which an unused connection is kept: less than the 5 s after which Node's servers close
/// theirs by default (`server.keepAliveTimeout`), so that no task is sent into a connection that is
/// being closed. Fact: the documentation of Node, server.keepAliveTimeout.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Returns what the settings let bots reach.
fn policy_of(settings: &BotSettings) -> ReachPolicy {
    ReachPolicy {
        http_inside: true,
        allow_ports: settings.allow_ports.clone(),
        allow_networks: settings.allow_networks.clone(),
        ..ReachPolicy::new("bots")
    }
}

/// Returns the reason why the settings do not let a bot have that address.
pub(in crate::bots) fn refusal(
    settings: &BotSettings,
    pointer: &str,
    url: &str,
) -> Option<Violation> {
    let refusal = policy_of(settings).check_url(url).err()?;
    Some(Violation {
        pointer: pointer.into(),
        detail: refusal.to_string(),
    })
}

/// The parts that the ways to all services share.
#[derive(Clone)]
pub(crate) struct Services(Arc<Shared>);

struct Shared {
    settings: Settings,
    /// Certificates that this machine trusts, read from files at the first use.
    tls: OnceCell<rustls::ClientConfig>,
    lookup: Arc<SystemLookup>,
}

impl Services {
    pub(in crate::bots) fn new(settings: Settings) -> Self {
        let lookups = settings.get().bots.lookups;
        Self(Arc::new(Shared {
            settings,
            tls: OnceCell::new(),
            lookup: Arc::new(SystemLookup::new(lookups.into())),
        }))
    }

    /// Returns the way to the service of one incarnation of a bot. Its connections belong to the
    /// thread of that incarnation, and end with it.
    pub(in crate::bots) fn line(&self, connect_timeout: Duration) -> ServiceLine {
        ServiceLine {
            services: self.clone(),
            connect_timeout,
            client: OnceCell::new(),
            followed: ArcSwapOption::empty(),
        }
    }

    async fn tls(&self) -> Result<rustls::ClientConfig, String> {
        let read = || async {
            let read = tokio::task::spawn_blocking(system_tls).await;
            read.map_err(|error| error.to_string())?
                .map_err(|error| error.to_string())
        };
        self.0.tls.get_or_try_init(read).await.cloned()
    }
}

/// The way to the service of one incarnation of a bot.
pub(in crate::bots) struct ServiceLine {
    services: Services,
    connect_timeout: Duration,
    client: OnceCell<OutgoingClient>,
    /// The settings that the client's policy was made of.
    followed: ArcSwapOption<Config>,
}

impl ServiceLine {
    /// Returns the client with the policy of the settings in force.
    async fn client(&self) -> Result<&OutgoingClient, ExchangeError> {
        let config = self.services.0.settings.get();
        let failed = |reason: String| {
            ExchangeError::Request(format!("the client of bots cannot be made: {reason}"))
        };
        let make = || async {
            let options = OutgoingOptions {
                idle_timeout: IDLE_TIMEOUT,
                connect_timeout: self.connect_timeout,
                lookup_timeout: self.connect_timeout,
                ..OutgoingOptions::default()
            };
            let tls = self.services.tls().await.map_err(failed)?;
            let lookup = self.services.0.lookup.clone();
            OutgoingClient::new(policy_of(&config.bots), options, tls, lookup)
                .map_err(|error| failed(error.to_string()))
        };
        let client = self.client.get_or_try_init(make).await?;
        let followed = self.followed.load();
        if !followed.as_ref().is_some_and(|it| Arc::ptr_eq(it, &config)) {
            client
                .set_policy(policy_of(&config.bots))
                .map_err(|error| failed(error.to_string()))?;
            self.followed.store(Some(config));
        }
        Ok(client)
    }

    /// Returns the address under which services reach the hive, without a slash at its end, if it
    /// is known (`server.public_url`).
    pub(in crate::bots) fn public_url(&self) -> Option<String> {
        let config = self.services.0.settings.get();
        let url = config.server.public_url.trim_end_matches('/');
        (!url.is_empty()).then(|| url.to_owned())
    }

    async fn target(&self, url: &str) -> Result<(&OutgoingClient, TargetUrl), ExchangeError> {
        let client = self.client().await?;
        let target = client.policy().check_url(url)?;
        Ok((client, target))
    }

    /// Sends a request, and returns the answer once its head is there, within that time.
    ///
    /// # Errors
    /// There is no answer.
    pub(in crate::bots) async fn open(
        &self,
        url: &str,
        request: OutgoingRequest,
        deadline: Duration,
    ) -> Result<Incoming, ExchangeError> {
        let (client, target) = self.target(url).await?;
        let limits = HeadLimits {
            deadline,
            max_head_bytes: MAX_HEAD_BYTES,
            max_retry_after: self.services.0.settings.get().bots.pause.max,
        };
        client.open(&target, request, limits).await
    }

    /// Looks whether something listens at that address, within that time.
    ///
    /// # Errors
    /// Nothing does, or it may not be reached.
    pub(in crate::bots) async fn knock(
        &self,
        url: &str,
        deadline: Duration,
    ) -> Result<(), ExchangeError> {
        let (client, target) = self.target(url).await?;
        client.knock(&target, deadline).await
    }
}
