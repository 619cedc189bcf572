//! The command line that operates a hive: `deia`, or by its second name `deia-admin`.
//!
//! A command is parsed, makes one or two calls of the [client](deia_client), and prints
//! the outcome. Data goes to standard output in the requested format, messages go to
//! standard error, and the exit code reports the outcome ([`Exit`]).

mod alerts;
mod audit;
mod backup;
mod bot;
mod completions;
mod config;
mod confirm;
mod context;
mod definition;
mod degrade;
mod error;
mod events;
mod filter;
mod flags;
mod format;
mod health;
mod interrupt;
mod key;
mod line;
mod man;
mod message;
mod nearest;
mod new_file;
mod output;
mod parse;
mod profile;
mod queue;
mod reference;
mod roles;
mod schema;
mod secret;
mod secret_file;
mod session;
mod supervisors;
mod system;
mod table;
mod task;
mod text;
mod user;
mod wait;
mod watch;
mod webhook;
mod yaml;

pub(crate) use backup::{MomentArgs, report_lines};
pub(crate) use context::takes_value;
pub use definition::{command, run};
pub use error::{CliError, Exit};
pub use reference::reference;
