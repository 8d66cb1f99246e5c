//! Saves a mirror on disk whose home has lost it: it may be the only copy.
//!
//! The messages are written to a file before the mirror is deleted, once for each topic. So a home
//! that comes back empty again and again cannot fill the disk, and no saved file is overwritten.

use crate::notify;
use crate::store::stream::{Cursor, Place};
use crate::store::topics::Topics;
use crate::store::view::Extract;
use common::crc32::crc32;
use common::limits::PIECE_SIZE;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The folder, within the data directory.
const FOLDER: &str = "set-aside";

/// Writes the messages of a mirror, one a line, where there is a data directory and the topic was
/// not set aside before. Tells the user.
pub(super) fn set_aside(data: Option<&Path>, topic: &str, topics: &Topics) {
    let (Some(data), end) = (data, topics.end(topic)) else { return };
    let first = topics.see(topic, |view, _| view.start());
    if end.next == first || !topics.is_mirror(topic) {
        return;
    }
    match write(data, topic, topics, Cursor { next: first, ..end }, end.next) {
        Ok(path) => notify::warn(format_args!(
            "the home of {topic:?} does not have what its mirror holds, {} messages: they were \
             set aside in {}",
            end.next - first,
            path.display()
        )),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => notify::warn(format_args!(
            "the mirror of {topic:?} could not be set aside in {}: {error}",
            data.display()
        )),
    }
}

fn write(
    data: &Path,
    topic: &str,
    topics: &Topics,
    begin: Cursor,
    end: u64,
) -> io::Result<PathBuf> {
    let folder = data.join(FOLDER);
    fs::create_dir_all(&folder)?;
    // A topic's name may not be a file's.
    let path = folder.join(format!("{:08x}.txt", crc32(topic.as_bytes())));
    let mut file = File::options().write(true).create_new(true).open(&path)?;
    let (mut place, mut text) = (Place::before(begin), Vec::new());
    while place.cursor.next < end {
        text.clear();
        match topics.copy(topic, place, Extract::messages(end, PIECE_SIZE), &mut text) {
            Ok((behind, _)) if behind != place => place = behind,
            // It is being deleted.
            _ => break,
        }
        file.write_all(&text)?;
    }
    file.sync_all()?;
    Ok(path)
}
