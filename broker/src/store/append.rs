//! Publishes as a change: a batch, with an answer for each publish.

use crate::refusal::{Refusal, Result};
use crate::store::journal::{Event, Frame, Record};
use crate::store::{
    Admission, Batch, Before, Change, Entry, Garbage, Limits, Locked, MARK_EVERY, Memory, Point,
    Publish, Publisher, Receipt, Receipts, Sequences, StreamId, TopicState, TopicView, Verdict,
    entry, record_size,
};

/// A batch that is to be appended.
#[derive(Debug, Default)]
pub(crate) struct Append {
    /// The entries leave it when they are appended; the publishes stay.
    pub(crate) batch: Batch,
    /// One for each publish, once it is known.
    pub(crate) answers: Receipts,
    /// Which publishes took a number, and what was known of their publishers before.
    numbered: Vec<(usize, Before)>,
    /// Topics that hold more than their bounds allow, now that the batch is in them.
    pub(crate) beyond: Vec<String>,
}

impl Append {
    /// A batch about which nothing is known yet.
    pub(crate) fn new(batch: Batch) -> Append {
        Append { batch, ..Append::default() }
    }
}

impl Change for Append {
    fn size(&self) -> usize {
        let record = |publish: &Publish| {
            let publisher = publish.numbered.as_ref().map_or(0, |(publisher, _)| publisher.len());
            // It may create the topic, and let go of messages.
            2 * record_size(publish.topic.len()) + record_size(publish.topic.len() + publisher)
        };
        self.batch.size() + self.batch.publishes.iter().map(record).sum::<usize>()
    }

    /// Decides about each publish, in order. The answers say what was refused.
    fn accept(&mut self, locked: &mut Locked<'_>, mut frame: Option<&mut Frame>) -> Result<()> {
        let mut entries = self.batch.entries.as_slice();
        // A topic is looked up once for all publishes to it that follow one another: a look-up for
        // each would show in the rate of small publishes.
        for run in self.batch.runs() {
            let Some(topic) = run.first().map(|publish| &*publish.topic) else { continue };
            let mut opened = Open::topic(locked, topic, &self.batch);
            for publish in run {
                let (these, rest) = entries.split_at_checked(publish.count).unwrap_or_default();
                entries = rest;
                let open = opened.as_mut().map_err(|refusal| refusal.clone());
                let accepted = open.and_then(|it| it.accept(publish, these, frame.as_deref_mut()));
                self.answers.push(accepted.map(|(receipt, before)| {
                    let before = before.filter(|_| frame.is_some());
                    self.numbered.extend(before.map(|before| (self.answers.len(), before)));
                    receipt
                }));
            }
            match (opened, &mut frame) {
                // Nothing was accepted of what the topic was created for.
                (Ok(Open { is_new: true, .. }), _) => drop(locked.admission.remove(topic)),
                (Ok(Open { state, .. }), Some(frame)) if state.is_trimmed() => {
                    frame.add(&Record::new(topic, state.stream, state.trim_event()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn apply(&mut self, locked: &mut Locked<'_>) -> Garbage {
        let mut gone = Vec::new();
        let (time, defaults) = (self.batch.time(), locked.admission.limits);
        let Batch { publishes, entries, .. } = &mut self.batch;
        let mut entries = entries.drain(..);
        let mut answers = self.answers.iter();
        for run in publishes.chunk_by(|one, other| one.topic == other.topic) {
            let Some(topic) = run.first().map(|publish| &*publish.topic) else { continue };
            let mut found = locked.topic(topic);
            if found.is_none() {
                locked.begin_list(topic);
                found = locked.topic(topic);
            }
            for (publish, answer) in run.iter().zip(&mut answers) {
                let mut these = entries.by_ref().take(publish.count);
                let appended = answer.as_ref().map_or(0, Receipt::count);
                these.by_ref().take(publish.count - appended).for_each(drop);
                if let Some((state, list)) = &mut found {
                    state.append(list, time, these);
                }
            }
            let Some((state, _)) = found else { continue };
            let limits = state.limits(&defaults);
            if limits != Limits::default() {
                gone.push(locked.apply_trim(topic, time));
                let is_more =
                    |state: &TopicState| state.is_beyond(&limits, None) || state.has_dead();
                if locked.topic(topic).is_some_and(|(state, _)| is_more(state)) {
                    self.beyond.push(topic.to_owned());
                }
            }
        }
        (None, gone)
    }

    fn undo(&mut self, locked: &mut Locked<'_>) {
        let Admission { topics, memory, .. } = &mut *locked.admission;
        for (index, before) in self.numbered.drain(..).rev() {
            let Some(Publish { topic, numbered, .. }) = self.batch.publishes.get(index) else {
                continue;
            };
            let state = topics.get_mut(&**topic);
            if let Some((state, (publisher, _))) = state.zip(numbered.as_ref()) {
                state.undo_number(publisher, before, memory);
            }
        }
        for publish in self.batch.runs().filter_map(|run| run.first()) {
            locked.reset(&publish.topic);
        }
    }
}

/// A topic that is published to.
struct Open<'a> {
    state: &'a mut TopicState,
    /// Its list, where it has bounds.
    list: &'a [String],
    limits: Limits,
    memory: &'a mut Memory,
    durable: bool,
    time: u64,
    /// Whether it was created just now, and nothing was accepted yet.
    is_new: bool,
}

impl<'a> Open<'a> {
    /// A topic that a batch is about to be published to; it is created if need be, unless only
    /// topics will do whose home this broker is.
    fn topic(locked: &'a mut Locked<'_>, topic: &str, batch: &Batch) -> Result<Open<'a>> {
        let Locked { admission, lists } = locked;
        let known = admission.topics.get(topic);
        let is_new = known.is_none();
        if batch.own_only && known.is_none_or(|state| state.mirror) {
            return Err(Refusal::UnknownTopic(topic.to_owned()));
        }
        if is_new {
            admission.create(topic, StreamId::random(), false)?;
        }
        let Admission { topics, memory, limits, durable, .. } = &mut **admission;
        let state = topics.get_mut(topic).ok_or(Refusal::NoTopic)?;
        let limits = state.limits(limits);
        let list = if limits == Limits::default() { None } else { lists.get(topic) };
        let list = list.map_or(&[][..], Vec::as_slice);
        Ok(Open { state, list, limits, memory, durable: *durable, time: batch.time(), is_new })
    }

    /// Decides about one publish, and writes what is appended of it. Gives what was known of its
    /// publisher before, where it took a number.
    fn accept(
        &mut self,
        publish: &Publish,
        entries: &[String],
        frame: Option<&mut Frame>,
    ) -> Result<(Receipt, Option<Before>)> {
        let TopicState { stream, accepted_end: Point { offset: next, .. }, .. } = *self.state;
        let (offset, durable, duplicate) = (Some(next), self.durable, true);
        let mut receipt = Receipt { stream, offset, durable, duplicate, ..Receipt::default() };
        let mut skip = 0;
        if let Some((publisher, sequence)) = &publish.numbered {
            let known = self.state.sequences.get_mut(publisher);
            let nothing = Sequences::default();
            match known.as_deref().unwrap_or(&nothing).judge(*sequence, entries.len() as u64)? {
                Verdict::Append { skip: there } => skip = there,
                Verdict::Duplicate { offset } => {
                    if let Some(known) = known {
                        known.time = self.time;
                    }
                    receipt.offset = offset.filter(|offset| self.state.holds(*offset));
                    return Ok((receipt, None));
                }
            }
        }
        let new = usize::try_from(skip).ok().and_then(|skip| entries.get(skip..));
        let new = new.unwrap_or_default();
        let more = Point::more(new, entry::text_size(new));
        self.make_room(&more)?;
        let numbered = publish.numbered.as_ref().map(|(by, first)| (&**by, first.later(skip)));
        let before = self.state.count(&more, numbered, self.time, self.memory);
        receipt.created = std::mem::take(&mut self.is_new);
        (receipt.appended, receipt.duplicate) = (more.offset, false);
        let Some(frame) = frame else { return Ok((receipt, before)) };
        if receipt.created {
            frame.add(&Record::new(&publish.topic, stream, Event::Create));
        }
        if let Some(first) = new.first().map(|entry| Entry::of(entry)) {
            let sequence = numbered.map(|(_, sequence)| sequence);
            let publisher = first.publisher.map(|name| Publisher { name, sequence });
            let messages = new.iter().map(|entry| entry::message(entry));
            frame.append(&publish.topic, stream, next, self.time, publisher, messages);
        }
        Ok((receipt, before))
    }

    /// Sees to it that there is memory for more messages, and lets go of what is beyond the topic's
    /// bounds with them. A bound of age is looked at here only where memory is used up.
    fn make_room(&mut self, more: &Point) -> Result<()> {
        if self.limits == Limits::default() || more.offset == 0 {
            return self.memory.check(more.memory);
        }
        let view = TopicView::new(self.state, self.list);
        let now = (!self.memory.has_room(more.memory)).then_some(self.time);
        let mut first = view.beyond(&self.limits, (more.offset, more.text), now);
        let start = self.state.accepted_start.offset;
        if first <= start {
            return self.memory.check(more.memory);
        }
        if now.is_none() {
            // After a bound was lowered whoever lowered it lets the rest go: to make the checksum
            // of a long list takes a while.
            first = first.min(start + more.offset + MARK_EVERY);
        }
        let point = view.point(first, true);
        self.memory.check(more.memory.saturating_sub(self.state.memory_before(&point)))?;
        self.state.trim(point, self.memory);
        Ok(())
    }
}
