//! The file after everything that can happen to it.

use super::*;
use crate::fixture::Folder;
use common::crc32::crc32;

impl Received {
    /// Lets all further writes go to another file.
    pub(crate) fn write_to(&mut self, file: File) {
        self.file = file;
    }
}

/// Why the file is not opened.
fn refusal(folder: &Folder) -> String {
    Received::open(&folder.file()).unwrap_err().to_string()
}

#[test]
fn a_torn_last_line_is_cut_off_wherever_it_was_torn() {
    let text = "one\n\ntwo words\nünï\n";
    for cut in 0..=text.len() {
        let folder = Folder::new();
        fs::write(folder.file(), &text.as_bytes()[..cut]).unwrap();
        let received = Received::open(&folder.file()).unwrap();

        let whole = text.as_bytes()[..cut].iter().rposition(|&b| b == b'\n').map_or(0, |n| n + 1);
        let expected = &text.as_bytes()[..whole];
        assert_eq!(fs::read(folder.file()).unwrap(), expected, "cut at {cut}");
        assert_eq!(received.size(), whole as u64);
        let lines = expected.iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(received.lines(), lines as u64);
        assert_eq!(received.digest(), Some(crc32(expected)));
    }
}

#[test]
fn a_file_longer_than_a_piece_is_read_to_its_end() {
    let folder = Folder::new();
    let mut text = "a line of some length\n".repeat(PIECE_SIZE / 10).into_bytes();
    let whole = text.len();
    text.extend(vec![b'x'; PIECE_SIZE + 1]);
    fs::write(folder.file(), &text).unwrap();

    let received = Received::open(&folder.file()).unwrap();
    assert_eq!(received.size(), whole as u64);
    assert_eq!(received.digest(), Some(crc32(&text[..whole])));
}

#[test]
fn what_is_appended_counts_as_what_was_found() {
    let folder = Folder::new();
    let mut received = Received::open(&folder.file()).unwrap();
    assert_eq!((received.lines(), received.size(), received.digest()), (0, 0, Some(0)));
    received.append(b"one\n").unwrap();
    received.append(b"two\nthree\n").unwrap();
    let known = (received.lines(), received.size(), received.digest());
    drop(received);

    let found = Received::open(&folder.file()).unwrap();
    assert_eq!((found.lines(), found.size(), found.digest()), known);
    assert_eq!(fs::read(folder.file()).unwrap(), b"one\ntwo\nthree\n");
}

#[test]
fn a_file_of_another_list_is_kept_beside_the_new_one() {
    let folder = Folder::new();
    fs::write(folder.file(), "one\n").unwrap();
    let mut received = Received::open(&folder.file()).unwrap();
    assert_eq!(received.set_aside().unwrap(), Some(folder.old()));
    received.append(b"two\n").unwrap();

    assert_eq!(fs::read(folder.old()).unwrap(), b"one\n");
    assert_eq!(fs::read(folder.file()).unwrap(), b"two\n");
    assert_eq!(received.lines(), 1);
}

#[test]
fn what_was_set_aside_is_never_overwritten() {
    let folder = Folder::new();
    let mut received = Received::open(&folder.file()).unwrap();
    for (text, name) in [("one", "old"), ("two", "old.2"), ("three", "old.3")] {
        received.append(format!("{text}\n").as_bytes()).unwrap();
        let old = folder.file().with_extension(format!("txt.{name}"));
        assert_eq!(received.set_aside().unwrap(), Some(old));
    }
    for (text, name) in [("one\n", "old"), ("two\n", "old.2"), ("three\n", "old.3")] {
        let old = folder.file().with_extension(format!("txt.{name}"));
        assert_eq!(fs::read_to_string(old).unwrap(), text);
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    let folder = Folder::new();
    std::os::unix::fs::symlink("/dev/zero", folder.file()).unwrap();
    assert!(refusal(&folder).contains("is not a regular file"));
    fs::remove_file(folder.file()).unwrap();
    fs::create_dir(folder.file()).unwrap();
    assert!(refusal(&folder).contains("is not a regular file"));
}

#[test]
fn an_empty_file_is_not_worth_keeping() {
    let folder = Folder::new();
    let mut received = Received::open(&folder.file()).unwrap();
    assert_eq!(received.set_aside().unwrap(), None);
    assert!(!folder.old().exists());
}

#[test]
fn a_change_by_somebody_else_is_noticed() {
    let folder = Folder::new();
    let mut received = Received::open(&folder.file()).unwrap();
    received.append(b"one\n").unwrap();
    assert!(!received.reopen_if_changed().unwrap());

    fs::write(folder.file(), "one\nand a half").unwrap();
    assert!(received.reopen_if_changed().unwrap());
    assert_eq!((received.lines(), received.size()), (1, 4));

    fs::remove_file(folder.file()).unwrap();
    assert!(received.reopen_if_changed().unwrap());
    assert_eq!(received.lines(), 0);
    assert!(folder.file().exists());
}

#[cfg(unix)]
#[test]
fn two_subscribers_do_not_keep_one_file() {
    let folder = Folder::new();
    let first = Received::open(&folder.file()).unwrap();
    assert!(refusal(&folder).starts_with("another subscriber keeps"));
    drop(first);
    Received::open(&folder.file()).unwrap();
}

#[test]
fn a_file_that_begins_later_goes_on_with_the_digest_of_what_stood_before() {
    let folder = Folder::new();
    let mut received = Received::open(&folder.file()).unwrap();
    assert!(received.is_blank());
    let stream = "00000000000000aa".parse().ok();
    let beginning = Beginning { offset: 2, stream, digest: Some(crc32(b"one\ntwo\n")) };
    received.begin_at(&beginning).unwrap();
    received.append(b"three\n").unwrap();
    let known = |received: &Received| {
        assert_eq!(received.stream(), stream);
        (received.next(), received.lines(), received.digest())
    };
    let expected = (3, 1, Some(crc32(b"one\ntwo\nthree\n")));
    assert_eq!(known(&received), expected);
    drop(received);
    let mut received = Received::open(&folder.file()).unwrap();
    assert_eq!(known(&received), expected);

    // Both are set aside together.
    let old = received.set_aside().unwrap().unwrap();
    assert!(received.is_blank());
    assert_eq!(fs::read(&old).unwrap(), b"three\n");
    let from = fs::read_to_string(with(&old, ".from")).unwrap();
    assert_eq!(Beginning::parse(&from).unwrap(), beginning);
    // What was never begun is not kept.
    received.begin_at(&beginning).unwrap();
    assert_eq!(received.set_aside().unwrap(), None);
    assert!(received.is_blank());
}

/// It was deleted just when the file was to begin there: the broker is asked, and says so.
#[test]
fn a_file_may_begin_in_a_topic_that_is_gone() {
    let folder = Folder::new();
    let mut received = Received::open(&folder.file()).unwrap();
    received.begin_at(&Beginning { offset: 2, ..Beginning::default() }).unwrap();
    let known = (received.next(), received.stream(), received.digest());
    assert_eq!(known, (2, Some(StreamId::NONE), None));
}

#[test]
fn a_beginning_that_cannot_be_understood_is_named() {
    for text in ["", "x", "1", "1 aa", "1 aa zz", "1 aa - -"] {
        let folder = Folder::new();
        fs::write(with(&folder.file(), ".from"), text).unwrap();
        let error = Received::open(&folder.file()).unwrap_err();
        assert!(error.to_string().contains("received.txt.from"), "{error}");
    }
    let unknown = Beginning::parse("7 00000000000000aa -\n").unwrap();
    assert_eq!((unknown.offset, unknown.digest), (7, None));
}
