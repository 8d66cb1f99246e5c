//! Topics that another broker is the home of: what is here of them, and how much room they may
//! have.
//!
//! A mirror takes what the home has, in its order. It is the newest part of the home's list, and
//! lets its oldest part go where others need the memory.

use crate::refusal::{Refusal, Result};
use crate::store::journal::{Event, Frame, Record};
use crate::store::{
    Change, Cursor, Entry, Garbage, Limits, ListChange, Locked, Memory, Point, Publisher, StreamId,
    TopicChange, TopicState, Topics, Upto, entry, record_size, text_size,
};

/// More of a topic that another broker is the home of, as that has it.
#[derive(Debug, Default)]
pub(crate) struct Mirrored {
    pub(crate) topic: String,
    /// Where the first of the entries stands.
    pub(crate) from: Cursor,
    pub(crate) entries: Vec<String>,
}

impl Change for Mirrored {
    fn size(&self) -> usize {
        // Each message may need a record of its own, where the publisher stands again.
        let record = |entry: &String| record_size(entry.len() + self.topic.len());
        record_size(self.topic.len()) + self.entries.iter().map(record).sum::<usize>()
    }

    fn accept(&mut self, locked: &mut Locked<'_>, frame: Option<&mut Frame>) -> Result<()> {
        let Mirrored { topic, from, entries } = self;
        let admission = &mut *locked.admission;
        let known = admission.topics.get(topic);
        let is_new = known.is_none();
        if known.is_some_and(|state| !state.mirror) {
            return Err(Refusal::TopicExists);
        }
        if known.map_or(Cursor { next: 0, ..*from }, TopicState::accepted_end) != *from {
            return Err(Refusal::OtherStream);
        }
        let more = Point::more(entries, entries.iter().map(|entry| text_size(entry)).sum());
        admission.memory.check(more.memory)?;
        if is_new {
            admission.create(topic, from.stream, true)?;
        }
        let state = admission.topics.get_mut(topic).ok_or(Refusal::NoTopic)?;
        state.count(&more, None, 0, &mut admission.memory);
        let Some(frame) = frame else { return Ok(()) };
        let Cursor { stream, mut next } = self.from;
        if is_new {
            frame.add(&Record::new(&self.topic, stream, Event::Mirror));
        }
        for run in
            self.entries.chunk_by(|one, other| entry::stamp_of(one) == entry::stamp_of(other))
        {
            let Some(first) = run.first().map(|entry| Entry::of(entry)) else { continue };
            let publisher = first.publisher.map(|name| Publisher { name, sequence: None });
            let messages = run.iter().map(|entry| entry::message(entry));
            frame.append(&self.topic, stream, next, first.milliseconds(), publisher, messages);
            next += run.len() as u64;
        }
        Ok(())
    }

    fn apply(&mut self, locked: &mut Locked<'_>) -> Garbage {
        if !locked.lists.contains_key(&self.topic) {
            locked.begin_list(&self.topic);
        }
        if let Some((state, list)) = locked.topic(&self.topic) {
            for entry in self.entries.drain(..) {
                let time = Entry::of(&entry).milliseconds();
                state.append(list, time, std::iter::once(entry));
            }
        }
        Garbage::default()
    }

    fn undo(&mut self, locked: &mut Locked<'_>) {
        locked.reset(&self.topic);
    }
}

impl Topics {
    /// Lets mirrors let go of their oldest part, the largest first, so that there is room for
    /// `more` bytes: for a mirror, in the share of the memory that those may have.
    pub(crate) fn make_room(&self, more: u64, for_mirror: bool) {
        let largest = || {
            self.know(|known| {
                let Memory { used, max, .. } = known.memory;
                let share = if for_mirror { mirror_share(max) } else { max };
                let over = (used + more).checked_sub(share).filter(|over| *over > 0)?;
                let mirrors =
                    known.topics.iter().filter(|(_, state)| state.mirror && state.messages() > 0);
                let (topic, _) = mirrors.max_by_key(|(_, state)| state.size)?;
                // More than is needed, so that it is not needed again at once.
                Some((topic.clone(), over + max / 32))
            })
        };
        while let Some((topic, bytes)) = largest()
            && self.trim(&topic, Upto::Window(bytes)).is_ok()
        {}
    }

    /// About how much text of a topic a mirror of it may hold, where so many share what is free.
    pub(crate) fn mirror_room(&self, topic: &str, among: u64) -> u64 {
        self.know(|known| {
            let own = known.topics.get(topic).map_or(0, |state| state.size);
            let free = mirror_share(known.memory.max).saturating_sub(known.memory.used);
            // What lies around the text of a message is as large as a short one.
            (free / among.max(1) + own) / 2
        })
    }

    /// Notes where the home of a mirror begins, and how much text it has from there to the end of
    /// the mirror, where that is known.
    pub(crate) fn home_begins(&self, topic: &str, first: u64, text: Option<u64>) {
        self.tidy(topic, |state, _| state.home_begins(first, text));
    }

    /// Deletes what is here of a topic that another broker is the home of. Where that has another
    /// list now, it begins with `shared` of the messages.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoTopic`], also where this broker is its home.
    pub(crate) fn drop_mirror(&self, topic: &str, shared: Option<u64>) -> Result<()> {
        let (topic, change, is_mirror) = (topic.to_owned(), TopicChange::Delete, true);
        self.change(ListChange { topic, change, is_mirror, shared }).1
    }

    /// Begins a list of which another broker is the home, if it is not there yet.
    ///
    /// # Errors
    ///
    /// [`Refusal::TopicExists`] where this broker is its home, [`Refusal::OtherStream`].
    pub(crate) fn begin_mirror(&self, topic: &str, stream: StreamId) -> Result<()> {
        if self.is_mirror(topic) && self.end(topic).stream == stream {
            return Ok(());
        }
        let (topic, from, entries) = (topic.to_owned(), Cursor { stream, next: 0 }, Vec::new());
        self.change(Mirrored { topic, from, entries }).1
    }

    /// Appends messages of a topic that another broker is the home of. Gives them back where they
    /// are refused: [`Refusal::OtherStream`] where they do not follow on what is there,
    /// [`Refusal::TopicExists`] where this broker is its home, and whatever refuses a publish.
    pub(crate) fn mirror(&self, mirrored: Mirrored) -> (Mirrored, Result<()>) {
        let topic = mirrored.topic.clone();
        let answer = self.change(mirrored);
        if self.state_is(&topic, |state| state.is_beyond(&state.limits(&Limits::default()), None)) {
            self.keep_bounds(&topic);
        }
        answer
    }

    /// Notes what the home of a mirror says that its topic keeps, and sees to itself.
    pub(crate) fn home_tells(&self, topic: &str, limits: Limits) {
        self.tidy(topic, |state, _| state.home_limits = limits);
    }

    /// Notes what the home of a mirror says that its topic keeps: the mirror keeps no more.
    pub(crate) fn home_keeps(&self, topic: &str, limits: Limits) {
        self.know(|known| {
            if let Some(state) = known.topics.get_mut(topic).filter(|state| state.mirror) {
                state.bounds = limits.as_bounds();
            }
        });
        self.keep_bounds(topic);
    }
}

/// How much of the memory mirrors may have: what lives here, or begins, finds room beside them.
fn mirror_share(max: u64) -> u64 {
    max - max / 16
}
