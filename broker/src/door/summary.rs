//! Topics in short: which a client may see, and what there is of each, as fields of a JSON object.

use crate::access::{Grant, Right};
use crate::broker::Broker;
use crate::push::pages;
use crate::store::{Limits, Summary, age};
use common::json::Object;
use common::pattern::Pattern;

/// The topics that a client may read, or those of them that match.
pub(super) fn topics<'a>(
    broker: &'a Broker,
    pattern: Option<&'a Pattern>,
    grant: &Grant,
) -> impl Iterator<Item = (String, Summary)> + use<'a> {
    let grant = grant.clone();
    let list = |behind: &String, count| broker.homes.list(behind, count);
    let topics = pages(list, |(topic, _)| topic.clone());
    let is_chosen = move |topic: &str| pattern.is_none_or(|pattern| pattern.matches(topic));
    topics.filter(move |(topic, _)| is_chosen(topic) && grant.allows(Right::Read, topic))
}

/// Writes what there is of a topic.
pub(super) fn write(object: &mut Object<'_>, topic: &str, summary: &Summary, digest: Option<u32>) {
    let Summary { stream, first, next, bytes, last, limits } = *summary;
    object.field("topic", topic).field("stream", stream).field("first", first).field("next", next);
    object.field("messages", next - first).field("bytes", bytes).field("last", last);
    write_limits(object, limits).optional("digest", digest.map(|digest| format!("{digest:08x}")));
}

/// Writes what a topic keeps.
pub(super) fn write_limits<'o, 'b>(object: &'o mut Object<'b>, of: Limits) -> &'o mut Object<'b> {
    object.field("keep_messages", of.messages).field("keep_bytes", of.bytes);
    object.field("keep_for", of.age.map(age))
}
