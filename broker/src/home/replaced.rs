//! What becomes of a mirror whose home has lost its list, or has another.
//!
//! The mirror goes, and those who read it go on with the home's list, where that begins to differ.
//! On disk the messages are set aside before, since the mirror may be the only copy: once for each
//! topic. So a home that comes back empty again and again cannot fill the disk, and no file that
//! was saved is overwritten.

use super::deadline;
use super::following::Phase;
use super::mirrors::Mirrors;
use super::remote::MirrorEnd;
use crate::notify;
use crate::push::{Piece, Wanted};
use crate::refusal::{Refusal, Result};
use crate::store::{Begin, Cursor, Extract, Place, StreamId};
use common::crc32::crc32;
use common::limits::PIECE_SIZE;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The folder, within the data directory.
const FOLDER: &str = "set-aside";

impl Mirrors {
    /// The home does not send a topic.
    pub(super) fn refused(&self, topic: &str, refusal: Refusal) {
        if let Refusal::Trimmed { first, .. } = refusal {
            let end = self.end(topic.to_owned(), 1);
            let end = MirrorEnd { next: first, stream: None, digest: None, ..end };
            return self.home.follow(vec![end]);
        }
        match refusal.status() {
            // Its list does not begin with what the mirror holds.
            410 | 412 | 416 if self.following.set(topic, Phase::asked()).is_some() => {
                self.set_aside(topic);
                if self.replace(topic) {
                    self.follow([topic.to_owned()]);
                }
            }
            404 if self.following.forget(topic) => {
                self.set_aside(topic);
                self.deleted(topic);
            }
            // It is followed no longer.
            404 | 410 | 412 | 416 => {}
            _ => _ = self.following.stop(topic, refusal, false),
        }
    }

    /// A topic was deleted: its mirror goes. Among peers it may be created elsewhere.
    pub(super) fn deleted(&self, topic: &str) {
        self.dropped(topic, self.push.topics.drop_mirror(topic, None));
        if let Some(locations) = &self.locations {
            locations.moved(topic);
        }
    }

    /// The home has another list of a topic: the mirror of the one that it had goes, and those who
    /// read it go on with that. False where that is not possible now, and will be tried again.
    pub(super) fn replace(&self, topic: &str) -> bool {
        match self.shared(topic) {
            Ok(shared) => {
                let replaced = self.push.topics.drop_mirror(topic, Some(shared));
                if replaced.is_ok() {
                    self.push.replaced(topic);
                }
                self.dropped(topic, replaced);
                true
            }
            Err(refusal) => {
                self.stop(topic, refusal, false);
                false
            }
        }
    }

    /// The mirror of a topic is gone, where that could be stored.
    fn dropped(&self, topic: &str, dropped: Result<()>) {
        if let Err(refusal @ Refusal::NotStored { .. }) = dropped {
            self.fail(topic, refusal);
        }
        self.push.announce(topic);
    }

    /// How many of a mirror's first messages the home's list has, too, as far as a lasting
    /// subscription has come. What nobody can compare is taken to differ: it is read once more.
    ///
    /// # Errors
    ///
    /// The home cannot be asked.
    fn shared(&self, topic: &str) -> Result<u64> {
        let deadline = deadline();
        let topics = &self.push.topics;
        let (start, end) = topics.see(topic, |view, _| (view.start(), view.end()));
        let last = self.push.lasting.last_in(topic).unwrap_or(0);
        // It has as many as `low`, and no more than `high`.
        let (mut low, mut high) = (0, last.min(end.next));
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            // The digest before the mirror's start is not known here: lists that agree there agree
            // before it, too.
            let at = middle.max(start);
            let (stream, begin) = (StreamId::NONE, Begin::Offset(at));
            let wanted = Wanted { topic, stream, begin, size_max: 0 };
            let fits = match self.home.read(wanted, deadline) {
                Ok(Piece { digest, .. }) => {
                    let own = topics.digest(topic, end.stream, at).ok().flatten();
                    own.is_some() && own == digest
                }
                // The home has let go what is missing.
                Err(Refusal::Trimmed { .. }) => true,
                Err(
                    Refusal::OtherStream
                    | Refusal::PastEnd { .. }
                    | Refusal::Home { status: 416, .. },
                ) => false,
                Err(refusal) => return Err(refusal),
            };
            if fits { low = middle } else { high = middle - 1 }
        }
        Ok(low)
    }

    /// Writes the messages of a mirror, one a line, where there is a data directory and the topic
    /// was not set aside before. Tells the user.
    fn set_aside(&self, topic: &str) {
        let (Some(data), topics) = (&self.data, &self.push.topics) else { return };
        let (first, end) = topics.see(topic, |view, _| (view.start(), view.end()));
        if end.next == first || !topics.is_mirror(topic) {
            return;
        }
        match self.write(data, topic, Cursor { next: first, ..end }, end.next) {
            Ok(path) => notify::warn(format_args!(
                "the home of {topic:?} does not have what its mirror holds, {} messages: they \
                 were set aside in {}",
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

    /// Writes the messages from a cursor to an offset.
    fn write(&self, data: &Path, topic: &str, begin: Cursor, end: u64) -> io::Result<PathBuf> {
        let folder = data.join(FOLDER);
        fs::create_dir_all(&folder)?;
        // A topic's name may not be a file's.
        let path = folder.join(format!("{:08x}.txt", crc32(topic.as_bytes())));
        let mut file = File::options().write(true).create_new(true).open(&path)?;
        let (mut place, mut text) = (Place::before(begin), Vec::new());
        while place.cursor.next < end {
            text.clear();
            match self.push.topics.copy(topic, place, Extract::messages(end, PIECE_SIZE), &mut text)
            {
                Ok((behind, _)) if behind != place => place = behind,
                // It is being deleted.
                _ => break,
            }
            file.write_all(&text)?;
        }
        file.sync_all()?;
        Ok(path)
    }
}
