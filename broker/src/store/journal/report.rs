//! The output of `broker verify` and `broker repair`.

use super::promote::Promoted;
use super::{Damage, Repaired, Summary, TopicSummary};
use std::collections::BTreeMap;
use std::fmt;

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages: u64 = self.topics.values().map(|topic| topic.next - topic.first).sum();
        write!(
            f,
            "good: {}, {}, {}, {}, {}, {}",
            Count(self.segments, "segment"),
            Count(self.size, "byte"),
            Count(self.frames, "frame"),
            Count(self.topics.len() as u64, "topic"),
            Count(messages, "message"),
            Count(self.subscriptions, "lasting subscription"),
        )?;
        write_topics(&self.topics, f)?;
        if self.torn > 0 {
            write!(
                f,
                "\nafter that {} of an append that was cut short and never acknowledged; the next \
                 start cuts it off",
                Count(self.torn, "byte")
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Promoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Promoted(topics) = self;
        if topics.is_empty() {
            return f.write_str("no topic is a copy of another broker's: nothing was changed");
        }
        write!(
            f,
            "{} of another broker belong to this directory now, under new stream ids; start a \
             broker with it, without --upstream",
            Count(topics.len() as u64, "topic")
        )?;
        write_topics(topics, f)
    }
}

fn write_topics(
    topics: &BTreeMap<String, TopicSummary>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    topics.iter().try_for_each(|(topic, TopicSummary { stream, first, next })| {
        let messages = next - first;
        write!(f, "\n{messages:>12} messages from offset {first}  stream {stream}  {topic}")
    })
}

impl fmt::Display for Repaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Repaired::Nothing => f.write_str("the journal is good: nothing was changed"),
            Repaired::Manifest => {
                f.write_str("the file journal was written again; nothing is lost")
            }
            Repaired::Torn(torn) => {
                f.write_str("an append that was never acknowledged was cut short")?;
                torn.iter().try_for_each(|torn| write!(f, ": {torn}"))
            }
            Repaired::Damage(Damage { kept, .. }) if kept.is_empty() => {
                f.write_str("nothing was changed")
            }
            Repaired::Damage(Damage { kept, .. }) => {
                f.write_str("repaired; the damaged files are kept in")?;
                kept.iter().try_for_each(|kept| write!(f, " {}", kept.display()))
            }
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { path, offset, problem, frames_kept, gaps, bytes_lost, topics, .. } = self;
        write!(
            f,
            "{} is damaged at byte {offset}: {problem}\nkept: {}; lost: {} in {}",
            path.display(),
            Count(*frames_kept, "frame"),
            Count(*bytes_lost, "byte"),
            Count(*gaps, "place"),
        )?;
        if topics.is_empty() {
            return f.write_str("\nno topic is touched");
        }
        write!(
            f,
            "\n{} may have lost messages and goes on under a new stream id:",
            Count(topics.len() as u64, "topic")
        )?;
        for (topic, messages) in topics {
            write!(f, "\n{messages:>12} messages left  {topic}")?;
        }
        Ok(())
    }
}

/// So many of something.
struct Count(u64, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count(count, name) = self;
        write!(f, "{count} {name}{}", if *count == 1 { "" } else { "s" })
    }
}
