//! The index: which peers there are, and which of them is the home of which topic.
//!
//! Any broker can be one. It keeps nothing on disk: after its restart every peer tells it again.
//! A peer that registered for as long as its connection lasts is away when that ends: its topics
//! are not found, and stay its own. Where room is short, one that is away and has none is
//! forgotten.

use crate::refusal::Refusal;
use common::limits::{PEERS_MAX, TOPICS_MAX};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where a peer is reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Address {
    /// `HOST:PORT`, an IPv6 address in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { host, port } = self;
        match host.contains(':') && !host.starts_with('[') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
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
    topics: BTreeMap<String, Listing>,
    /// The number of the next registration.
    next: u64,
}

/// What is known of a topic.
struct Listing {
    home: Address,
    /// The home's registration when it named the topic last.
    registration: u64,
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
    /// Where there are as many peers as there may be, each of which is there or has topics.
    pub(crate) fn register(&self, address: Address) -> Result<u64, Refusal> {
        let mut state = self.lock();
        let is_new = !state.peers.contains_key(&address);
        if is_new && state.peers.len() >= PEERS_MAX {
            state.forget_idle();
        }
        if is_new && state.peers.len() >= PEERS_MAX {
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
        state.topics.retain(|_, listing| listing.home != *address);
        Ok(())
    }

    /// Notes the home of a topic; that it is told twice changes nothing.
    ///
    /// # Errors
    ///
    /// [`Refusal::TopicExists`] where another peer is its home.
    pub(crate) fn add(&self, topic: &str, address: Address) -> Result<(), Refusal> {
        let mut state = self.lock();
        let Some(&Peer { registration, .. }) = state.peers.get(&address) else {
            return Err(not_registered());
        };
        match state.topics.get_mut(topic) {
            Some(listing) if listing.home == address => {
                listing.registration = registration;
                return Ok(());
            }
            Some(_) => return Err(Refusal::TopicExists),
            None => {}
        }
        if state.topics.len() >= TOPICS_MAX {
            return Err(Refusal::TooManyTopics { topics_max: TOPICS_MAX });
        }
        state.topics.insert(topic.to_owned(), Listing { home: address, registration });
        Ok(())
    }

    /// Forgets the topics of a peer that it has not named since it registered: it was told all
    /// there are.
    ///
    /// # Errors
    ///
    /// Where it is not registered.
    pub(crate) fn told(&self, address: &Address) -> Result<(), Refusal> {
        let mut state = self.lock();
        let registration = state.peers.get(address).ok_or_else(not_registered)?.registration;
        let is_kept =
            |listing: &Listing| listing.home != *address || listing.registration == registration;
        state.topics.retain(|_, listing| is_kept(listing));
        Ok(())
    }

    /// Forgets that a peer is the home of a topic.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoTopic`] where it is not.
    pub(crate) fn remove(&self, topic: &str, address: &Address) -> Result<(), Refusal> {
        let mut state = self.lock();
        if state.topics.get(topic).is_none_or(|listing| listing.home != *address) {
            return Err(Refusal::NoTopic);
        }
        state.topics.remove(topic);
        Ok(())
    }

    /// The home of a topic.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotIndexed`] where there is none, or it is not there now.
    pub(crate) fn home(&self, topic: &str) -> Result<Address, Refusal> {
        let state = self.lock();
        let home = &state.topics.get(topic).ok_or(Refusal::NotIndexed { is_away: false })?.home;
        match state.peers.get(home) {
            Some(peer) if !peer.is_away => Ok(home.clone()),
            _ => Err(Refusal::NotIndexed { is_away: true }),
        }
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

impl State {
    /// Forgets the peers that are away and have no topics.
    fn forget_idle(&mut self) {
        let homes: HashSet<&Address> = self.topics.values().map(|listing| &listing.home).collect();
        self.peers.retain(|address, peer| !peer.is_away || homes.contains(address));
    }
}

impl Presence {
    /// Whether this is the newest registration of its peer, which was not unregistered since.
    pub(crate) fn counts(&self) -> bool {
        let state = self.index.lock();
        state.peers.get(&self.address).is_some_and(|peer| peer.registration == self.registration)
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
        assert_eq!(index.home("a").unwrap(), address(1));
        assert!(index.remove("a", &address(2)).is_err());
        index.remove("a", &address(1)).unwrap();
        assert!(matches!(index.home("a"), Err(Refusal::NotIndexed { is_away: false })));
        assert!(index.add("a", address(3)).is_err(), "nobody has registered it");
    }

    #[test]
    fn a_peer_that_is_away_keeps_its_topics() {
        let index = Arc::new(Index::default());
        index.register(address(2)).unwrap();
        let presence = index.attend(address(1)).unwrap();
        index.add("a", address(1)).unwrap();
        drop(presence);
        assert!(matches!(index.home("a"), Err(Refusal::NotIndexed { is_away: true })));
        assert_eq!(index.peers(), [address(2)]);
        assert!(matches!(index.add("a", address(2)), Err(Refusal::TopicExists)));
        let _presence = index.attend(address(1)).unwrap();
        assert_eq!(index.home("a").unwrap(), address(1));
    }

    #[test]
    fn a_peer_that_registers_again_has_the_topics_that_it_names() {
        let index = Arc::new(Index::default());
        index.register(address(2)).unwrap();
        drop(index.attend(address(1)).unwrap());
        for topic in ["kept", "deleted meanwhile"] {
            index.add(topic, address(1)).unwrap();
        }
        let _presence = index.attend(address(1)).unwrap();
        index.add("kept", address(1)).unwrap();
        assert!(matches!(index.add("deleted meanwhile", address(2)), Err(Refusal::TopicExists)));
        index.told(&address(1)).unwrap();
        assert_eq!(index.home("kept").unwrap(), address(1));
        index.add("deleted meanwhile", address(2)).unwrap();
        index.told(&address(1)).unwrap();
        assert_eq!(index.home("deleted meanwhile").unwrap(), address(2));
    }

    #[test]
    fn an_address_can_be_connected_to() {
        for (host, text) in [("a", "a:1"), ("::1", "[::1]:1"), ("[::1]", "[::1]:1")] {
            assert_eq!(Address { host: host.to_owned(), port: 1 }.to_string(), text);
        }
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
    fn peers_that_are_away_and_have_no_topics_make_way() {
        let index = Arc::new(Index::default());
        let ports = 1..=u16::try_from(PEERS_MAX).unwrap();
        let mut presences: Vec<_> =
            ports.map(|port| index.attend(address(port)).unwrap()).collect();
        for port in [1, 2] {
            index.add(&port.to_string(), address(port)).unwrap();
        }
        let newcomer = address(u16::MAX);
        assert!(index.register(newcomer.clone()).is_err(), "all of them are there");
        // Away, with a topic and without one.
        drop(presences.drain(1..=2));
        index.register(newcomer.clone()).unwrap();
        assert!(index.register(address(u16::MAX - 1)).is_err());
        assert!(matches!(index.home("2"), Err(Refusal::NotIndexed { is_away: true })));
        assert!(index.unregister(&address(3)).is_err(), "it was forgotten");
        assert!(index.unregister(&address(2)).is_ok(), "it keeps its topic");
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
