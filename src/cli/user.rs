//! `deia user`.

use clap::{Args, Subcommand};
use deia_client::{NewUserRequest, PutIf, UserChangeRequest};
use deia_model::{Role, User};

use super::{
    confirm::Confirm,
    context::Context,
    error::CliError,
    format,
    key::OwnAccess,
    output::Look,
    parse,
    table::{Cell, Column, Table, Tone},
};

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// List all users.
    #[command(before_help = "Examples:
  deia user list
  deia user list --output jsonl | jq -r 'select(.active) | .id'")]
    List,
    /// Show a user.
    #[command(before_help = "Examples:
  deia user show ada")]
    Show {
        /// The user.
        name: String,
    },
    /// Create a user, without keys.
    #[command(before_help = "Examples:
  deia user add ada --role operator
  deia user add ci --role external")]
    Add {
        /// The name: the submitter of tasks and the actor of events.
        name: String,
        /// The role of the user, which limits all its keys.
        #[arg(long, value_parser = parse::role())]
        role: Role,
        /// Create the user as inactive: its keys are refused until it is activated.
        #[arg(long)]
        inactive: bool,
    },
    /// Change a user; takes effect at once for all its keys.
    #[command(before_help = "Examples:
  deia user change ada --role viewer
  deia user change ada --inactive
  deia user change ada --active --if-version 3")]
    Change(ChangeArgs),
    /// Remove a user with all keys. The user's tasks stay.
    ///
    /// The name cannot be used again before those tasks are deleted: to lock somebody
    /// out for a while, make the user inactive.
    #[command(before_help = "Examples:
  deia user remove ada
  deia user remove ada --yes")]
    Remove {
        /// The user.
        name: String,
        #[command(flatten)]
        own: OwnAccess,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// Arguments of a change.
#[derive(Debug, Args)]
pub(super) struct ChangeArgs {
    /// The user.
    name: String,
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    own: OwnAccess,
    /// Only if the user still has this version, as `user show` prints it.
    #[arg(long, value_name = "VERSION", value_parser = parse::whole(1..=u64::MAX))]
    if_version: Option<u64>,
}

/// The changes.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// The role of the user, which limits all its keys.
    #[arg(long, value_parser = parse::role())]
    role: Option<Role>,
    /// Activate the user.
    #[arg(long, conflicts_with = "inactive")]
    active: bool,
    /// Deactivate the user; its keys are refused.
    #[arg(long)]
    inactive: bool,
}

impl UserCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (client, out) = (&context.client, &context.out);
        match self {
            Self::List => {
                let page = client.users().await?;
                out.list(&page, "there are no users", |look| list(&page.items, look))
            }
            Self::Show { name } => one(context, &client.user(&name).await?),
            Self::Add {
                name,
                role,
                inactive,
            } => {
                let request = NewUserRequest {
                    id: name,
                    role,
                    active: !inactive,
                };
                one(context, &client.create_user(&request).await?)
            }
            Self::Change(args) => {
                let Changes {
                    role,
                    active,
                    inactive,
                } = args.changes;
                if inactive || role.is_some() {
                    let action = format!("take access from the user {:?}", args.name);
                    args.own.allow(context, &action, &args.name).await?;
                }
                let request = UserChangeRequest {
                    role,
                    active: (active || inactive).then_some(active),
                };
                let when = args.if_version.map_or(PutIf::Always, PutIf::Version);
                let user = client.change_user(&args.name, &request, when).await?;
                one(context, &user)
            }
            Self::Remove { name, own, confirm } => {
                let action = format!("remove the user {name:?} with all keys");
                own.ask(context, confirm, &action, |me| me.user == name)
                    .await?;
                client.delete_user(&name).await?;
                out.note(&format!("user {name} is removed"));
                Ok(())
            }
        }
    }
}

fn one(context: &Context, user: &User) -> Result<(), CliError> {
    context.out.one(user, |look| {
        let mut table = Table::fields();
        table.field("user", user.id.as_str());
        table.field("role", user.role);
        table.field("state", state(user));
        table.field("version", user.version);
        table.field("created", format::when_exactly(user.created_at, look.now));
        table.field("changed", format::when_exactly(user.changed_at, look.now));
        table.render(look)
    })
}

fn list(users: &[User], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("USER").flows(),
        Column::new("ROLE"),
        Column::new("STATE"),
        Column::new("CREATED"),
        Column::new("CHANGED"),
    ]);
    for user in users {
        table.row(vec![
            user.id.as_str().into(),
            user.role.into(),
            state(user),
            format::when(user.created_at, look.now).into(),
            format::when(user.changed_at, look.now).into(),
        ]);
    }
    table.render(look)
}

fn state(user: &User) -> Cell {
    match user.active {
        true => Cell::new("active", Tone::Good),
        false => Cell::new("inactive", Tone::Faint),
    }
}
