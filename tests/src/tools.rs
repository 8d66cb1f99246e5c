//! Programs that are not part of this workspace.
//!
//! A test that needs one is skipped, and says so, where the program is missing. On a build
//! server (where `CI` is set) it fails instead: nothing may go untested in silence there.

use crate::program;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::{env, thread};

/// Python 3, without buffering, to run a script that follows; nothing where there is none.
#[must_use]
pub fn python3() -> Option<Command> {
    let mut command = find("python3")?;
    command.arg("-u");
    Some(command)
}

/// The command-line HTTP client; nothing where there is none.
#[must_use]
pub fn curl() -> Option<Command> {
    find("curl")
}

/// What runs a program as another user; nothing where it is missing.
#[must_use]
pub fn setpriv() -> Option<Command> {
    find("setpriv")
}

/// What drives a browser; nothing where it or the browser is missing.
#[must_use]
pub fn chromedriver() -> Option<Command> {
    find("chromium")?;
    find("chromedriver")
}

/// What checks the text that Prometheus reads; nothing where it is missing.
#[must_use]
pub fn promtool() -> Option<Command> {
    find("promtool")
}

/// A terminal for a command line of a shell, whose output then comes out of this program; nothing
/// where there is none.
#[must_use]
pub fn terminal(command_line: &str) -> Option<Command> {
    let mut command = find("script")?;
    command.args(["--quiet", "--return", "--echo", "never", "--command", command_line]);
    command.arg("/dev/null");
    Some(command)
}

fn find(name: &str) -> Option<Command> {
    let mut check = Command::new(name);
    check.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if check.status().is_ok_and(|status| status.success()) {
        let mut command = Command::new(name);
        program::without_surroundings(&mut command);
        // Whatever proxy this machine uses, it is not for what runs on it.
        command.env("no_proxy", "*");
        return Some(command);
    }
    assert!(env::var_os("CI").is_none(), "{name} is missing, and no test may be skipped here");
    say_skipped(&format!("there is no {name}"));
    None
}

/// Says that the test that calls this is skipped, and why, also where it counts as passed.
pub fn say_skipped(why: &str) {
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    // Not with a macro: of what that prints, only tests that fail show anything.
    let _ = writeln!(io::stderr(), "{test}: skipped, {why}");
}
