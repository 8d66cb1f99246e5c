//! A publish as a JSON object, and its answer: the same fields in every door.

use super::fields::Field;
use crate::access::{Grant, Right};
use crate::refusal::Refusal;
use crate::store::admission::Receipt;
use crate::store::batch::{Batch, Publisher, Sequence};
use common::json::{Object, Value};

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
) -> Result<(), Refusal> {
    let fields = Fields::of(object, topic_key)?;
    let missing = || Refusal::field(topic_key, "is missing");
    let topic = text(topic_key, fields.topic)?.ok_or_else(missing)?;
    grant.check(Right::Write, topic)?;
    let publisher = fields.publisher()?;
    match (text("message", fields.message)?, fields.messages) {
        (Some(message), None) => batch.publish(topic, publisher, [message].into_iter(), size_max),
        (None, Some(messages)) => {
            let texts = messages.as_array().and_then(|messages| {
                messages.iter().map(Value::as_str).collect::<Option<Vec<_>>>()
            });
            match texts {
                Some(texts) => batch.publish(topic, publisher, texts.into_iter(), size_max),
                None => Err(Refusal::field("messages", "is not an array of strings")),
            }
        }
        (None, None) => Err(Refusal::field("message", "is missing")),
        (Some(_), Some(_)) => Err(Refusal::field("messages", "is given beside 'message'")),
    }
}

/// The fields of a publish, found in one pass (row `in-flight` of the benchmark).
#[derive(Default)]
struct Fields<'v, 'a> {
    topic: Option<&'v Value<'a>>,
    message: Option<&'v Value<'a>>,
    messages: Option<&'v Value<'a>>,
    publisher: Option<&'v Value<'a>>,
    epoch: Option<&'v Value<'a>>,
    sequence: Option<&'v Value<'a>>,
}

impl<'v, 'a> Fields<'v, 'a> {
    fn of(object: &'v Value<'a>, topic_key: &str) -> Result<Fields<'v, 'a>, Refusal> {
        let mut fields = Fields::default();
        let Value::Object(members) = object else { return Ok(fields) };
        for (key, value) in members {
            let field = match &**key {
                "message" => &mut fields.message,
                "messages" => &mut fields.messages,
                "publisher" => &mut fields.publisher,
                "epoch" => &mut fields.epoch,
                "sequence" => &mut fields.sequence,
                key if key == topic_key => &mut fields.topic,
                _ => continue,
            };
            if field.replace(value).is_some() {
                return Err(Refusal::field(key, "is given twice"));
            }
        }
        Ok(fields)
    }

    fn publisher(&self) -> Result<Option<Publisher<'v>>, Refusal> {
        let name = text("publisher", self.publisher)?;
        let epoch = number("epoch", self.epoch)?;
        let sequence = match (epoch, number("sequence", self.sequence)?) {
            (Some(epoch), Some(sequence)) => Some(Sequence { epoch, sequence }),
            (None, None) => None,
            (Some(_), None) => return Err(Refusal::field("sequence", "is missing beside 'epoch'")),
            (None, Some(_)) => return Err(Refusal::field("epoch", "is missing beside 'sequence'")),
        };
        match (name, sequence) {
            (Some(name), sequence) => Ok(Some(Publisher { name, sequence })),
            (None, Some(_)) => Err(Refusal::field("publisher", "is missing beside 'epoch'")),
            (None, None) => Ok(None),
        }
    }
}

fn text<'v>(name: &'static str, value: Option<&'v Value<'_>>) -> Result<Option<&'v str>, Refusal> {
    value.map(|value| Field::of(name, value).text()).transpose()
}

fn number(name: &'static str, value: Option<&Value<'_>>) -> Result<Option<u64>, Refusal> {
    value.map(|value| Field::of(name, value).number()).transpose()
}

/// Writes what became of a publish, behind its topic and offset: the rest of the object.
pub(super) fn write_rest_of_receipt(object: &mut Object<'_>, receipt: &Receipt) {
    let Receipt { stream, appended, duplicate, durable, replicas, .. } = *receipt;
    object.field("appended", appended).field("stream", stream).field("durable", durable);
    object.optional("replicas", replicas).optional("duplicate", duplicate.then_some(true));
    object.end_line();
}
