//! The program `publisher`. Everything else is in the library.

#![forbid(unsafe_code)]

use publisher::{Config, PROGRAM};
use std::process::ExitCode;

fn main() -> ExitCode {
    PROGRAM.main(Config::from, publisher::run)
}
