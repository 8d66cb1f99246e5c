//! The command line of the broker.

use crate::memory;
use common::flags::{Arguments, Error, Flag, Program};
use common::limits::{BODY_SIZE_MAX, MESSAGE_SIZE_MAX};
use std::env;
use std::path::PathBuf;

/// The port where neither a flag nor the environment names one.
const PORT: u16 = 9000;

/// The broker's flags and help.
pub const PROGRAM: Program = Program {
    name: "broker",
    purpose: "Keep topics of messages and serve them to publishers and subscribers.",
    usage: &[
        "broker [--host <address>] [--port <port>] [--data <directory>]",
        "broker verify <directory>",
        "broker repair <directory>",
    ],
    takes_arguments: true,
    flags: &[
        Flag {
            name: "host",
            value: "<address>",
            repeats: false,
            help: "Accept connections on this address. Default: 127.0.0.1, which only programs \
                   on this machine can reach; 0.0.0.0 where PORT is set in the environment.",
        },
        Flag {
            name: "port",
            value: "<port>",
            repeats: false,
            help: "Accept connections on this port; 0 takes a free one. The address in use is \
                   in the first line printed. Default: PORT in the environment, else 9000.",
        },
        Flag {
            name: "data",
            value: "<directory>",
            repeats: false,
            help: "Keep messages in this directory, which is made if need be: what was acknowledged \
                   is there after any crash. Default: in memory only.",
        },
        Flag {
            name: "sync",
            value: "<when>",
            repeats: false,
            help: "With --data: always, before a publish is acknowledged; or os, when the \
                   operating system gets to it, so that a power cut may lose the last seconds. \
                   Default: always.",
        },
        Flag {
            name: "max-connections",
            value: "<count>",
            repeats: false,
            help: "Serve at most so many connections at once. Default: 10000, or what the \
                   system's limits for open files and threads leave room for.",
        },
        Flag {
            name: "max-message",
            value: "<bytes>",
            repeats: false,
            help: "Refuse longer messages. Default: 1048576.",
        },
        Flag {
            name: "max-memory",
            value: "<bytes>",
            repeats: false,
            help: "Refuse publishes when messages take so much memory. Default: half of what is \
                   free at the start.",
        },
    ],
    environment: &[("PORT", "The port of a deployed node, which serves all addresses.")],
    examples: &[
        "broker",
        "broker --data /var/lib/broker",
        "broker --host 0.0.0.0 --port 9000 --max-message=4096",
        "broker verify /var/lib/broker",
    ],
};

/// What the broker is to do.
#[derive(Debug, Clone)]
pub enum Task {
    /// Serve.
    Serve(Config),
    /// Check the journal in this directory, and say what it holds.
    Verify(PathBuf),
    /// Keep the good part of a damaged journal.
    Repair(PathBuf),
}

impl Task {
    /// Reads the command line and the environment.
    ///
    /// # Errors
    ///
    /// What cannot be used, and why.
    pub fn from(arguments: &Arguments) -> Result<Task, Error> {
        match arguments.ordinary() {
            [] => Config::from(arguments).map(Task::Serve),
            [verb, directory] if verb == "verify" => Ok(Task::Verify(directory.into())),
            [verb, directory] if verb == "repair" => Ok(Task::Repair(directory.into())),
            [verb] if verb == "verify" || verb == "repair" => {
                Err(Error::Combination(format!("{verb} needs the directory of a journal")))
            }
            [other, ..] => Err(Error::UnexpectedArgument(other.clone())),
        }
    }
}

/// How the broker is to serve.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to bind, without the port.
    pub host: String,
    /// The port to bind; 0 for a free one.
    pub port: u16,
    /// Where messages are kept on disk, if they are.
    pub data: Option<PathBuf>,
    /// Whether they are there before a publish is acknowledged.
    pub sync_always: bool,
    /// The most connections, where that was said.
    pub connections_max: Option<usize>,
    /// The longest message, in bytes.
    pub message_size_max: usize,
    /// Memory for messages, in bytes.
    pub memory_max: u64,
}

impl Config {
    fn from(arguments: &Arguments) -> Result<Config, Error> {
        let deployed = env::var("PORT").ok();
        let port = match (arguments.parsed("port")?, &deployed) {
            (Some(port), _) => port,
            (None, Some(port)) => port
                .trim()
                .parse()
                .map_err(|_| Error::Combination(format!("PORT is {port:?}, not a port")))?,
            (None, None) => PORT,
        };
        let host = match (arguments.value("host"), deployed) {
            (Some(host), _) => host.to_owned(),
            (None, Some(_)) => "0.0.0.0".to_owned(),
            (None, None) => "127.0.0.1".to_owned(),
        };
        let message_size_max = arguments.parsed("max-message")?.unwrap_or(MESSAGE_SIZE_MAX);
        if message_size_max > BODY_SIZE_MAX / 2 {
            let reason = format!("a message may have {} bytes at most", BODY_SIZE_MAX / 2);
            return Err(Error::value("max-message", &message_size_max.to_string(), reason));
        }
        let sync_always = match arguments.value("sync") {
            Some("os") => false,
            Some("always") | None => true,
            Some(other) => return Err(Error::value("sync", other, "it is always or os")),
        };
        let data = arguments.value("data").map(PathBuf::from);
        if data.is_none() && arguments.has("sync") {
            return Err(Error::Combination("--sync needs --data".to_owned()));
        }
        Ok(Config {
            host,
            port,
            data,
            sync_always,
            connections_max: arguments.parsed("max-connections")?,
            message_size_max,
            memory_max: arguments.parsed("max-memory")?.unwrap_or_else(memory::default_max),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_in_the_help_are_right() {
        for arguments in PROGRAM.parse_examples().unwrap() {
            Task::from(&arguments).unwrap();
        }
    }
}
