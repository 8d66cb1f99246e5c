//! A topic in short, as fields of a JSON object.

use super::bounds;
use crate::store::view::Summary;
use common::json::Object;

/// Writes what there is of a topic.
pub(super) fn write(object: &mut Object<'_>, topic: &str, summary: &Summary, digest: Option<u32>) {
    let Summary { stream, first, next, bytes, last, limits } = *summary;
    object.field("topic", topic).field("stream", stream).field("first", first).field("next", next);
    object.field("messages", next - first).field("bytes", bytes).field("last", last);
    bounds::write(object, &limits);
    object.optional("digest", digest.map(|digest| format!("{digest:08x}")));
}
