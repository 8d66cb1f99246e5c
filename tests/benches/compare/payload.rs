//! Messages that differ: each begins with its number.

/// Digits of the number at the front of a message.
const DIGITS: usize = 8;

/// The next message, of a fixed size.
#[derive(Clone)]
pub(crate) struct Payload {
    text: Vec<u8>,
}

impl Payload {
    /// Messages of `size` bytes, the first of which is number 0.
    pub(crate) fn new(size: usize) -> Payload {
        let mut text = vec![b'x'; size.max(DIGITS)];
        text[..DIGITS].fill(b'0');
        Payload { text }
    }

    /// The message as it is now.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.text
    }

    /// Goes on to the next number.
    pub(crate) fn advance(&mut self) {
        for digit in self.text[..DIGITS].iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                return;
            }
            *digit = b'0';
        }
    }
}

/// The number of a message.
fn number(message: &[u8]) -> u64 {
    let Some(digits) = message.first_chunk::<DIGITS>() else { return 0 };
    // All digits at once, then all pairs, then both halves: a product adds each to ten, a hundred
    // or ten thousand times its neighbour. One after another would take as long as all else.
    let digits = u64::from_le_bytes(*digits) & 0x0F0F_0F0F_0F0F_0F0F;
    let pairs = (digits.wrapping_mul(10 << 8 | 1) >> 8) & 0x00FF_00FF_00FF_00FF;
    let halves = (pairs.wrapping_mul(100 << 16 | 1) >> 16) & 0x0000_FFFF_0000_FFFF;
    halves.wrapping_mul(10_000 << 32 | 1) >> 32
}

/// Whether messages come whole and in order, from the first on.
///
/// They were published to one topic after another, in turn: so a message's number tells its topic.
/// Messages of different topics may overtake each other.
pub(crate) struct Check {
    /// How many came.
    pub(crate) count: u64,
    /// The next number of each topic.
    next: Vec<u64>,
    /// The first that was not the one expected.
    pub(crate) wrong: Option<u64>,
}

impl Check {
    /// A check of messages of so many topics.
    pub(crate) fn new(topics: usize) -> Check {
        Check { count: 0, next: (0..).take(topics).collect(), wrong: None }
    }

    /// Takes note of a message, and gives its number.
    pub(crate) fn see(&mut self, message: &[u8]) -> u64 {
        let number = number(message);
        let topics = self.next.len();
        // Most often there is one topic, and then nothing to divide.
        let topic = if topics == 1 { 0 } else { usize::try_from(number).unwrap_or(0) % topics };
        let next = &mut self.next[topic];
        if number != *next && self.wrong.is_none() {
            self.wrong = Some(*next);
        }
        *next += topics as u64;
        self.count += 1;
        number
    }
}
