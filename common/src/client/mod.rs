//! The client library: publishing to a broker, and reading from it.
//!
//! - [`Broker`]: which broker, and how patiently
//! - [`Publisher`]: messages to a broker, each exactly once and in order
//! - [`Subscriber`]: messages from a broker, as they come
//! - [`Broker::http`]: one request over HTTP after another, for brokers that know no more
//!
//! Each of these but the first has a connection of its own, which it makes when it is needed and
//! makes again when it was lost. None of them starts a thread: the caller's thread does the work.
//!
//! A whole chat, with one thread that writes and one that reads, is in `examples/chat.rs`:
//! `cargo run -p common --example chat -- NAME`.
//!
//! ```no_run
//! use common::client::{Broker, Event, Publisher, Start, Subscriber};
//!
//! let broker = Broker::at("127.0.0.1:9000");
//! let mut subscriber = Subscriber::new(broker.clone());
//! subscriber.subscribe("greetings", Start::Now)?;
//!
//! Publisher::new(broker).publish("greetings", "hello")?;
//!
//! for event in subscriber.by_ref().take(1) {
//!     if let Event::Message(message) = event? {
//!         assert_eq!(message.text, "hello");
//!     }
//! }
//! subscriber.unsubscribe("greetings")?;
//! # Ok::<(), common::client::Error>(())
//! ```
//!
//! # Guarantees
//!
//! | | [`Publisher`] | [`Subscriber`] |
//! |---|---|---|
//! | at most once | | [`Start::Now`] |
//! | at least once | | [`Start::Name`] with [`acknowledge`](Subscriber::acknowledge) |
//! | exactly once | always | [`Start::Cursor`], stored together with the result of each message |
//!
//! # Not here
//!
//! Asynchronous functions, TLS (put a proxy before the broker), and publishing without
//! acknowledgement.

mod broker;
mod error;
mod event;
#[cfg(test)]
mod fixture;
mod link;
mod location;
mod outage;
mod publisher;
mod queue;
mod subscriber;
mod subscription;
mod subscriptions;

pub use crate::trouble::Trouble;
pub use broker::Broker;
pub use error::{Error, Failure, Refusal};
pub use event::{Event, Message};
pub use outage::Outage;
pub use publisher::{Publisher, Receipt};
pub use subscriber::Subscriber;
pub use subscription::Start;

use error::read_answer;
use event::Pushed;
use link::{INVALID, Link, invalid};
use outage::ATTEMPT_MIN;
use queue::{BATCH_SIZE, Queue};
use subscription::Subscription;
use subscriptions::{Fault, Subscriptions, Target};
