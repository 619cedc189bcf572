//! Confirmation of actions that cannot be undone.

use std::io::{self, IsTerminal as _, Write as _};

use clap::Args;

use super::error::CliError;

/// Options of commands that ask.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Confirm {
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl Confirm {
    /// Returns whether the command will ask.
    pub(super) fn asks(self) -> bool {
        !self.yes
    }

    /// Asks whether to proceed, unless `--yes` was given.
    ///
    /// # Errors
    /// [`CliError::CannotAsk`] without a terminal, [`CliError::NotConfirmed`] if the
    /// answer is not yes.
    pub(super) fn ask(self, action: &str) -> Result<(), CliError> {
        self.ask_or(action, "--yes")
    }

    /// Like [`Self::ask`]; these options would avoid the question.
    ///
    /// # Errors
    /// Like [`Self::ask`].
    pub(super) fn ask_or(self, action: &str, options: &'static str) -> Result<(), CliError> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(CliError::CannotAsk {
                action: action.to_owned(),
                options,
            });
        }
        let failed = |error| CliError::Stream {
            stream: "the terminal",
            error,
        };
        // The lock of standard error must not outlive the question: Ctrl-C is reported
        // there.
        write!(io::stderr(), "This will {action}. Continue? [y/N] ").map_err(failed)?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map_err(failed)?;
        if is_yes(&answer) {
            Ok(())
        } else {
            Err(CliError::NotConfirmed)
        }
    }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for (answer, expected) in [
            ("y\n", true),
            ("Yes", true),
            ("", false),
            ("\n", false),
            ("n", false),
            ("yep", false),
        ] {
            assert_eq!(is_yes(answer), expected, "{answer:?}");
        }
    }
}
