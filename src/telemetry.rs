//! Logs: to standard error, for people on a terminal and as JSON otherwise.

use std::io::{self, IsTerminal};

use deia_hive::config::{LogFormat, LoggingSettings};
use tracing_subscriber::EnvFilter;

/// What the HTTP server says of its own threads, and of every stranger who does
/// not speak HTTP, is for whoever asks for it in `logging.filter`.
const QUIET: &str = "actix_server=warn,actix_http::h1::dispatcher=off";

/// Sets logging up for the whole process. To be called once.
///
/// # Errors
/// The filter cannot be read, or logging was set up before.
pub fn start(settings: &LoggingSettings) -> anyhow::Result<()> {
    let filter = filter(settings)?;
    let human = match settings.format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let set = if human {
        builder.with_ansi(io::stderr().is_terminal()).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    set.map_err(|error| anyhow::anyhow!("logging cannot be set up: {error}"))
}

/// What is logged.
///
/// # Errors
/// `logging.filter` is not of the form that `RUST_LOG` has.
pub fn filter(settings: &LoggingSettings) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(format!("{QUIET},{}", settings.filter)).map_err(|error| {
        anyhow::anyhow!(
            "logging.filter: {:?} is not allowed: {error}; expected a level such as info, or targets with levels such as info,deia_hive=debug",
            settings.filter
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_or_explained() {
        let settings = |filter: &str| LoggingSettings {
            filter: filter.into(),
            format: LogFormat::Auto,
        };
        let quiet = filter(&settings("info,deia_hive=debug"))
            .unwrap()
            .to_string();
        assert!(quiet.contains("actix_server=warn"), "{quiet}");
        let loud = filter(&settings("info,actix_server=debug"))
            .unwrap()
            .to_string();
        assert!(
            loud.contains("actix_server=debug") && !loud.contains("actix_server=warn"),
            "{loud}"
        );
        let error = filter(&settings("deia=loud")).unwrap_err().to_string();
        assert!(error.starts_with("logging.filter: "), "{error}");
    }
}
