//! What `broker verify` and `broker repair` print.

use super::{Repaired, Summary, TopicSummary};
use std::fmt;

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages: u64 = self.topics.values().map(|topic| topic.messages).sum();
        write!(
            f,
            "good: {}, {}, {}, {}, {}",
            Count(self.size, "byte"),
            Count(self.frames, "frame"),
            Count(self.topics.len() as u64, "topic"),
            Count(messages, "message"),
            Count(self.subscriptions.len() as u64, "lasting subscription"),
        )?;
        for (topic, TopicSummary { stream, messages, size }) in &self.topics {
            write!(f, "\n{messages:>12} messages {size:>14} bytes  stream {stream}  {topic}")?;
        }
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

impl fmt::Display for Repaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Repaired::Nothing => f.write_str("the journal is good: nothing was changed"),
            Repaired::Header => f.write_str("the file's header was written anew; nothing is lost"),
            Repaired::Torn(torn) => write!(f, "an append that was never acknowledged: {torn}"),
            Repaired::Cut { offset, frames_kept, frames_cut, size, kept } => write!(
                f,
                "kept: {}; cut off from byte {offset} on: {}, with at least {} of acknowledged \
                 messages; that is in {}",
                Count(*frames_kept, "frame"),
                Count(*size, "byte"),
                Count(*frames_cut, "frame"),
                kept.display()
            ),
        }
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
