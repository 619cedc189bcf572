//! The headers of requests, those with secrets among them.

use std::{collections::BTreeMap, os::unix::ffi::OsStringExt as _};

use deia_model::header_of_secret;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::secrets::BotSecrets;

/// The secrets of a bot, resolved for one attempt.
#[derive(Default)]
pub(in crate::bots) struct Credentials {
    values: BTreeMap<String, String>,
}

impl Credentials {
    /// Looks up the secrets of a bot.
    ///
    /// # Errors
    /// The first secret that is not available or is no text, without its value.
    pub(in crate::bots) async fn resolve(secrets: &BotSecrets) -> Result<Self, String> {
        let resolved = secrets.resolve().await.map_err(|error| error.to_string())?;
        let mut values = BTreeMap::new();
        for (name, value) in resolved {
            // Names are UTF-8: they come from JSON.
            let name = name.to_string_lossy().into_owned();
            let value = String::from_utf8(value.into_vec())
                .map_err(|_| format!("the secret {name} is not UTF-8"))?;
            // Files that people write end with a line.
            values.insert(name, value.trim_end_matches(['\r', '\n']).to_owned());
        }
        Ok(Self { values })
    }

    /// Returns the value of a secret.
    pub(in crate::bots) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Adds the secrets that are values of headers.
    ///
    /// # Errors
    /// The first secret that cannot be the value of a header, without its value.
    pub(in crate::bots) fn add_headers(&self, headers: &mut HeaderMap) -> Result<(), String> {
        for (secret, value) in &self.values {
            if let Some(name) = header_of_secret(secret) {
                let name = HeaderName::try_from(name);
                let name = name.map_err(|_| format!("the secret {secret} names no header"))?;
                headers.insert(name, secret_value(secret, value)?);
            }
        }
        Ok(())
    }

    /// Returns the text without the values of secrets.
    pub(in crate::bots) fn redact(&self, text: &str) -> String {
        let values = self.values.values().filter(|value| !value.is_empty());
        values.fold(text.to_owned(), |text, value| {
            text.replace(value.as_str(), "[redacted]")
        })
    }
}

/// Returns the value of a header that no debug output shows.
pub(in crate::bots) fn secret_value(secret: &str, value: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| format!("the secret {secret} cannot be the value of a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Returns the headers of a specification, which were checked when it was put.
pub(in crate::bots) fn plain_headers(headers: &BTreeMap<String, String>) -> HeaderMap {
    let read = |(name, value): (&String, &String)| {
        let name = HeaderName::try_from(name.as_str()).ok()?;
        Some((name, HeaderValue::from_str(value).ok()?))
    };
    headers.iter().filter_map(read).collect()
}
