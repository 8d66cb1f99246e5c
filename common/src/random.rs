//! Numbers that nobody else draws: names for one run, stream ids, jitter.
//!
//! The standard library keys its hash maps with randomness from the operating system; this is
//! that randomness. It is not meant for secrets.

use std::hash::{BuildHasher, RandomState};

/// Sixty-four random bits.
#[must_use]
pub fn random() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_differ() {
        assert_ne!(random(), random());
    }
}
