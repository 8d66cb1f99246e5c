//! Reads input line by line, in large pieces, never all at once.

use std::io::{self, BufRead, BufReader, Read};

/// How much is read at once, if it is there: more than a pipe holds.
const PIECE_SIZE: usize = 256 << 10;

/// Input that is read line by line.
#[derive(Debug)]
pub(crate) struct LineReader<R> {
    input: BufReader<Watched<R>>,
    /// The longest line, in bytes.
    line_size_max: usize,
    line: Vec<u8>,
    /// Bytes of the whole input that were given out.
    position: u64,
}

/// One line. The last one of the input may lack its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Without its end; `None` if it is too long.
    pub(crate) text: Option<&'a [u8]>,
    /// Whether the input had no more lines at the moment. Then messages should not wait for others.
    pub(crate) is_last_for_now: bool,
}

impl<R: Read> LineReader<R> {
    pub(crate) fn new(input: R, line_size_max: usize) -> LineReader<R> {
        let watched = Watched { input, is_drained: false };
        let input = BufReader::with_capacity(PIECE_SIZE, watched);
        LineReader { input, line_size_max, line: Vec::new(), position: 0 }
    }

    /// Bytes that were given out.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Waits for the next line; `None` at the end of the input.
    ///
    /// # Errors
    ///
    /// If the input cannot be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let size_max = self.line_size_max as u64 + 1;
        let mut size = (&mut self.input).take(size_max).read_until(b'\n', &mut self.line)?;
        if size == 0 {
            return Ok(None);
        }
        self.line.pop_if(|last| *last == b'\n');
        let is_too_long = self.line.len() > self.line_size_max;
        if is_too_long {
            size += self.input.skip_until(b'\n')?;
        }
        self.position += size as u64;
        let is_drained = self.input.get_ref().is_drained;
        let is_last_for_now = is_drained && !self.input.buffer().contains(&b'\n');
        let text = (!is_too_long).then_some(&*self.line);
        Ok(Some(Line { text, is_last_for_now }))
    }
}

/// Input that notes whether the last read took everything that was there.
#[derive(Debug)]
struct Watched<R> {
    input: R,
    is_drained: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let size = self.input.read(room)?;
        self.is_drained = size < room.len();
        Ok(size)
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

    /// All lines, each with `!` behind it where the input had no more at the moment.
    fn lines(pieces: &[&'static str]) -> Vec<String> {
        let mut reader = LineReader::new(Pieces(pieces.to_vec()), 100);
        let mut lines = Vec::new();
        while let Some(line) = reader.next().unwrap() {
            let text = String::from_utf8(line.text.unwrap().to_vec()).unwrap();
            lines.push(if line.is_last_for_now { text + "!" } else { text });
        }
        lines
    }

    #[test]
    fn lines_are_given_whole_and_the_last_of_each_piece_is_known() {
        assert_eq!(lines(&[]), [""; 0]);
        assert_eq!(lines(&["a\nb\n"]), ["a", "b!"]);
        assert_eq!(lines(&["a\nb", "c", "d\n", "\n"]), ["a!", "bcd!", "!"]);
        assert_eq!(lines(&["a\nb"]), ["a!", "b!"]);
        assert_eq!(lines(&["a", "b"]), ["ab!"]);
    }

    #[test]
    fn a_line_longer_than_a_piece_is_given_whole_up_to_the_limit() {
        let input = [vec![b'x'; 3 * PIECE_SIZE], b"\nrest".to_vec()].concat();
        for (size_max, is_whole) in [(3 * PIECE_SIZE, true), (3 * PIECE_SIZE - 1, false)] {
            let mut reader = LineReader::new(input.as_slice(), size_max);
            let line = reader.next().unwrap().unwrap();
            assert_eq!(line.text.map(<[u8]>::len), is_whole.then_some(3 * PIECE_SIZE));
            assert_eq!(reader.next().unwrap().unwrap().text, Some(&b"rest"[..]));
            assert_eq!(reader.next().unwrap(), None);
            assert_eq!(reader.position(), input.len() as u64);
        }
        let mut reader = LineReader::new(&input[..3 * PIECE_SIZE], PIECE_SIZE);
        assert_eq!(reader.next().unwrap().unwrap().text, None);
        assert_eq!(reader.next().unwrap(), None);
    }

    #[test]
    fn it_is_known_whether_the_input_has_more_at_the_moment() {
        let text = "x\n".repeat(PIECE_SIZE / 2 + 1).into_bytes();
        let mut reader = LineReader::new(text.as_slice(), 100);
        for _ in 0..PIECE_SIZE / 2 {
            assert!(!reader.next().unwrap().unwrap().is_last_for_now);
        }
        assert!(reader.next().unwrap().unwrap().is_last_for_now);
    }
}
