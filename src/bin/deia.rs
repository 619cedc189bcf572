//! The server and its command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    deia::app::main()
}
