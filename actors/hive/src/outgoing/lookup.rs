//! Look-ups of names, and the resolver that lets only checked addresses through.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::{Semaphore, oneshot};

use super::{
    exchange::{Phase, Progress},
    policy::ReachPolicy,
    refusal::ReachRefusal,
    target::Scope,
};

/// A way to look up the addresses of a name.
pub(crate) trait Lookup: Send + Sync + 'static {
    /// Returns the addresses of the name, without blocking the thread.
    fn lookup(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The look-up of the system: its hosts file and its name servers.
///
/// `getaddrinfo` blocks, for half a minute where name servers are silent, and cannot be
/// interrupted. Each call has a thread of its own, so that neither an arbiter nor the end of a
/// runtime waits for it; their number is bounded.
#[derive(Clone, Debug)]
pub(crate) struct SystemLookup {
    threads: Arc<Semaphore>,
}

impl SystemLookup {
    /// Creates a look-up that runs at most that many calls at a time; others wait.
    pub(crate) fn new(max_threads: usize) -> Self {
        Self {
            threads: Arc::new(Semaphore::new(max_threads)),
        }
    }
}

impl Lookup for SystemLookup {
    fn lookup(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let (threads, host) = (Arc::clone(&self.threads), host.to_owned());
        Box::pin(async move {
            // The permit is held until the call ends, although nobody may wait for it any more.
            let permit = threads.acquire_owned().await.map_err(io::Error::other)?;
            let (answer, answered) = oneshot::channel();
            std::thread::Builder::new()
                .name("lookup".to_owned())
                .spawn(move || {
                    let found = (host.as_str(), 0).to_socket_addrs();
                    drop(permit);
                    // The caller may have given up.
                    let _ = answer.send(found.map(|found| found.map(|a| a.ip()).collect()));
                })?;
            answered.await.map_err(io::Error::other)?
        })
    }
}

/// Reason why a name has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    /// There is no such name, or no name server answered properly.
    #[error("the look-up of the name failed: {0}")]
    Failed(#[source] io::Error),
    /// There was no answer in time.
    #[error("the look-up of the name had no answer within {0:?}")]
    TimedOut(Duration),
}

/// Resolver of a client: looks a name up once for each connection, and returns its addresses
/// only if the policy lets all of them pass. So the client connects to checked addresses only.
pub(super) struct CheckedResolver {
    pub(super) policy: Arc<ReachPolicy>,
    pub(super) scope: Scope,
    pub(super) lookup: Arc<dyn Lookup>,
    pub(super) timeout: Duration,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let progress = Progress::current();
        let (policy, scope, timeout) = (Arc::clone(&self.policy), self.scope, self.timeout);
        let looking = self.lookup.lookup(name.as_str());
        Box::pin(async move {
            progress.enter(Phase::Lookup);
            let found = match tokio::time::timeout(timeout, looking).await {
                Ok(found) => found.map_err(LookupError::Failed)?,
                Err(_) => return Err(LookupError::TimedOut(timeout).into()),
            };
            policy
                .check_answer(name.as_str(), scope, &found)
                .map_err(|reason| ReachRefusal {
                    reason,
                    section: policy.section,
                })?;
            progress.enter(Phase::Connect);
            // The client sets the port.
            let addresses = found.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

impl fmt::Debug for CheckedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckedResolver({:?})", self.scope)
    }
}
