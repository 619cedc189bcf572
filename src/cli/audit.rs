//! `deia audit`: the audit trail.

mod checkpoint;
mod export;
mod filter;
mod key;
mod log;
mod proof;
mod query;
mod stats;
mod tail;
mod verify;
mod view;

use clap::Subcommand;

use self::{
    checkpoint::CheckpointArgs, export::ExportArgs, key::KeyCommand, log::LogArgs,
    proof::ProofArgs, query::QueryArgs, stats::StatsArgs, tail::TailArgs, verify::VerifyArgs,
};
use super::{context::Context, error::CliError};

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Search the records of the trail, the newest first.
    ///
    /// Names of users stand in the trail as pseudonyms; filters take both, and records show
    /// the names. The index follows the trail within moments; a note says so if it is behind.
    #[command(before_help = "Examples:
  deia audit query --actor ada --since 1d
  deia audit query --action key --target-type key --limit 20
  deia audit query --min-level warning --output jsonl | jq -r .action
  deia audit query --text 'release 7' --oldest-first")]
    Query(Box<QueryArgs>),
    /// Show the newest records, and with --follow each new one until interrupted.
    #[command(before_help = "Examples:
  deia audit tail
  deia audit tail --follow --min-level warning
  deia audit tail --follow --output jsonl | jq -r .action")]
    Tail(Box<TailArgs>),
    /// Export records, the oldest first, as JSON lines or CSV. The export itself is recorded.
    #[command(before_help = "Examples:
  deia audit export --to audit.jsonl
  deia audit export --format csv --since 30d --to november.csv
  deia audit export --action key | jq -r .actor | sort | uniq -c")]
    Export(Box<ExportArgs>),
    /// Show the proof that an entry is in the trail, for a third party.
    ///
    /// The text is a C2SP tlog-proof. The other formats have the entry, its details and the
    /// verifier keys as well.
    #[command(before_help = "Examples:
  deia audit proof 4711
  deia audit proof 4711 --to entry-4711.tlog-proof
  deia audit proof 4711 --output json --to entry-4711.json")]
    Proof(ProofArgs),
    /// Show the newest checkpoint, and how far the trail is behind the events.
    #[command(before_help = "Examples:
  deia audit checkpoint
  deia audit checkpoint --note > checkpoint
  deia audit checkpoint --output json | jq -r '.keys[]'")]
    Checkpoint(CheckpointArgs),
    /// Record an event of another system. The actor is the user of the key.
    #[command(before_help = "Examples:
  deia audit log ext.deploy.approved 'release 7'
  deia audit log ext.deploy.failed 'release 7' --level critical --result failure
  deia audit log ext.backup.checked nas-1 --details '{\"files\": 4711}' --idempotency-key n-17")]
    Log(LogArgs),
    /// Count entries by action, actor, level, result and time.
    #[command(before_help = "Examples:
  deia audit stats
  deia audit stats --since 7d --top 20
  deia audit stats --output json | jq .by_time")]
    Stats(StatsArgs),
    /// Show the verifier keys of the trail, or replace the key that signs it.
    #[command(
        subcommand,
        before_help = "Examples:
  deia audit key show
  deia audit key rotate"
    )]
    Key(KeyCommand),
    /// Verify an audit trail by its files alone; exit code 1 if it has faults. Needs no hive.
    ///
    /// Works on the trail of a hive, which may run meanwhile, or on a copy. Each fault is named
    /// with its file, and its entry as far as there is one. A key from the directory itself
    /// shows that the trail fits together, not who wrote it: give the keys with --key.
    #[command(before_help = "Examples:
  deia-admin audit verify --dir /var/lib/deia/audit
  deia-admin audit verify --dir ./copy --key 'example.com/log+0b3b2ac1+AVohmkg7UGuMVBpZ0spL2OBbOxdXMACN7TZ/nb2VRySg'
  deia-admin audit verify --dir ./copy --from 1000000 --no-details --jobs 4
  deia-admin audit verify --dir ./copy --resume verify.state
  deia-admin audit verify --dir ./copy --output json | jq -r '.faults[].reason'")]
    Verify(Box<VerifyArgs>),
}

impl AuditCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        match self {
            Self::Query(args) => args.run(context).await,
            Self::Tail(args) => args.run(context).await,
            Self::Export(args) => args.run(context).await,
            Self::Proof(args) => args.run(context).await,
            Self::Checkpoint(args) => args.run(context).await,
            Self::Log(args) => args.run(context).await,
            Self::Stats(args) => args.run(context).await,
            Self::Key(command) => command.run(context).await,
            Self::Verify(args) => args.run(&context.out),
        }
    }
}
