//! What deia tells of itself: logs to standard error, and spans to a collector.

mod json;
#[cfg(feature = "otlp")]
mod otlp;
pub(crate) mod redact;

use std::io::{self, IsTerminal};

use deia_hive::config::{LogFormat, LoggingSettings, TelemetrySettings};
use tracing_subscriber::EnvFilter;

use self::redact::Redacting;
use crate::http::ACCESS_TARGET;

/// What the HTTP server says of its own threads, and of every stranger who does
/// not speak HTTP, is for whoever asks for it in `logging.filter`.
const QUIET: &str = "actix_server=warn,actix_http::h1::dispatcher=off";

/// Sends what is still to be sent when this is dropped.
pub struct Telemetry {
    #[cfg(feature = "otlp")]
    spans: Option<std::sync::Arc<otlp::Exporter>>,
}

impl Telemetry {
    /// Sends what is still to be sent; waits a moment for it at most.
    pub fn flush(&self) {
        #[cfg(feature = "otlp")]
        if let Some(spans) = &self.spans {
            spans.shut_down();
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Sets logging and tracing up for the whole process. To be called once, and not
/// from within a runtime.
///
/// # Errors
/// The filter cannot be read, logging was set up before, or spans shall be sent
/// and this binary cannot do that.
pub fn start(logging: &LoggingSettings, traces: &TelemetrySettings) -> anyhow::Result<Telemetry> {
    check(traces)?;
    log(logging)?;
    #[cfg(feature = "otlp")]
    return Ok(Telemetry {
        spans: otlp::start(traces)?,
    });
    #[cfg(not(feature = "otlp"))]
    Ok(Telemetry {})
}

/// Whether this binary can do what the settings of traces ask for.
///
/// # Errors
/// It cannot.
pub fn check(traces: &TelemetrySettings) -> anyhow::Result<()> {
    anyhow::ensure!(
        cfg!(feature = "otlp") || traces.otlp_endpoint.is_empty(),
        "telemetry.otlp_endpoint: this deia cannot send spans; build it with `cargo build --release --features otlp`, or leave the setting empty"
    );
    Ok(())
}

fn log(settings: &LoggingSettings) -> anyhow::Result<()> {
    let filter = filter(settings)?;
    let human = match settings.format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Redacting(io::stderr()));
    let set = if human {
        builder.with_ansi(io::stderr().is_terminal()).try_init()
    } else {
        builder.event_format(json::JsonLines).try_init()
    };
    set.map_err(|error| anyhow::anyhow!("logging cannot be set up: {error}"))
}

/// What is logged.
///
/// # Errors
/// `logging.filter` is not of the form that `RUST_LOG` has.
pub fn filter(settings: &LoggingSettings) -> anyhow::Result<EnvFilter> {
    let access = match settings.access {
        true => format!("{ACCESS_TARGET}=info,"),
        false => String::new(),
    };
    EnvFilter::try_new(format!("{QUIET},{access}{}", settings.filter)).map_err(|error| {
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
            access: filter == "warn",
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
        let access = filter(&settings("warn")).unwrap().to_string();
        assert!(access.contains("deia::access=info"), "{access}");
        let error = filter(&settings("deia=loud")).unwrap_err().to_string();
        assert!(error.starts_with("logging.filter: "), "{error}");
    }
}
