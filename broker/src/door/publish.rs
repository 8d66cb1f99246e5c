//! A publish as a JSON object describes it: the same fields in every door.

use crate::batch::{Batch, Number, Publisher};
use crate::refusal::Refusal;
use common::json::Value;

/// Adds the publish that the fields of `object` describe to the batch.
///
/// The topic stands under `topic_key`. `"message"` or `"messages": […]`, and optionally
/// `publisher`, alone or with `epoch` and `sequence`. Other fields are not looked at, so that
/// newer clients keep working.
///
/// # Errors
///
/// What is wrong, naming the field; the batch is then as it was before.
pub(super) fn add(
    object: &Value<'_>,
    topic_key: &str,
    batch: &mut Batch,
    size_max: usize,
) -> Result<(), Refusal> {
    let topic = required_text(object, topic_key)?;
    let publisher = publisher(object)?;
    match (text(object, "message")?, field(object, "messages")?) {
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

fn publisher<'a>(object: &'a Value<'_>) -> Result<Option<Publisher<'a>>, Refusal> {
    let name = text(object, "publisher")?;
    let number = match (number(object, "epoch")?, number(object, "sequence")?) {
        (Some(epoch), Some(sequence)) => Some(Number { epoch, sequence }),
        (None, None) => None,
        (Some(_), None) => return Err(Refusal::field("sequence", "is missing beside 'epoch'")),
        (None, Some(_)) => return Err(Refusal::field("epoch", "is missing beside 'sequence'")),
    };
    match (name, number) {
        (Some(name), number) => Ok(Some(Publisher { name, number })),
        (None, Some(_)) => Err(Refusal::field("publisher", "is missing beside 'epoch'")),
        (None, None) => Ok(None),
    }
}

/// A field of an object, which may not stand there twice.
pub(super) fn field<'a, 'b>(
    object: &'a Value<'b>,
    name: &str,
) -> Result<Option<&'a Value<'b>>, Refusal> {
    object.get_unique(name).map_err(|_| Refusal::field(name, "is given twice"))
}

/// A field that holds text, if it is there.
pub(super) fn text<'a>(object: &'a Value<'_>, name: &str) -> Result<Option<&'a str>, Refusal> {
    match field(object, name)? {
        None => Ok(None),
        Some(value) => match value.as_str() {
            Some(text) => Ok(Some(text)),
            None => Err(Refusal::field(name, "is not a string")),
        },
    }
}

/// A field that holds text, and has to be there.
pub(super) fn required_text<'a>(object: &'a Value<'_>, name: &str) -> Result<&'a str, Refusal> {
    text(object, name)?.ok_or_else(|| Refusal::field(name, "is missing"))
}

/// A field that holds a whole number, if it is there.
pub(super) fn number(object: &Value<'_>, name: &str) -> Result<Option<u64>, Refusal> {
    match field(object, name)? {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) => Ok(Some(number)),
            None => Err(Refusal::field(name, "is not a whole number below 2^64")),
        },
    }
}
