//! A publish as a JSON object, and its answer: the same fields in every door.

use super::Field;
use crate::access::{Grant, Right};
use crate::refusal::{Refusal, Result};
use crate::store::{Batch, Publisher, Receipt, Sequence};
use common::bytes;
use common::json::{Charset, Object, Value};

/// Publishes that are appended under one lock.
pub(super) const BATCH_MAX: usize = 1024;

/// Adds the publish that the fields of `object` describe to the batch.
///
/// The topic stands under `topic_key`. `"message"` or `"messages": […]`, and optionally
/// `publisher`, alone or with `epoch` and `sequence`. Other fields are not looked at, so that
/// newer clients keep working.
///
/// # Errors
///
/// What is wrong, naming the field, or [`Refusal::Forbidden`]; the batch is then as it was before.
pub(super) fn add(
    object: &Value<'_>,
    topic_key: &'static str,
    batch: &mut Batch,
    size_max: usize,
    grant: &Grant,
) -> Result<()> {
    // All fields are found in one pass (row `in-flight` of the benchmark).
    let names = [topic_key, "message", "messages", "publisher", "epoch", "sequence"];
    let mut found = [None; 6];
    let Value::Object(members) = object else { return Err(missing(topic_key)) };
    for (key, value) in members {
        let mut fields = names.iter().zip(&mut found);
        if let Some((_, field)) = fields.find(|(name, _)| ***name == **key)
            && field.replace(value).is_some()
        {
            return Err(Refusal::field(key, "is given twice"));
        }
    }
    let [topic, message, messages, publisher, epoch, sequence] = found;
    let topic = text(topic_key, topic)?.ok_or_else(|| missing(topic_key))?;
    grant.check(Right::Write, topic)?;
    let publisher = text("publisher", publisher)?;
    let publisher = match (publisher, number("epoch", epoch)?, number("sequence", sequence)?) {
        (None, None, None) => None,
        (Some(name), None, None) => Some(Publisher { name, sequence: None }),
        (Some(name), Some(epoch), Some(sequence)) => {
            Some(Publisher { name, sequence: Some(Sequence { epoch, sequence }) })
        }
        (_, Some(_), None) => return Err(Refusal::field("sequence", "is missing beside 'epoch'")),
        (_, None, Some(_)) => return Err(Refusal::field("epoch", "is missing beside 'sequence'")),
        (None, ..) => return Err(Refusal::field("publisher", "is missing beside 'epoch'")),
    };
    match (text("message", message)?, messages) {
        (Some(message), None) => batch.publish(topic, publisher, [message].into_iter(), size_max),
        (None, Some(messages)) => {
            let texts = messages.as_array().map(|all| all.iter().map(Value::as_str));
            let wrong = || Refusal::field("messages", "is not an array of strings");
            let texts: Vec<_> = texts.and_then(Iterator::collect).ok_or_else(wrong)?;
            batch.publish(topic, publisher, texts.into_iter(), size_max)
        }
        (None, None) => Err(missing("message")),
        (Some(_), Some(_)) => Err(Refusal::field("messages", "is given beside 'message'")),
    }
}

fn missing(name: &str) -> Refusal {
    Refusal::field(name, "is missing")
}

fn text<'v>(name: &'static str, value: Option<&'v Value<'_>>) -> Result<Option<&'v str>> {
    value.map(|value| Field::of(name, value).text()).transpose()
}

fn number(name: &'static str, value: Option<&Value<'_>>) -> Result<Option<u64>> {
    value.map(|value| Field::of(name, value).number()).transpose()
}

/// Writes what became of publishes. Those that follow one another differ in their offsets only, so
/// the rest is put together once for all of them (row `in-flight` of the benchmark).
pub(super) struct Confirmations {
    /// Writes what stands before the offset, of a publish to this topic.
    begin: fn(&mut Vec<u8>, &str),
    /// What the last one said, and of which topic.
    last: Option<Receipt>,
    topic: String,
    before_offset: Vec<u8>,
    after_offset: Vec<u8>,
}

impl Confirmations {
    /// Those that begin so.
    pub(super) fn new(begin: fn(&mut Vec<u8>, &str)) -> Confirmations {
        let (last, topic, before_offset, after_offset) = Default::default();
        Confirmations { begin, last, topic, before_offset, after_offset }
    }

    /// Writes one.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, topic: &str, receipt: &Receipt) {
        let Some(offset) = receipt.offset else {
            (self.begin)(out, topic);
            return write_rest(out, receipt);
        };
        let last = self.last.filter(|_| self.topic == topic);
        if last.is_none_or(|last| Receipt { offset: last.offset, ..*receipt } != last) {
            self.last = Some(*receipt);
            // In the memory of the one before: what lives long is not to stand between entries.
            topic.clone_into(&mut self.topic);
            self.before_offset.clear();
            (self.begin)(&mut self.before_offset, topic);
            Object::resume(&mut self.before_offset, Charset::Ascii).raw("offset", b"");
            self.after_offset.clear();
            write_rest(&mut self.after_offset, receipt);
        }
        out.extend_from_slice(&self.before_offset);
        bytes::write_decimal(out, offset);
        out.extend_from_slice(&self.after_offset);
    }
}

/// Writes what stands behind the offset.
fn write_rest(out: &mut Vec<u8>, receipt: &Receipt) {
    let Receipt { stream, appended, duplicate, durable, replicas, .. } = *receipt;
    let mut object = Object::resume(out, Charset::Ascii);
    object.field("appended", appended).field("stream", stream).field("durable", durable);
    object.optional("replicas", replicas).optional("duplicate", duplicate.then_some(true));
    object.end_line();
}
