//! A delivery pass: one thread writes to many sessions, for a limited time. It shares the encoded
//! bytes among subscribers at the same position.

use crate::push::{Encoder, Format, Note, OtherCursors, Push, Subscription, pieces};
use crate::refusal::{Refusal, Result};
use crate::store::{Cursor, Extent, Extract, Place, StreamId};
use common::limits::ENCODED_SIZE;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How much is kept of what was encoded, in bytes.
const KEPT_SIZE_MAX: usize = 16 * ENCODED_SIZE;

/// One thread's work on any number of sessions.
pub(super) struct DeliveryPass<'a> {
    pub(super) push: &'a Push,
    /// The last piece that was fetched, and its list.
    held: Option<(StreamId, Arc<pieces::Piece>)>,
    /// What was not to be had here, and is to be fetched.
    pub(super) missing: Option<(Arc<str>, Cursor)>,
    /// Topics of which it could not be fetched: it is time to try again when their home is asked
    /// next, which is noted when the subscriptions that miss it are no longer ready.
    pub(super) given_up: Vec<Arc<str>>,
    /// When to leave the rest to others.
    pub(super) deadline: Option<Instant>,
    /// Whether there are several sessions, for which pieces are kept.
    pub(super) is_shared: bool,
    /// The last piece of each topic in each format, and where it begins.
    kept: HashMap<Arc<str>, Vec<(Format, Place, Encoded)>>,
    /// Bytes of these pieces.
    kept_size: usize,
    /// Entries before they are encoded.
    text: Vec<u8>,
}

/// Messages of one topic as a subscriber reads them.
#[derive(Clone)]
pub(super) struct Encoded {
    pub(super) bytes: Arc<Vec<u8>>,
    /// How many they are.
    pub(super) count: u64,
    /// The place behind them, which may be inside a message.
    pub(super) end: Place,
    /// Whether there were more than fit.
    pub(super) more: bool,
    /// The last announcement whose messages it holds.
    pub(super) announced: u64,
}

/// Why nothing was read.
#[derive(Debug)]
pub(super) enum Unread {
    /// The rest of a message that was sent in part is not there any more.
    BrokenOff,
    /// A mirror does not hold it: see [`DeliveryPass::missing`].
    NotHere,
}

impl<'a> DeliveryPass<'a> {
    /// A pass that takes at most so long.
    pub(super) fn new(push: &'a Push, time: Option<Duration>) -> DeliveryPass<'a> {
        let deadline = time.map(|time| Instant::now() + time);
        let (held, missing, given_up, is_shared, kept, kept_size, text) = Default::default();
        DeliveryPass { push, held, missing, given_up, deadline, is_shared, kept, kept_size, text }
    }

    /// Fetches what is missing; may take as long as the topic's home does.
    pub(super) fn fetch(&mut self, topic: &Arc<str>, cursor: Cursor) {
        match self.push.pieces.fetch(topic, cursor) {
            Ok(piece) => self.held = Some((cursor.stream, piece)),
            // It is known here, too, now.
            Err(Refusal::Trimmed { first, .. }) if first > cursor.next => {}
            Err(_) => self.given_up.push(Arc::clone(topic)),
        }
    }

    /// Whether the time is up.
    pub(super) fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// The next messages of a subscription, if there are any.
    ///
    /// Where the topic is another list than the one that the cursor belongs to, the subscription
    /// goes on with that list from its start, and a subscriber that has read from the old one is
    /// told so, if its format has words for it. So is one that needs messages that were let go: it
    /// goes on with the first that is there.
    ///
    /// # Errors
    ///
    /// Those of [`Unread`].
    pub(super) fn read(
        &mut self,
        subscription: &mut Subscription,
        others: &OtherCursors,
    ) -> Result<Option<Encoded>, Unread> {
        let topic = &Arc::clone(&subscription.topic);
        let format = subscription.format;
        let encoder = Encoder { format, topic, others };
        let is_untold = subscription.is_untold;
        let mut shared = self.is_shared && others.are_none() && !subscription.lost && !is_untold;
        let fits = |(of, from, _): &&(Format, Place, Encoded)| {
            *of == format && fits(*from, subscription.place)
        };
        if shared
            && let Some((.., piece)) = self.kept.get(topic).and_then(|it| it.iter().find(fits))
        {
            return Ok(Some(piece.clone()));
        }
        // First this, then the list: it may hold more than was announced, and never less.
        let announced = self.push.announced.load(Ordering::SeqCst);
        let mut bytes = Vec::new();
        self.text.clear();
        let before = subscription.place.cursor;
        if is_untold {
            encoder.note(Note::Subscribed(before), &mut bytes);
        }
        let mut from = subscription.place;
        // Of one that has ended, the rest of the message that it is in.
        let last = if subscription.has_ended { before.next + 1 } else { u64::MAX };
        let mut copied = self.copy(topic, &mut from, last);
        if copied.as_ref().is_err_and(|refusal| !matches!(refusal, Refusal::NotHere)) {
            if from.inside > 0 {
                return Err(Unread::BrokenOff);
            }
            let Extent { first, end: Cursor { stream, .. } } = self.push.topics.extent(topic);
            if from.cursor.stream != StreamId::NONE {
                subscription.lost = true;
                // What this one is told, the next at the same place is not.
                shared = false;
                if stream == StreamId::NONE {
                    encoder.note(Note::Deleted, &mut bytes);
                }
            }
            let mut begin = Cursor { stream, next: first };
            if let Some(name) = subscription.name.as_deref().filter(|_| stream != StreamId::NONE) {
                // Once that is known, there is an announcement.
                let lasting = &self.push.lasting;
                let Some(next) = lasting.next_in(name, topic, begin) else { return Ok(None) };
                begin.next = next;
            }
            from = Place::before(begin);
            copied = self.copy(topic, &mut from, last);
        }
        if let Err(Refusal::NotHere) = copied {
            if !self.given_up.contains(topic) {
                self.missing.get_or_insert_with(|| (Arc::clone(topic), from.cursor));
            }
            return Err(Unread::NotHere);
        }
        subscription.place = from;
        // Deleted once more between two lines of this function: the deletion's own note follows.
        let Ok(list_end) = copied else { return Ok(None) };
        bytes.reserve(ENCODED_SIZE.min(self.text.len() * 2));
        let Place { cursor, .. } = from;
        if subscription.lost && cursor.stream != StreamId::NONE {
            subscription.lost = false;
            encoder.note(Note::Reset(cursor), &mut bytes);
        } else if cursor.next > before.next {
            shared = false;
            // It is at hand where a list begins.
            let digest = self.push.topics.digest(topic, cursor.stream, cursor.next);
            encoder.note(Note::Trimmed(cursor, digest.ok().flatten()), &mut bytes);
        }
        subscription.is_untold = false;
        // Characters were copied whole.
        let text = std::str::from_utf8(&self.text).unwrap_or_default();
        let end = encoder.encode(text, from, ENCODED_SIZE, &mut bytes);
        if self.deadline.is_none() {
            // It may be long until the next.
            self.text = Vec::new();
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        format.frame(&mut bytes);
        let piece = Encoded {
            bytes: Arc::new(bytes),
            count: end.cursor.next - cursor.next,
            end,
            more: end.cursor.next < list_end,
            announced,
        };
        if shared {
            self.keep(format, topic, from, piece.clone());
        }
        Ok(Some(piece))
    }

    /// Copies the next entries before an offset, from the first that is still there on. Gives where
    /// the list ends.
    fn copy(&mut self, topic: &str, from: &mut Place, last: u64) -> Result<u64> {
        loop {
            let extract = Extract::entries(last, ENCODED_SIZE);
            match self.push.topics.copy(topic, *from, extract, &mut self.text) {
                Err(Refusal::Trimmed { first, .. }) if from.inside == 0 => from.cursor.next = first,
                Err(Refusal::NotHere) => {
                    let held = self.held.as_ref().filter(|(stream, piece)| {
                        *stream == from.cursor.stream && piece.has(from.cursor.next)
                    });
                    let held = held.map(|(_, piece)| Arc::clone(piece));
                    let piece = held.or_else(|| self.push.pieces.find(from.cursor));
                    let piece = piece.ok_or(Refusal::NotHere)?;
                    piece.copy(*from, extract, &mut self.text);
                    // There is more in any case, here or there.
                    return Ok(u64::MAX);
                }
                copied => return copied.map(|(_, end)| end),
            }
        }
    }

    /// Keeps a piece for other subscribers.
    fn keep(&mut self, format: Format, topic: &Arc<str>, from: Place, piece: Encoded) {
        self.kept_size += piece.bytes.len();
        if self.kept_size > KEPT_SIZE_MAX {
            self.kept.clear();
            self.kept_size = piece.bytes.len();
        }
        let kept = self.kept.entry(Arc::clone(topic)).or_default();
        if let Some(before) = kept.iter().position(|(of, ..)| *of == format) {
            self.kept_size -= kept.swap_remove(before).2.bytes.len();
        }
        kept.push((format, from, piece));
    }
}

/// Whether what begins at `from` is next for a subscriber at `place`. Those who wait for a topic to
/// be there stand at the beginning of any list.
fn fits(from: Place, place: Place) -> bool {
    let is_start = from.cursor.next == 0 && from.inside == 0;
    from == place || place.cursor.stream == StreamId::NONE && is_start
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::Beginning;
    use crate::push::fixture::{FIRST, push_of, subscribe};
    use crate::push::{Progress, Push, Session};
    use crate::store::{Batch, Memory, TopicChange, Topics, Upto};
    use std::io::Read;
    use std::net::TcpStream;

    fn push() -> Push {
        push_of(Topics::new(Memory::new(u64::MAX)), 1)
    }

    fn publish(push: &Push, message: &str) {
        publish_to(push, "t", message);
    }

    fn publish_to(push: &Push, topic: &str, message: &str) {
        let mut batch = Batch::default();
        batch.publish(topic, None, [message].into_iter(), 1000).unwrap();
        assert!(push.topics.append(&mut batch).iter().all(Result::is_ok));
    }

    fn subscription(topic: &str, cursor: Cursor, format: Format) -> Subscription {
        Subscription::new(Beginning::asked(topic, cursor), format, None)
    }

    /// What a client was sent, once its session is over.
    fn sent(session: &Session, mut client: TcpStream) -> String {
        session.close();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn what_was_encoded_for_one_hides_nothing_newer_from_the_next() {
        let push = push();
        push.topics.change_topic("t", TopicChange::Create).unwrap();
        let (first, second) = (subscribe(&push), subscribe(&push));
        publish(&push, "one");
        let mut pass = DeliveryPass { is_shared: true, ..DeliveryPass::new(&push, None) };
        let announced = || push.begin_announcement();
        assert!(first.0.notify(FIRST, announced()));
        assert_eq!(first.0.write(&mut pass), Progress::UpToDate);
        // The same writer is about to serve the second, when somebody else publishes and leaves
        // that message to it too.
        assert!(second.0.notify(FIRST, announced()));
        publish(&push, "two");
        assert!(!second.0.notify(FIRST, announced()));
        assert_eq!(second.0.write(&mut pass), Progress::UpToDate);

        let one = "{\"type\":\"MESSAGE\",\"channel\":\"t\",\"message\":\"one\"}\n";
        assert_eq!(sent(&first.0, first.1), one);
        assert_eq!(sent(&second.0, second.1), format!("{one}{}", one.replace("one", "two")));
    }

    #[test]
    fn what_is_new_in_several_topics_is_written_at_once() {
        let push = push();
        let (session, client) = subscribe(&push);
        for topic in ["u", "v"] {
            let places = [Beginning::asked(topic, Cursor::default())];
            let added = session.subscribe(&push.listeners, places, Format::Text, None, None);
            added.iter().for_each(|index| session.with(|it| it.note(*index, u64::MAX)));
            publish_to(&push, topic, "one");
        }
        publish(&push, "one");
        assert!(session.notify(FIRST, push.begin_announcement()));
        let mut no_time = DeliveryPass::new(&push, Some(Duration::ZERO));
        assert_eq!(session.write(&mut no_time), Progress::Late, "after the first piece");
        let text = sent(&session, client);
        for part in ["\"channel\":\"t\",\"message\":\"one\"}\n", "DELIVER u one", "DELIVER v one"] {
            assert!(text.contains(part), "{text}");
        }
    }

    /// Who waits for a topic to be there is given what others read from its beginning.
    #[test]
    fn what_was_encoded_for_one_is_shared_with_the_next() {
        let push = push();
        let waiting = Cursor::default();
        publish(&push, "one");
        let begin = Cursor { next: 0, ..push.topics.end("t") };
        let mut pass = DeliveryPass { is_shared: true, ..DeliveryPass::new(&push, None) };
        let mut read = |cursor| {
            let mut subscription = subscription("t", cursor, Format::Topic);
            pass.read(&mut subscription, &OtherCursors::default()).unwrap().unwrap().bytes
        };
        let bytes = read(begin);
        assert!(Arc::ptr_eq(&bytes, &read(begin)));
        assert!(Arc::ptr_eq(&bytes, &read(waiting)));
    }

    #[test]
    fn whoever_needs_what_was_let_go_is_told_once_where_it_goes_on() {
        let push = push();
        let start = push.topics.end("t");
        for message in ["m1", "m2", "m3"] {
            publish(&push, message);
        }
        let begin = Cursor { next: 0, ..push.topics.end("t") };
        push.topics.trim("t", Upto::Offset(2)).unwrap();
        for (format, told) in [
            (Format::Topic, "\"event\":\"trimmed\",\"topic\":\"t\",\"next\":2,"),
            (Format::Event { chunked: false }, "event: trimmed\n"),
            (Format::Text, "ERROR messages of t before offset 2 are gone\n"),
            (Format::Channel, ""),
        ] {
            for cursor in [begin, start] {
                let mut pass = DeliveryPass { is_shared: true, ..DeliveryPass::new(&push, None) };
                let mut subscription = subscription("t", cursor, format);
                let piece =
                    pass.read(&mut subscription, &OtherCursors::default()).unwrap().unwrap();
                let text = String::from_utf8_lossy(&piece.bytes);
                assert!(text.contains(told) && text.contains("m3"), "{text}");
                assert!(!text.contains("m1") && !text.contains("m2"), "{text}");
                subscription.place = piece.end;
                assert!(pass.read(&mut subscription, &OtherCursors::default()).unwrap().is_none());
            }
        }
    }

    /// The end of the old list is told to those who have read from it, and to nobody else.
    #[test]
    fn what_one_is_told_of_a_list_that_was_lost_is_not_told_to_the_next() {
        let push = push();
        publish(&push, "old");
        let old = push.topics.end("t");
        push.topics.change_topic("t", TopicChange::Delete).unwrap();
        publish(&push, "new");
        let new = Cursor { next: 0, ..push.topics.end("t") };
        for format in [Format::Topic, Format::Event { chunked: false }] {
            let mut pass = DeliveryPass { is_shared: true, ..DeliveryPass::new(&push, None) };
            let mut read = |cursor| {
                let mut subscription = subscription("t", cursor, format);
                let piece =
                    pass.read(&mut subscription, &OtherCursors::default()).unwrap().unwrap();
                String::from_utf8_lossy(&piece.bytes).into_owned()
            };
            let (told, not_told) = (read(old), read(new));
            assert!(told.contains("reset") && told.contains("new"), "{told}");
            assert!(!not_told.contains("reset") && not_told.contains("new"), "{not_told}");
            assert_eq!(read(new), not_told);
        }
    }
}
