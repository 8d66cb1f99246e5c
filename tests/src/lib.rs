//! Real processes on free ports, for tests and demonstrations.
//!
//! - [`System`]: a broker, and the publishers and subscribers that work with it
//! - [`Process`]: one running program, its output kept in its folder
//! - [`Stopped`]: one that is held up where it is
//! - [`Folder`]: a folder of one's own, gone when it is dropped
//! - [`Browser`]: a real one, without a screen
//! - [`NatsServers`]: what topics may live in
//! - [`network`]: one of one's own, with nodes that can be cut off
//! - [`program`]: where the programs are; they are built once per run
//! - [`Proxy`]: a network that loses things
//! - [`Load`]: publishers and followers that go on whatever happens to the broker
//! - [`checker`]: counts what must never happen to a message
//! - [`raw`]: bytes over a socket, and a reader of HTTP that shares no code with the product
//! - [`resources`]: what a process uses of the machine
//! - [`tools`]: programs that are not part of this workspace, such as `python3`
//! - [`wait`]: conditions with a deadline, in place of sleeps
//!
//! # Guarantee
//!
//! Tests that use nothing else can run side by side: every node has its own folder and every
//! broker its own port. When a [`System`] or a [`Process`] is dropped, its processes have ended;
//! if the test is failing, what they printed is printed first.
//!
//! # Not here
//!
//! The product's own HTTP, where a broker is asked: a mistake there must not be shared by what
//! looks for it.

#![forbid(unsafe_code)]

mod browser;
pub mod checker;
mod folder;
mod load;
mod nats;
pub mod network;
mod port;
mod process;
pub mod program;
mod proxy;
pub mod raw;
pub mod resources;
mod stopped;
mod system;
pub mod tools;
pub mod wait;

pub use browser::{ARROW_DOWN, ARROW_UP, Browser, ENTER, ESCAPE, SHIFT};
pub use checker::{Checker, Counts, List};
pub use folder::Folder;
pub use load::{Door, Follower, Load};
pub use nats::NatsServers;
pub use process::Process;
pub use proxy::{Fate, Proxy};
pub use stopped::Stopped;
pub use system::{Subscriber, System, publish_body};
