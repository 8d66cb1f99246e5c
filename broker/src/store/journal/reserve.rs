//! The reserve: bytes on disk that are given up when the disk is full, so that what frees room can
//! still be written.
//!
//! A deletion has to be journaled, and cleaning writes a segment again before the old one goes.
//! The reserve has room for both: half of the largest segment that is closed at its size. It is
//! made again before anything is appended that takes room; where it cannot be made, that is
//! refused as on a full disk. Its bytes are real, and not of a kind that a file system compresses.

use super::{Directory, Error, File};
use std::io;

/// The name of its file.
const RESERVE: &str = "journal.reserve";

/// The smallest reserve, in bytes: there is something even for a disk of a few pages.
const SIZE_MIN: u64 = 16 << 10;

/// How much is written at once, in bytes.
const PIECE_SIZE: usize = 1 << 20;

/// The reserve of a directory.
#[derive(Default)]
pub(super) struct Reserve {
    file: Option<Box<dyn File>>,
    /// Bytes that are on disk.
    size: u64,
}

impl Reserve {
    /// The reserve that is there.
    pub(super) fn open(directory: &dyn Directory) -> Result<Reserve, Error> {
        if !directory.has(RESERVE)? {
            return Ok(Reserve::default());
        }
        let file = directory.open(RESERVE).map_err(directory.failed("open", RESERVE))?;
        let size = file.size().map_err(directory.failed("read", RESERVE))?;
        Ok(Reserve { file: Some(file), size })
    }

    /// Makes it as large as it has to be beside a segment of so many bytes, durably.
    pub(super) fn ensure(&mut self, directory: &dyn Directory, segment: u64) -> Result<(), Error> {
        // It grows in steps: seldom.
        let wanted = (segment / 2).next_power_of_two().max(SIZE_MIN);
        if self.size >= wanted {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let file = directory.create(RESERVE);
                let file = file.map_err(directory.failed("create", RESERVE))?;
                directory.sync_names(RESERVE)?;
                none.insert(file)
            }
        };
        let grown = grow(&**file, self.size, wanted);
        if grown.is_err() {
            // Room that is no use to it is of use to others.
            let _ = file.set_size(self.size);
        }
        grown.map_err(directory.failed("write", RESERVE))?;
        self.size = wanted;
        Ok(())
    }

    /// Gives it up. Says whether there was one.
    pub(super) fn give_up(&mut self) -> bool {
        let Some(file) = self.file.as_ref().filter(|_| self.size > 0) else { return false };
        let is_given_up = file.set_size(0).and_then(|()| file.sync()).is_ok();
        self.size = 0;
        is_given_up
    }
}

fn grow(file: &dyn File, size: u64, wanted: u64) -> io::Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let left = |done| usize::try_from(wanted - done).unwrap_or(PIECE_SIZE).min(PIECE_SIZE);
    let piece: Vec<u8> = (0..left(size).div_ceil(8)).flat_map(|_| noise()).collect();
    let mut done = size;
    while done < wanted {
        let count = left(done);
        file.write_all_at(piece.get(..count).unwrap_or_default(), done)?;
        done += count as u64;
    }
    file.sync()
}
