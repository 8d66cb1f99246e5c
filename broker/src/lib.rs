//! The broker: topics of messages behind one port.
//!
//! Modules in reading order:
//!
//! - `config`: the command line; `start`: starts a broker
//! - `control_group`: limits that the system sets
//! - `allocator`: returns freed memory to the system
//! - `listen`: the socket that clients connect to; `notify`: reports to the service manager;
//!   `loading`: answers while the journal is read
//! - `server`: the accept loop, a thread for each connection
//! - `door`: the protocols; each turns bytes into calls on `broker`
//! - `activity`: when a connection was last used
//! - `access`: who may use the broker; `refusal`: errors that clients get
//! - `broker`: what all connections share
//! - `store`: topics and their messages, in memory and on disk
//! - `push`: delivers new messages to subscribers
//! - `home`: brokers that work together
//! - `log`, `metrics`: who did what, and counters
//! - `objects`: reads a stream of JSON objects
//! - `verbs`: commands to a running broker

#![forbid(unsafe_code)]

mod access;
mod activity;
mod allocator;
mod broker;
mod config;
mod control_group;
mod door;
mod home;
mod listen;
mod loading;
mod log;
mod metrics;
mod notify;
mod objects;
mod push;
mod refusal;
mod server;
mod start;
mod store;
mod verbs;

pub use access::{Origins, Token};
pub use config::{Config, PROGRAM, Role, Task, Timeouts};
pub use home::NatsSettings;
pub use verbs::Call;

use common::flags::{self, Error, one_line};
use store::journal;

/// Does what the command line asks for.
///
/// # Errors
///
/// What kept it from that.
pub fn run(task: Task) -> Result<(), Error> {
    match task {
        Task::Serve(config) => {
            allocator::restart_with_settings();
            return start::serve(*config);
        }
        Task::Verify(directory) => flags::print(journal::verify(&directory)?),
        Task::Repair { directory, dry_run } => {
            let tell = |damage: &journal::Damage| flags::print(damage);
            flags::print(journal::repair(&directory, dry_run, tell)?);
        }
        Task::Promote(directory) => flags::print(journal::promote(&directory)?),
        Task::Ask(call) => call.make()?,
    }
    Ok(())
}

/// To start again does not help where a journal is damaged.
impl From<journal::Error> for Error {
    fn from(error: journal::Error) -> Error {
        Error::new(one_line(&error)).with_status(if error.is_damage() { 3 } else { 1 })
    }
}
