//! The index: which peers there are, and which of them is the home of which topic.
//!
//! Any broker can be one. It keeps nothing on disk: after its restart every peer tells it again.
//! A peer that registered for as long as its connection lasts is away when that ends: its topics
//! are not found, and stay its own.

use crate::refusal::Refusal;
use common::limits::{PEERS_MAX, TOPICS_MAX};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where a peer is reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The index of a broker; empty where nobody uses it.
#[derive(Default)]
pub(crate) struct Index {
    state: Mutex<State>,
}

/// Invariant: every topic's home is a peer.
#[derive(Default)]
struct State {
    peers: BTreeMap<Address, Peer>,
    topics: BTreeMap<String, Address>,
    /// The number of the next registration.
    next: u64,
}

/// What is known of a peer.
struct Peer {
    /// The registration that counts: the newest.
    registration: u64,
    is_away: bool,
}

/// A registration that ends with a connection; ending it is dropping it.
pub(crate) struct Presence {
    index: Arc<Index>,
    address: Address,
    registration: u64,
}

impl Index {
    /// Registers a peer until it is unregistered.
    ///
    /// # Errors
    ///
    /// Where there are as many peers as there may be.
    pub(crate) fn register(&self, address: Address) -> Result<u64, Refusal> {
        let mut state = self.lock();
        if state.peers.len() >= PEERS_MAX && !state.peers.contains_key(&address) {
            return Err(Refusal::Home { status: 507, text: "too many peers".to_owned() });
        }
        let registration = state.next;
        state.next += 1;
        state.peers.insert(address, Peer { registration, is_away: false });
        Ok(registration)
    }

    /// Registers a peer for as long as the presence is kept.
    ///
    /// # Errors
    ///
    /// As [`Index::register`].
    pub(crate) fn attend(self: &Arc<Index>, address: Address) -> Result<Presence, Refusal> {
        let registration = self.register(address.clone())?;
        Ok(Presence { index: Arc::clone(self), address, registration })
    }

    /// Forgets a peer and its topics.
    ///
    /// # Errors
    ///
    /// Where it is not registered.
    pub(crate) fn unregister(&self, address: &Address) -> Result<(), Refusal> {
        let mut state = self.lock();
        state.peers.remove(address).ok_or_else(not_registered)?;
        state.topics.retain(|_, home| home != address);
        Ok(())
    }

    /// Notes the home of a topic; that it is told twice changes nothing.
    ///
    /// # Errors
    ///
    /// [`Refusal::TopicExists`] where another peer is its home.
    pub(crate) fn add(&self, topic: &str, address: Address) -> Result<(), Refusal> {
        let mut state = self.lock();
        if !state.peers.contains_key(&address) {
            return Err(not_registered());
        }
        match state.topics.get(topic) {
            Some(home) if *home == address => return Ok(()),
            Some(_) => return Err(Refusal::TopicExists),
            None => {}
        }
        if state.topics.len() >= TOPICS_MAX {
            return Err(Refusal::TooManyTopics { topics_max: TOPICS_MAX });
        }
        state.topics.insert(topic.to_owned(), address);
        Ok(())
    }

    /// Forgets that a peer is the home of a topic.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoTopic`] where it is not.
    pub(crate) fn remove(&self, topic: &str, address: &Address) -> Result<(), Refusal> {
        let mut state = self.lock();
        if state.topics.get(topic) != Some(address) {
            return Err(Refusal::NoTopic);
        }
        state.topics.remove(topic);
        Ok(())
    }

    /// The home of a topic, if it is there.
    pub(crate) fn home(&self, topic: &str) -> Option<Address> {
        let state = self.lock();
        let home = state.topics.get(topic)?;
        let is_away = state.peers.get(home).is_none_or(|peer| peer.is_away);
        (!is_away).then(|| home.clone())
    }

    /// The peers that are there.
    pub(crate) fn peers(&self) -> Vec<Address> {
        let state = self.lock();
        let present = state.peers.iter().filter(|(_, peer)| !peer.is_away);
        present.map(|(address, _)| address.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one step, or leaves an entry too much at worst.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if let Some(peer) = self.index.lock().peers.get_mut(&self.address)
            && peer.registration == self.registration
        {
            peer.is_away = true;
        }
    }
}

fn not_registered() -> Refusal {
    Refusal::Home { status: 404, text: "Peer not registered".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Address {
        Address { host: "localhost".to_owned(), port }
    }

    #[test]
    fn a_topic_has_one_home() {
        let index = Index::default();
        index.register(address(1)).unwrap();
        index.register(address(2)).unwrap();
        index.add("a", address(1)).unwrap();
        index.add("a", address(1)).unwrap();
        assert!(matches!(index.add("a", address(2)), Err(Refusal::TopicExists)));
        assert_eq!(index.home("a"), Some(address(1)));
        assert!(index.remove("a", &address(2)).is_err());
        index.remove("a", &address(1)).unwrap();
        assert_eq!(index.home("a"), None);
        assert!(index.add("a", address(3)).is_err(), "nobody has registered it");
    }

    #[test]
    fn a_peer_that_is_away_keeps_its_topics() {
        let index = Arc::new(Index::default());
        index.register(address(2)).unwrap();
        let presence = index.attend(address(1)).unwrap();
        index.add("a", address(1)).unwrap();
        drop(presence);
        assert_eq!((index.home("a"), index.peers()), (None, vec![address(2)]));
        assert!(matches!(index.add("a", address(2)), Err(Refusal::TopicExists)));
        let _presence = index.attend(address(1)).unwrap();
        assert_eq!(index.home("a"), Some(address(1)));
    }

    #[test]
    fn an_old_connection_that_ends_late_does_not_send_its_peer_away() {
        let index = Arc::new(Index::default());
        let old = index.attend(address(1)).unwrap();
        let _new = index.attend(address(1)).unwrap();
        drop(old);
        assert_eq!(index.peers(), [address(1)]);
    }

    #[test]
    fn an_unregistered_peer_leaves_its_topics_to_others() {
        let index = Index::default();
        index.register(address(1)).unwrap();
        index.add("a", address(1)).unwrap();
        index.unregister(&address(1)).unwrap();
        assert!(index.unregister(&address(1)).is_err());
        index.register(address(2)).unwrap();
        index.add("a", address(2)).unwrap();
    }
}
