//! Telemetry of the process: logs to standard error, and spans to a collector.

mod json;
#[cfg(feature = "otlp")]
mod otlp;
pub(crate) mod redact;
mod writer;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, IsTerminal, Write},
    panic::PanicHookInfo,
    sync::OnceLock,
    time::Duration,
};

use deia_hive::{
    config::{InForce, LogFormat, LoggingSettings, TelemetrySettings},
    metrics::{Exposition, table},
};
use deia_model::Timestamp;
use tokio::sync::watch;
use tracing_subscriber::{EnvFilter, reload};

use self::{
    redact::Redacting,
    writer::{LogWriter, Notice, Stderr},
};
use crate::http::ACCESS_TARGET;

/// Messages of the HTTP server about its threads, and about every client that does not
/// speak HTTP, are shown only if `logging.filter` asks for them.
const QUIET: &str = "actix_server=warn,actix_http::h1::dispatcher=off";

/// Maximum wait of the end of the process for the last log lines. Fixed: the end of the
/// process must not wait for a log that hangs.
const LAST_LINES_WITHIN: Duration = Duration::from_secs(1);
/// Maximum size of the buffer while there are no settings yet, in bytes. Fixed: there are
/// no settings yet.
const EARLY_BYTES: usize = 64 << 10;

/// The process has one standard error, and one writer to it.
static LOG: OnceLock<LogWriter> = OnceLock::new();

/// Exchanges the filter of log messages.
type ExchangeFilter = dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync;

/// The way to another filter, once logging is set up.
static FILTER: OnceLock<Box<ExchangeFilter>> = OnceLock::new();

/// Sends what is left when it is dropped.
pub struct Telemetry {
    #[cfg(feature = "otlp")]
    spans: Option<std::sync::Arc<otlp::Exporter>>,
}

impl Telemetry {
    /// Sends what is left; waits only briefly.
    pub fn flush(&self) {
        if let Some(log) = LOG.get() {
            log.flush(LAST_LINES_WITHIN);
        }
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

/// Sets up logging and tracing for the whole process. Must be called once, and not from
/// within a runtime.
///
/// # Errors
/// The filter cannot be parsed, logging was set up before, or spans should be sent and
/// this binary cannot do that.
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

/// Checks that this binary supports the settings of traces.
///
/// # Errors
/// The binary was built without the necessary feature.
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
    let max_bytes = usize::try_from(settings.max_pending_bytes.as_u64()).unwrap_or(usize::MAX);
    let writer = writer(max_bytes, human)?;
    std::panic::set_hook(Box::new(log_panic));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // The error would be printed to standard error, which panics when that is
        // broken.
        .log_internal_errors(false)
        .with_writer(move || Redacting(writer.clone()));
    let set = if human {
        let builder = builder.with_ansi(io::stderr().is_terminal());
        let builder = builder.with_filter_reloading();
        keep_filter(builder.reload_handle());
        builder.try_init()
    } else {
        let builder = builder.event_format(json::JsonLines);
        let builder = builder.with_filter_reloading();
        keep_filter(builder.reload_handle());
        builder.try_init()
    };
    set.map_err(|error| anyhow::anyhow!("logging cannot be set up: {error}"))
}

/// Keeps the way to another filter.
fn keep_filter<S: 'static>(handle: reload::Handle<EnvFilter, S>) {
    // Logging is set up once; a second attempt fails after this.
    let _ = FILTER.set(Box::new(move |filter| handle.reload(filter)));
}

/// Follows the settings of the log: another filter is used as soon as it is in force.
pub(crate) async fn follow(mut changes: watch::Receiver<InForce>) {
    let mut before = None;
    loop {
        let now = changes.borrow_and_update().config.logging.clone();
        if before.as_ref() != Some(&now) {
            // A filter that cannot be read is no valid setting.
            match (filter(&now), FILTER.get()) {
                (Ok(filter), Some(exchange)) => {
                    if let Err(error) = exchange(filter) {
                        tracing::warn!(%error, "logging.filter could not be exchanged; restart to use it");
                    }
                }
                (Err(error), _) => tracing::warn!(%error, "logging.filter is not used"),
                (Ok(_), None) => {}
            }
            before = Some(now);
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Returns the writer to standard error, started with these settings unless it
/// runs already.
fn writer(max_bytes: usize, human: bool) -> io::Result<LogWriter> {
    if let Some(writer) = LOG.get() {
        return Ok(writer.clone());
    }
    let writer = LogWriter::start(Stderr, max_bytes, notice(human))?;
    Ok(LOG.get_or_init(|| writer).clone())
}

fn notice(human: bool) -> Notice {
    const TARGET: &str = module_path!();
    const MESSAGE: &str = "log lines were dropped: standard error could not keep up or failed";
    match human {
        true => Box::new(|lines| {
            format!(
                "{}  WARN {TARGET}: {MESSAGE} lines={lines}\n",
                Timestamp::now()
            )
        }),
        false => Box::new(|lines| {
            let fields = [("message", MESSAGE.into()), ("lines", lines.into())];
            let fields = fields.map(|(name, value)| (name.to_owned(), value));
            let line = json::line(
                "warn",
                TARGET,
                fields.into_iter().collect(),
                Timestamp::now(),
            );
            format!("{line}\n")
        }),
    }
}

/// Logs a panic that no supervisor reports. The hook of the standard library writes to
/// standard error itself, and would wait for a stalled reader.
fn log_panic(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let location = info.location().map(ToString::to_string);
    let backtrace = Backtrace::capture();
    let backtrace =
        (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(
        thread = std::thread::current().name(),
        location,
        error = text.unwrap_or("a panic without a text"),
        backtrace,
        "thread panicked"
    );
}

/// Writes a last line to standard error, unchanged; waits only briefly.
pub(crate) fn last_words(line: &str) {
    // Without a thread no write is guaranteed not to block.
    if let Ok(writer) = writer(EARLY_BYTES, true) {
        let _ = Redacting(writer.clone()).write_all(format!("{line}\n").as_bytes());
        writer.flush(LAST_LINES_WITHIN);
    }
}

/// Adds the metrics of the log.
pub(crate) fn write_metrics(out: &mut Exposition) {
    out.gauge(&table::LOG_DROPPED, LOG.get().map_or(0, LogWriter::dropped));
}

/// Returns the filter of log messages.
///
/// # Errors
/// `logging.filter` does not have the form of `RUST_LOG`.
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
        let defaults = deia_hive::config::Config::defaults().unwrap().logging;
        let settings = |filter: &str| LoggingSettings {
            filter: filter.into(),
            access: filter == "warn",
            ..defaults.clone()
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
