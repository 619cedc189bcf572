//! `deia key` and `deia whoami`.

mod view;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use deia_client::{ClientError, CreatedKey, Missing, NewKeyRequest, RotateKeyRequest, WhoAmI};
use deia_model::{
    AddressRange, BotName, KeyId, KeyInfo, Permission, Role, TaskId, Timestamp, Violation,
};

use super::{
    confirm::Confirm,
    context::Context,
    error::CliError,
    output::Output,
    parse,
    secret_file::SecretFile,
    table::{Cell, Table, Tone},
};

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Create a key. The text of the key is shown once.
    #[command(before_help = "Examples:
  deia key create --user ci --new-user --role external --to ci.key
  deia key create --user ada --role operator --expires +30days
  deia key create --user ci --role external --scope task:submit --allow-ip 192.0.2.0/24
  deia key create --user worker-1 --role bot --bot upper-1 --to worker.key")]
    Create(CreateArgs),
    /// List all keys, the oldest first. Secrets are not shown.
    #[command(before_help = "Examples:
  deia key list
  deia key list --output jsonl | jq -r 'select(.revoked_at == null) | .id'")]
    List,
    /// Replace a key in force by a new one. The text of the new key is shown once.
    ///
    /// The old key stays in force for a while, so that its users can be given the new
    /// one.
    #[command(before_help = "Examples:
  deia key rotate key_01h455vb4pex5vsknk084sn02q --to ci.key.new
  deia key rotate key_01h455vb4pex5vsknk084sn02q --overlap 0s")]
    Rotate(RotateArgs),
    /// Revoke a key; it is refused from then on, even in requests that have begun.
    #[command(before_help = "Examples:
  deia key revoke key_01h455vb4pex5vsknk084sn02q
  deia key revoke key_01h455vb4pex5vsknk084sn02q --yes")]
    Revoke {
        /// The key's id, as `key list` shows it.
        id: KeyId,
        #[command(flatten)]
        own: OwnAccess,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// The description of a new key.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// The user that acts with it: the submitter of tasks and the actor of events.
    #[arg(long)]
    user: String,
    /// Create the user, with the role of the key, if there is none of that name.
    #[arg(long)]
    new_user: bool,
    /// The role of the key.
    #[arg(long, value_parser = parse::role())]
    role: Role,
    /// A description, in your words.
    #[arg(long, default_value = "")]
    name: String,
    /// A permission that the role is restricted to; all of them when absent. May be
    /// repeated.
    #[arg(long = "scope", value_name = "PERMISSION", value_parser = parse::permission())]
    scopes: Vec<Permission>,
    /// An address or range (CIDR) that the key may be used from; any when absent. May
    /// be repeated.
    #[arg(long = "allow-ip", value_name = "ADDRESS")]
    allow_ips: Vec<AddressRange>,
    /// The bot whose tasks it works on, for the role bot; that of the user's name when
    /// absent.
    #[arg(long)]
    bot: Option<BotName>,
    /// Time from which the key is refused: a time such as 2027-01-01T00:00:00Z, or a
    /// span such as +30days. Never when absent.
    #[arg(long, value_name = "TIME", value_parser = parse::point_in_time)]
    expires: Option<Timestamp>,
    /// Write the key into this new file, readable by you alone, and do not show it.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// Arguments of a rotation.
#[derive(Debug, Args)]
pub(super) struct RotateArgs {
    /// The key's id, as `key list` shows it.
    id: KeyId,
    /// Time for which the old key stays in force, such as 1h; the setting
    /// auth.rotation_overlap when absent.
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    overlap: Option<Duration>,
    /// Time from which the new key is refused; the expiry of the old one when absent.
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
            Self::Rotate(args) => rotate(context, args).await,
            Self::List => {
                let page = client.keys().await?;
                out.list(&page, "there are no keys", |look| {
                    view::list(&page.items, look)
                })
            }
            Self::Revoke { id, own, confirm } => {
                let action = format!("revoke key {id} for good");
                own.ask(context, confirm, &action, |me| is_key(me, id))
                    .await?;
                let key = client.revoke_key(id).await?;
                out.one(&key, |look| view::list(std::slice::from_ref(&key), look))
            }
        }
    }
}

/// Consent to a change that ends the access that the command itself uses.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct OwnAccess {
    /// Allow this even if it ends the access of the key in use.
    #[arg(long)]
    own: bool,
}

/// Returns whether that is the key that the caller uses.
fn is_key(me: &WhoAmI, id: KeyId) -> bool {
    me.key_id == Some(id)
}

impl OwnAccess {
    /// Refuses a change of the caller's own user without `--own`.
    ///
    /// # Errors
    /// [`CliError::OwnAccess`].
    pub(super) async fn allow(
        self,
        context: &Context,
        action: &str,
        user: &str,
    ) -> Result<(), CliError> {
        if self.own || context.client.whoami().await?.user != user {
            return Ok(());
        }
        Err(CliError::OwnAccess {
            action: action.to_owned(),
        })
    }

    /// Asks whether to proceed. `--yes` alone is no consent to lose one's own access.
    ///
    /// # Errors
    /// Errors of [`Confirm::ask`], and a missing `--own`.
    pub(super) async fn ask(
        self,
        context: &Context,
        confirm: Confirm,
        action: &str,
        is_own: impl FnOnce(&WhoAmI) -> bool,
    ) -> Result<(), CliError> {
        if self.own || !is_own(&context.client.whoami().await?) {
            return confirm.ask(action);
        }
        if !confirm.asks() {
            return Err(CliError::OwnAccess {
                action: action.to_owned(),
            });
        }
        let action = format!("{action}: the access that you are using now");
        confirm.ask_or(&action, "--yes --own")
    }
}

pub(super) async fn whoami(context: &Context) -> Result<(), CliError> {
    let me = context.client.whoami().await?;
    context.out.one(&me, |look| view::who(&me, look))
}

pub(super) async fn can_i(
    context: &Context,
    permission: Permission,
    task: Option<TaskId>,
) -> Result<(), CliError> {
    let answer = context.client.can_i(permission, task).await?;
    context.out.one(&answer, |look| {
        let mut table = Table::fields();
        let (verdict, tone) = match answer.allowed {
            true => ("yes", Tone::Good),
            false => ("no", Tone::Bad),
        };
        table.field("allowed", Cell::new(verdict, tone));
        if answer.allowed {
            // A refusal is printed with its reason as the error.
            table.field("reason", answer.reason.as_str());
        }
        table.render(look)
    })?;
    match answer.allowed {
        true => Ok(()),
        false => Err(CliError::No {
            reason: answer.reason,
        }),
    }
}

async fn create(context: &Context, args: CreateArgs) -> Result<(), CliError> {
    let request = NewKeyRequest {
        user: args.user,
        role: args.role,
        name: args.name,
        scopes: Some(args.scopes).filter(|scopes| !scopes.is_empty()),
        allow_ips: args.allow_ips,
        bot: args.bot,
        expires_at: args.expires,
        new_user: Some(args.new_user),
    };
    let making = async {
        let made = context.client.create_key(&request).await;
        made.map_err(|error| no_such_user(error, &request.user))
    };
    hand_over(context, making, args.to).await?;
    tell_of_missing_bot(context, &request).await;
    Ok(())
}

/// Reports that the bot of a new key does not exist, if that can be looked up.
async fn tell_of_missing_bot(context: &Context, request: &NewKeyRequest) {
    if request.role != Role::Bot {
        return;
    }
    let of_user = || request.user.parse().ok();
    let Some(bot) = request.bot.clone().or_else(of_user) else {
        return;
    };
    let is_missing = |error: &ClientError| error.problem().is_some_and(|p| p.status == 404);
    if context
        .client
        .bot(&bot)
        .await
        .is_err_and(|error| is_missing(&error))
    {
        context.out.note(&format!(
            "note: there is no bot {bot} yet: deia bot add {bot}"
        ));
    }
}

async fn rotate(context: &Context, args: RotateArgs) -> Result<(), CliError> {
    let request = RotateKeyRequest {
        overlap_seconds: args.overlap.map(|overlap| overlap.as_secs()),
        expires_at: args.expires,
    };
    let making = context.client.rotate_key(args.id, &request);
    hand_over(context, making, args.to).await?;
    let old = context.client.key(args.id).await?;
    let until = old.expires_at.map(|at| at.to_string());
    let until = until.unwrap_or_else(|| "further notice".into());
    context
        .out
        .note(&format!("{} is in force until {until}", old.id));
    Ok(())
}

/// Shows a key this once, or writes it into a file.
async fn hand_over(
    context: &Context,
    making: impl Future<Output = Result<CreatedKey, ClientError>>,
    to: Option<PathBuf>,
) -> Result<(), CliError> {
    let out = &context.out;
    let Some(path) = to else {
        let created = making.await?;
        tell_of_new_user(out, &created);
        out.note("the key is shown this once; keep it where only its user can read it");
        let shown = out.one(&created, |look| view::shown(&created, look));
        return shown.map_err(|error| lost(created.info.id, error));
    };
    let file = SecretFile::create(path)?;
    let created = match making.await {
        Ok(created) => created,
        Err(error) => {
            file.discard();
            return Err(error.into());
        }
    };
    let path = file
        .write(created.key.reveal())
        .map_err(|error| lost(created.info.id, error))?;
    tell_of_new_user(out, &created);
    out.note(&format!("the key is in {}", path.display()));
    out.one(&created.info, |look| {
        view::list(std::slice::from_ref(&created.info), look)
    })
}

/// Words the refusal of a key for a user who does not exist.
fn no_such_user(error: ClientError, user: &str) -> ClientError {
    let ClientError::Problem(mut problem) = error else {
        return error;
    };
    let is_it = |at: &Violation| at.pointer == "/user" && at.detail.starts_with("names no user");
    if problem.errors.iter().any(is_it) {
        problem.errors.clear();
        problem.detail = Some(format!("there is no user {user:?}"));
        problem.missing = Some(Missing {
            kind: "user".into(),
            id: user.into(),
        });
    }
    ClientError::Problem(problem)
}

fn tell_of_new_user(out: &Output, created: &CreatedKey) {
    if created.user_created {
        let KeyInfo { user, role, .. } = &created.info;
        out.note(&format!("the user {user:?} is new, with the role {role}"));
    }
}

/// Reports a key that was created, and whose text nobody will ever see.
fn lost(id: KeyId, error: CliError) -> CliError {
    CliError::NotShown {
        done: format!("{id} is made"),
        next: format!("revoke it, and create another: deia key revoke {id} --yes"),
        error: Box::new(error),
    }
}
