//! Topics that a client chooses by pattern: which, and where it begins in each of them.

use crate::access::{Grant, Right};
use crate::broker::Broker;
use crate::push::{Beginning, Format, Interest, chooses};
use crate::refusal::Result;
use crate::store::{Begin, Cursor, Extent, StreamId};
use common::pattern::Pattern;

/// What a client asks for that gives a pattern. The topics that match now can be read here.
pub(super) fn interest(
    broker: &Broker,
    pattern: Pattern,
    grant: &Grant,
    format: Format,
    name: Option<&str>,
) -> Result<Interest> {
    grant.check_any(Right::Read)?;
    broker.homes.prepare_all(&pattern)?;
    Ok(Interest { pattern, grant: grant.clone(), format, name: name.map(Into::into) })
}

/// The topics that are chosen now, and where to begin in each. An offset that a topic does not have
/// is taken as the nearest one: the client is told which.
///
/// # Errors
///
/// Nobody can tell whether a name has been here before.
pub(super) fn places(
    broker: &Broker,
    interests: &[Interest],
    begin: Begin,
) -> Result<Vec<Beginning>> {
    let topics = &broker.push.topics;
    // What came into being while a name was away is read from its beginning; where the name has
    // been before, it goes on there.
    let begin = if is_known(broker, interests)? { Begin::First } else { begin };
    let place = |(topic, _): (String, StreamId)| {
        let cursor = match begin {
            Begin::Offset(offset) => {
                let Extent { first, end } = topics.extent(&topic);
                Cursor { next: offset.clamp(first, end.next), ..end }
            }
            begin => broker.push.begin(&topic, begin, None).ok()?,
        };
        Some(Beginning::chosen(&topic, cursor))
    };
    let chosen = broker.push.chosen(|topic| chooses(interests, topic)).into_iter();
    // One that was deleted meanwhile is chosen again when it comes into being.
    let is_there = |place: &Beginning| place.cursor.stream != StreamId::NONE;
    Ok(chosen.filter_map(place).filter(is_there).collect())
}

/// Whether the name that is given, if one is, has been subscribed to any of those topics before.
fn is_known(broker: &Broker, interests: &[Interest]) -> Result<bool> {
    let name = interests.first().and_then(|interest| interest.name.as_ref());
    let keys = name.map_or(Ok(Vec::new()), |name| broker.push.lasting_of(name))?;
    Ok(keys.iter().any(|key| chooses(interests, &key.topic)))
}
