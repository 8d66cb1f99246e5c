//! The file `journal`: which journal the directory holds, and how far it was known to reach.
//!
//! ```text
//! topic journal 0002 0a4372f5          magic, format version, CRC-32 of what stands before it
//! id 4f2a90c1d6b7e835                  the journal's id, which every segment repeats
//! reached 00000003 000000000012af61    segment and byte: all before was on disk then
//! unsynced -                           see below
//! 1c3ff08d                             CRC-32 of all lines above
//! ```
//!
//! It is replaced as a whole: written beside, synced, renamed. Its first line is what a broker of
//! format 1 looks for, which then refuses the directory and names the version.
//!
//! A journal that ends before the place that is noted here was cut short by somebody else. With
//! `--sync os`, `unsynced` names the run of the machine (its boot id) in which something was
//! appended that may not be on disk; a start in the same run finds it in the page cache.

use super::header::sealed;
use super::{Directory, Error, JOURNAL, JournalId};
use common::crc32::Crc32;

const MAGIC: &str = "topic journal ";
const VERSION: u32 = 2;

/// Larger than any manifest; enough of any other file to tell what it is.
const SIZE_MAX: u64 = 1024;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) id: JournalId,
    /// The last segment, and how many bytes of it were there; segment 0 before the first start
    /// was done.
    pub(super) reached: (u32, u64),
    /// In which run of the machine something was appended that may not be on disk.
    pub(super) unsynced: Option<String>,
}

/// What a directory has under the name `journal`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing, or a file whose creation by an older broker was cut short.
    Nothing,
    /// A journal of format 1, which is this one file.
    Format1,
    /// The manifest of a row of segments.
    Manifest(Manifest),
}

impl Manifest {
    /// The manifest of a journal of which nothing is known but whose it is.
    pub(super) fn new(id: JournalId) -> Manifest {
        Manifest { id, reached: (0, 0), unsynced: None }
    }

    /// The bytes of the file.
    fn bytes(&self) -> Vec<u8> {
        let Manifest { id, reached: (segment, size), unsynced } = self;
        let unsynced = unsynced.as_deref().unwrap_or("-");
        let first = first_line(VERSION);
        let text =
            format!("{first}id {id}\nreached {segment:08x} {size:016x}\nunsynced {unsynced}\n");
        sealed(Crc32::default(), &text).into_bytes()
    }

    fn parse(text: &str) -> Option<Manifest> {
        let mut lines = text.strip_prefix(&*first_line(VERSION))?.lines();
        let id = lines.next()?.strip_prefix("id ")?.parse().ok()?;
        let (segment, size) = lines.next()?.strip_prefix("reached ")?.split_once(' ')?;
        let segment = u32::from_str_radix(segment, 16).ok()?;
        let size = u64::from_str_radix(size, 16).ok()?;
        let unsynced = lines.next()?.strip_prefix("unsynced ")?;
        let unsynced = (unsynced != "-").then(|| unsynced.to_owned());
        let manifest = Manifest { id, reached: (segment, size), unsynced };
        (manifest.bytes() == text.as_bytes()).then_some(manifest)
    }

    /// Puts the manifest into the directory, durably, in the place of the one before.
    pub(super) fn write(&self, directory: &dyn Directory) -> Result<(), Error> {
        directory.replace(JOURNAL, |file| file.write_all_at(&self.bytes(), 0))
    }
}

/// Reads what the directory has under that name.
///
/// # Errors
///
/// A file that is not a journal, that is damaged, or of a version that is not known.
pub(super) fn read(directory: &dyn Directory) -> Result<Content, Error> {
    let failed = |cause| directory.failed("read", JOURNAL)(cause);
    if !directory.has(JOURNAL)? {
        return Ok(Content::Nothing);
    }
    let file = directory.open(JOURNAL).map_err(directory.failed("open", JOURNAL))?;
    let size = file.size().map_err(failed)?.min(SIZE_MAX);
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    file.read_all_at(&mut bytes, 0).map_err(failed)?;
    if is_unfinished(&bytes) {
        return Ok(Content::Nothing);
    }
    let path = directory.path(JOURNAL);
    let first = first_line(VERSION);
    let header = bytes.get(..first.len()).unwrap_or(&bytes);
    let Some(rest) = header.strip_prefix(MAGIC.as_bytes()) else {
        return Err(Error::foreign(format!(
            "{} is not a journal (byte 0); choose another directory, or restore the file if it was \
             one",
            path.display()
        )));
    };
    let version = rest.get(..4).and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
    let version = version.filter(|version| header == first_line(*version).as_bytes());
    let manifest = str::from_utf8(&bytes).ok().and_then(Manifest::parse);
    match (version, manifest) {
        (Some(1), _) => Ok(Content::Format1),
        (Some(VERSION), Some(manifest)) => Ok(Content::Manifest(manifest)),
        (None | Some(VERSION), _) => {
            let problem = "the checksum of the file is wrong";
            Err(Error::Damaged { path, offset: 0, problem })
        }
        (Some(version), _) => {
            let text = format!(
                "{} has format version {version}, which this broker does not know; start the \
                 version that wrote it",
                path.display()
            );
            Err(Error::Unusable { text, is_damage: false })
        }
    }
}

/// The first line of the file, in any version: the whole header of a journal of format 1.
pub(super) fn first_line(version: u32) -> String {
    sealed(Crc32::default(), &format!("{MAGIC}{version:04} "))
}

/// Whether a file of these bytes alone is a journal of format 1 whose creation was cut short: the
/// beginning of a header, and zeros where the disk lost the rest. Nothing was ever acknowledged
/// from it.
fn is_unfinished(bytes: &[u8]) -> bool {
    let header = first_line(1).into_bytes();
    let equal = bytes.iter().zip(&header).take_while(|(found, wanted)| found == wanted).count();
    bytes.len() <= header.len()
        && equal < header.len()
        && bytes.iter().skip(equal).all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::disk::SimulatedDisk;
    use super::*;

    fn manifest() -> Manifest {
        let unsynced = Some("0b2c".to_owned());
        Manifest { id: JournalId::random(), reached: (3, 77), unsynced }
    }

    #[test]
    fn a_manifest_reads_as_it_was_written_and_with_any_bit_flipped_is_refused() {
        for written in [manifest(), Manifest { unsynced: None, ..manifest() }] {
            let disk = SimulatedDisk::default();
            written.write(&disk).unwrap();
            assert_eq!(disk.names(), [JOURNAL]);
            assert_eq!(read(&disk).unwrap(), Content::Manifest(written.clone()));
            let bytes = disk.read(JOURNAL).unwrap();
            for bit in 0..bytes.len() * 8 {
                let mut bytes = bytes.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let error = read(&SimulatedDisk::with(JOURNAL, &bytes)).unwrap_err();
                assert!(error.is_damage(), "{bit}");
            }
        }
    }

    #[test]
    fn the_first_line_says_what_the_file_is() {
        let read = |bytes: &[u8]| read(&SimulatedDisk::with(JOURNAL, bytes));
        assert_eq!(read(first_line(1).as_bytes()).unwrap(), Content::Format1);
        let newer = read(first_line(3).as_bytes()).unwrap_err();
        assert!(newer.to_string().contains("has format version 3,") && !newer.is_damage());
        let wrong = read(b"topic journal 0001 00000000\n");
        assert!(matches!(wrong, Err(Error::Damaged { .. })));
        assert!(read(b"#!/bin/sh\n").unwrap_err().to_string().contains("is not a journal"));
    }

    #[test]
    fn only_the_beginning_of_a_header_of_format_1_is_an_unfinished_file() {
        let header = first_line(1).into_bytes();
        for size in 0..header.len() {
            assert!(is_unfinished(&header[..size]), "{size} bytes");
            let mut zeroed = header.clone();
            zeroed[size..].fill(0);
            assert!(is_unfinished(&zeroed), "zero from byte {size}");
        }
        assert!(!is_unfinished(&header));
        assert!(!is_unfinished(b"x"));
        assert!(!is_unfinished(&[0; 29]));
    }
}
