//! `/subscribers` and `/subscribers/NAME`: lasting subscriptions, as operators look after them.

use super::answer::Head;
use super::route::SubscribersCall;
use super::{Door, End, Manner};
use crate::access::Right;
use crate::push::Standing;
use crate::refusal::Refusal;

impl Door<'_> {
    /// Answers a request about lasting subscriptions: of the topics that the client may read, or
    /// end subscriptions of.
    pub(super) fn subscribers(
        &mut self,
        call: &SubscribersCall,
        manner: Manner<'_>,
    ) -> Result<(), End> {
        let is = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|it| it == name);
        let (push, grant) = (&self.broker.push, &self.grant);
        let done = match call {
            SubscribersCall::List { subscriber, topic } => {
                let standings = push.standings(|key| {
                    is(subscriber, &key.name)
                        && is(topic, &key.topic)
                        && grant.allows(Right::Read, &key.topic)
                });
                return self.list_subscribers(standings, manner);
            }
            SubscribersCall::End { subscriber, topic } => {
                let mut keys = push.lasting.of(subscriber);
                keys.retain(|key| is(topic, &key.topic) && grant.allows(Right::Admin, &key.topic));
                push.end_lasting(&keys, None, None).and_then(|ended| match ended {
                    0 => Err(Refusal::NoSubscriber(subscriber.clone())),
                    _ => {
                        self.answers.head(Head { status: 204, ..Head::default() }, manner);
                        Ok(())
                    }
                })
            }
        };
        if let Err(refusal) = done {
            self.decline(&refusal, None, manner);
        }
        Ok(())
    }

    /// Its reader may be slow: what is still to be written is on the account of what is on its way.
    fn list_subscribers(
        &mut self,
        standings: Vec<Standing>,
        manner: Manner<'_>,
    ) -> Result<(), End> {
        let mut share = self.broker.input_budget.share();
        if let Err(refusal) = share.grow(size_of_val(&*standings)) {
            self.decline(&refusal, None, manner);
            return Ok(());
        }
        let mut standings = standings.into_iter();
        self.list(manner, |list| {
            let Some(Standing { key, cursor, is_connected, seen, lag }) = standings.next() else {
                return false;
            };
            list.object(|object| {
                object.field("subscriber", &*key.name).field("topic", &*key.topic);
                object.field("next", cursor.next).field("stream", cursor.stream);
                object.field("lag", lag).field("connected", is_connected);
                object.field("last_seen", seen);
            });
            true
        })
    }
}
