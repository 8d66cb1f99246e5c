//! Publishing: exactly once where publishes are numbered, without a window and without a clock.
//!
//! A numbered message is stored with the place of the publisher's message before it, and the
//! cluster stores it only if that is still the last. Every copy of a number carries the same
//! place, so at most one of them is stored: of two brokers, of a broker that was killed, of one
//! that repeats, however late it lands.
//!
//! Publishes that arrive together take one round trip. Those of one publisher that follow one
//! another are stored together, and so are the messages of one publish: up to
//! [`BATCH_COUNT_MAX`], all of them or none. Others are stored each for itself (`groups`).
//!
//! What is to become of a number is judged in `sequences`.

use super::Attempt;
use super::api::Last;
use super::failure::Failure;
use super::groups::Group;
use super::names::escape;
use super::storing::{BATCH_COUNT_MAX, expecting};
use crate::home::Forwarded;
use crate::refusal::{Refusal, Result};
use crate::store::{Entry, Publish, Receipt, Sequence, StreamId};
use std::fmt::Write as _;
use std::time::Duration;

/// Before a publish is tried again that was not stored.
const PAUSE: Duration = Duration::from_millis(20);

/// Where the messages of a group are.
#[derive(Default)]
struct Placed {
    stream: Option<StreamId>,
    is_created: bool,
    /// The offset of each message that was appended.
    offsets: Vec<Option<u64>>,
    /// The publisher's last message, where the group is numbered.
    last: Last,
}

impl Attempt<'_> {
    /// Appends publishes: one answer for each.
    pub(super) fn publish<'a>(&self, mut publishes: &'a [Forwarded<'a>]) -> Vec<Result<Receipt>> {
        let mut answers = Vec::with_capacity(publishes.len());
        while let Some((group, rest)) = Group::first(publishes) {
            let mut left = group.publishes;
            if group.is_of_single_messages() {
                let appended = self.append_each(&group);
                left = left.get(appended.len()..).unwrap_or_default();
                answers.extend(appended);
            }
            self.append_together(left, &mut answers);
            publishes = rest;
        }
        answers
    }

    /// Appends what is in effect one publish: all of it or nothing.
    fn append_together(&self, publishes: &[Forwarded<'_>], answers: &mut Vec<Result<Receipt>>) {
        let Some((group, _)) = Group::first(publishes) else { return };
        let placed = self.place(&group);
        let mut from = 0;
        for (publish, _) in group.publishes {
            let placed = placed.as_ref().map_err(Clone::clone);
            answers.push(placed.and_then(|placed| self.receipt(&group, placed, publish, from)));
            from += publish.count;
        }
    }

    /// Appends publishes of one message each, which need not be stored together: a single server
    /// syncs for whatever is. Gives the answers to those at the front; the others were not stored,
    /// and may be tried again.
    fn append_each(&self, group: &Group<'_>) -> Vec<Result<Receipt>> {
        let Ok((stream, is_created)) = self.open(group.topic) else { return Vec::new() };
        let subject = self.subject(stream, group);
        let mut sent = self.store_each(&group.entries, |_, entry, headers| {
            (&subject, message(None, entry, headers))
        });
        let stored = sent.iter().take_while(|it| it.is_ok()).count();
        let is_unstored = |it: &Result<_, Failure>| it.as_ref().is_err_and(Failure::is_unstored);
        // What was sent later must not be stored before.
        if sent.iter().skip(stored).all(is_unstored) {
            sent.truncate(stored);
        }
        let answer = |(index, sent): (usize, Result<u64, Failure>)| {
            let (offset, created) = (sent?.checked_sub(1), is_created && index == 0);
            Ok(Receipt { offset, appended: 1, created, ..self.receipt_of(stream) })
        };
        sent.into_iter().enumerate().map(answer).collect()
    }

    /// What all receipts for publishes to a list have in common.
    fn receipt_of(&self, stream: StreamId) -> Receipt {
        let (durable, replicas) = (self.is_durable, Some(self.replicas));
        let (offset, appended, duplicate, created) = Default::default();
        Receipt { stream, offset, appended, duplicate, created, durable, replicas }
    }

    /// Sees to it that the messages of a group are in the cluster.
    fn place(&self, group: &Group<'_>) -> Result<Placed> {
        let count = group.entries.len();
        if group.numbered.is_none() && count > BATCH_COUNT_MAX {
            let text = format!(
                "NATS stores at most {BATCH_COUNT_MAX} messages together: send fewer, or number \
                 them with 'publisher', 'epoch' and 'sequence'"
            );
            return Err(Refusal::Home { status: 413, text });
        }
        let mut placed = Placed::default();
        loop {
            let (stream, is_created) = self.open(group.topic)?;
            if placed.stream.is_some_and(|before| before != stream) {
                // What was stored of it went with the list.
                placed = Placed::default();
            }
            placed.is_created |= is_created;
            placed.stream = Some(stream);
            let subject = self.subject(stream, group);
            let judged = match group.numbered {
                None => Some((Last::default(), placed.offsets.iter().flatten().count())),
                Some((_, number)) => self.judge(stream, &subject, number, count)?,
            };
            let Some((last, skip)) = judged else {
                // It was not up to date, or the stream is gone.
                self.look(group.topic, stream)?;
                self.pause(PAUSE, "the stream is gone, or changes its leader")?;
                continue;
            };
            placed.last = last;
            let rest = group.entries.get(skip..).unwrap_or_default();
            let rest = rest.get(..BATCH_COUNT_MAX).unwrap_or(rest);
            if rest.is_empty() {
                return Ok(placed);
            }
            let count = rest.len() as u64;
            let number = group.numbered.map(|(_, first)| first.later(skip as u64));
            let expected = number.map_or(String::new(), |_| expecting(last.at, None));
            let sent = self.store(rest, &expected, |index, entry, headers| {
                let number = number.map(|number| number.later(index as u64));
                (&subject, message(number, entry, headers))
            });
            match sent {
                Ok(at) => {
                    let offsets = (at.saturating_sub(count)..at).map(Some);
                    placed.offsets.resize(skip, None);
                    placed.offsets.extend(offsets);
                    if let Some(number) = number {
                        let number = Some(number.later(count - 1));
                        self.sequences.note(&subject, Last { at, number });
                    }
                }
                Err(failure) => {
                    self.sequences.doubt(&subject);
                    if !failure.is_unstored() {
                        return Err(failure.into());
                    }
                    if failure.finds_nobody() {
                        self.look(group.topic, stream)?;
                    }
                    self.pause(PAUSE, failure)?;
                }
            }
        }
    }

    /// The list of a topic, which is created if need be; says whether it was.
    fn open(&self, topic: &str) -> Result<(StreamId, bool)> {
        loop {
            if let Some(stream) = self.streams.lock().get(topic) {
                return Ok((*stream, false));
            }
            if self.creating.lock().insert(topic.to_owned()) {
                let found = match self.find(topic) {
                    Ok(None) => self.create_stream(topic).map(|it| it.map(|list| (list, true))),
                    found => found.map(|it| it.map(|list| (list, false))),
                };
                self.creating.lock().remove(topic);
                if let Some((stream, is_created)) = found? {
                    self.remember(topic, stream);
                    return Ok((stream, is_created));
                }
            }
            // Somebody else is about to create it.
            self.pause(PAUSE, "the topic is being created or deleted")?;
        }
    }

    /// Looks whether a topic has another list now, or whether this one was never finished. That it
    /// has none is for the thread that follows to find out: while leaders change, a server may not
    /// know of a list for a moment.
    fn look(&self, topic: &str, before: StreamId) -> Result<()> {
        match self.find(topic)? {
            Some(list) if list == before => self.finish_stream(topic, list)?,
            Some(list) => self.remember(topic, list),
            None => {}
        }
        Ok(())
    }

    /// The subject of a group's messages.
    fn subject(&self, list: StreamId, group: &Group<'_>) -> String {
        match group.numbered {
            Some((publisher, _)) => self.names.numbered(list, Some(publisher)),
            None => self.names.unnumbered(list),
        }
    }

    /// The answer to one publish of a group, whose first message is the group's `from`.
    fn receipt(
        &self,
        group: &Group<'_>,
        placed: &Placed,
        publish: &Publish,
        from: usize,
    ) -> Result<Receipt> {
        let stream = placed.stream.unwrap_or(StreamId::NONE);
        let mut appended = placed.offsets.iter().skip(from).take(publish.count).flatten();
        let mut offset = appended.next().copied();
        let appended = offset.map_or(0, |_| 1 + appended.count() as u64);
        let duplicate = appended == 0 && publish.count > 0;
        if let (Some((_, first)), true) = (group.numbered, duplicate) {
            let (subject, number) = (self.subject(stream, group), first.later(from as u64));
            offset = self.offset_of(stream, &subject, number, placed.last)?;
            offset = offset.filter(|offset| *offset >= self.kept(stream).first);
        }
        let created = placed.is_created && from == 0;
        Ok(Receipt { offset, appended, duplicate, created, ..self.receipt_of(stream) })
    }
}

/// The payload of a message, whose headers it writes.
fn message<'e>(number: Option<Sequence>, entry: &'e str, headers: &mut String) -> &'e [u8] {
    let Entry { message, publisher, .. } = Entry::of(entry);
    // A string takes all that is written to it.
    let _ = match (number, publisher) {
        (Some(Sequence { epoch, sequence }), _) => {
            write!(headers, "N: {epoch} {sequence}\r\n")
        }
        (None, Some(name)) => write!(headers, "P: {}\r\n", escape(name)),
        (None, None) => Ok(()),
    };
    message.as_bytes()
}

/// The message of a numbered publish fits where the message fits: headers have their own room.
pub(super) const HEADERS_SIZE_MAX: usize = 1024;

const _: () = assert!(HEADERS_SIZE_MAX > 3 * common::limits::PEER_NAME_SIZE_MAX + 200);
