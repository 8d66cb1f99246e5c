//! The program `broker`. Everything else is in the library.

#![forbid(unsafe_code)]

use broker::{PROGRAM, Task};
use std::process::ExitCode;

fn main() -> ExitCode {
    PROGRAM.main(Task::from, broker::run)
}
