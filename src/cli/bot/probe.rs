//! Arguments of `bot add` for the probe of a bot whose program serves at its port.

use clap::Args;
use deia_model::BotProbe;

use crate::cli::parse;

#[derive(Debug, Args)]
#[group(id = "probe", multiple = true)]
pub(super) struct ProbeArgs {
    /// Give it tasks only while its port can be connected to.
    #[arg(long, group = "means", conflicts_with = "file")]
    probe_tcp: bool,
    /// Give it tasks only while a GET of this path at its port is answered with 200 to 399.
    #[arg(long, value_name = "PATH", group = "means", conflicts_with = "file")]
    probe_http: Option<String>,
    /// Give it tasks only while this program, with its arguments, exits with 0. Words that begin
    /// with a hyphen are given as --probe-command=-WORD.
    #[arg(long, value_name = "WORD", num_args = 1.., group = "means", conflicts_with = "file")]
    probe_command: Vec<String>,
    /// The time from one probe to the next, 1s to 1h.
    #[arg(long, value_name = "DURATION", value_parser = parse::whole_seconds, requires = "means", conflicts_with = "file", default_value = "10s")]
    probe_every: u64,
    /// The time within which a probe must succeed, 1s to 1h.
    #[arg(long, value_name = "DURATION", value_parser = parse::whole_seconds, requires = "means", conflicts_with = "file", default_value = "2s")]
    probe_timeout: u64,
    /// The number of failures in a row after which the bot counts as unreachable.
    #[arg(long, value_name = "N", value_parser = parse::whole(1..=100_u32), requires = "means", conflicts_with = "file", default_value_t = 3)]
    probe_failures: u32,
}

impl ProbeArgs {
    /// Returns the probe, if there is one.
    pub(super) fn probe(&self) -> Option<BotProbe> {
        let probe = BotProbe {
            tcp: self.probe_tcp,
            http_path: self.probe_http.clone(),
            command: Some(self.probe_command.clone()).filter(|words| !words.is_empty()),
            every_seconds: self.probe_every,
            timeout_seconds: self.probe_timeout,
            failures: self.probe_failures,
        };
        let has_means = probe.tcp || probe.http_path.is_some() || probe.command.is_some();
        has_means.then_some(probe)
    }
}
