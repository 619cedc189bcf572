//! The operator's command line: a second name of `deia`.

use std::process::ExitCode;

fn main() -> ExitCode {
    deia::app::admin()
}
