//! The index: the peers, and which of them is the home of each topic.
//!
//! Any broker can be the index. It keeps nothing on disk: after its restart all peers tell it
//! again. A peer that registered for as long as its connection lasts is *present*. When the
//! connection ends, the peer is *away*: its topics are not found, but remain its own. A client may
//! register a peer too; that one *lasts* until it is unregistered.
//!
//! # Guarantee
//!
//! A present peer speaks for itself: commands of others in its name are refused. It proves itself
//! with the key that it was given. The home of a topic does not change while it is present.

mod peer;
#[cfg(test)]
mod tests;

pub(crate) use peer::Address;

use crate::refusal::{Refusal, Result};
use crate::store::StreamId;
use common::limits::{
    ADDRESS_PEERS_MAX, LASTING_PEERS_MAX, LASTING_PEERS_TOPICS_MAX, PEERS_MAX, TOPICS_MAX,
};
use common::lock::Mutex;
use common::random::random;
use peer::{Peer, Standing};
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long after its restart an index waits for peers to come back and name their topics.
const SETTLE_TIME: Duration = Duration::from_secs(3);

/// How long a peer may be away before it makes way, with its topics, where there are as many peers
/// as there may be.
const AWAY_TIME: Duration = Duration::from_secs(24 * 3600);

/// The index of a broker; empty where nobody uses it.
pub(crate) struct Index {
    started: Instant,
    state: Mutex<State>,
}

/// Invariant: every topic's home is a peer.
#[derive(Default)]
struct State {
    peers: BTreeMap<Address, Peer>,
    topics: BTreeMap<String, Listing>,
    /// How many peers there were before this index started, as those say who came back.
    expected: usize,
}

/// What is known of a topic.
struct Listing {
    home: Address,
    /// Its list, where the home said so.
    stream: Option<StreamId>,
    /// Whether the home has named the topic since it registered last.
    is_named: bool,
}

/// A registration that ends with a connection; ending it is dropping it.
pub(crate) struct Presence {
    index: Arc<Index>,
    address: Address,
    /// What the peer shows where it speaks on another connection.
    pub(crate) key: String,
}

impl Index {
    /// Nobody has registered.
    pub(crate) fn new() -> Index {
        Index { started: Instant::now(), state: Mutex::default() }
    }

    /// Registers a peer until it is unregistered, as a client of an address asks. For one that is
    /// present nothing changes.
    ///
    /// # Errors
    ///
    /// Where there are as many peers as there may be, all of them or those of the address.
    pub(crate) fn register(&self, address: Address, client: IpAddr) -> Result<()> {
        let mut state = self.state.lock();
        if state.peers.get(&address).is_some_and(Peer::is_present) {
            return Ok(());
        }
        state.register(address, Standing::Lasting(client), false)
    }

    /// Registers a peer for as long as the presence is kept. `key` is the one that it was given
    /// when it registered last, and `peers` how many there were then; `names` says whether it names
    /// topics that live there before it has told all.
    ///
    /// # Errors
    ///
    /// Where another connection has registered it, whose key this is not; and as
    /// [`Index::register`].
    pub(crate) fn attend(
        self: &Arc<Index>,
        address: Address,
        key: Option<&str>,
        peers: usize,
        names: bool,
    ) -> Result<Presence> {
        let mut state = self.state.lock();
        if state.peers.contains_key(&address) {
            state.peer(&address, key)?;
        }
        state.expected = state.expected.max(peers);
        let key = format!("{:016x}", random());
        let standing = Standing::Present(key.clone());
        state.register(address.clone(), standing, peers > 0)?;
        if !names {
            state.told(&address);
        }
        Ok(Presence { index: Arc::clone(self), address, key })
    }

    /// Forgets a peer and its topics.
    ///
    /// # Errors
    ///
    /// Where it is not registered, or is present and the key is not its own. The same holds for
    /// all that follow.
    pub(crate) fn unregister(&self, address: &Address, key: Option<&str>) -> Result<()> {
        let mut state = self.state.lock();
        state.peer(address, key)?;
        state.peers.remove(address);
        state.topics.retain(|_, listing| listing.home != *address);
        Ok(())
    }

    /// Notes the home of a topic; whether that is new. A list that was at a peer that is away has
    /// come back under another address.
    ///
    /// # Errors
    ///
    /// [`Refusal::TopicExists`] where another peer is its home.
    pub(crate) fn add(
        &self,
        topic: &str,
        address: Address,
        stream: Option<StreamId>,
        key: Option<&str>,
    ) -> Result<bool> {
        let mut state = self.state.lock();
        let peer = state.peer(&address, key)?;
        let is_lasting = matches!(peer.standing, Standing::Lasting(_));
        if peer.is_telling() && !peer.has_counted {
            // It was started with topics that were created before: there may have been others.
            state.expected = usize::MAX;
        }
        let State { peers, topics, .. } = &mut *state;
        let topics_max = if is_lasting { LASTING_PEERS_TOPICS_MAX } else { TOPICS_MAX };
        let is_full = topics.len() >= topics_max;
        let is_away = |home: &Address| peers.get(home).is_none_or(|peer| !peer.is_here());
        match topics.get_mut(topic) {
            Some(listing) if listing.home == address => {
                listing.is_named = true;
                listing.stream = stream.or(listing.stream);
                return Ok(false);
            }
            Some(listing)
                if listing.stream.is_some()
                    && listing.stream == stream
                    && is_away(&listing.home) => {}
            Some(_) => return Err(Refusal::TopicExists),
            None if is_full => {
                return Err(Refusal::TooManyTopics { topics_max });
            }
            None => {}
        }
        let listing = Listing { home: address, stream, is_named: true };
        topics.insert(topic.to_owned(), listing);
        Ok(true)
    }

    /// Forgets the topics of a peer that it has not named since it registered: it was told all
    /// there are. That a peer says so again shows it that its registration still counts.
    ///
    /// # Errors
    ///
    /// As [`Index::unregister`].
    pub(crate) fn told(&self, address: &Address, key: Option<&str>) -> Result<()> {
        let mut state = self.state.lock();
        if !state.peer(address, key)?.has_told {
            state.told(address);
        }
        Ok(())
    }

    /// Forgets that a peer is the home of a topic.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoTopic`] where it is not.
    pub(crate) fn remove(&self, topic: &str, address: &Address, key: Option<&str>) -> Result<()> {
        let mut state = self.state.lock();
        if state.topics.get(topic).is_none_or(|listing| listing.home != *address) {
            return Err(Refusal::NoTopic);
        }
        state.peer(address, key)?;
        state.topics.remove(topic);
        Ok(())
    }

    /// The home of a topic. Where a peer asks, it shows its key.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotIndexed`] where there is none, or it is not there now, or may be told yet.
    pub(crate) fn home(
        &self,
        topic: &str,
        peer: Option<(&Address, Option<&str>)>,
    ) -> Result<Address> {
        let mut state = self.state.lock();
        // A peer that is not known was there before this index started: others were, too.
        let is_known = peer.is_none_or(|(address, key)| state.peer(address, key).is_ok());
        let Some(Listing { home, .. }) = state.topics.get(topic) else {
            let told = state.peers.values().filter(|peer| peer.has_told).count();
            let is_settling = told < state.expected && self.is_young();
            let is_telling = state.peers.values().any(Peer::is_telling);
            return Err(Refusal::NotIndexed { is_away: !is_known || is_settling || is_telling });
        };
        match state.peers.get(home) {
            Some(peer) if peer.is_here() => Ok(home.clone()),
            _ => Err(Refusal::NotIndexed { is_away: true }),
        }
    }

    /// How many peers are there.
    pub(crate) fn here(&self) -> usize {
        self.state.lock().count(Peer::is_here)
    }

    /// Up to `count` topics whose homes are there, in the order of their names, behind one of them.
    pub(crate) fn list(&self, behind: &str, count: usize) -> Vec<(String, Address)> {
        let state = self.state.lock();
        let behind = (Bound::Excluded(behind), Bound::Unbounded);
        let listings = state.topics.range::<str, _>(behind);
        let is_here = |home: &Address| state.peers.get(home).is_some_and(Peer::is_here);
        let here = listings.filter(|(_, listing)| is_here(&listing.home));
        here.take(count).map(|(topic, listing)| (topic.clone(), listing.home.clone())).collect()
    }

    /// How many peers are there, or are still expected: a peer that comes back to a restarted
    /// index says so.
    pub(crate) fn count(&self) -> usize {
        let state = self.state.lock();
        let here = state.count(Peer::is_here);
        if state.expected <= PEERS_MAX && self.is_young() { here.max(state.expected) } else { here }
    }

    /// Whether peers may not be back yet.
    fn is_young(&self) -> bool {
        self.started.elapsed() < SETTLE_TIME
    }

    /// Up to `count` of the peers that are there, in the order of their addresses, behind one.
    pub(crate) fn peers(&self, behind: &Address, count: usize) -> Vec<Address> {
        let state = self.state.lock();
        let peers = state.peers.range((Bound::Excluded(behind), Bound::Unbounded));
        let here = peers.filter(|(_, peer)| peer.is_here());
        here.map(|(address, _)| address.clone()).take(count).collect()
    }
}

impl State {
    /// Checks whether there is room for another peer.
    fn check_room(&mut self, standing: &Standing) -> Result<()> {
        let check = |count, peers_max, whose: &str| match count < peers_max {
            true => Ok(()),
            false => Err(Refusal::TooManyPeers { whose: whose.to_owned(), peers_max }),
        };
        let is_lasting = |peer: &Peer| matches!(peer.standing, Standing::Lasting(_));
        if let Standing::Lasting(client) = *standing {
            let is_own =
                |peer: &Peer| matches!(peer.standing, Standing::Lasting(by) if by == client);
            let whose = format!("by clients of {client} that do not stay");
            // Nobody's peers make way for those of an address that has many.
            check(self.count(is_own), ADDRESS_PEERS_MAX, &whose)?;
            if self.count(is_lasting) >= LASTING_PEERS_MAX {
                self.forget_idle();
            }
            check(self.count(is_lasting), LASTING_PEERS_MAX, "by clients that do not stay")?;
        }
        if self.peers.len() >= PEERS_MAX {
            self.forget_idle();
        }
        check(self.peers.len(), PEERS_MAX, "in all")
    }

    fn count(&self, is_counted: impl Fn(&Peer) -> bool) -> usize {
        self.peers.values().filter(|peer| is_counted(peer)).count()
    }

    fn register(&mut self, address: Address, standing: Standing, has_counted: bool) -> Result<()> {
        if !self.peers.contains_key(&address) {
            self.check_room(&standing)?;
        }
        for listing in self.topics.values_mut().filter(|listing| listing.home == address) {
            listing.is_named = false;
        }
        let (registered, has_told) = (Instant::now(), false);
        self.peers.insert(address, Peer { registered, standing, has_counted, has_told });
        Ok(())
    }

    /// Notes that a peer has named all its topics.
    fn told(&mut self, address: &Address) {
        if let Some(peer) = self.peers.get_mut(address) {
            peer.has_told = true;
        }
        self.topics.retain(|_, listing| listing.home != *address || listing.is_named);
    }

    /// A peer, for somebody who speaks in its name.
    fn peer(&mut self, address: &Address, key: Option<&str>) -> Result<&mut Peer> {
        let refuse = |status, text: &str| Refusal::Home { status, text: text.to_owned() };
        let peer = self.peers.get_mut(address);
        let peer = peer.ok_or_else(|| refuse(404, "Peer not registered"))?;
        match &peer.standing {
            Standing::Present(own) if key != Some(own) => {
                Err(refuse(403, "the peer is there, and speaks for itself"))
            }
            _ => Ok(peer),
        }
    }

    /// Forgets peers that no connection stands behind: those without topics, and those that have
    /// been away for long.
    fn forget_idle(&mut self) {
        let homes: HashSet<&Address> = self.topics.values().map(|listing| &listing.home).collect();
        self.peers.retain(|address, peer| match peer.standing {
            Standing::Present(_) => true,
            Standing::Lasting(_) => homes.contains(address),
            Standing::Away(since) => homes.contains(address) && since.elapsed() < AWAY_TIME,
        });
        let State { peers, topics, .. } = self;
        topics.retain(|_, listing| peers.contains_key(&listing.home));
    }
}

impl Presence {
    /// Whether this is the newest registration of its peer, which was not unregistered since.
    pub(crate) fn counts(&self) -> bool {
        self.index.state.lock().peers.get(&self.address).is_some_and(|peer| peer.has(&self.key))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if let Some(peer) = self.index.state.lock().peers.get_mut(&self.address)
            && peer.has(&self.key)
        {
            peer.standing = Standing::Away(Instant::now());
        }
    }
}
