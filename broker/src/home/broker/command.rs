//! Commands from one broker to another, as bytes of the dialect `topic`.

use crate::home::{Forwarded, MirrorEnd};
use crate::push::Wanted;
use crate::refusal::{Refusal, Result};
use crate::store::{Begin, Bound, Entry, StreamId, TopicChange, Upto, entry};
use common::json::Object;
use common::limits::BODY_SIZE_MAX;
use common::pattern::Pattern;
use std::time::Duration;

/// A command about a topic.
pub(super) fn about(command: &str, topic: &str) -> Vec<u8> {
    write(command, |object| object.field("topic", topic))
}

/// The command by which a broker makes itself known. It also asks whether the path from there leads
/// back to a broker in `seen`, and says how long the answer may take.
pub(super) fn path(seen: &[String], time: Duration) -> Vec<u8> {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    write("path", |object| {
        object.array("seen", |array| {
            for id in seen {
                array.element(id);
            }
        });
        object.field("milliseconds", milliseconds).field("broker", true)
    })
}

/// The command that takes a topic up at the end of its mirror.
pub(super) fn subscribe(mirror: &MirrorEnd) -> Vec<u8> {
    write("subscribe", |object| {
        object.field("topic", &mirror.topic).field("from", mirror.next);
        object.optional("stream", mirror.stream).field("first", true);
        object.optional("digest", mirror.digest.map(|digest| format!("{digest:08x}")));
        object.field("room", mirror.room)
    })
}

/// The command that reads entries, or only asks for the digest there.
pub(super) fn read(Wanted { topic, stream, begin, size_max }: Wanted<'_>) -> Vec<u8> {
    write("pull", |object| {
        object.field("topic", topic).field("entries", size_max as u64);
        object.optional("stream", (stream != StreamId::NONE).then_some(stream));
        object.optional("limit", (size_max == 0).then_some(0_u64));
        object.optional("digest", (size_max == 0).then_some(true));
        match begin {
            Begin::Offset(offset) => object.field("from", offset),
            Begin::Last(count) => object.field("from", format!("-{count}")),
            Begin::Since(time) => object.field("since", time),
            Begin::First | Begin::Now => object,
        }
    })
}

/// The command that asks for the names of all topics that match.
pub(super) fn list(pattern: &Pattern) -> Vec<u8> {
    write("list_topics", |object| object.field("pattern", pattern.to_string()).field("names", true))
}

/// The command that asks an index for the homes of all topics that match.
pub(super) fn query(pattern: &Pattern) -> Vec<u8> {
    write("query_topics", |object| object.field("pattern", pattern.to_string()))
}

/// The command that changes a topic.
pub(super) fn change(topic: &str, change: &TopicChange) -> Vec<u8> {
    match change {
        TopicChange::Create => about("create_topic", topic),
        TopicChange::Delete => about("delete_topic", topic),
        TopicChange::Trim(upto) => write("trim_topic", |object| {
            object.field("topic", topic);
            match upto {
                Upto::Offset(offset) => object.field("before", *offset),
                Upto::Time(time) => object.field("before_time", *time),
                // Each home lets go of other things by itself.
                _ => object,
            }
        }),
        TopicChange::SetBounds(change) => write("set_bounds", |object| {
            object.field("topic", topic);
            bound(object, "keep_messages", change.messages, "");
            bound(object, "keep_bytes", change.bytes, "");
            bound(object, "keep_for", change.age, "ms");
            object
        }),
    }
}

fn bound(object: &mut Object<'_>, key: &'static str, bound: Option<Bound>, unit: &str) {
    match bound {
        None => object,
        Some(Bound::Default) => object.field(key, "default"),
        Some(Bound::None) => object.field(key, None::<u64>),
        Some(Bound::At(bound)) if unit.is_empty() => object.field(key, bound),
        Some(Bound::At(bound)) => object.field(key, format!("{bound}{unit}")),
    };
}

/// Writes a publish.
///
/// # Errors
///
/// Where the home would not take an object of this size; nothing is written then.
pub(super) fn publish((publish, entries): &Forwarded<'_>, out: &mut Vec<u8>) -> Result<()> {
    let begin = out.len();
    let stamped = entries.first().and_then(|entry| Entry::of(entry).publisher);
    let numbered = publish.numbered.as_ref().map(|(publisher, _)| publisher.as_str());
    let number = publish.numbered.as_ref().map(|(_, number)| number);
    let mut object = Object::new(out);
    object.field("command", "publish").field("topic", &*publish.topic);
    object.array("messages", |array| {
        for entry in *entries {
            array.element(entry::message(entry));
        }
    });
    object.optional("publisher", numbered.or(stamped));
    object.optional("epoch", number.map(|number| number.epoch));
    object.optional("sequence", number.map(|number| number.sequence));
    object.end_line();
    if out.len() - begin > BODY_SIZE_MAX {
        out.truncate(begin);
        return Err(Refusal::BodySize { size_max: BODY_SIZE_MAX });
    }
    Ok(())
}

/// A command with its fields.
pub(super) fn write(
    command: &str,
    fields: impl for<'o, 'b> FnOnce(&'o mut Object<'b>) -> &'o mut Object<'b>,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object::ascii(&mut out);
    object.field("command", command);
    fields(&mut object).end_line();
    out
}
