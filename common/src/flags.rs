//! `--name value` for all three programs, and their help.
//!
//! `--help` prints a text of each program, [`Program::help`]. The accepted flags are read from the
//! same text, so that the two cannot differ. [`Program::main`] is the whole of a `main`
//! function.
//!
//! # What is accepted
//!
//! `--name value` and `--name=value`, in any order with other arguments; `--name` alone for a
//! flag that takes no value; `-h`, `--help` and `--version`. After `--` everything is an ordinary
//! argument. A value that begins with `--` has to be written `--name=value`, so that a forgotten
//! value does not swallow the next flag.
//!
//! # Not here
//!
//! Short forms other than `-h`, abbreviations, subcommands.

use crate::units;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, error, iter};

#[cfg(test)]
mod tests;

/// What a program is called, and what it accepts.
#[derive(Debug)]
pub struct Program {
    /// The name of the binary.
    pub name: &'static str,
    /// What `--help` prints. Its lines `  --name`, `  --name=<value>` and, for a flag that may be
    /// given more than once, `  --name=<value>...` say what is accepted.
    pub help: &'static str,
}

/// One `--name`.
#[derive(Debug, Clone, Copy)]
struct Flag {
    /// Without the dashes.
    name: &'static str,
    /// What stands for the value in help, as `<port>`; `None` for a flag that takes none.
    value: Option<&'static str>,
    /// Whether it may be given more than once.
    repeats: bool,
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Command {
    /// To run.
    Run(Arguments),
    /// To print this text and exit: help, or the version.
    Print(String),
}

/// A command line that was understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// Flags in the order given; the value is empty for a flag that takes none.
    values: Vec<(&'static str, String)>,
    ordinary: Vec<String>,
}

/// Why a command line is wrong, or why a program fails: words for the user, what caused it, and the
/// exit status of a program that fails for it.
#[derive(Debug)]
pub struct Error {
    text: String,
    cause: Option<Box<dyn error::Error + Send + Sync>>,
    status: u8,
}

impl Program {
    /// Runs the program on the arguments of this process and gives its exit status: 0 when it is
    /// done, 2 when the command line is wrong, and that of the error when `run` failed.
    ///
    /// `configure` reads the arguments and refuses wrong ones; `run` does the work. What either
    /// refuses is printed on standard error in one line, each cause after its effect.
    pub fn main<C>(
        &self,
        configure: impl FnOnce(&Arguments) -> Result<C, Error>,
        run: impl FnOnce(C) -> Result<(), Error>,
    ) -> ExitCode {
        let configured = match self.parse(env::args_os().skip(1)) {
            Ok(Command::Run(arguments)) => configure(&arguments),
            Ok(Command::Print(text)) => {
                // Nobody is left to be told when standard output is closed.
                let _ = io::stdout().write_all(text.as_bytes());
                return ExitCode::SUCCESS;
            }
            Err(error) => Err(error),
        };
        let (line, status) = match configured.map(run) {
            Ok(Ok(())) => return ExitCode::SUCCESS,
            Ok(Err(error)) => (one_line(&error), error.status),
            Err(error) => (format!("{error}; see {} --help", self.name), 2),
        };
        self.say(line);
        ExitCode::from(status)
    }

    /// Tells the user something on standard error, in a line that begins with the program's name.
    /// Nobody has to read it.
    pub fn say(&self, line: impl fmt::Display) {
        let _ = writeln!(io::stderr(), "{}: {line}", self.name);
    }

    /// What the arguments, without the program's own name, ask for.
    ///
    /// # Errors
    ///
    /// When they are wrong in themselves; values are judged by those who read them.
    pub fn parse(&self, arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Error> {
        let mut result = Arguments::default();
        let text = |argument: OsString| {
            let text = argument.into_string();
            text.map_err(|argument| Error::new(format!("argument {argument:?} is not UTF-8")))
        };
        let is_no_flag = |next: &String| !next.starts_with("--");
        let mut arguments = arguments.into_iter().map(text);
        let mut flags_ended = false;
        while let Some(argument) = arguments.next().transpose()? {
            if flags_ended || !argument.starts_with('-') || argument == "-" {
                result.ordinary.push(argument);
                continue;
            }
            let (dashed, given) = split_value(&argument);
            match argument.as_str() {
                "--" => flags_ended = true,
                "-h" | "--help" => return Ok(Command::Print(self.help.to_owned())),
                "--version" => return Ok(Command::Print(self.version())),
                _ => {
                    let Flag { name, value, repeats } = self.flag(dashed)?;
                    let wrong = |what: String| Err(Error::new(format!("flag --{name} {what}")));
                    let mut given = given.map(str::to_owned);
                    match value {
                        _ if !repeats && result.has(name) => {
                            return wrong("was given twice".into());
                        }
                        None if given.is_some() => return wrong("takes no value".into()),
                        Some(_) if given.is_none() => {
                            given = arguments.next().transpose()?.filter(is_no_flag);
                        }
                        _ => {}
                    }
                    let given = given.unwrap_or_default();
                    // An empty one is a variable that was not set.
                    if let Some(value) = value.filter(|_| given.is_empty()) {
                        return wrong(format!("needs a value: --{name}={value}"));
                    }
                    result.values.push((name, given));
                }
            }
        }
        Ok(Command::Run(result))
    }

    fn version(&self) -> String {
        format!("{} {}\n", self.name, env!("CARGO_PKG_VERSION"))
    }

    /// The flag with this name, which has dashes before it.
    fn flag(&self, dashed: &str) -> Result<Flag, Error> {
        let name = dashed.strip_prefix("--");
        self.flags().find(|flag| Some(flag.name) == name).ok_or_else(|| {
            let names = self.flags().map(|flag| flag.name);
            let near = nearest(dashed.trim_start_matches('-'), names);
            let near = near.map(|near| format!(" (did you mean --{near}?)")).unwrap_or_default();
            Error::new(format!("unknown flag {dashed}{near}"))
        })
    }

    /// All flags that the help names.
    fn flags(&self) -> impl Iterator<Item = Flag> {
        self.help.lines().filter_map(|line| {
            let form = line.strip_prefix("  ")?.trim_start_matches("-h, ").strip_prefix("--")?;
            let (form, repeats) = (form.trim_end_matches("..."), form.ends_with("..."));
            let (name, value) = split_value(form);
            Some(Flag { name, value, repeats })
        })
    }
}

/// A flag's name, and the value behind `=`.
fn split_value(text: &str) -> (&str, Option<&str>) {
    text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)))
}

/// The known name that is most similar to `name`: `name` is its beginning, or differs in at most
/// two characters.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| {
            let is_beginning = name.len() >= 2 && known.starts_with(name);
            (if is_beginning { 0 } else { distance(name, known) }, known)
        })
        .filter(|&(distance, known)| distance <= 2 && distance < known.len())
        .min()
        .map(|(_, known)| known)
}

impl Arguments {
    /// The value of a flag that was given, the last one where it repeats.
    pub fn value(&self, flag: &str) -> Option<&str> {
        self.values(flag).last()
    }

    /// Every value of a flag, in the order given.
    pub fn values(&self, flag: &str) -> impl Iterator<Item = &str> {
        self.values.iter().filter(move |(name, _)| *name == flag).map(|(_, value)| value.as_str())
    }

    /// The names of all flags that were given.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.values.iter().map(|(name, _)| *name)
    }

    /// Whether a flag was given.
    pub fn has(&self, flag: &str) -> bool {
        self.values(flag).next().is_some()
    }

    /// The value of a flag as a whole number.
    ///
    /// # Errors
    ///
    /// [`Error::value`] when the value is none, or does not fit.
    pub fn number<T: TryFrom<u64>>(&self, flag: &'static str) -> Result<Option<T>, Error> {
        self.read(flag, units::whole_number)
    }

    /// The value of a flag as a number of bytes.
    ///
    /// # Errors
    ///
    /// [`Error::value`] when the value is none, or does not fit.
    pub fn size<T: TryFrom<u64>>(&self, flag: &'static str) -> Result<Option<T>, Error> {
        self.read(flag, units::size)
    }

    /// The value of a flag as a length of time.
    ///
    /// # Errors
    ///
    /// [`Error::value`] when the value is none.
    pub fn time(&self, flag: &'static str) -> Result<Option<Duration>, Error> {
        Ok(self.read(flag, units::milliseconds)?.map(Duration::from_millis))
    }

    fn read<T>(
        &self,
        flag: &'static str,
        read: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, Error> {
        let read = |value: &str| read(value).map_err(|why| Error::value(flag, value, why));
        self.value(flag).map(read).transpose()
    }

    /// The arguments that belong to no flag.
    pub fn ordinary(&self) -> &[String] {
        &self.ordinary
    }
}

impl Error {
    /// In these words; a program that fails for it exits with 1.
    pub fn new(text: impl Into<String>) -> Error {
        Error { text: text.into(), cause: None, status: 1 }
    }

    /// A value that cannot be used, and why.
    pub fn value(flag: &'static str, value: &str, reason: impl fmt::Display) -> Error {
        Error::new(format!("flag --{flag} cannot be {value:?}: {reason}"))
    }

    /// An argument that belongs to no flag, where none is taken.
    pub fn unexpected(argument: &str) -> Error {
        Error::new(format!("unexpected argument {argument:?}"))
    }

    /// What is wrong with a file.
    pub fn of(path: &Path, what: &str) -> Error {
        Error::new(format!("{} {what}", path.display()))
    }

    /// The same, and what caused it.
    pub fn because(self, cause: impl Into<Box<dyn error::Error + Send + Sync>>) -> Error {
        Error { cause: Some(cause.into()), ..self }
    }

    /// The same, for which a program exits with this status.
    pub fn with_status(self, status: u8) -> Error {
        Error { status, ..self }
    }

    /// Whether the reader of standard output has closed it, because it has seen enough.
    pub fn is_closed_pipe(&self) -> bool {
        let cause = self.cause.as_ref().and_then(|cause| cause.downcast_ref::<io::Error>());
        cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.cause.as_ref().map(|cause| &**cause as _)
    }
}

/// Refuses a command line, or a program's work, where something is wrong with it.
///
/// # Errors
///
/// The error with this text.
pub fn refuse_if(is_wrong: bool, text: &str) -> Result<(), Error> {
    if is_wrong { Err(Error::new(text)) } else { Ok(()) }
}

/// Whether this id is one word, as lines of text need it.
pub fn is_word(id: &str) -> bool {
    !id.is_empty() && !id.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Prints a line. Nobody has to read it: a closed standard output does not keep a broker from
/// serving.
pub fn print(line: impl fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// An error and its causes in one line.
pub fn one_line(error: &dyn error::Error) -> String {
    let errors = iter::successors(Some(error), |error| error.source());
    let texts: Vec<_> = errors.map(ToString::to_string).collect();
    texts.join(": ").replace(['\n', '\r'], " ")
}

/// How many characters have to be put in, taken out or changed to make one word of the other.
fn distance(from: &str, to: &str) -> usize {
    // One row of the usual table: the distances from a prefix of `from` to every prefix of `to`.
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (removed, a) in from.chars().enumerate() {
        let mut diagonal = removed;
        let mut left = removed + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(to.chars()) {
            let changed = diagonal + usize::from(a != b);
            diagonal = *cell;
            left = changed.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = removed + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
