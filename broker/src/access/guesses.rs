//! Wrong tokens, counted for each address that they come from, over all its connections.
//!
//! An address may send a few wrong tokens at once, and a few more every second. Beyond that its
//! tokens are not looked at, so the rate at which it can guess does not depend on how many
//! connections it opens. Other addresses do not notice. Nor do connections that have shown a right
//! token before: whoever shares an address with a guesser, as behind a proxy, waits for a new
//! connection only.
//!
//! A connection has a few attempts besides, and waits longer after each.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// How many wrong tokens may come at once: more than people and their scripts mistype.
pub(super) const AT_ONCE: u32 = 40;

/// How long it takes until one more may come.
pub(super) const STEP: Duration = Duration::from_millis(200);

/// How many addresses are remembered.
const ADDRESSES_MAX: usize = 4096;

/// How often a connection may fail before it is closed. It is enough for a person at a keyboard; an
/// attacker needs many connections.
const ATTEMPTS_MAX: u32 = 8;

/// How much longer the answer to each further wrong token takes: 3.6 s for all of them.
const PAUSE: Duration = Duration::from_millis(100);

/// Who shows a token.
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    /// Whether this connection has shown a right one before.
    pub(super) is_known: bool,
    /// How often it has failed to show one.
    failures: u32,
}

impl Client {
    /// The client of a connection.
    pub(crate) fn of(stream: &TcpStream) -> Client {
        // One that has left already is nobody.
        let address = stream.peer_addr().map_or(Ipv4Addr::UNSPECIFIED.into(), |it| it.ip());
        Client { address, is_known: false, failures: 0 }
    }

    /// Counts a failure. The client waits for its answer, and longer after each.
    pub(crate) fn count_failure(&mut self) {
        self.failures = ATTEMPTS_MAX.min(self.failures + 1);
        thread::sleep(PAUSE * self.failures);
    }

    /// Whether it failed so often that its connection has to be closed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failures >= ATTEMPTS_MAX
    }
}

/// When each address will have waited for all its wrong tokens.
#[derive(Default)]
pub(super) struct Guesses(HashMap<IpAddr, Instant>);

impl Guesses {
    /// Whether so many wrong tokens have come from an address that no more are looked at.
    pub(super) fn are_too_many(&self, address: IpAddr, now: Instant) -> bool {
        self.0.get(&network(address)).is_some_and(|at| *at > now + STEP * (AT_ONCE - 1))
    }

    /// Counts a wrong token.
    pub(super) fn count(&mut self, address: IpAddr, now: Instant) {
        let address = network(address);
        if self.0.len() >= ADDRESSES_MAX && !self.0.contains_key(&address) {
            self.0.retain(|_, at| *at > now);
            // Guesses from so many addresses at once: the one that has waited the longest goes.
            let first = self.0.iter().min_by_key(|(_, at)| **at).map(|(address, _)| *address);
            if let Some(first) = first.filter(|_| self.0.len() >= ADDRESSES_MAX) {
                self.0.remove(&first);
            }
        }
        let at = self.0.entry(address).or_insert(now);
        *at = now.max(*at) + STEP;
    }
}

/// Who is one guesser: an address, of IPv6 all that a network's machines may choose from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(network).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Client {
        pub(in crate::access) fn at(address: IpAddr) -> Client {
            Client { address, is_known: false, failures: 0 }
        }
    }

    #[test]
    fn a_connection_has_a_few_attempts() {
        let mut client = Client::at(Ipv4Addr::LOCALHOST.into());
        for _ in 0..ATTEMPTS_MAX {
            assert!(!client.has_failed());
            client.count_failure();
        }
        assert!(client.has_failed());
    }

    #[test]
    fn an_address_may_guess_at_a_bounded_rate_and_others_do_not_notice() {
        let mut guesses = Guesses::default();
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|it| it.parse::<IpAddr>().unwrap());
        let begun = Instant::now();
        for _ in 0..AT_ONCE {
            assert!(!guesses.are_too_many(one, begun));
            guesses.count(one, begun);
        }
        assert!(guesses.are_too_many(one, begun) && !guesses.are_too_many(other, begun));
        let later = begun + STEP;
        assert!(!guesses.are_too_many(one, later), "one more");
        guesses.count(one, later);
        assert!(guesses.are_too_many(one, later));
        assert!(!guesses.are_too_many(one, later + STEP * AT_ONCE));
    }

    #[test]
    fn one_network_is_one_guesser_and_few_are_remembered() {
        let mut guesses = Guesses::default();
        let now = Instant::now();
        let address = |text: String| text.parse::<IpAddr>().unwrap();
        for host in 1..=AT_ONCE {
            guesses.count(address(format!("2001:db8::{host:x}")), now);
        }
        assert!(guesses.are_too_many(address("2001:db8::ffff".into()), now));
        assert!(!guesses.are_too_many(address("2001:db8:0:1::1".into()), now));
        assert_eq!(network(address("::ffff:192.0.2.1".into())), address("192.0.2.1".into()));
        for number in 0..2 * ADDRESSES_MAX {
            guesses.count(address(format!("10.0.{}.{}", number / 256, number % 256)), now);
        }
        assert_eq!(guesses.0.len(), ADDRESSES_MAX);
        assert!(guesses.are_too_many(address("2001:db8::1".into()), now), "the worst stays");
    }
}
