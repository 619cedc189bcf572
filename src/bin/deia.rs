//! The server.

use std::process::ExitCode;

fn main() -> ExitCode {
    deia::app::main()
}
