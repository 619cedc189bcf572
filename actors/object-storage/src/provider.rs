//! The clients of the clouds, as the environment describes them.

use std::{sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
};
use url::Url;

use crate::{
    location::{Bucket, Cloud},
    transport::{Connector, is_loopback},
};

/// Repetitions of a request that failed at once. Fixed: the archive repeats what fails, with longer
/// pauses, and shows it.
const RETRIES: usize = 2;
/// Longest pause before a repetition. Fixed: as above.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Makes the client of a bucket. Reads the environment, and files that it names; asks nobody.
///
/// # Errors
/// The environment does not describe a client.
pub(crate) fn client(
    bucket: &Bucket,
    connector: Connector,
) -> object_store::Result<Arc<dyn ObjectStore>> {
    let retry = RetryConfig {
        backoff: BackoffConfig {
            max_backoff: PAUSE_MAX,
            ..BackoffConfig::default()
        },
        max_retries: RETRIES,
        retry_timeout: connector.limit,
    };
    let name = bucket.name.as_str();
    Ok(match bucket.cloud {
        Cloud::S3 => {
            let builder = AmazonS3Builder::from_env();
            let get = |key| builder.get_config_value(&key);
            let endpoint = get(AmazonS3ConfigKey::S3Endpoint).or(get(AmazonS3ConfigKey::Endpoint));
            let allowed = get(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
            let allow_http = allows_http(
                endpoint.as_deref(),
                allowed.as_deref(),
                "AWS_ALLOW_HTTP=true",
            )?;
            let store = builder
                .with_bucket_name(name)
                .with_allow_http(allow_http)
                // In spite of the environment: the fence between hives depends on it.
                .with_conditional_put(S3ConditionalPut::ETagMatch)
                // Objects are removed one by one, which every store can.
                .with_config(AmazonS3ConfigKey::DisableBulkDelete, "true")
                .with_retry(retry)
                .with_http_connector(connector);
            Arc::new(store.build()?)
        }
        Cloud::Google => {
            let builder = GoogleCloudStorageBuilder::from_env();
            let endpoint = builder.get_config_value(&GoogleConfigKey::BaseUrl);
            let allow_http = allows_http(endpoint.as_deref(), None, "https")?;
            let key = GoogleConfigKey::Client(ClientConfigKey::AllowHttp);
            let store = builder
                .with_bucket_name(name)
                .with_config(key, allow_http.to_string())
                .with_retry(retry)
                .with_http_connector(connector);
            Arc::new(store.build()?)
        }
        Cloud::Azure => {
            let builder = MicrosoftAzureBuilder::from_env();
            let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
            let key = AzureConfigKey::Client(ClientConfigKey::AllowHttp);
            let allowed = builder.get_config_value(&key);
            let allow_http = allows_http(
                endpoint.as_deref(),
                allowed.as_deref(),
                "AZURE_ALLOW_HTTP=true",
            )?;
            let store = builder
                .with_container_name(name)
                .with_allow_http(allow_http)
                .with_retry(retry)
                .with_http_connector(connector);
            Arc::new(store.build()?)
        }
    })
}

/// Returns whether an endpoint is spoken to without TLS.
///
/// # Errors
/// It would be, over a network, and nobody has allowed that.
fn allows_http(
    endpoint: Option<&str>,
    allowed: Option<&str>,
    instead: &str,
) -> object_store::Result<bool> {
    let is_allowed = allowed == Some("true");
    let Some(endpoint) = endpoint else {
        return Ok(is_allowed);
    };
    let refused = |reason: String| object_store::Error::Generic {
        store: "endpoint",
        source: reason.into(),
    };
    let url = Url::parse(endpoint).map_err(|error| {
        refused(format!(
            "the endpoint in the environment is no URL: {error}"
        ))
    })?;
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "https" => Ok(is_allowed),
        "http" if is_allowed || is_loopback(host) => Ok(true),
        "http" => Err(refused(format!(
            "the endpoint http://{host} is not on this machine: use https, or allow it with {instead}"
        ))),
        scheme => Err(refused(format!(
            "the endpoint in the environment must begin with https:// or http://, not {scheme}:"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_this_machine_unless_allowed() {
        let allows = |endpoint, allowed| allows_http(endpoint, allowed, "AWS_ALLOW_HTTP=true");
        for (endpoint, allowed, expected) in [
            (None, None, Some(false)),
            (Some("https://s3.example.org"), None, Some(false)),
            (Some("http://127.0.0.1:9000"), None, Some(true)),
            (Some("http://[::1]:9000"), None, Some(true)),
            (Some("http://localhost:9000"), Some("false"), Some(true)),
            (Some("http://s3.example.org"), Some("true"), Some(true)),
            (Some("http://s3.example.org"), Some("false"), None),
            (Some("http://127.0.0.1.example.org"), None, None),
            (Some("s3.example.org:9000"), Some("true"), None),
            (Some(""), None, None),
        ] {
            let found = allows(endpoint, allowed);
            assert_eq!(
                found.as_ref().ok(),
                expected.as_ref(),
                "{endpoint:?}: {found:?}"
            );
        }
        let said = allows(Some("http://me:hunter2@s3.example.org"), None).unwrap_err();
        assert!(!said.to_string().contains("hunter2"), "{said}");
        assert!(said.to_string().contains("AWS_ALLOW_HTTP=true"), "{said}");
    }
}
