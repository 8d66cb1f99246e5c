//! Programs that are not part of this workspace.
//!
//! A test that needs one says so and is skipped if the program is missing. On a build server (where
//! `CI` is set) it fails instead, so that nothing stays untested there.

use crate::program;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, thread};

/// Python 3, without buffering, to run a script that follows; nothing where there is none.
#[must_use]
pub fn python3() -> Option<Command> {
    let mut command = find("python3")?;
    command.arg("-u");
    Some(command)
}

/// Python 3 with a module of others; nothing where either is missing.
///
/// It is looked for in the folder `libraries` of the target folder first, where `.ci/run` puts it.
#[must_use]
pub fn python_with(module: &str) -> Option<Command> {
    let own = program::target().join("libraries/python/bin/python3");
    let name = if own.exists() { own.display().to_string() } else { "python3".to_owned() };
    let mut command = find_by(&name, &["-c", &format!("import {module}")], module)?;
    command.arg("-u");
    Some(command)
}

/// Node, and the folder of a library of npm; nothing where either is missing.
#[must_use]
pub fn node_with(library: &str) -> Option<(Command, PathBuf)> {
    let folder = program::target().join("libraries");
    let load = "require('node:module').createRequire(process.argv[1] + '/')(process.argv[2])";
    let path = folder.display().to_string();
    let command = find_by("node", &["-e", load, "--", &path, library], library)?;
    Some((command, folder))
}

/// A web server that is a proxy; nothing where there is none.
#[must_use]
pub fn nginx() -> Option<Command> {
    find_by("nginx", &["-v"], "nginx")
}

/// Another proxy; nothing where there is none.
#[must_use]
pub fn haproxy() -> Option<Command> {
    find_by("haproxy", &["-v"], "haproxy")
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

/// What checks man pages; nothing where it is missing. It takes no `--version`.
#[must_use]
pub fn mandoc() -> Option<Command> {
    if Command::new("mandoc").arg("/dev/null").output().is_err() {
        say_skipped("there is no mandoc");
        return None;
    }
    Some(Command::new("mandoc"))
}

/// A NATS server with JetStream; nothing where there is none. It is `NATS_SERVER`, or in the folder
/// `libraries` of the target folder, where `.ci/run` puts it, or in the path.
#[must_use]
pub fn nats_server() -> Option<Command> {
    let own = program::target().join("libraries/python/bin/nats-server");
    let own = own.exists().then(|| own.display().to_string());
    let named = env::var("NATS_SERVER").ok();
    find(&named.or(own).unwrap_or_else(|| "nats-server".to_owned()))
}

/// What runs a command that follows in namespaces of its own, in which it is `root`: networks,
/// disks and processes. Nothing where the system has none for it.
#[must_use]
pub fn namespaces() -> Option<Command> {
    let own = ["--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let check = [&own[..], &["ip", "link", "set", "lo", "up"]].concat();
    let mut command = find_by("unshare", &check, "network of one's own")?;
    command.args(own);
    Some(command)
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
    find_by(name, &["--version"], name)
}

/// A program that succeeds with these arguments; `what` is missing where it does not.
fn find_by(name: &str, arguments: &[&str], what: &str) -> Option<Command> {
    let mut check = Command::new(name);
    check.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if check.status().is_ok_and(|status| status.success()) {
        let mut command = Command::new(name);
        program::without_surroundings(&mut command);
        // Whatever proxy this machine uses, it is not for what runs on it.
        command.env("no_proxy", "*");
        return Some(command);
    }
    assert!(env::var_os("CI").is_none(), "{what} is missing, and no test may be skipped here");
    say_skipped(&format!("there is no {what}"));
    None
}

/// Says that the test that calls this is skipped, and why, also where it counts as passed.
pub fn say_skipped(why: &str) {
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    // Not with a macro: of what that prints, only tests that fail show anything.
    let _ = writeln!(io::stderr(), "{test}: skipped: {why}");
}
