//! The subscriber's program: flags in, exit status out. Everything else is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use subscriber::{Config, PROGRAM};

fn main() -> ExitCode {
    PROGRAM.main(Config::from, subscriber::run)
}
