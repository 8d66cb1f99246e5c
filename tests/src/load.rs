//! Publishers and followers that continue through all disturbances, and report to a [`Checker`].
//!
//! A publisher sends one numbered publish at a time and repeats it until it is answered. Sometimes
//! it loses an answer on purpose. A follower reads every message by its offset and reconnects where
//! it was. Sometimes it leaves on purpose.

mod follow;
mod lasting;
mod link;
mod publish;

use crate::checker::{Checker, Counts, List};
use crate::wait::{DEADLINE, holds_within, wait_for};
pub use follow::Follower;
use link::Link;
pub use publish::Door;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What a publisher does when it was refused, or nobody is there.
const PAUSE: Duration = Duration::from_millis(20);

/// A load on one broker, until it is [finished](Load::finish).
#[derive(Debug)]
pub struct Load {
    address: String,
    shared: Arc<Shared>,
    publishers: Vec<JoinHandle<()>>,
    followers: Vec<(JoinHandle<()>, Place)>,
}

/// The offset that a follower needs next, in each of its topics.
type Place = Arc<Mutex<BTreeMap<String, u64>>>;

#[derive(Debug, Default)]
struct Shared {
    checker: Mutex<Checker>,
    /// Publishers end with the value that they are at.
    publishing_is_over: AtomicBool,
    /// Nobody repeats anything any more.
    is_over: Arc<AtomicBool>,
    refusals: AtomicU64,
    ended_subscriptions: AtomicU64,
}

impl Shared {
    fn checker(&self) -> MutexGuard<'_, Checker> {
        // A publisher that panicked is told of when it is joined.
        self.checker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    /// No load yet, on the broker at `HOST:PORT`, which need not be there all the time; or, with
    /// commas, on any of several that have the same topics, another with each connection.
    #[must_use]
    pub fn on(address: &str) -> Load {
        let (publishers, followers) = (Vec::new(), Vec::new());
        Load { address: address.to_owned(), shared: Arc::default(), publishers, followers }
    }

    /// Adds a publisher of its own name, with a pause after each publish.
    pub fn publish(&mut self, publisher: &str, topic: &str, door: Door, pause: Duration) {
        let address = self.address.clone();
        self.publish_through(&address, publisher, topic, door, pause);
    }

    /// Adds a publisher that is told another address, such as that of a proxy.
    pub fn publish_through(
        &mut self,
        address: &str,
        publisher: &str,
        topic: &str,
        door: Door,
        pause: Duration,
    ) {
        let place = publish::Publisher::new(address, publisher, topic, door, pause);
        let shared = Arc::clone(&self.shared);
        self.publishers.push(thread::spawn(move || place.run(&shared)));
    }

    /// Adds a follower of these topics, from their beginning.
    pub fn follow(&mut self, topics: &[&str], follower: Follower) {
        let begin = topics.iter().map(|topic| ((*topic).to_owned(), 0)).collect();
        let place = Arc::new(Mutex::new(begin));
        let shared = Arc::clone(&self.shared);
        let (address, its_place) = (self.address.clone(), Arc::clone(&place));
        let run = move || follow::run(follower, &address, &its_place, &shared);
        self.followers.push((thread::spawn(run), place));
    }

    /// Tells the checker what somebody else did, or asks it.
    pub fn with_checker<T>(&self, tell: impl FnOnce(&mut Checker) -> T) -> T {
        tell(&mut self.shared.checker())
    }

    /// How often a publisher was refused for want of room, and told so.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.shared.refusals.load(Ordering::Relaxed)
    }

    /// How often a lasting subscription was ended and begun again.
    #[must_use]
    pub fn ended_subscriptions(&self) -> u64 {
        self.shared.ended_subscriptions.load(Ordering::Relaxed)
    }

    /// Lets publishers end; they do once what they sent is answered.
    ///
    /// # Panics
    ///
    /// When a publish was not stored for long, whatever it was answered.
    pub fn end_publishing(&mut self) {
        self.shared.publishing_is_over.store(true, Ordering::Relaxed);
        for publisher in self.publishers.drain(..) {
            publisher.join().expect("no publisher panics");
        }
    }

    /// Lets publishers end, and followers once they have seen everything; then checks.
    ///
    /// # Panics
    ///
    /// When the broker is not there, or a follower does not see the end.
    #[must_use]
    pub fn finish(mut self) -> Counts {
        self.end_publishing();
        let lists = self.lists();
        for (_, place) in &self.followers {
            let now = || place.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let end = |topic: &str| lists.get(topic).map_or(0, List::end);
            // However far behind it is: what counts is that it comes on.
            let mut before = now();
            while before.iter().any(|(topic, next)| *next < end(topic)) {
                let comes_on = holds_within(DEADLINE, || now() != before);
                assert!(comes_on, "a follower stands still: {before:?}");
                before = now();
            }
        }
        self.check(&lists)
    }

    /// Checks without waiting for the followers, who may be ahead of a broker that lost messages.
    ///
    /// # Panics
    ///
    /// When the broker is not there.
    #[must_use]
    pub fn count(mut self) -> Counts {
        self.end_publishing();
        let lists = self.lists();
        self.check(&lists)
    }

    fn lists(&self) -> BTreeMap<String, List> {
        let topics = self.with_checker(|checker| checker.topics());
        topics.into_iter().map(|topic| (topic.clone(), self.list(&topic))).collect()
    }

    fn check(mut self, lists: &BTreeMap<String, List>) -> Counts {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for (follower, _) in self.followers.drain(..) {
            follower.join().expect("no follower panics");
        }
        self.with_checker(|checker| {
            checker.check(|topic| lists.get(topic).cloned().unwrap_or_default())
        })
    }

    /// All messages of a topic that were not let go, once all brokers give the same.
    fn list(&self, topic: &str) -> List {
        let what = format!("a list of {topic:?} that all brokers agree on");
        wait_for(DEADLINE, &what, || {
            let mut lists = self.address.split(',').map(|address| list(address, topic));
            let first = lists.next()?.ok()?;
            lists.all(|other| other.is_ok_and(|other| other == first)).then_some(first)
        })
    }
}

/// What one broker gives of a topic.
fn list(address: &str, topic: &str) -> io::Result<List> {
    let mut link = Link::connect(address, None)?;
    let answer = link.request("GET", &format!("/messages?topic={topic}"), "")?;
    if answer.status != 200 {
        return Err(io::Error::other(answer.text));
    }
    let messages = answer.text.lines().map(str::to_owned).collect();
    Ok(List { first: answer.first.unwrap_or_default(), messages })
}

/// Numbers that look like chance, for who does what when.
fn chance(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
