//! Subscriptions to all topics whose names match a pattern, and the list of topics: the dialect of
//! topics.

use super::Json;
use crate::access::Right;
use crate::door::{Commands, Fields, chosen, member, summary};
use crate::push::Format;
use crate::refusal::{Refusal, Result};
use crate::store::Begin;
use common::json::Value;
use common::pattern::Pattern;

impl Commands<'_, Json> {
    /// Answers with the number of topics that match now; each of them says for itself where it
    /// begins.
    pub(super) fn subscribe_by_pattern(
        &mut self,
        pattern: Pattern,
        arguments: &Value<'_>,
    ) -> Result<()> {
        let begin = arguments.begin()?.unwrap_or(Begin::Now);
        let name = arguments.text("subscriber")?;
        self.subscriber.check_patterns(1)?;
        let grant = self.grant()?.clone();
        name.map_or(Ok(()), |name| self.subscriber.check_lasting(name, &grant))?;
        let interest = chosen::interest(self.broker, pattern, &grant, Format::Topic, name)?;
        let interests = vec![interest];
        let mut places = chosen::places(self.broker, &interests, begin)?;
        self.subscriber.check_room(places.len())?;
        if let Some(name) = name {
            self.subscriber.lasting(name, &mut places)?;
        }
        let pattern = arguments.text("pattern")?;
        let message = format!("Subscribed to pattern '{}'", pattern.unwrap_or_default());
        self.succeed(&message, |answer| {
            answer.field("topics", places.len()).optional("pattern", pattern)
        })?;
        self.subscriber.subscribe(interests, places, Format::Topic, name, &mut self.answers);
        Ok(())
    }

    /// With a name, the lasting subscriptions end too that the pattern chooses.
    pub(super) fn unsubscribe_by_pattern(
        &mut self,
        pattern: &Pattern,
        arguments: &Value<'_>,
    ) -> Result<()> {
        let is_left = self.subscriber.leave(pattern);
        let (name, grant) = (arguments.text("subscriber")?, self.grant()?);
        let is_meant = |it: &str| pattern.matches(it) && grant.allows(Right::Read, it);
        let end = |name| self.subscriber.end_lasting(name, grant, is_meant);
        let has_ended = name.map_or(Ok(false), end)?;
        if !is_left && !has_ended {
            return Err(Refusal::NotFollowed(pattern.to_string()));
        }
        self.succeed(&format!("Unsubscribed from pattern '{pattern}'"), |answer| answer)
    }

    /// The topics that the client may read, or those of them that match. Another broker wants to
    /// know the names of all of them, also of those that are at the home of this one.
    pub(super) fn list_topics(&mut self, arguments: &Value<'_>) -> Result<()> {
        let (text, grant) = ("Topics listed", self.grant()?.clone());
        let pattern = arguments.pattern()?;
        if let (Some(pattern), Some(Value::Bool(true))) = (&pattern, member(arguments, "names")?) {
            let names = self.broker.homes.names(pattern)?;
            let names = names.iter().filter(|name| grant.allows(Right::Read, name));
            self.answer_with_list(text, "topics", names, |list, name| {
                list.element(name.as_str());
            });
            return Ok(());
        }
        let topics = summary::topics(self.broker, pattern.as_ref(), &grant);
        self.answer_with_list(text, "topics", topics, |list, (topic, it)| {
            list.object(|object| summary::write(object, &topic, &it, None));
        });
        Ok(())
    }
}
