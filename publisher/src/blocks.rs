//! Reads input in large pieces of whole lines, never all at once.

use std::io::{self, ErrorKind, Read};

/// What is read at once, as far as it is there: more than a pipe holds.
const BLOCK_SIZE: usize = 256 << 10;

/// Input that is read piece by piece.
#[derive(Debug)]
pub(crate) struct Blocks<R> {
    input: R,
    /// The longest line, in bytes.
    line_size_max: usize,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were read.
    filled: usize,
    /// Bytes of `buffer` that were given out.
    used: usize,
    /// Bytes of the whole input that were given out.
    position: u64,
    is_ended: bool,
    /// Whether a line is being left out, since it is too long.
    is_dropping: bool,
}

/// Lines, each with its end; the last one of the input may lack it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    pub(crate) lines: &'a [u8],
    /// Whether the input had no more at the moment, so that what is there should not wait.
    pub(crate) is_last_for_now: bool,
    /// Whether a line that is too long stood before these, and was left out.
    pub(crate) follows_long_line: bool,
}

impl<'a> Block<'a> {
    /// The lines without their ends.
    pub(crate) fn split(&self) -> impl Iterator<Item = &'a [u8]> {
        // A line end at the end begins no line.
        let lines = self.lines.strip_suffix(b"\n").unwrap_or(self.lines);
        let lines = (!self.lines.is_empty()).then_some(lines);
        lines.into_iter().flat_map(|lines| lines.split(|&byte| byte == b'\n'))
    }
}

impl<R: Read> Blocks<R> {
    pub(crate) fn new(input: R, line_size_max: usize) -> Blocks<R> {
        let buffer = vec![0; BLOCK_SIZE];
        Blocks {
            input,
            line_size_max,
            buffer,
            filled: 0,
            used: 0,
            position: 0,
            is_ended: false,
            is_dropping: false,
        }
    }

    /// Bytes that were given out.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Waits for the next lines; `None` at the end of the input.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub(crate) fn next(&mut self) -> io::Result<Option<Block<'_>>> {
        self.buffer.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        self.used = 0;
        let mut follows_long_line = false;
        loop {
            let size = self.read()?;
            let (start, end) = (self.filled, self.filled + size);
            self.filled = end;
            self.is_ended = size == 0;
            if self.is_dropping {
                let new = self.buffer.get(start..end).unwrap_or_default();
                let line_end = new.iter().position(|&byte| byte == b'\n');
                let dropped = line_end.map_or(size, |line_end| line_end + 1);
                self.buffer.copy_within(start + dropped..end, start);
                self.filled -= dropped;
                self.position += dropped as u64;
                if line_end.is_none() && !self.is_ended {
                    continue;
                }
                self.is_dropping = false;
                follows_long_line = true;
            }
            let end = self.filled;
            let new = self.buffer.get(start..end).unwrap_or_default();
            let whole = new.iter().rposition(|&byte| byte == b'\n').map(|last| start + last + 1);
            // The last line of the input may lack its end.
            let Some(whole) = whole.or(self.is_ended.then_some(end)) else { continue };
            self.used = whole;
            self.position += whole as u64;
            let is_last_for_now = end < self.buffer.len();
            let lines = self.buffer.get(..whole).unwrap_or_default();
            let block = Block { lines, is_last_for_now, follows_long_line };
            return Ok((!lines.is_empty() || follows_long_line).then_some(block));
        }
    }

    /// One read; 0 at the end of the input.
    fn read(&mut self) -> io::Result<usize> {
        if self.is_ended {
            return Ok(0);
        }
        if self.filled == self.buffer.len() {
            if self.filled > self.line_size_max {
                self.position += self.filled as u64;
                self.filled = 0;
                self.is_dropping = true;
            } else {
                self.buffer.resize(2 * self.filled, 0);
            }
        }
        loop {
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            match self.input.read(room) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one piece at each read.
    struct Pieces(Vec<&'static str>);

    impl Read for Pieces {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            room[..piece.len()].copy_from_slice(piece.as_bytes());
            Ok(piece.len())
        }
    }

    fn blocks(pieces: &[&'static str]) -> Vec<String> {
        let mut blocks = Blocks::new(Pieces(pieces.to_vec()), 100);
        let mut lines = Vec::new();
        while let Some(block) = blocks.next().unwrap() {
            lines.push(String::from_utf8(block.lines.to_vec()).unwrap());
        }
        lines
    }

    #[test]
    fn lines_are_given_whole_and_as_soon_as_they_are_there() {
        assert_eq!(blocks(&[]), [""; 0]);
        assert_eq!(blocks(&["a\nb\n"]), ["a\nb\n"]);
        assert_eq!(blocks(&["a\nb", "c", "d\n", "\n"]), ["a\n", "bcd\n", "\n"]);
        assert_eq!(blocks(&["a\nb"]), ["a\n", "b"]);
        assert_eq!(blocks(&["a", "b"]), ["ab"]);
    }

    #[test]
    fn a_line_longer_than_a_block_is_given_whole_up_to_the_limit() {
        let line = [vec![b'x'; 3 * BLOCK_SIZE], b"\nrest".to_vec()].concat();
        let mut blocks = Blocks::new(line.as_slice(), line.len());
        assert_eq!(blocks.next().unwrap().unwrap().lines.len(), line.len() - 4);
        assert_eq!(blocks.next().unwrap().unwrap().lines, b"rest");
        assert_eq!(blocks.next().unwrap(), None);
        assert_eq!(blocks.position(), line.len() as u64);

        let mut blocks = Blocks::new(line.as_slice(), BLOCK_SIZE);
        let rest = blocks.next().unwrap().unwrap();
        assert_eq!((rest.lines, rest.follows_long_line), (&b"rest"[..], true));
        assert_eq!(blocks.next().unwrap(), None);
        assert_eq!(blocks.position(), line.len() as u64);

        let mut blocks = Blocks::new(&line[..line.len() - 5], BLOCK_SIZE);
        let end = blocks.next().unwrap().unwrap();
        assert_eq!((end.lines, end.follows_long_line), (&b""[..], true));
        assert_eq!(blocks.next().unwrap(), None);
    }

    #[test]
    fn it_is_known_whether_the_input_has_more_at_the_moment() {
        let text = "x\n".repeat(BLOCK_SIZE / 2 + 1).into_bytes();
        let mut blocks = Blocks::new(text.as_slice(), 100);
        assert!(!blocks.next().unwrap().unwrap().is_last_for_now);
        assert!(blocks.next().unwrap().unwrap().is_last_for_now);
    }
}
