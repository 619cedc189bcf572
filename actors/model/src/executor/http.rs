//! The executor of services.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::service::{self, AUTHORIZATION, ServiceHeaders, ServiceUrl};
use crate::Violation;

/// Longest `timeout_ms`: a day. Fact: the API, whose schema states it.
const MAX_TIMEOUT_MS: u64 = 86_400_000;

/// A service that is sent each task in a POST request, and answers with the result. With
/// the secret `SIGNING_SECRET` the requests are signed as webhooks are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpExecutor {
    /// Address that tasks are posted to.
    #[schema(value_type = ServiceUrl)]
    pub url: String,
    /// Further headers of each request, for values that are not secret: they are stored
    /// and shown.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = ServiceHeaders)]
    pub headers: BTreeMap<String, String>,
    /// Time for a request and its whole answer, in milliseconds; that of the task when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 86_400_000)]
    pub timeout_ms: Option<u64>,
    /// Address that is asked, by GET, whether the service works; a status of 2xx says so.
    /// When absent, a connection to `url` is made instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ServiceUrl>)]
    pub health_url: Option<String>,
}

impl HttpExecutor {
    /// Name of the secret that requests are signed with.
    pub const SIGNING_SECRET: &'static str = "SIGNING_SECRET";

    /// Names of the secrets that are used, besides those of headers.
    pub(crate) const SECRETS: [&'static str; 2] = [Self::SIGNING_SECRET, AUTHORIZATION];

    pub(super) fn violations(&self, at: &str) -> Vec<Violation> {
        let url = service::url_violations(format!("{at}/url"), &self.url);
        let health_url = self.health_url.as_deref();
        let health_url =
            health_url.and_then(|url| service::url_violations(format!("{at}/health_url"), url));
        let mut found: Vec<_> = url.into_iter().chain(health_url).collect();
        found.extend(service::header_violations(at, &self.headers));
        if self
            .timeout_ms
            .is_some_and(|ms| !(1..=MAX_TIMEOUT_MS).contains(&ms))
        {
            found.push(Violation {
                pointer: format!("{at}/timeout_ms"),
                detail: format!("must be 1 to {MAX_TIMEOUT_MS}"),
            });
        }
        found
    }
}
