//! `deia-admin key` and `deia-admin whoami`.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use deia_hive::{
    auth::Role,
    model::{KeyId, KeyInfo, Timestamp},
};
use serde_json::Value;

use super::{
    confirm::Confirm,
    context::Context,
    error::CliError,
    human,
    output::Look,
    parse,
    table::{Cell, Column, Table, Tone, or_dash},
};
use crate::client::{CreatedKey, NewKeyRequest, WhoAmI};

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key. It is shown once.
    #[command(before_help = "Examples:
  deia-admin key create --user ci --role external --to ci.key
  deia-admin key create --user ada --role operator --expires +30days")]
    Create(CreateArgs),
    /// List all keys, the oldest first. Secrets are not shown.
    #[command(before_help = "Examples:
  deia-admin key list
  deia-admin key list --output jsonl | jq -r 'select(.revoked_at == null) | .id'")]
    List,
    /// Revoke a key; it is refused from the next request on.
    #[command(before_help = "Examples:
  deia-admin key revoke key_01h455vb4pex5vsknk084sn02q
  deia-admin key revoke key_01h455vb4pex5vsknk084sn02q --yes")]
    Revoke {
        /// The key's id, as `key list` shows it.
        id: KeyId,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// What a new key is for.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// Who acts with it: the submitter of tasks and the actor of events.
    #[arg(long)]
    user: String,
    /// What it may do.
    #[arg(long, value_parser = parse::role())]
    role: Role,
    /// From when on it is refused: a time such as 2027-01-01T00:00:00Z, or a span
    /// such as +30days. Never when absent.
    #[arg(long, value_name = "TIME", value_parser = parse::point_in_time)]
    expires: Option<Timestamp>,
    /// Write the key into this new file, readable by you alone, and do not show it.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

impl KeyCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (client, out) = (&context.client, &context.out);
        match self {
            Self::Create(args) => create(context, args).await,
            Self::List => {
                let page = client.keys().await?;
                out.list(&page, "there are no keys", |look| list(&page.items, look))
            }
            Self::Revoke { id, confirm } => {
                confirm.ask(&format!("revoke key {id} for good"))?;
                let key = client.revoke_key(id).await?;
                out.one(&key, |look| list(std::slice::from_ref(&key), look))
            }
        }
    }
}

pub(super) async fn whoami(context: &Context) -> Result<(), CliError> {
    let me = context.client.whoami().await?;
    context.out.one(&me, |look| who(&me, look))
}

async fn create(context: &Context, args: CreateArgs) -> Result<(), CliError> {
    let (client, out) = (&context.client, &context.out);
    let request = NewKeyRequest {
        user: args.user,
        role: args.role,
        expires_at: args.expires,
    };
    let Some(path) = args.to else {
        let created = client.create_key(&request).await?;
        out.note("the key is shown this once; keep it where only its user can read it");
        return out.one(&created, |look| shown(&created, look));
    };
    // The file comes first: a key that cannot be written down would be lost.
    let mut file = new_file(&path)?;
    let created = match client.create_key(&request).await {
        Ok(created) => created,
        Err(error) => {
            let _ = fs::remove_file(&path);
            return Err(error.into());
        }
    };
    writeln!(file, "{}", created.key.reveal())
        .and_then(|()| file.sync_all())
        .map_err(|error| CliError::File {
            path: path.clone(),
            error,
        })?;
    out.note(&format!("the key is in {}", path.display()));
    out.one(&created.info, |look| {
        list(std::slice::from_ref(&created.info), look)
    })
}

fn new_file(path: &Path) -> Result<fs::File, CliError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| CliError::File {
            path: path.to_owned(),
            error,
        })
}

fn shown(created: &CreatedKey, look: &Look) -> String {
    let mut table = Table::fields();
    table.field("key", created.key.reveal());
    table.field("id", created.info.id);
    table.field("user", created.info.user.as_str());
    table.field("role", created.info.role);
    let expires = created.info.expires_at;
    table.field(
        "expires",
        or_dash(expires.map(|at| human::when_exactly(at, look.now))),
    );
    // A wrapped key cannot be copied.
    table.render(&Look {
        width: None,
        ..*look
    })
}

fn list(keys: &[KeyInfo], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("ID"),
        Column::new("USER").flows(),
        Column::new("ROLE"),
        Column::new("STATE"),
        Column::new("CREATED"),
        Column::new("EXPIRES"),
    ]);
    for key in keys {
        table.row(vec![
            key.id.into(),
            key.user.as_str().into(),
            key.role.into(),
            state(key, look.now),
            human::when(key.created_at, look.now).into(),
            or_dash(key.expires_at.map(|at| human::when(at, look.now))),
        ]);
    }
    table.render(look)
}

fn state(key: &KeyInfo, now: Timestamp) -> Cell {
    if key.revoked_at.is_some() {
        Cell::new("revoked", Tone::Faint)
    } else if key.expires_at.is_some_and(|at| at <= now) {
        Cell::new("expired", Tone::Faint)
    } else {
        Cell::new("in force", Tone::Good)
    }
}

fn who(me: &WhoAmI, look: &Look) -> String {
    let mut table = Table::fields();
    table.field("user", me.user.as_str());
    table.field("role", me.role);
    for (name, value) in &me.more {
        table.field(&name.replace('_', " "), plain(value));
    }
    table.render(look)
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
