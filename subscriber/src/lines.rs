//! Takes whole lines out of the pieces of a body.

use common::limits::BODY_SIZE_MAX;
use std::io;

/// The beginning of a line whose end has not arrived yet.
#[derive(Debug, Default)]
pub(crate) struct WholeLines {
    partial: Vec<u8>,
}

impl WholeLines {
    /// Takes the next piece, and passes to `sink` in one go all lines that it completes.
    ///
    /// # Errors
    ///
    /// Those of `sink`, or that a line is longer than any body that a broker takes.
    pub(crate) fn take(
        &mut self,
        piece: &[u8],
        mut sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let end = piece.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        let (whole, rest) = piece.split_at(end);
        if self.partial.is_empty() && !whole.is_empty() {
            sink(whole)?;
        } else if !whole.is_empty() {
            self.partial.extend_from_slice(whole);
            sink(&self.partial)?;
            self.partial.clear();
        }
        if rest.len() > BODY_SIZE_MAX - self.partial.len() {
            return Err(io::Error::other(format!("a line is longer than {BODY_SIZE_MAX} bytes")));
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(pieces: &[&str]) -> Vec<String> {
        let mut lines = WholeLines::default();
        let mut batches = Vec::new();
        for piece in pieces {
            let mut sink = |batch: &[u8]| {
                batches.push(String::from_utf8(batch.to_vec()).unwrap());
                Ok(())
            };
            lines.take(piece.as_bytes(), &mut sink).unwrap();
        }
        batches
    }

    #[test]
    fn only_whole_lines_are_passed_on_and_as_many_at_once_as_came() {
        assert_eq!(batches(&["a\nb\n"]), ["a\nb\n"]);
        assert_eq!(batches(&["a\nb", "", "c", "\nd\ne"]), ["a\n", "bc\nd\n"]);
        assert_eq!(batches(&["\n", "\n\n"]), ["\n", "\n\n"]);
        assert_eq!(batches(&["a", "b"]), [""; 0]);
    }

    #[test]
    fn a_line_may_be_as_long_as_a_body_and_no_longer() {
        let mut lines = WholeLines::default();
        lines.take(&vec![b'x'; BODY_SIZE_MAX], |_| unreachable!()).unwrap();
        assert!(lines.take(b"x", |_| unreachable!()).is_err());
    }
}
