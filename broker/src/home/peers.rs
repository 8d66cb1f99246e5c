//! Peers: brokers that ask an index which of them is the home of a topic.
//!
//! A topic must be created before it is used; the peer that creates it is its home.
//!
//! # Not here
//!
//! The index (`index.rs`): any broker can be one.

use super::broker::{BrokerHome, IndexClient};
use super::index::Address;
use super::locations::Locations;
use super::mirrors::Mirrors;
use super::{Identity, deadline};
use crate::notify;
use crate::refusal::{Refusal, Result};
use crate::store::{Batch, Receipts, TopicChange, Topics, memory};
use common::flags;
use common::lock::Mutex;
use common::pattern::Pattern;
use common::retry::Pauses;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Condvar, PoisonError};
use std::thread;
use std::time::Instant;

/// A broker among peers.
pub(crate) struct Peers {
    index: IndexClient,
    own: Identity,
    locations: Arc<Locations>,
    state: Mutex<State>,
    /// Told when this peer has registered.
    changed: Condvar,
}

/// Held to look or to note, never across I/O.
#[derive(Default)]
struct State {
    /// The other peers that are the home of a topic.
    homes: HashMap<Address, Arc<Mirrors>>,
    /// Topics that live here, while the index says that their home is elsewhere.
    contested: HashSet<String>,
    /// Whether this peer is registered, and the index knows what lives here.
    is_registered: bool,
}

impl Peers {
    /// A peer that is reached at `address`, and asks the index at `HOST:PORT`.
    pub(super) fn new(index: String, address: Address, own: Identity) -> Peers {
        let index = IndexClient::new(index, address, own.token.clone());
        let locations = Arc::<Locations>::default();
        // What was mirrored before is followed again, whoever asks for it.
        own.push.topics.names(true).iter().for_each(|(topic, _)| locations.moved(topic));
        let (state, changed) = Default::default();
        Peers { index, own, locations, state, changed }
    }

    /// Registers with the index, tells it the topics that live here, and does so again whenever
    /// the index was lost. Does not return.
    pub(super) fn run(&self) -> ! {
        let mut pauses = Pauses::default();
        let mut outage = notify::Outage::default();
        loop {
            let Err(lost) = self.stay_registered(|| {
                pauses.reset();
                outage.is_over("the index is back");
            });
            self.state.lock().is_registered = false;
            let line = flags::one_line(&lost);
            let more = "topics whose home is known are served until it is back";
            outage.failed(notify::PATIENCE, format_args!("no index: {line}; {more}"));
            thread::sleep(pauses.next());
        }
    }

    /// Registers with the topics that live here and no others, and stays registered until the
    /// connection ends.
    fn stay_registered(&self, registered: impl FnOnce()) -> Result<Infallible> {
        let topics = self.topics().names(false);
        let mut registration = self.index.register(topics.len())?;
        let mut contested = HashSet::new();
        registration.tell(&topics, |topic, refusal| {
            contested.insert(topic.to_owned());
            // At once: who reads the warning finds the topic refused.
            self.state.lock().contested.insert(topic.to_owned());
            notify::warn(format_args!(
                "topic {topic:?} is here, but the index says: {refusal}; it is refused here until \
                 it is deleted there, or here"
            ));
        })?;
        // Deleted while the index was being told of them.
        for (topic, _) in topics.iter().filter(|(topic, _)| !self.topics().is_own(topic)) {
            let _ = self.index.remove(topic, deadline());
        }
        let mut state = self.state.lock();
        state.contested = contested;
        state.is_registered = true;
        drop(state);
        self.changed.notify_all();
        registered();
        loop {
            self.follow_moved();
            registration.keep()?;
        }
    }

    /// Follows topics that are waited for here, and whose home was not known.
    fn follow_moved(&self) {
        let deadline = deadline();
        for topic in self.locations.all_moved() {
            if Instant::now() >= deadline {
                // The index is to hear of this peer in time; the rest follows.
                return;
            }
            let waits =
                self.topics().is_mirror(&topic) || self.own.push.listeners.of(&topic).is_some();
            match self.home(&topic, deadline) {
                Ok(Some(mirrors)) if mirrors.ask_for(&topic).is_ok() => {}
                Ok(Some(_)) if waits => self.locations.moved(&topic),
                Err(_) if waits => {}
                _ => self.locations.forget(&topic),
            }
        }
    }

    /// The mirrors of the home of a topic, where that is not this peer.
    pub(super) fn home(&self, topic: &str, deadline: Instant) -> Result<Option<Arc<Mirrors>>> {
        if self.topics().is_own(topic) {
            let is_contested = self.state.lock().contested.contains(topic);
            return if is_contested { Err(contested()) } else { Ok(None) };
        }
        let known = self.locations.get(topic);
        if let Some(mirrors) = &known
            && mirrors.is_in_reach()
        {
            return Ok(Some(Arc::clone(mirrors)));
        }
        match (self.ask_index(topic, deadline), known) {
            // The index says so, but there is no such list: it was deleted just now.
            (Ok(address), _) if address == self.index.own => {
                Err(Refusal::UnknownTopic(topic.to_owned()))
            }
            (Ok(address), _) => self.at(topic, address).map(Some),
            (Err(Refusal::Unreachable { .. }), Some(mirrors)) if !mirrors.is_over() => {
                Ok(Some(mirrors))
            }
            (Err(refusal), _) => Err(refusal),
        }
    }

    /// The mirrors of all topics elsewhere that match, as the index lists them.
    pub(super) fn matching(
        &self,
        pattern: &Pattern,
        deadline: Instant,
    ) -> Result<Vec<(String, Arc<Mirrors>)>> {
        let homes = self.index.homes_of(pattern, deadline)?.into_iter();
        let elsewhere = homes
            .filter(|(topic, address)| *address != self.index.own && !self.topics().is_own(topic));
        let find = |(topic, address): (String, Address)| {
            let mirrors = self.at(&topic, address)?;
            Ok((topic, mirrors))
        };
        elsewhere.map(find).collect()
    }

    /// Asks the index for the home of a topic. An index that this peer has not told its topics may
    /// not have been told of this one either.
    fn ask_index(&self, topic: &str, deadline: Instant) -> Result<Address> {
        let is_vague =
            |refusal: &Refusal| matches!(refusal, Refusal::UnknownTopic(_) | Refusal::Away(_));
        match self.once_registered(deadline, is_vague, || self.index.home_of(topic, deadline)) {
            Err(Refusal::UnknownTopic(_)) if !self.state.lock().is_registered => {
                Err(Refusal::Away(topic.to_owned()))
            }
            answer => answer,
        }
    }

    /// Asks something, and once more where the answer is `vague` and this peer was not registered.
    fn once_registered<T>(
        &self,
        deadline: Instant,
        is_vague: impl Fn(&Refusal) -> bool,
        ask: impl Fn() -> Result<T>,
    ) -> Result<T> {
        let was_registered = self.state.lock().is_registered;
        let answer = ask();
        if was_registered || !answer.as_ref().is_err_and(is_vague) {
            return answer;
        }
        let time = deadline.saturating_duration_since(Instant::now());
        let is_away = |state: &mut State| !state.is_registered;
        let waited = self.changed.wait_timeout_while(self.state.lock(), time, is_away);
        let is_registered = waited.unwrap_or_else(PoisonError::into_inner).0.is_registered;
        if is_registered { ask() } else { answer }
    }

    /// The mirrors of the peer at this address, which is the home of the topic.
    fn at(&self, topic: &str, address: Address) -> Result<Arc<Mirrors>> {
        let mut state = self.state.lock();
        let mirrors = match state.homes.get(&address) {
            Some(mirrors) if !mirrors.is_over() => Arc::clone(mirrors),
            _ => {
                let shows_token = Arc::clone(&self.index.asks_for_token);
                let home = BrokerHome::new(address.to_string(), &self.own, shows_token);
                let locations = Some(Arc::clone(&self.locations));
                let mirrors = Mirrors::new(Arc::new(home), locations, &self.own);
                let mirrors = mirrors.map_err(|error| self.index.unreachable(&error))?;
                state.homes.insert(address, Arc::clone(&mirrors));
                mirrors
            }
        };
        drop(state);
        // A mirror has one source.
        let before = self.locations.set(topic, &mirrors);
        if let Some(before) = before.filter(|before| !Arc::ptr_eq(before, &mirrors)) {
            before.leave(topic);
        }
        Ok(mirrors)
    }

    /// The other peer that is a topic's home, if that is known.
    pub(super) fn known_home(&self, topic: &str) -> Option<String> {
        let elsewhere = self.locations.get(topic).filter(|_| !self.topics().is_own(topic));
        elsewhere.map(|mirrors| mirrors.home.address().to_owned())
    }

    /// Appends a batch that is all of one topic at its home.
    pub(super) fn publish(&self, batch: &mut Batch, deadline: Instant) -> Receipts {
        let topic = batch.publishes.first().map(|publish| publish.topic.clone());
        match self.home(&topic.unwrap_or_default(), deadline) {
            Ok(None) => {
                // Mirrors make way for what lives here.
                let size = batch.entries.iter().map(|entry| memory::entry_size(entry)).sum();
                self.topics().make_room(size, false);
                batch.own_only = true;
                self.topics().append(batch)
            }
            Ok(Some(mirrors)) => mirrors.publish(batch, deadline),
            Err(refusal) => batch.publishes.iter().map(|_| Err(refusal.clone())).collect(),
        }
    }

    /// Creates a topic, whose home is here.
    pub(super) fn create(&self, topic: &str, deadline: Instant) -> Result<()> {
        let topics = self.topics();
        let known = self.locations.get(topic);
        if topics.is_own(topic) {
            return Err(Refusal::TopicExists);
        }
        let is_followed = known.as_ref().is_some_and(|mirrors| mirrors.follows(topic));
        if is_followed && topics.is_mirror(topic) {
            // Most likely its home is there. An index that was just restarted may not know it.
            match self.ask_index(topic, deadline) {
                Ok(_) | Err(Refusal::Away(_)) => return Err(Refusal::TopicExists),
                Err(Refusal::UnknownTopic(_)) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        // It does not know the key that it is given.
        let is_stranger = |refusal: &Refusal| matches!(refusal, Refusal::Home { .. });
        self.once_registered(deadline, is_stranger, || self.index.add(topic, None, deadline))?;
        // A mirror of an earlier topic of this name makes way.
        if let Some(mirrors) = known {
            mirrors.leave(topic);
        }
        let _ = topics.drop_mirror(topic, None);
        self.locations.forget(topic);
        self.state.lock().contested.remove(topic);
        let created = topics.change_topic(topic, TopicChange::Create);
        let _ = match created {
            // By its id the list is known again, should it come back under another address.
            Ok(()) => self.index.add(topic, Some(topics.end(topic).stream), deadline),
            Err(Refusal::TopicExists) => Ok(()),
            // Nobody else may have the name before the index hears that it is free again.
            Err(_) => self.index.remove(topic, deadline),
        };
        created
    }

    /// Deletes a topic at its home.
    pub(super) fn delete(&self, topic: &str, deadline: Instant) -> Result<()> {
        let topics = self.topics();
        if topics.is_own(topic) {
            topics.change_topic(topic, TopicChange::Delete)?;
            if !self.state.lock().contested.remove(topic) {
                // An index that is not there is told what lives here when it is back.
                let _ = self.index.remove(topic, deadline);
            }
            return Ok(());
        }
        match self.home(topic, deadline) {
            Ok(Some(mirrors)) => mirrors.change(topic, TopicChange::Delete, deadline),
            // What is left of a topic that is gone elsewhere.
            Ok(None) | Err(Refusal::UnknownTopic(_)) => topics.drop_mirror(topic, None),
            Err(refusal) => Err(refusal),
        }
    }

    /// What lives here, and mirrors.
    fn topics(&self) -> &Topics {
        &self.own.push.topics
    }
}

/// What is said of a topic that has another home than this peer, which has one of its own.
fn contested() -> Refusal {
    let text = "the topic has its home at another peer, and an older list here: delete it here to \
                see that one";
    Refusal::Home { status: 409, text: text.to_owned() }
}
