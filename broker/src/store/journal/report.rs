//! What `broker verify` and `broker repair` print.

use super::{Repaired, Summary, TopicSummary};
use std::fmt;

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages: u64 = self.topics.values().map(|topic| topic.messages).sum();
        write!(
            f,
            "good: {} bytes, {} frames, {} topics, {messages} messages, {} lasting subscriptions",
            self.size,
            self.frames,
            self.topics.len(),
            self.subscriptions.len()
        )?;
        for (topic, TopicSummary { stream, messages, size }) in &self.topics {
            write!(f, "\n{messages:>12} messages {size:>14} bytes  stream {stream}  {topic}")?;
        }
        if self.torn > 0 {
            write!(
                f,
                "\n{} bytes after that are an append that was cut short and never acknowledged; \
                 the next start cuts them off",
                self.torn
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
                "{frames_kept} frames are kept; from byte {offset} on, {size} bytes were cut off, \
                 at least {frames_cut} frames of acknowledged messages among them; they are in {}",
                kept.display()
            ),
        }
    }
}
