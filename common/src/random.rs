//! Random numbers: names for one run, stream ids, jitter. They are not for secrets.
//!
//! The standard library gives its hash maps random keys from the operating system; these numbers
//! come from there.

use std::hash::{BuildHasher, RandomState};

/// Sixty-four random bits.
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
