//! Commands of the dialect `topic` for the index, and for finding a ring of brokers.

use super::Json;
use crate::door::{Commands, Field, Fields, member};
use crate::home::Address;
use crate::push::pages;
use crate::refusal::{Refusal, Result};
use crate::store::entry;
use common::json::{Object, Value};
use common::limits::PEERS_MAX;
use std::time::Duration;

/// How long a path may take to be followed, and by how much less from one broker to the next.
const PATH_TIME_MAX: Duration = Duration::from_secs(4);
const PATH_STEP: Duration = Duration::from_millis(500);

/// Peers that one connection may register for as long as it lasts: a peer registers itself.
const PRESENCES_MAX: usize = 16;

impl Commands<'_, Json> {
    pub(super) fn unregister(&mut self, arguments: &Value<'_>) -> Result<()> {
        let (address, key) = self.peer(arguments)?;
        let done = self.broker.index.unregister(&address, key);
        self.broker.log.note("unregistered", &address.to_string(), done.as_ref().err());
        done?;
        self.protocol.presences.remove(&address);
        self.confirm(&format!("Peer {address} unregistered"), arguments)
    }

    pub(super) fn told(&mut self, arguments: &Value<'_>) -> Result<()> {
        let (address, key) = self.peer(arguments)?;
        self.broker.index.told(&address, key)?;
        self.confirm("Topics known", arguments)
    }

    pub(super) fn add_to_index(&mut self, arguments: &Value<'_>) -> Result<()> {
        let topic = arguments.topic("topic")?;
        let (address, key) = self.peer(arguments)?;
        let peer = address.to_string();
        let done = self.broker.index.add(topic, address, arguments.stream()?, key);
        if !matches!(done, Ok(false)) {
            self.broker.log.note_at("added", topic, &peer, done.as_ref().err());
        }
        done?;
        self.confirm(&format!("Topic '{topic}' added"), arguments)
    }

    pub(super) fn remove_from_index(&mut self, arguments: &Value<'_>) -> Result<()> {
        let topic = arguments.topic("topic")?;
        let (address, key) = self.peer(arguments)?;
        let done = self.broker.index.remove(topic, &address, key);
        self.broker.log.note_at("removed", topic, &address.to_string(), done.as_ref().err());
        done?;
        self.confirm(&format!("Topic '{topic}' deleted"), arguments)
    }

    /// Says that it is done; to a peer also how many there are, which it says when it comes back.
    fn confirm(&mut self, text: &str, arguments: &Value<'_>) -> Result<()> {
        let peers = arguments.get("key").map(|_| self.broker.index.count() as u64);
        self.succeed(text, |answer| answer.optional("peers", peers))
    }

    /// The peer that a command is about, and what shows that it speaks for itself: that this
    /// connection registered it, or its key.
    fn peer<'v>(&'v self, arguments: &'v Value<'_>) -> Result<(Address, Option<&'v str>)> {
        let address = address(arguments)?;
        let own = self.protocol.presences.get(&address).map(|presence| presence.key.as_str());
        Ok((address, own.or(arguments.text("key")?)))
    }

    /// Registers a peer, with `"present":true` for as long as this connection lasts.
    pub(super) fn register(&mut self, arguments: &Value<'_>) -> Result<()> {
        let address = address(arguments)?;
        let is_present = member(arguments, "present")?.and_then(Value::as_bool) == Some(true);
        let done = match is_present {
            true => self.register_present(&address, arguments).map(Some),
            false => {
                let done = self.broker.index.register(address.clone(), self.client.address);
                done.map(|()| None)
            }
        };
        self.broker.log.note("registered", &address.to_string(), done.as_ref().err());
        let key = done?;
        self.succeed(&format!("Peer {address} registered"), |answer| answer.optional("key", key))
    }

    fn register_present(&mut self, address: &Address, arguments: &Value<'_>) -> Result<String> {
        let presences = &mut self.protocol.presences;
        // Other connections may have registered or unregistered the same peers.
        presences.retain(|_, presence| presence.counts());
        if presences.len() >= PRESENCES_MAX && !presences.contains_key(address) {
            let text = format!("a connection registers {PRESENCES_MAX} peers at most");
            return Err(Refusal::Home { status: 507, text });
        }
        let (_, key) = self.peer(arguments)?;
        let peers = arguments.number("peers")?.and_then(|peers| usize::try_from(peers).ok());
        let peers = peers.unwrap_or(0).min(PEERS_MAX);
        let names = arguments.number("topics")? != Some(0);
        let presence = self.broker.index.attend(address.clone(), key, peers, names)?;
        let key = presence.key.clone();
        self.protocol.presences.insert(address.clone(), presence);
        Ok(key)
    }

    pub(super) fn query(&mut self, arguments: &Value<'_>) -> Result<()> {
        let topic = arguments.topic("topic")?;
        let asks = member(arguments, "host")?.map(|_| address(arguments)).transpose()?;
        let key = arguments.text("key")?;
        let index = &self.broker.index;
        let home = index.home(topic, asks.as_ref().map(|address| (address, key)))?;
        let peers = key.map(|_| index.count() as u64);
        self.succeed(&format!("Topic '{topic}' found"), |answer| {
            write_address(answer, &home).optional("peers", peers)
        })
    }

    /// The homes of all topics that match.
    pub(super) fn query_all(&mut self, arguments: &Value<'_>) -> Result<()> {
        let missing = || Refusal::field("pattern", "is missing");
        let pattern = arguments.pattern()?.ok_or_else(missing)?;
        let index = &self.broker.index;
        let list = |behind: &String, count| index.list(behind, count);
        let topics = pages(list, |(topic, _)| topic.clone());
        let topics = topics.filter(|(topic, _)| pattern.matches(topic));
        self.answer_with_list("Topics found", "topics", topics, |list, (topic, home)| {
            list.object(|answer| {
                write_address(answer.field("topic", topic), &home);
            });
        });
        Ok(())
    }

    pub(super) fn list_peers(&mut self, _: &Value<'_>) -> Result<()> {
        let index = &self.broker.index;
        let peers = pages(|behind, count| index.peers(behind, count), Address::clone);
        self.answer_with_list(&format!("Peers: {}", index.here()), "peers", peers, |list, peer| {
            list.object(|answer| {
                write_address(answer, &peer);
            });
        });
        Ok(())
    }

    /// Says whether one of the brokers in `seen` is this one, or its upstream, and so on.
    pub(super) fn path(&mut self, arguments: &Value<'_>) -> Result<()> {
        let seen = member(arguments, "seen")?.and_then(Value::as_array).unwrap_or_default();
        let mut seen: Vec<String> =
            seen.iter().filter_map(|id| Some(id.as_str()?.to_owned())).collect();
        self.protocol.is_broker |= member(arguments, "broker")?.is_some();
        if seen.contains(&self.broker.id) {
            return Err(Refusal::Ring);
        }
        // It says so again now and then.
        if let ([id], true, false) = (&*seen, self.protocol.is_broker, self.protocol.follows) {
            self.protocol.follows = true;
            self.broker.followers.replace(id, &self.stream);
        }
        let asks = !seen.is_empty();
        seen.push(self.broker.id.clone());
        let time = arguments.number("milliseconds")?.map_or(PATH_TIME_MAX, Duration::from_millis);
        let time = time.min(PATH_TIME_MAX).saturating_sub(PATH_STEP);
        if asks {
            self.broker.homes.check_path(&seen, time)?;
        }
        self.succeed("No ring", |answer| answer)
    }
}

fn address(arguments: &Value<'_>) -> Result<Address> {
    let host = arguments.required("host")?.to_owned();
    entry::check_name("host", &host)?;
    let port = arguments.find("port")?.map(Field::either).transpose()?;
    match port.and_then(|port| port.parse().ok()) {
        Some(port) if port > 0 => Ok(Address { host, port }),
        _ => Err(Refusal::field("port", "is not a port")),
    }
}

fn write_address<'a, 'o>(answer: &'a mut Object<'o>, address: &Address) -> &'a mut Object<'o> {
    answer.field("host", &address.host).field("port", address.port)
}
