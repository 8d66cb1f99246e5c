//! MQTT 3.1.1 with quality of service 1, in both directions.

use super::{Adapter, Taken};
use crate::wire::Wire;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Control packets (section 2.2.1), with their flags.
const CONNECT: u8 = 0x10;
const PUBLISH_QOS_1: u8 = 0x32;
const PUBACK: u8 = 0x40;
const SUBSCRIBE: u8 = 0x82;

/// A client.
pub(crate) struct Mqtt {
    /// The identifier of the last packet.
    identifier: u16,
}

impl Mqtt {
    pub(crate) fn new() -> Mqtt {
        Mqtt { identifier: 0 }
    }

    fn next(&mut self) -> [u8; 2] {
        self.identifier = self.identifier.checked_add(1).unwrap_or(1);
        self.identifier.to_be_bytes()
    }
}

impl Adapter for Mqtt {
    fn greet(&mut self, wire: &mut Wire) -> io::Result<()> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("c{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let mut packet = vec![CONNECT];
        length(&mut packet, 10 + 2 + name.len());
        // Clean session, no keep-alive.
        packet.extend_from_slice(b"\x00\x04MQTT\x04\x02\x00\x00");
        text(&mut packet, &name);
        wire.output.extend_from_slice(&packet);
        wire.send()?;
        exactly(wire, &[0x20, 2, 0, 0])
    }

    fn publish(&mut self, topic: &str, message: &[u8], out: &mut Vec<u8>) {
        out.push(PUBLISH_QOS_1);
        length(out, 2 + topic.len() + 2 + message.len());
        text(out, topic);
        out.extend_from_slice(&self.next());
        out.extend_from_slice(message);
    }

    fn answered(&mut self, input: &[u8]) -> Result<Taken, String> {
        let mut taken = Taken::default();
        for packet in input.chunks_exact(4) {
            if packet[0] != PUBACK {
                return Err(format!("packet {:#x} instead of an answer", packet[0]));
            }
            taken.count += 1;
            taken.size += 4;
        }
        Ok(taken)
    }

    fn subscribe(&mut self, topics: &[String], wire: &mut Wire) -> io::Result<()> {
        for topic in topics {
            wire.output.push(SUBSCRIBE);
            length(&mut wire.output, 2 + 2 + topic.len() + 1);
            let identifier = self.next();
            wire.output.extend_from_slice(&identifier);
            text(&mut wire.output, topic);
            wire.output.push(1);
            wire.send()?;
            exactly(wire, &[0x90, 3, identifier[0], identifier[1], 1])?;
        }
        Ok(())
    }

    fn received(
        &mut self,
        input: &[u8],
        each: &mut dyn FnMut(&[u8]),
        reply: &mut Vec<u8>,
    ) -> usize {
        let mut used = 0;
        while let Some((kind, body, size)) = packet(&input[used..]) {
            used += size;
            if kind != PUBLISH_QOS_1 {
                continue;
            }
            let topic_size = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let rest = &body[2 + topic_size..];
            reply.extend_from_slice(&[PUBACK, 2, rest[0], rest[1]]);
            each(&rest[2..]);
        }
        used
    }
}

fn exactly(wire: &mut Wire, expected: &[u8]) -> io::Result<()> {
    while wire.input().len() < expected.len() {
        wire.fill()?;
    }
    if !wire.input().starts_with(expected) {
        return Err(io::Error::other(format!("unexpected packet {:?}", wire.input())));
    }
    wire.consume(expected.len());
    Ok(())
}

fn text(out: &mut Vec<u8>, text: &str) {
    let size = u16::try_from(text.len()).expect("names are short");
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Seven bits in each byte, the lowest first (section 2.2.3).
fn length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = u8::try_from(length & 0x7F).expect("seven bits");
        length >>= 7;
        out.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return;
        }
    }
}

/// The first packet, if it is whole: its kind, its body, and how many bytes it took.
fn packet(input: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (kind, rest) = input.split_first()?;
    let (mut length, mut place) = (0, 0);
    loop {
        let byte = usize::from(*rest.get(place)?);
        length |= (byte & 0x7F) << (7 * place);
        place += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let body = rest.get(place..place + length)?;
    Some((*kind, body, 1 + place + length))
}
