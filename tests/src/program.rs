//! The programs of this workspace, built once in the profile of the test. `TESTS_PROGRAMS` names a
//! folder of others to take instead.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::{env, fs};

/// Environment variables that mean something to a program and must not leak in from outside.
const CLEARED: [&str; 5] =
    ["PORT", "PEER_BROKER_HOST", "PEER_BROKER_PORT", "BROKER_TOKEN", "RUST_BACKTRACE"];

/// A command that starts the program `name` in an environment that holds nothing it reads.
///
/// # Panics
///
/// When the programs cannot be built.
#[must_use]
pub fn command(name: &str) -> Command {
    command_of(&path(name))
}

/// A command that starts a program at this path in an environment that holds nothing it reads.
#[must_use]
pub fn command_of(program: &Path) -> Command {
    let mut command = Command::new(program);
    without_surroundings(&mut command);
    command
}

/// A command that starts an example of `common` as [`command`] starts a program.
///
/// # Panics
///
/// When it cannot be built.
#[must_use]
pub fn example(name: &str) -> Command {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder =
        FOLDER.get_or_init(|| build(&["--package", "common", "--examples"], Stdio::null()));
    let mut command = Command::new(folder.join("examples").join(file_name(name)));
    without_surroundings(&mut command);
    command
}

/// The same, started by another program that is given its path and arguments; by none where
/// `under` is empty.
pub(crate) fn command_under(under: &[String], name: &str) -> Command {
    let Some((program, arguments)) = under.split_first() else { return command(name) };
    let mut command = Command::new(program);
    command.args(arguments).arg(path(name));
    without_surroundings(&mut command);
    command
}

/// Takes away what the programs of this workspace read from the environment.
pub(crate) fn without_surroundings(command: &mut Command) {
    for variable in CLEARED {
        command.env_remove(variable);
    }
}

/// The executable of the program `name`.
///
/// # Panics
///
/// When the programs cannot be built.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    folder_of_programs(Stdio::null()).join(file_name(name))
}

/// Builds the programs, if they are not there, and lets Cargo show how far it is.
///
/// # Panics
///
/// When they cannot be built.
pub fn build_in_the_open() {
    folder_of_programs(Stdio::inherit());
}

/// Whether the programs were built before.
#[must_use]
pub fn are_built() -> bool {
    PROGRAMS.iter().all(|name| profile_folder().join(file_name(name)).exists())
}

/// The programs that a user has.
const PROGRAMS: [&str; 3] = ["broker", "publisher", "subscriber"];

fn folder_of_programs(progress: Stdio) -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let packages = PROGRAMS.iter().flat_map(|name| ["--package", name]);
    let what: Vec<_> = packages.chain(["--bins"]).collect();
    FOLDER.get_or_init(|| match env::var_os("TESTS_PROGRAMS") {
        Some(folder) => fs::canonicalize(&folder)
            .unwrap_or_else(|error| panic!("TESTS_PROGRAMS is {}: {error}", folder.display())),
        None => build(&what, progress),
    })
}

fn file_name(name: &str) -> String {
    format!("{name}{}", env::consts::EXE_SUFFIX)
}

/// The root of the workspace.
///
/// # Panics
///
/// Never: this crate lies in a folder of the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

/// The folder that Cargo builds into: `target`, unless somebody chose another.
///
/// # Panics
///
/// When the running program was not started from where Cargo put it.
#[must_use]
pub fn target() -> PathBuf {
    let profile = profile_folder();
    profile.parent().expect("a profile's folder lies in the target folder").to_owned()
}

/// Builds programs beside the running one, and gives their folder.
///
/// Cargo does not build the programs of one package for the tests of another. Everything but
/// the last step has been built already when a test runs, so this takes a moment only.
fn build(what: &[&str], progress: Stdio) -> PathBuf {
    let folder = profile_folder();
    let profile = match folder.file_name().and_then(OsStr::to_str) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--offline", "--profile", profile]).args(what);
    cargo.arg("--target-dir").arg(target()).current_dir(workspace()).stderr(progress);
    let status = cargo.status().unwrap_or_else(|error| panic!("cannot run cargo: {error}"));
    assert!(status.success(), "cannot build the programs: see {cargo:?}");
    folder
}

/// The folder of the running program's profile: `target/debug`, say.
fn profile_folder() -> PathBuf {
    let this = env::current_exe().expect("the system knows what it runs");
    // Cargo hard-links programs out of `deps`, and leaves tests in it.
    let this = fs::canonicalize(&this).unwrap_or(this);
    let folder = this.parent().expect("a program lies in a folder");
    match folder.file_name().and_then(OsStr::to_str) {
        Some("deps" | "examples") => folder.parent().expect("deps lies in a folder").to_owned(),
        _ => folder.to_owned(),
    }
}
