//! `/subscribers` and `/subscribers/NAME`: lasting subscriptions, as operators look after them.
//!
//! Each client sees those to topics that it may read, and may end those that it may change.

use super::{Door, Stop};
use crate::access::Right;
use crate::push::Standing;
use crate::refusal::Refusal;

/// Whether a name is the wanted one; without a wanted one, each is.
fn is(wanted: Option<&str>, name: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == name)
}

impl Door<'_> {
    /// Answers with where lasting subscriptions stand. Its reader may be slow: what is still to be
    /// written is on the account of what is on its way.
    pub(super) fn subscribers(
        &mut self,
        subscriber: Option<&str>,
        topic: Option<&str>,
    ) -> Result<(), Stop> {
        let standings = self.broker.push.all_standings(|key| {
            let is_wanted = is(subscriber, &key.name) && is(topic, &key.topic);
            is_wanted && self.grant.allows(Right::Read, &key.topic)
        })?;
        let mut share = self.broker.input_budget.share();
        share.grow(size_of_val(&*standings))?;
        self.list(standings.into_iter(), |list, standing| {
            let Standing { key, cursor, is_connected, seen, lag } = standing;
            list.object(|object| {
                object.field("subscriber", &*key.name).field("topic", &*key.topic);
                object.field("next", cursor.next).field("stream", cursor.stream);
                object.field("lag", lag).field("connected", is_connected);
                object.field("last_seen", seen);
            });
        })
    }

    /// Ends lasting subscriptions of a subscriber.
    pub(super) fn forget(&mut self, subscriber: &str, topic: Option<&str>) -> Result<(), Stop> {
        let push = &self.broker.push;
        let mut keys = push.lasting_of(subscriber)?;
        keys.retain(|key| is(topic, &key.topic) && self.grant.allows(Right::Admin, &key.topic));
        if push.end_lasting(&keys, None, None)? == 0 {
            return Err(Refusal::NoSubscriber(subscriber.to_owned()).into());
        }
        self.answers.done();
        Ok(())
    }
}
