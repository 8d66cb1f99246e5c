//! A home elsewhere: what it can be asked, and what comes from it.
//!
//! This is the seam between mirrors and the system that orders their topics. Nothing on this side
//! of it knows JSON or connections.

use crate::push::{Piece, Wanted};
use crate::refusal::{Refusal, Result};
use crate::store::{
    Cursor, Limits, Publish, Receipts, StreamId, Summary, TopicChange, Topics, entry,
};
use common::limits::BODY_SIZE_MAX;
use common::pattern::Pattern;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A system that is the home of topics.
pub(super) trait RemoteHome: Send + Sync {
    /// What users call it: `HOST:PORT`.
    fn address(&self) -> &str;

    /// Appends publishes: one answer for each.
    fn append(&self, publishes: &[Forwarded<'_>], deadline: Instant) -> Receipts;

    /// Changes a topic. Gives the list that was created, or the first offset that is still there
    /// after a trim.
    ///
    /// # Errors
    ///
    /// [`Refusal::TopicExists`], [`Refusal::NoTopic`], or what else the home says.
    fn change(&self, topic: &str, change: &TopicChange, deadline: Instant) -> Result<Cursor>;

    /// Reads what is wanted of a list: see [`Wanted`].
    ///
    /// # Errors
    ///
    /// [`Refusal::Trimmed`], [`Refusal::OtherStream`], [`Refusal::PastEnd`], or what else the home
    /// says.
    fn read(&self, wanted: Wanted<'_>, deadline: Instant) -> Result<Piece>;

    /// What a list keeps, where its mirrors see to that.
    fn limits(&self, _stream: StreamId) -> Option<Limits> {
        None
    }

    /// Lets go at the home what such mirrors have let go. Called every second or so.
    fn keep_bounds(&self, _topics: &Topics) {}

    /// How many servers store each message, where that is known.
    fn replicas(&self) -> Option<u64> {
        None
    }

    /// All topics in short, where the home tells it.
    fn list(&self, _deadline: Instant) -> Option<Result<List>> {
        None
    }

    /// The names of all topics that match.
    ///
    /// # Errors
    ///
    /// Why nobody can tell.
    fn names(&self, pattern: &Pattern, deadline: Instant) -> Result<Vec<String>>;

    /// Asks for topics from the ends of their mirrors on. The answers are events. Where there is
    /// no connection, nothing is asked: see [`Event::Connected`].
    fn follow(&self, mirrors: Vec<MirrorEnd>);

    /// Asks for no more of a topic.
    fn leave(&self, topic: &str);

    /// Connects, and hands on what comes until the connection ends. Returns why it ended.
    fn listen(&self, handle: &mut dyn FnMut(Event<'_>)) -> Refusal;

    /// Ends the connection: the home does not answer.
    fn disconnect(&self);

    /// Asks whether this home, or its own home, and so on, is one of the brokers in `seen`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Ring`]. A broker that cannot be asked closes no ring now: it asks the same when
    /// it is back.
    fn check_path(&self, seen: &[String], time: Duration) -> Result<()>;
}

/// Topics in short, by name.
pub(super) type List = Arc<BTreeMap<String, Summary>>;

/// A publish on its way to its home, and its entries.
pub(super) type Forwarded<'a> = (&'a Publish, &'a [String]);

/// Where the mirror of a topic ends.
pub(super) struct MirrorEnd {
    pub(super) topic: String,
    /// The offset that it needs next.
    pub(super) next: u64,
    /// The list that it mirrors; [`StreamId::NONE`] where there is no mirror yet, and nothing where
    /// any list will do.
    pub(super) stream: Option<StreamId>,
    /// The digest of what it holds, where it is known: the home's list has to begin with that.
    pub(super) digest: Option<u32>,
    /// About how much text there is memory for. Where more lies before the end of the list, the
    /// home may begin later than at `next`.
    pub(super) room: u64,
}

/// An offset, and what the home knows of the messages before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) offset: u64,
    /// Their digest.
    pub(super) digest: Option<u32>,
    /// How much text of them is still there.
    pub(super) text: Option<u64>,
}

/// What comes from a home.
pub(super) enum Event<'a> {
    /// There is a connection. Nothing is followed on it yet.
    Connected,
    /// Something about a topic.
    Topic(&'a str, News),
    /// A lasting subscriber's name was taken through another broker, with this fence.
    Taken(&'a str, u64),
    /// All that has arrived was handed on. Comes every two seconds at least.
    Pause,
}

/// What comes of a topic.
pub(super) enum News {
    /// It is sent from `begin` on; its list goes from `first` to `end`.
    Confirmed { first: u64, begin: Start, end: Cursor },
    /// It keeps so much, and its mirrors see to that.
    Keeps(Limits),
    /// What comes next stands at this offset, and this is the digest there, if the home says so:
    /// what was missing before was let go.
    Trimmed(Option<StreamId>, u64, Option<u32>),
    /// The entry at an offset. The stream id is given at offset 0 at least.
    Message { offset: u64, stream: Option<StreamId>, entry: String },
    /// Its list was replaced by another.
    Reset(Option<StreamId>),
    /// It was deleted.
    Deleted,
    /// It is not sent: there is none (404), its list does not begin with what the mirror holds
    /// (410, 412, 416), what the mirror needs was let go ([`Refusal::Trimmed`]), or what else the
    /// home says.
    Refused(Refusal),
    /// The home sends what no broker stores.
    Nonsense(Refusal),
}

/// An entry, if these make one that a home may have stored, whatever its `--max-message`.
///
/// # Errors
///
/// What no broker stores.
pub(super) fn entry(message: &str, time: u64, publisher: Option<&str>) -> Result<String> {
    entry::check_message(message, BODY_SIZE_MAX / 2)?;
    publisher.map_or(Ok(()), |publisher| entry::check_name("publisher", publisher))?;
    Ok(entry::compose(message, &entry::stamp(time, publisher)))
}
