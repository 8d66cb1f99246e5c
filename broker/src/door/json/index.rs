//! The commands of an index, and of brokers that look for a ring: the dialect of topics.

use super::Json;
use super::topic::success;
use crate::door::commands::Commands;
use crate::door::fields::{field, number, required_text, text, topic};
use crate::home::index::Address;
use crate::refusal::Refusal;
use crate::store::entry;
use common::json::{Object, Value};
use common::limits::PEERS_MAX;
use std::time::Duration;

/// How long a path may take to be followed, and by how much less from one broker to the next.
const PATH_TIME_MAX: Duration = Duration::from_secs(4);
const PATH_STEP: Duration = Duration::from_millis(500);

impl Commands<'_, Json> {
    /// Handles a command about peers.
    pub(super) fn index_command(
        &mut self,
        command: &str,
        arguments: &Value<'_>,
    ) -> Result<(), Refusal> {
        let index = &self.broker.index;
        let text = match command {
            "register_peer" => {
                let address = address(arguments)?;
                let text = format!("Peer {address} registered");
                let present = field(arguments, "present")?.and_then(Value::as_bool);
                let done = if present == Some(true) {
                    self.register_present(&address)
                } else {
                    index.register(address.clone()).map(drop)
                };
                self.broker.log.note("registered", &address.to_string(), &done);
                done?;
                text
            }
            "unregister_peer" => {
                let address = address(arguments)?;
                let done = index.unregister(&address);
                self.protocol.presences.remove(&address);
                self.broker.log.note("unregistered", &address.to_string(), &done);
                done?;
                format!("Peer {address} unregistered")
            }
            "told_topics" => {
                index.told(&address(arguments)?)?;
                "Topics known".to_owned()
            }
            "add_topic" => {
                let topic = topic(arguments, "topic")?;
                index.add(topic, address(arguments)?)?;
                format!("Topic '{topic}' added")
            }
            "delete_topic" => {
                let topic = topic(arguments, "topic")?;
                index.remove(topic, &address(arguments)?)?;
                format!("Topic '{topic}' deleted")
            }
            "query_topic" => return self.query(topic(arguments, "topic")?),
            "list_peers" => {
                self.list_peers();
                return Ok(());
            }
            _ => return Err(Refusal::UnknownCommand),
        };
        success(&mut self.answers, &text, |_| {});
        Ok(())
    }

    /// Registers a peer for as long as this session lasts.
    fn register_present(&mut self, address: &Address) -> Result<(), Refusal> {
        if self.protocol.presences.len() >= PEERS_MAX {
            // Other sessions may have registered or unregistered the same peers.
            self.protocol.presences.retain(|_, presence| presence.counts());
        }
        let presence = self.broker.index.attend(address.clone())?;
        self.protocol.presences.insert(address.clone(), presence);
        Ok(())
    }

    fn query(&mut self, topic: &str) -> Result<(), Refusal> {
        let home = self.broker.index.home(topic)?;
        success(&mut self.answers, &format!("Topic '{topic}' found"), |answer| {
            write_address(answer, &home);
        });
        Ok(())
    }

    fn list_peers(&mut self) {
        let peers = self.broker.index.peers();
        success(&mut self.answers, &format!("Peers: {}", peers.len()), |answer| {
            answer.array("peers", |list| {
                for peer in &peers {
                    list.object(|answer| write_address(answer, peer));
                }
            });
        });
    }

    /// Says whether one of the brokers in `seen` is this one, or its upstream, and so on.
    pub(super) fn path(&mut self, arguments: &Value<'_>) -> Result<(), Refusal> {
        let seen = field(arguments, "seen")?.and_then(Value::as_array).unwrap_or_default();
        let mut seen: Vec<String> =
            seen.iter().filter_map(|id| Some(id.as_str()?.to_owned())).collect();
        if seen.contains(&self.broker.id) {
            return Err(Refusal::Ring);
        }
        seen.push(self.broker.id.clone());
        let time = number(arguments, "milliseconds")?.map_or(PATH_TIME_MAX, Duration::from_millis);
        let time = time.min(PATH_TIME_MAX).saturating_sub(PATH_STEP);
        self.broker.homes.check_path(&seen, time)?;
        success(&mut self.answers, "No ring", |_| {});
        Ok(())
    }
}

fn address(arguments: &Value<'_>) -> Result<Address, Refusal> {
    let host = required_text(arguments, "host")?.to_owned();
    entry::check_peer("host", &host)?;
    let port = match text(arguments, "port") {
        Ok(Some(text)) => text.parse().ok(),
        _ => number(arguments, "port")?.and_then(|port| u16::try_from(port).ok()),
    };
    match port {
        Some(port) if port > 0 => Ok(Address { host, port }),
        _ => Err(Refusal::field("port", "is not a port")),
    }
}

fn write_address(answer: &mut Object<'_>, address: &Address) {
    answer.field("host", &address.host).field("port", address.port);
}
