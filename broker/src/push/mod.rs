//! Push: new messages go to those who follow their topic, and nobody waits for a slow reader.
//!
//! A subscriber is a cursor, never a queue: the offset that it needs next. Replay and live are the
//! same code.
//!
//! Whoever publishes delivers: after its publish is in the list and its own answer is sent, the
//! publisher's thread hands the new messages to those who wait for them. What would keep it for
//! long is left to the threads of `catch_up.rs`.
//!
//! Modules in reading order:
//!
//! - `listeners`: who waits for which topic; `patterns`: and who for topics that are to come
//! - `subscriber`: what a connection follows; `lasting`: subscriptions that outlive a connection
//! - `session`: the one writer of a socket; `outgoing`: what it has to write; `subscriptions`: its
//!   topics
//! - `pass`: what a thread that writes to many sessions shares among them; `format`: the bytes
//! - `reads`: what somebody asked for; `pieces`: what mirrors do not hold of it
//! - `catch_up`: threads for sessions that are behind

mod catch_up;
#[cfg(test)]
mod fixture;
mod format;
mod lasting;
mod listeners;
mod outgoing;
mod pass;
mod patterns;
mod pieces;
mod reads;
mod session;
mod subscriber;
mod subscriptions;

pub(crate) use format::Format;
pub(crate) use lasting::{Key, LastingSubscriptions, SharedPositions, Standing};
pub(crate) use patterns::{Interest, chooses};
pub(crate) use pieces::{Piece, Source, Wanted};
pub(crate) use reads::Range;
pub(crate) use subscriber::{Beginning, Subscriber};

use crate::log::Log;
use crate::metrics::Counter;
use crate::store::{Batch, Cursor, StreamId, Topics};
use catch_up::CatchUp;
use format::{Encoder, Note, OtherCursors};
use listeners::{Listener, Listeners};
use outgoing::{Outgoing, Unsent};
use pass::{DeliveryPass, Unread};
use patterns::Patterns;
use pieces::Pieces;
use session::{HELD_SIZE_MAX, Progress, Session};
use std::collections::HashSet;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use subscriptions::{Subscription, Subscriptions};

/// How long a publisher's thread delivers before it leaves the rest to others.
const DELIVERY_TIME: Duration = Duration::from_millis(10);

/// How many items of a list are looked at under one lock.
const LISTED_AT_ONCE: usize = 128;

/// The topics, and all who wait for their messages.
pub(crate) struct Push {
    pub(crate) topics: Topics,
    pub(crate) lasting: Arc<LastingSubscriptions>,
    pub(crate) listeners: Listeners,
    pub(crate) patterns: Arc<Patterns>,
    /// The number of the last announcement: whoever reads a list from now on finds its messages. So
    /// a writer knows of which of them a piece that was encoded earlier has the messages.
    announced: AtomicU64,
    catch_up: CatchUp,
    /// What mirrors do not hold.
    pub(crate) pieces: Pieces,
    /// Messages that were written to clients, whether pushed or asked for.
    pub(crate) delivered: Counter,
    log: Arc<Log>,
}

impl Push {
    /// Nobody waits for these topics yet. At most `threads_max` threads will catch up.
    pub(crate) fn new(
        topics: Topics,
        lasting: LastingSubscriptions,
        threads_max: usize,
        log: Arc<Log>,
    ) -> Push {
        let lasting = Arc::new(lasting);
        let patterns = Arc::new(Patterns::new());
        let noted = Arc::clone(&patterns);
        topics.know(|known| {
            known.dependents = Some(Box::new(Arc::clone(&lasting)));
            known.on_create = Box::new(move |topic, stream| noted.note(topic, stream));
        });
        let pieces = Pieces::new(topics.account().1.max);
        Push {
            topics,
            pieces,
            lasting,
            listeners: Listeners::default(),
            patterns,
            announced: AtomicU64::new(0),
            catch_up: CatchUp::new(threads_max),
            delivered: Counter::default(),
            log,
        }
    }

    /// Delivers the new messages of a batch's topics. Called when its publishers were answered.
    pub(crate) fn announce_batch(self: &Arc<Push>, batch: &Batch) {
        let topics = batch.runs().filter_map(|run| run.first());
        self.announce_all(topics.map(|publish| &*publish.topic));
    }

    /// Delivers the new messages of a topic, or tells that it was deleted.
    pub(crate) fn announce(self: &Arc<Push>, topic: &str) {
        self.announce_all(iter::once(topic));
    }

    /// First tells all of everything, then writes: so a session is written to once for all of its
    /// topics.
    fn announce_all<'t>(self: &Arc<Push>, topics: impl Iterator<Item = &'t str>) {
        // Those whose writer this thread is.
        let mut sessions = self.follow_created();
        if self.listeners.is_empty() {
            return;
        }
        let announced = self.begin_announcement();
        let mut told = HashSet::new();
        for topic in topics.filter(|topic| told.insert(*topic)) {
            let Some(listeners) = self.listeners.of(topic) else { continue };
            for listener in listeners.iter() {
                match listener {
                    Listener::Waiter(waiter) => drop(waiter.try_send(())),
                    Listener::Session(session, index) if session.notify(*index, announced) => {
                        sessions.push(Arc::clone(session));
                    }
                    Listener::Session(..) => {}
                }
            }
        }
        let mut pass = DeliveryPass::new(self, Some(DELIVERY_TIME));
        pass.is_shared = sessions.len() > 1;
        for session in sessions {
            if pass.is_late() || session.write(&mut pass) != Progress::UpToDate {
                self.catch_up.take(session, self);
            }
        }
    }

    /// The number of a new announcement, of messages that are in the lists.
    fn begin_announcement(&self) -> u64 {
        self.announced.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Has topics that came into being followed by pattern. Gives the sessions whose writer the
    /// caller is.
    fn follow_created(self: &Arc<Push>) -> Vec<Arc<Session>> {
        let created = self.patterns.take_created();
        if created.is_empty() {
            return Vec::new();
        }
        let followers = self.patterns.lock();
        let (mut added, mut begun) = (Vec::new(), Vec::new());
        for (topic, stream) in created {
            for (session, Interest { format, name, .. }) in followers.choosing(&topic) {
                if self.listeners.check_room(0, 1).is_err() {
                    // It is told when it comes back.
                    session.close();
                    continue;
                }
                let place = Beginning::chosen(&topic, Cursor { stream, next: 0 });
                let places = [place.clone()];
                let own = session.subscribe(&self.listeners, places, *format, name.clone(), None);
                added.extend(own.iter().map(|index| (*index, Arc::clone(session))));
                if let Some(name) = name.clone().filter(|_| !own.is_empty()) {
                    begun.push((name, place, session.number));
                }
            }
        }
        drop(followers);
        let mut keys = Vec::new();
        for (name, mut place, session) in begun {
            if self.lasting.holder(&name).is_none_or(|holder| holder == session) {
                let _ = self.take_up(&name, &mut place, session, &mut keys);
            }
        }
        // Where it is not stored, a crash may repeat some.
        let _ = self.keep(&keys, true);
        added.retain(|(index, session)| session.notify(*index, u64::MAX));
        added.into_iter().map(|(_, session)| session).collect()
    }

    /// The topics that are there and that are chosen, and their lists.
    pub(crate) fn chosen(&self, is_chosen: impl Fn(&str) -> bool) -> Vec<(String, StreamId)> {
        let list = |behind: &String, count| self.topics.list(behind, count);
        let topics = pages(list, |(topic, _)| topic.clone());
        let chosen = topics.filter(|(topic, _)| is_chosen(topic));
        chosen.map(|(topic, summary)| (topic, summary.stream)).collect()
    }
}

/// All items of a list of which `page` gives so many behind a key, at first behind one that is less
/// than all others: no lock is held while they are written.
pub(crate) fn pages<T, K: Default>(
    page: impl Fn(&K, usize) -> Vec<T>,
    key: impl Fn(&T) -> K,
) -> impl Iterator<Item = T> {
    let mut behind = Some(K::default());
    let next = move || {
        let items = page(&behind.take()?, LISTED_AT_ONCE);
        behind = items.get(LISTED_AT_ONCE - 1).map(&key);
        Some(items)
    };
    iter::from_fn(next).flatten()
}
