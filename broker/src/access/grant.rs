//! What a token is good for: rights, and the topics that they are for.

use crate::refusal::{Refusal, Result};
use common::pattern::Pattern;
use std::sync::Arc;

/// Something that a token may be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// To read messages, and what is known of topics and subscribers.
    Read,
    /// To publish.
    Write,
    /// To create, change and delete topics, and all that is about other brokers.
    Admin,
}

impl Right {
    pub(super) const ALL: [Right; 3] = [Right::Read, Right::Write, Right::Admin];

    /// How it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Write => "write",
            Right::Admin => "admin",
        }
    }
}

/// What a token may do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rights {
    pub(super) rights: Vec<Right>,
    /// The topics that it is for; all, where there is none.
    pub(super) patterns: Vec<Pattern>,
}

/// What a client may do that was let in.
#[derive(Debug, Clone)]
pub(crate) struct Grant(pub(super) Option<Arc<Rights>>);

impl Grant {
    /// Everything: no token is asked for.
    pub(crate) const EVERYTHING: Grant = Grant(None);

    /// Whether something may be done to a topic.
    pub(crate) fn allows(&self, right: Right, topic: &str) -> bool {
        self.check(right, topic).is_ok()
    }

    /// Checks whether something may be done to a topic.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`], as of all that follow.
    pub(crate) fn check(&self, right: Right, topic: &str) -> Result<()> {
        self.demand(right, |patterns| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(topic))
        })
    }

    /// Checks whether something may be done to some topic; which of them, is seen later.
    pub(crate) fn check_any(&self, right: Right) -> Result<()> {
        self.demand(right, |_| true)
    }

    /// Checks whether something may be done to the broker as a whole.
    pub(crate) fn check_all(&self, right: Right) -> Result<()> {
        self.demand(right, <[Pattern]>::is_empty)
    }

    fn demand(&self, right: Right, cover: impl FnOnce(&[Pattern]) -> bool) -> Result<()> {
        let allow = |it: &Rights| it.rights.contains(&right) && cover(&it.patterns);
        match self.0.as_deref().is_none_or(allow) {
            true => Ok(()),
            false => Err(Refusal::Forbidden { right: right.name() }),
        }
    }
}
