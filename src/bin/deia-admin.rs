//! The operator's command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    deia::cli::run(std::env::args_os()).into()
}
