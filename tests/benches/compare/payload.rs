//! Messages that can be told apart: each begins with its number.

/// Digits of the number at the front of a message.
const DIGITS: usize = 10;

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
pub(crate) fn number(message: &[u8]) -> u64 {
    let digits = message.get(..DIGITS).unwrap_or_default();
    digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit.wrapping_sub(b'0')))
}

/// Whether messages come whole and in order, from the first on.
#[derive(Default)]
pub(crate) struct Check {
    /// How many came.
    pub(crate) count: u64,
    /// The first that was not the one expected.
    pub(crate) wrong: Option<u64>,
}

impl Check {
    /// Takes note of a message.
    pub(crate) fn see(&mut self, message: &[u8]) {
        if number(message) != self.count && self.wrong.is_none() {
            self.wrong = Some(self.count);
        }
        self.count += 1;
    }
}
