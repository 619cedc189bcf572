//! `deia profile`: hives by name. Needs no hive.

mod file;

use std::path::PathBuf;

use clap::Subcommand;
use deia_model::Page;
pub(super) use file::{Profile, Profiles, place};
use serde::Serialize;

use super::{
    context::Globals,
    error::CliError,
    output::Output,
    table::{Cell, Column, Table, Tone, or_dash},
};

#[derive(Debug, Subcommand)]
pub(super) enum ProfileCommand {
    /// List the profiles.
    #[command(before_help = "Examples:
  deia profile list
  deia profile list --output json")]
    List,
    /// Show a profile, or the one in use.
    #[command(before_help = "Examples:
  deia profile show
  deia profile show prod")]
    Show {
        /// The profile; the one in use when absent.
        name: Option<String>,
    },
    /// Add a profile with the values of --url, --key-file and --output.
    #[command(before_help = "Examples:
  deia profile add local --url http://127.0.0.1:8000
  deia profile add prod --url https://hive.example --key-file ~/.keys/prod.key --use
  deia profile add prod --url https://hive.example --replace")]
    Add {
        /// The name of the profile.
        name: String,
        /// Also use it from now on.
        #[arg(long = "use")]
        use_it: bool,
        /// Replace a profile of the same name.
        #[arg(long)]
        replace: bool,
    },
    /// Remove a profile. The key file stays.
    #[command(before_help = "Examples:\n  deia profile remove prod")]
    Remove {
        /// The profile.
        name: String,
    },
    /// Use a profile from now on, or none.
    #[command(before_help = "Examples:
  deia profile use prod
  deia profile use --none")]
    Use {
        /// The profile.
        #[arg(required_unless_present = "none")]
        name: Option<String>,
        /// Use no profile.
        #[arg(long, conflicts_with = "name")]
        none: bool,
    },
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    current: bool,
    #[serde(flatten)]
    profile: &'a Profile,
}

impl ProfileCommand {
    pub(super) fn run(self, globals: &Globals) -> Result<(), CliError> {
        let path = place()
            .ok_or_else(|| refuse("DEIA_CONFIG", "neither it nor HOME says where profiles are"))?;
        let mut profiles = Profiles::load(&path)?;
        let out = globals.output(None);
        match self {
            Self::List => return list(&out, &profiles, "there are no profiles"),
            Self::Show { name } => return show(&out, &profiles, name.as_deref()),
            Self::Add {
                name,
                use_it,
                replace,
            } => {
                let profile = new(globals, &out)?;
                add(&mut profiles, &name, profile, replace)?;
                if use_it {
                    profiles.current = Some(name);
                }
            }
            Self::Remove { name } => {
                if profiles.profiles.remove(&name).is_none() {
                    return Err(profiles.no_such(&name));
                }
                profiles.current = profiles.current.filter(|current| *current != name);
            }
            Self::Use { name, .. } => {
                if let Some(name) = &name {
                    profiles.named(name)?;
                }
                profiles.current = name;
            }
        }
        profiles.save(&path)?;
        list(&out, &profiles, "there are no profiles any more")
    }
}

/// Creates a profile from the command line.
fn new(globals: &Globals, out: &Output) -> Result<Profile, CliError> {
    let url = globals
        .typed_url()
        .ok_or_else(|| refuse("--url", "give the URL of the hive of the new profile"))?;
    deia_client::Client::builder(url).build()?;
    file::no_user_in(url).map_err(|reason| refuse("--url", reason))?;
    let key_file = match globals.typed_key_file() {
        None => None,
        Some(path) => Some(absolute(path)?),
    };
    if let Some(path) = key_file.as_ref().filter(|path| !path.exists()) {
        let path = path.display();
        out.note(&format!("warning: the key file {path} does not exist yet"));
    }
    Ok(Profile {
        url: url.to_owned(),
        key_file,
        output: globals.typed_output(),
    })
}

fn absolute(path: &std::path::Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(|error| CliError::File {
        path: path.to_owned(),
        error,
    })
}

fn add(
    profiles: &mut Profiles,
    name: &str,
    profile: Profile,
    replace: bool,
) -> Result<(), CliError> {
    file::check_name(name).map_err(|reason| refuse("NAME", &reason))?;
    if profiles.profiles.contains_key(name) && !replace {
        return Err(CliError::ProfileExists { name: name.into() });
    }
    profiles.profiles.insert(name.to_owned(), profile);
    Ok(())
}

fn refuse(what: &str, reason: &str) -> CliError {
    CliError::Input {
        what: what.into(),
        reason: reason.into(),
    }
}

fn list(out: &Output, profiles: &Profiles, nothing: &str) -> Result<(), CliError> {
    let named = profiles.profiles.iter();
    let page = Page {
        items: named
            .map(|(name, profile)| line(profiles, name, profile))
            .collect(),
        next_cursor: None,
    };
    out.list(&page, nothing, |look| {
        let mut table = Table::new(&[
            Column::new("NAME"),
            Column::new("IN USE"),
            Column::new("URL"),
            Column::new("KEY FILE").flows(),
            Column::new("OUTPUT").wide(),
        ]);
        for line in &page.items {
            table.row(vec![
                line.name.into(),
                match line.current {
                    true => Cell::new("yes", Tone::Good),
                    false => Cell::new("-", Tone::Faint),
                },
                line.profile.url.as_str().into(),
                or_dash(line.profile.key_file.as_ref().map(|path| path.display())),
                or_dash(line.profile.output.map(|format| format.name())),
            ]);
        }
        table.render(look)
    })
}

fn show(out: &Output, profiles: &Profiles, name: Option<&str>) -> Result<(), CliError> {
    let Some(name) = name.or(profiles.current.as_deref()) else {
        return Err(CliError::NoSuch {
            what: "profile in use".into(),
            known: profiles.profiles.keys().cloned().collect(),
        });
    };
    let line = line(profiles, name, profiles.named(name)?);
    out.one(&line, |look| {
        let mut table = Table::fields();
        table.field("name", line.name);
        table.field("in use", if line.current { "yes" } else { "no" });
        table.field("url", line.profile.url.as_str());
        let key_file = line.profile.key_file.as_ref();
        table.field("key file", or_dash(key_file.map(|path| path.display())));
        let output = line.profile.output.map(|format| format.name());
        table.field("output", or_dash(output));
        table.render(look)
    })
}

fn line<'a>(profiles: &Profiles, name: &'a str, profile: &'a Profile) -> Line<'a> {
    Line {
        name,
        current: profiles.current.as_deref() == Some(name),
        profile,
    }
}
