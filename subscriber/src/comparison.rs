//! Finds new messages in a topic's list, for brokers that only give the whole list.
//!
//! The list is compared as it arrives, by the digest of the file. So neither the list nor the file
//! is kept in memory.

use common::crc32::Crc32;

/// A comparison under way.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// Bytes of the list that are still to be compared.
    size_left: u64,
    crc: Crc32,
    digest: u32,
}

impl Comparison {
    /// Compares with a file of this size and digest.
    pub(crate) fn new(size: u64, digest: u32) -> Comparison {
        Comparison { size_left: size, crc: Crc32::default(), digest }
    }

    /// Takes the next piece of the list, and gives the part of it that is not in the file yet. That
    /// is empty if the list does not begin with the contents of the file.
    pub(crate) fn new_part<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        let size = usize::try_from(self.size_left).unwrap_or(usize::MAX).min(piece.len());
        let (known, new) = piece.split_at(size);
        self.size_left -= size as u64;
        self.crc.update(known);
        if self.continues() { new } else { &[] }
    }

    /// Whether the list, as far as it has arrived, begins with the contents of the file.
    pub(crate) fn continues(&self) -> bool {
        self.size_left == 0 && self.crc.value() == self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::crc32::crc32;

    /// What is new in a list that comes in two pieces, if it continues the file.
    fn new(file: &str, list: &str, cut: usize) -> Option<String> {
        let mut comparison = Comparison::new(file.len() as u64, crc32(file.as_bytes()));
        let (first, second) = list.as_bytes().split_at(cut);
        let mut new = comparison.new_part(first).to_vec();
        new.extend(comparison.new_part(second));
        comparison.continues().then(|| String::from_utf8(new).unwrap())
    }

    #[test]
    fn what_lies_behind_the_file_is_new_however_the_list_is_cut() {
        for (file, list, expected) in [
            ("", "", Some("")),
            ("", "a\n", Some("a\n")),
            ("a\n", "a\n", Some("")),
            ("a\n", "a\nb\nc\n", Some("b\nc\n")),
            ("a\n", "b\n", None),
            ("a\n", "b\na\n", None),
            ("a\nb\n", "a\n", None),
            ("a\n", "", None),
        ] {
            for cut in 0..=list.len() {
                let found = new(file, list, cut);
                assert_eq!(found.as_deref(), expected, "{file:?} {list:?} cut at {cut}");
            }
        }
    }
}
