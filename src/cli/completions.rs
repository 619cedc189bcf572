//! `deia completions`.

use std::io::{self, Write as _};

use clap_complete::Shell;

use super::{definition, error::CliError};

/// Prints the completion script for that shell.
pub(super) fn print(shell: Shell, name: &str) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut definition::command(), name, &mut script);
    let mut out = io::stdout().lock();
    out.write_all(&script)
        .and_then(|()| out.flush())
        .map_err(|error| CliError::Stream {
            stream: "standard output",
            error,
        })
}
