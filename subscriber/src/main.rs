//! The program `subscriber`. Everything else is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use subscriber::{Config, PROGRAM};

fn main() -> ExitCode {
    PROGRAM.main(Config::from, subscriber::run)
}
