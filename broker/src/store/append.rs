//! Publishes as a change: a batch, with an answer for each publish.

use crate::refusal::Refusal;
use crate::store::admission::{Admission, Receipt};
use crate::store::batch::{Batch, Publish, Publisher};
use crate::store::change::{Change, Garbage, Lists, record_size};
use crate::store::entry::{self, Entry};
use crate::store::journal::{Frame, Record};
use crate::store::retention::Limits;
use crate::store::topic_state::Undo;

/// A batch that is to be appended.
#[derive(Debug, Default)]
pub(crate) struct Append {
    /// The entries leave it when they are appended; the publishes stay.
    pub(crate) batch: Batch,
    /// One for each publish, once it is known.
    pub(crate) answers: Vec<Result<Receipt, Refusal>>,
    /// How to take back each publish that was accepted.
    undo: Vec<Undo>,
    /// Topics that hold more than their bounds allow, now that the batch is in them.
    pub(crate) beyond: Vec<String>,
}

impl Append {
    /// A batch about which nothing is known yet.
    pub(crate) fn new(batch: Batch) -> Append {
        Append { batch, ..Append::default() }
    }

    /// Puts what was accepted into a frame.
    fn write(&self, frame: &mut Frame) {
        let mut entries = self.batch.entries.as_slice();
        for (publish, answer) in self.batch.publishes.iter().zip(&self.answers) {
            let (these, rest) = entries.split_at_checked(publish.count).unwrap_or_default();
            entries = rest;
            let Ok(receipt) = answer else { continue };
            if receipt.created {
                let (topic, stream) = (&*publish.topic, receipt.stream);
                frame.add(&Record::Create { topic, stream });
            }
            let skip = publish.count - receipt.count();
            let new = these.get(skip..).unwrap_or_default();
            let Some(first) = new.first().map(|entry| Entry::of(entry)) else { continue };
            let sequence =
                publish.numbered.as_ref().map(|(_, sequence)| sequence.later(skip as u64));
            let publisher = first.publisher.map(|name| Publisher { name, sequence });
            let messages = new.iter().map(|entry| entry::message(entry));
            let (stream, time) = (receipt.stream, first.milliseconds());
            let offset = receipt.offset.unwrap_or_default();
            frame.append(&publish.topic, stream, offset, time, publisher, messages);
        }
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

    fn accept(&mut self, admission: &mut Admission, lists: &Lists, frame: Option<&mut Frame>) {
        let undo = frame.is_some().then_some(&mut self.undo);
        self.answers = admission.accept(&self.batch, lists, undo);
        if let Some(frame) = frame {
            self.write(frame);
            for publish in self.batch.runs().filter_map(|run| run.first()) {
                if let Some(state) = admission.topics.get(&*publish.topic) {
                    state.write_trim(&publish.topic, frame);
                }
            }
        }
    }

    fn apply(&mut self, admission: &mut Admission, lists: &mut Lists) -> Garbage {
        let mut gone = Vec::new();
        let time = self.batch.time();
        let Batch { publishes, entries, .. } = &mut self.batch;
        let mut entries = entries.drain(..);
        let mut answers = self.answers.iter();
        // A list is looked up once for all publishes to it that follow one another: a look-up for
        // each would show in the rate of small publishes.
        for run in publishes.chunk_by(|one, other| one.topic == other.topic) {
            let Some(topic) = run.first().map(|publish| &*publish.topic) else { continue };
            let state = admission.topics.get_mut(topic);
            let list = match (lists.get_mut(topic), &state) {
                (None, Some(_)) => Some(lists.entry(topic.to_owned()).or_default()),
                (list, _) => list,
            };
            let mut found = state.zip(list);
            for (publish, answer) in run.iter().zip(&mut answers) {
                let mut these = entries.by_ref().take(publish.count);
                let appended = answer.as_ref().map_or(0, Receipt::count);
                these.by_ref().take(publish.count - appended).for_each(drop);
                if let Some((state, list)) = &mut found {
                    state.append(list, time, these);
                }
            }
            let Some((state, list)) = found else { continue };
            let limits = state.limits(&admission.limits);
            if limits != Limits::default() {
                gone.push(admission.apply_trim(topic, list, time));
                let state = admission.topics.get(topic);
                if state.is_some_and(|state| state.is_beyond(&limits, None)) {
                    self.beyond.push(topic.to_owned());
                }
            }
        }
        (None, gone)
    }

    fn undo(&mut self, admission: &mut Admission, refusal: &Refusal) {
        let answers = self.batch.publishes.iter().zip(&mut self.answers);
        for (publish, answer) in answers.rev().filter(|(_, answer)| answer.is_ok()) {
            *answer = Err(refusal.clone());
            let publisher = publish.numbered.as_ref().map(|(publisher, _)| publisher.as_str());
            if let Some(undo) = self.undo.pop() {
                admission.undo(&publish.topic, publisher, undo);
            }
        }
    }
}
