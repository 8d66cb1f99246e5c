//! Commands of the dialect `topic` for the index, and for finding a ring of brokers.

use super::Json;
use super::topic::success;
use crate::door::commands::Commands;
use crate::door::fields::{Field, Fields, value};
use crate::door::pages;
use crate::home::index::Address;
use crate::refusal::Refusal;
use crate::store::entry;
use common::json::{Object, Value};
use common::limits::PEERS_MAX;
use common::pattern::Pattern;
use std::time::Duration;

/// How long a path may take to be followed, and by how much less from one broker to the next.
const PATH_TIME_MAX: Duration = Duration::from_secs(4);
const PATH_STEP: Duration = Duration::from_millis(500);

/// Peers that one connection may register for as long as it lasts: a peer registers itself.
const PRESENCES_MAX: usize = 16;

impl Commands<'_, Json> {
    /// Handles a command about peers.
    pub(super) fn index_command(
        &mut self,
        command: &str,
        arguments: &Value<'_>,
    ) -> Result<(), Refusal> {
        match command {
            "register_peer" => return self.register(arguments),
            "query_topic" => return self.query(arguments),
            "query_topics" => {
                let missing = || Refusal::field("pattern", "is missing");
                self.query_all(&arguments.pattern()?.ok_or_else(missing)?);
                return Ok(());
            }
            "list_peers" => {
                self.list_peers();
                return Ok(());
            }
            "unregister_peer" | "told_topics" | "add_topic" | "delete_topic" => {}
            _ => return Err(Refusal::UnknownCommand),
        }
        let (log, index) = (&self.broker.log, &self.broker.index);
        let topic = match command {
            "add_topic" | "delete_topic" => arguments.topic("topic")?,
            _ => "",
        };
        let address = address(arguments)?;
        let (peer, key) = (address.to_string(), self.key(&address, arguments)?);
        let text = match command {
            "unregister_peer" => {
                let done = index.unregister(&address, key);
                log.note("unregistered", &peer, &done);
                done?;
                self.protocol.presences.remove(&address);
                format!("Peer {peer} unregistered")
            }
            "told_topics" => {
                index.told(&address, key)?;
                "Topics known".to_owned()
            }
            "add_topic" => {
                let done = index.add(topic, address, arguments.stream()?, key);
                if !matches!(done, Ok(false)) {
                    log.note_at("added", topic, &peer, &done.clone().map(drop));
                }
                done?;
                format!("Topic '{topic}' added")
            }
            _ => {
                let done = index.remove(topic, &address, key);
                log.note_at("removed", topic, &peer, &done);
                done?;
                format!("Topic '{topic}' deleted")
            }
        };
        let peers = arguments.get("key").map(|_| index.count() as u64);
        success(&mut self.answers, &text, |answer| {
            // For a peer, which says it when it comes back.
            answer.optional("peers", peers);
        });
        Ok(())
    }

    /// Registers a peer, with `"present":true` for as long as this connection lasts.
    fn register(&mut self, arguments: &Value<'_>) -> Result<(), Refusal> {
        let address = address(arguments)?;
        let is_present = value(arguments, "present")?.and_then(Value::as_bool) == Some(true);
        let done = match is_present {
            true => self.register_present(&address, arguments).map(Some),
            false => self.broker.index.register(address.clone(), self.client()).map(|()| None),
        };
        self.broker.log.note("registered", &address.to_string(), &done.clone().map(drop));
        let key = done?;
        success(&mut self.answers, &format!("Peer {address} registered"), |answer| {
            answer.optional("key", key);
        });
        Ok(())
    }

    fn register_present(
        &mut self,
        address: &Address,
        arguments: &Value<'_>,
    ) -> Result<String, Refusal> {
        let presences = &mut self.protocol.presences;
        // Other connections may have registered or unregistered the same peers.
        presences.retain(|_, presence| presence.counts());
        if presences.len() >= PRESENCES_MAX && !presences.contains_key(address) {
            let text = format!("a connection registers {PRESENCES_MAX} peers at most");
            return Err(Refusal::Home { status: 507, text });
        }
        let key = self.key(address, arguments)?;
        let peers = arguments.number("peers")?.and_then(|peers| usize::try_from(peers).ok());
        let peers = peers.unwrap_or(0).min(PEERS_MAX);
        let names = arguments.number("topics")? != Some(0);
        let presence = self.broker.index.attend(address.clone(), key, peers, names)?;
        let key = presence.key.clone();
        self.protocol.presences.insert(address.clone(), presence);
        Ok(key)
    }

    /// What shows that a peer speaks for itself: that this connection registered it, or its key.
    fn key<'v>(
        &'v self,
        address: &Address,
        arguments: &'v Value<'_>,
    ) -> Result<Option<&'v str>, Refusal> {
        let own = self.protocol.presences.get(address).map(|presence| presence.key.as_str());
        Ok(own.or(arguments.text("key")?))
    }

    fn query(&mut self, arguments: &Value<'_>) -> Result<(), Refusal> {
        let topic = arguments.topic("topic")?;
        let asks = value(arguments, "host")?.map(|_| address(arguments)).transpose()?;
        let key = arguments.text("key")?;
        let index = &self.broker.index;
        let home = index.home(topic, asks.as_ref().map(|address| (address, key)))?;
        let peers = key.map(|_| index.count() as u64);
        success(&mut self.answers, &format!("Topic '{topic}' found"), |answer| {
            write_address(answer, &home);
            answer.optional("peers", peers);
        });
        Ok(())
    }

    /// The homes of all topics that match.
    fn query_all(&mut self, pattern: &Pattern) {
        let index = &self.broker.index;
        let list =
            |behind: Option<&String>, count| index.list(behind.map_or("", String::as_str), count);
        let topics = pages(list, |(topic, _)| topic.clone());
        let topics = topics.filter(|(topic, _)| pattern.matches(topic));
        self.answer_with_list("Topics found", "topics", topics, |list, (topic, home)| {
            list.object(|answer| write_address(answer.field("topic", topic), &home));
        });
    }

    fn list_peers(&mut self) {
        let index = &self.broker.index;
        let peers = pages(|behind, count| index.peers(behind, count), Address::clone);
        self.answer_with_list(&format!("Peers: {}", index.here()), "peers", peers, |list, peer| {
            list.object(|answer| write_address(answer, &peer));
        });
    }

    /// Says whether one of the brokers in `seen` is this one, or its upstream, and so on.
    pub(super) fn path(&mut self, arguments: &Value<'_>) -> Result<(), Refusal> {
        let seen = value(arguments, "seen")?.and_then(Value::as_array).unwrap_or_default();
        let mut seen: Vec<String> =
            seen.iter().filter_map(|id| Some(id.as_str()?.to_owned())).collect();
        self.protocol.is_broker |= value(arguments, "broker")?.is_some();
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
        success(&mut self.answers, "No ring", |_| {});
        Ok(())
    }
}

fn address(arguments: &Value<'_>) -> Result<Address, Refusal> {
    let host = arguments.required("host")?.to_owned();
    entry::check_peer("host", &host)?;
    let port = arguments.find("port")?.map(Field::either).transpose()?;
    match port.and_then(|port| port.parse().ok()) {
        Some(port) if port > 0 => Ok(Address { host, port }),
        _ => Err(Refusal::field("port", "is not a port")),
    }
}

fn write_address(answer: &mut Object<'_>, address: &Address) {
    answer.field("host", &address.host).field("port", address.port);
}
