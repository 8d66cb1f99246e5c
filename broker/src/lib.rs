//! The broker: topics of messages, behind one port.
//!
//! Modules in reading order:
//!
//! - `config`: the command line; `start`: from there to a broker that serves; `error`: why not
//! - `control_group`: what the system allows the process
//! - `allocator`: gives memory back to the system that was freed
//! - `listen`: the socket that clients connect to; `notify`: what the service manager is told;
//!   `loading`: what is answered while the journal is read
//! - `server`: the accept loop, a thread for each connection
//! - `door`: the protocols; each turns bytes into calls on `broker`
//! - `activity`: when a connection was last of use
//! - `access`: who may come in; `refusal`: what a client is told
//! - `broker`: what all connections share
//! - `store`: topics and their messages, in memory and on disk
//! - `push`: how new messages come to those who follow them
//! - `home`: brokers that work together
//! - `log`, `metrics`: who did what, and how often
//! - `objects`: JSON objects, one after another
//! - `verbs`: what is asked of a broker that runs, from the command line

#![forbid(unsafe_code)]

mod access;
mod activity;
mod allocator;
mod broker;
mod config;
mod control_group;
mod door;
mod error;
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

pub use access::{Origins, Token, TokenError};
pub use config::{Config, PROGRAM, Role, Task, Timeouts, TokenSource};
pub use error::Error;
pub use verbs::Call;

use common::flags;
use store::journal;

/// Does what the command line asks for.
///
/// # Errors
///
/// What kept it from that.
pub fn run(task: Task) -> Result<(), Error> {
    let journal = |error| Error::Journal(Box::new(error));
    match task {
        Task::Serve(config) => {
            allocator::restart_with_settings();
            start::serve(*config)
        }
        Task::Verify(directory) => {
            let summary = journal::verify(&directory).map_err(journal)?;
            flags::print(summary);
            Ok(())
        }
        Task::Repair { directory, dry_run } => {
            let tell = |damage: &journal::Damage| flags::print(damage);
            let repaired = journal::repair(&directory, dry_run, tell).map_err(journal)?;
            flags::print(repaired);
            Ok(())
        }
        Task::Ask(call) => call.make().map_err(Error::Ask),
    }
}
