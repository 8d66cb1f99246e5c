//! Lasting subscriptions on their way to disk: beginnings, ends and acknowledgements.
//!
//! # Guarantee
//!
//! A beginning and an end are on disk before they are answered, however many with one sync; what
//! was acknowledged, about a second later.

use super::{Begun, Key, LastingSubscriptions, Standing};
use crate::push::{Beginning, Encoder, Note, OtherCursors, Push};
use crate::refusal::{Refusal, Result};
use crate::store::journal::{Event, Frame, Record};
use crate::store::{Change, Cursor, Extent, Garbage, Locked, StreamId, record_size};
use common::clock;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How often acknowledgements are kept on disk.
const KEEP_INTERVAL: Duration = Duration::from_secs(1);

/// For how long at most nobody is forgotten after a start.
const FORGET_PAUSE: Duration = Duration::from_secs(60 * 60);

/// How often those are forgotten that several brokers share.
const SHARED_FORGET_INTERVAL: Duration = Duration::from_secs(60);

/// How many subscriptions go into one change: a journal's frame has a limit.
const KEYS_MAX: usize = 10_000;

/// What is true of these subscriptions is to be kept.
#[derive(Default)]
pub(super) struct Keep {
    lasting: Arc<LastingSubscriptions>,
    keys: Vec<Key>,
    /// Whether they begin, and are none if that cannot be kept.
    begins: bool,
    /// Of each of them, the position that the journal has now; nothing where it has the end.
    pub(super) written: Vec<Option<Cursor>>,
    pub(super) refused: Option<Refusal>,
}

impl Keep {
    pub(super) fn new(lasting: &Arc<LastingSubscriptions>, keys: Vec<Key>, begins: bool) -> Keep {
        Keep { lasting: Arc::clone(lasting), keys, begins, ..Keep::default() }
    }
}

impl Change for Keep {
    fn size(&self) -> usize {
        self.keys.iter().map(|key| record_size(key.name.len() + key.topic.len())).sum()
    }

    fn accept(&mut self, locked: &mut Locked<'_>, mut frame: Option<&mut Frame>) -> Result<()> {
        let mut table = self.lasting.table.lock();
        for key in &self.keys {
            let accepted = table.accept(key, locked.admission).unwrap_or_else(|refusal| {
                // That one topic is gone says less than any other.
                if self.refused.is_none() || !matches!(refusal, Refusal::OtherStream) {
                    self.refused = Some(refusal);
                }
                None
            });
            self.written.push(accepted.map(|(cursor, _)| cursor));
            let subscriber = &*key.name;
            let (stream, event) = match accepted {
                Some((Cursor { stream, next }, seen)) => {
                    (stream, Event::Position { subscriber, next, seen })
                }
                None => (StreamId::NONE, Event::End { subscriber }),
            };
            if let Some(frame) = &mut frame {
                frame.add(&Record::new(&key.topic, stream, event));
            }
        }
        Ok(())
    }

    fn apply(&mut self, locked: &mut Locked<'_>) -> Garbage {
        let is_shared = self.lasting.is_shared();
        let mut table = self.lasting.table.lock();
        for (Key { name, topic }, cursor) in self.keys.iter().zip(&self.written) {
            let Some(position) = table.position(name, topic) else { continue };
            if cursor.is_some() {
                // What others share is kept when they find it.
                position.kept |= !is_shared;
            } else if position.ending {
                locked.admission.memory.give_back(table.remove(name, topic));
            }
        }
        Garbage::default()
    }

    /// What was to begin is forgotten, what was to end goes on, and the rest is tried again.
    fn undo(&mut self, locked: &mut Locked<'_>) {
        let mut table = self.lasting.table.lock();
        for Key { name, topic } in &self.keys {
            let Some(position) = table.position(name, topic) else { continue };
            (position.ending, position.moved) = (false, true);
            if self.begins && !position.kept {
                locked.admission.memory.give_back(table.remove(name, topic));
            }
        }
    }
}

impl Push {
    /// Begins lasting subscriptions of a name, or goes on with them: where, the places say then.
    /// The session has the name from now on. Beginnings are kept at once, or a crash could make the
    /// subscriber miss what was published since.
    pub(in crate::push) fn lasting(
        self: &Arc<Push>,
        name: &str,
        places: &mut [Beginning],
        session: u64,
    ) -> Result<()> {
        self.take(name)?;
        let mut begun = Vec::new();
        let mut take_up = |place| self.take_up(name, place, session, &mut begun);
        let done = places.iter_mut().try_for_each(&mut take_up);
        match self.keep(&begun, true).and(done) {
            // One that a pattern chose is chosen again when it comes into being.
            Err(Refusal::OtherStream) if !places.iter().any(|place| place.is_asked) => Ok(()),
            done => done,
        }
    }

    /// Begins or goes on with one; adds it to those that are to be kept, if it begins. The session
    /// that had the name before loses its subscriptions of that name.
    pub(in crate::push) fn take_up(
        self: &Arc<Push>,
        name: &str,
        place: &mut Beginning,
        session: u64,
        begun: &mut Vec<Key>,
    ) -> Result<()> {
        let end = self.topics.end(&place.topic);
        if place.cursor.stream != StreamId::NONE
            && let Some(position) = self.lasting.table.lock().position(name, &place.topic)
        {
            // It may have been suspended when the process before this one ended.
            position.settle(end);
        }
        self.check_list(name, place)?;
        let Begun { cursor, is_kept, before } =
            self.lasting.subscribe(name, &place.topic, place.cursor, session)?;
        place.cursor = cursor;
        if let Some(before) = before {
            for key in self.lasting.of(name) {
                self.take_away(name, &key.topic, before, true);
            }
        }
        if !is_kept {
            begun.push(Key { name: name.into(), topic: Arc::clone(&place.topic) });
        }
        Ok(())
    }

    /// Takes a lasting subscription from a session, if that has it, and tells its client.
    pub(in crate::push) fn take_away(
        self: &Arc<Push>,
        name: &str,
        topic: &str,
        session: u64,
        tell: bool,
    ) {
        let Some(session) = self.listeners.session(topic, session) else { return };
        let ended = session.unsubscribe(&self.listeners, topic, Some(name));
        let Some(format) = ended else { return };
        self.log.note("unsubscribed", topic, None);
        let mut note = Vec::new();
        if tell {
            let others = OtherCursors::default();
            Encoder { format, topic, others: &others }.note(Note::Ended(name), &mut note);
        }
        if session.tell_client(&note) {
            self.catch_up.take(session, self);
        }
    }

    /// Ends lasting subscriptions, whichever connection has them; with a time, only those whose
    /// subscriber was not connected since then. The session that asks for it is not told. Gives how
    /// many there were.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotStored`]; those that are left go on then.
    pub(crate) fn end_lasting(
        self: &Arc<Push>,
        keys: &[Key],
        unseen_since: Option<u64>,
        by: Option<u64>,
    ) -> Result<usize> {
        let mut count = 0;
        for keys in keys.chunks(KEYS_MAX) {
            let ending = self.lasting.begin_end(keys, unseen_since);
            count += self.end_shared(keys, &ending)?;
            let holders: Vec<_> = ending.iter().map(|key| self.lasting.holder(&key.name)).collect();
            self.keep(&ending, false)?;
            for (Key { name, topic }, holder) in ending.iter().zip(holders) {
                if let Some(holder) = holder {
                    self.take_away(name, topic, holder, by != Some(holder));
                }
            }
        }
        Ok(count)
    }

    /// Where those stand that this broker knows and that are wanted, by name and topic.
    pub(crate) fn standings(&self, is_wanted: impl Fn(&Key) -> bool) -> Vec<Standing> {
        let mut standings = self.lasting.standings();
        standings.retain(|standing| is_wanted(&standing.key));
        standings.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        for Standing { key, cursor, lag, .. } in &mut standings {
            let Extent { first, end } = self.topics.extent(&key.topic);
            let is_here = cursor.stream == end.stream || cursor.stream == StreamId::NONE;
            let next = if is_here { cursor.next } else { 0 };
            *lag = end.next.saturating_sub(next.max(first));
        }
        standings
    }

    /// Keeps what lasting subscriptions acknowledged, from time to time and for ever: a crash
    /// between two times repeats a few messages. Ends those whose subscriber was not connected for
    /// `forget_after`.
    pub(crate) fn keep_acknowledged(self: &Arc<Push>, forget_after: Option<Duration>) -> ! {
        let begun = Instant::now();
        // Whoever shares them is asked now and then only.
        let (mut looked, pause) =
            (begun, self.lasting.is_shared().then_some(SHARED_FORGET_INTERVAL));
        loop {
            thread::sleep(KEEP_INTERVAL);
            // A full disk is told to publishers; this is tried again with the next.
            let _ = self.keep(&self.lasting.moved(), false);
            if self.lasting.is_shared() {
                // Others look after them.
                let _ = self.keep_here(&self.lasting.idle(), false);
            }
            // Subscribers that were connected to the process before this one have to come back.
            if let Some(time) = forget_after
                && begun.elapsed() >= time.min(FORGET_PAUSE)
                && pause.is_none_or(|pause| looked.elapsed() >= pause)
            {
                looked = Instant::now();
                let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                let since = clock::unix_milliseconds().saturating_sub(time);
                let unseen = self.unseen_since(since);
                // Where the disk is full, publishers are told, and this is tried again.
                let _ = self.end_lasting(&unseen, Some(since), None);
            }
        }
    }

    /// Keeps what is true of subscriptions. Where a part cannot be kept, the rest still is.
    pub(in crate::push) fn keep(self: &Arc<Push>, keys: &[Key], begins: bool) -> Result<()> {
        let keep = |keys: &[Key]| {
            let (keep, stored) = self.keep_here(keys, begins);
            stored.and_then(|()| self.keep_shared(&keep.keys, &keep.written, begins))?;
            keep.refused.map_or(Ok(()), Err)
        };
        keys.chunks(KEYS_MAX).map(keep).fold(Ok(()), Result::and)
    }

    /// The same, where nobody else finds it.
    pub(super) fn keep_here(&self, keys: &[Key], begins: bool) -> (Keep, Result<()>) {
        self.topics.change(Keep::new(&self.lasting, keys.to_vec(), begins))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::fixture::push_of;
    use crate::store::journal::tests::full_at;
    use crate::store::{Memory, Replayed, Topics};

    /// Topics whose disk is full at these writes.
    fn push(writes: &[usize]) -> Arc<Push> {
        let replayed = Replayed::new(Memory::new(u64::MAX));
        Arc::new(push_of(Topics::restored(replayed, full_at(writes), true), 1))
    }

    fn lasting(push: &Arc<Push>, begin: u64) -> Result<Cursor> {
        let mut places = [Beginning::asked("a", at(begin))];
        push.lasting("ann", &mut places, 1).map(|()| places[0].cursor)
    }

    fn end(push: &Arc<Push>) -> Result<usize> {
        push.end_lasting(&[Key { name: "ann".into(), topic: "a".into() }], None, None)
    }

    fn at(next: u64) -> Cursor {
        Cursor { stream: StreamId::NONE, next }
    }

    #[test]
    fn a_lasting_subscription_that_was_not_stored_has_not_begun() {
        let push = push(&[1]);
        assert!(lasting(&push, 5).is_err());
        assert!(push.lasting.of("ann").is_empty());
        assert_eq!(lasting(&push, 7).unwrap(), at(7));
    }

    #[test]
    fn a_lasting_subscription_whose_end_was_not_stored_goes_on() {
        // An end frees room: it is tried again with what the reserve gives up.
        let push = push(&[2, 3]);
        lasting(&push, 5).unwrap();
        assert!(end(&push).is_err());
        assert_eq!(lasting(&push, 9).unwrap(), at(5));
        assert_eq!([end(&push).unwrap(), end(&push).unwrap()], [1, 0]);
    }

    #[test]
    fn acknowledgements_that_were_not_stored_are_tried_again() {
        let push = push(&[2]);
        lasting(&push, 5).unwrap();
        push.lasting.acknowledge("ann", "a", at(6));
        assert!(push.keep(&push.lasting.moved(), false).is_err());
        assert_eq!(push.lasting.moved().len(), 1);
        assert!(push.keep(&push.lasting.moved(), false).is_ok());
        assert!(push.lasting.moved().is_empty());
    }
}
