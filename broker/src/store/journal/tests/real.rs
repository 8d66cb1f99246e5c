//! The journal on the real disk: the lock, and foreign files.

use super::super::repair::Repaired;
use super::super::storage::{Directory, Disk};
use super::super::{
    Error, Event, Frame, Journal, Notice, Progress, Record, Settings, repair, verify,
};
use super::{FIRST, ONE, news, publish, says, see, seen_in, single, stream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

/// A directory of its own for a test, removed at its end.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Temporary {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("journal-{}-{number}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Temporary(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(directory: &Path) -> Result<(Journal, Vec<Notice>, Vec<String>), Error> {
    let mut seen = Vec::new();
    let progress = Progress::default();
    let (journal, notices) =
        Journal::open(directory, ONE, &progress, |record| see(&record, &mut seen))?;
    Ok((journal, notices, seen))
}

/// Ends a journal, and waits until its directory is free: the thread that cleans may just have
/// looked, and so may a child that another test has begun to start.
fn close(journal: Journal, directory: &Path) {
    drop(journal);
    let begun = Instant::now();
    while matches!(verify(directory), Err(Error::InUse(_))) {
        assert!(begun.elapsed() < Duration::from_secs(60), "it stays in use");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_directory_is_created_and_its_journal_comes_back() {
    let temporary = Temporary::new();
    let directory = temporary.0.join("data");
    let (mut journal, notices, _) = open(&directory).unwrap();
    assert!(matches!(notices.as_slice(), [Notice::Created { .. }]));
    let mut frame = news();
    journal.append(&mut frame).unwrap();
    close(journal, &directory);
    let (_, notices, seen) = open(&directory).unwrap();
    assert!(notices.is_empty());
    assert_eq!(seen, seen_in(&frame));
}

#[test]
fn what_is_cleaned_while_others_append_is_open_to_nobody_else() {
    let temporary = Temporary::new();
    let settings = Settings { segment_size: 200, ..ONE };
    let disk = Arc::new(Disk::lock(&temporary.0, true).unwrap());
    let progress = Progress::default();
    let (mut journal, _) = Journal::open_in(disk, settings, &progress, |_| {}).unwrap();
    journal.append(&mut news()).unwrap();
    let shared = Arc::downgrade(&journal.shared);
    let cleaner = thread::spawn(move || {
        while let Some(shared) = shared.upgrade() {
            shared.clean_next(true).unwrap();
        }
    });
    for first in 0..300 {
        let mut frame = Frame::default();
        publish(&mut frame, "news", 1, first, &"long ".repeat(40));
        let event = Event::Trim { first: first + 1, digest: None, gone: false };
        frame.add(&Record::new("news", stream(1), event));
        journal.append(&mut frame).unwrap();
    }
    close(journal, &temporary.0);
    cleaner.join().unwrap();
}

#[test]
fn a_directory_without_a_parent_is_not_created() {
    let temporary = Temporary::new();
    let error = open(&temporary.0.join("no/data")).map(drop).unwrap_err();
    assert!(matches!(error, Error::Io { action: "create", .. }));
}

#[test]
fn a_directory_without_a_journal_is_neither_verified_nor_written_to() {
    let temporary = Temporary::new();
    let refused = [
        verify(&temporary.0).map(drop),
        repair(&temporary.0, true, |_| {}).map(drop),
        repair(&temporary.0, false, |_| {}).map(drop),
    ];
    for error in refused.map(Result::unwrap_err) {
        assert!(says(&error, "there is no ") && !error.is_damage(), "{error}");
    }
    assert_eq!(fs::read_dir(&temporary.0).unwrap().count(), 0);
}

#[test]
fn l01_a_directory_belongs_to_one_broker_and_to_the_next_when_that_ends() {
    let temporary = Temporary::new();
    let (journal, ..) = open(&temporary.0).unwrap();
    for error in [
        open(&temporary.0).map(drop).unwrap_err(),
        verify(&temporary.0).map(drop).unwrap_err(),
        repair(&temporary.0, false, |_| {}).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, Error::InUse(_)));
        assert!(error.to_string().contains(&temporary.0.display().to_string()));
    }
    close(journal, &temporary.0);
    assert!(open(&temporary.0).is_ok());
    assert!(temporary.0.join("LOCK").exists());
}

#[test]
fn l02_a_link_to_the_directory_is_the_same_directory() {
    let temporary = Temporary::new();
    let directory = temporary.0.join("data");
    let link = temporary.0.join("link");
    let (_journal, ..) = open(&directory).unwrap();
    symlink(&directory, &link).unwrap();
    assert!(matches!(open(&link).map(drop), Err(Error::InUse(_))));
}

#[test]
fn d14_a_journal_that_is_no_file_is_refused_without_waiting() {
    for what in ["a directory", "a link", "a dangling link", "a pipe"] {
        let temporary = Temporary::new();
        let path = temporary.0.join("journal");
        match what {
            "a directory" => fs::create_dir(&path).unwrap(),
            "a link" => symlink("/dev/null", &path).unwrap(),
            "a dangling link" => symlink("nothing", &path).unwrap(),
            _ => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
        }
        for error in [
            open(&temporary.0).map(drop).unwrap_err(),
            verify(&temporary.0).map(drop).unwrap_err(),
            repair(&temporary.0, false, |_| {}).map(drop).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Io { action: "open", .. }), "{what}: {error:?}");
        }
    }
    // A device is told by the same means; none can be made without privileges.
    assert!(fs::symlink_metadata("/dev/null").is_ok_and(|metadata| !metadata.is_file()));
}

#[test]
fn repair_saves_the_damaged_file_beside_the_journal() {
    let temporary = Temporary::new();
    let (mut journal, ..) = open(&temporary.0).unwrap();
    journal.append(&mut news()).unwrap();
    let end = journal.size();
    journal.append(&mut single(0, "one")).unwrap();
    close(journal, &temporary.0);
    let path = temporary.0.join(FIRST);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(verify(&temporary.0), Err(Error::Damaged { offset, .. }) if offset == end));
    repair(&temporary.0, true, |_| {}).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes, "a dry run changes nothing");
    repair(&temporary.0, false, |_| {}).unwrap();
    assert_eq!(verify(&temporary.0).unwrap().topics["news"].next, 0);
    let kept = fs::read(temporary.0.join("damaged-1-0")).unwrap();
    assert_eq!(kept, bytes);
    fs::remove_file(temporary.0.join("journal")).unwrap();
    for dry_run in [true, false] {
        assert_eq!(repair(&temporary.0, dry_run, |_| {}).unwrap(), Repaired::Manifest);
    }
    assert_eq!(verify(&temporary.0).unwrap().topics["news"].next, 0);
}

#[test]
fn nobody_else_may_read_what_is_there_also_where_others_made_it() {
    let temporary = Temporary::new();
    let directory = temporary.0.join("data");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    close(open(&directory).unwrap().0, &directory);
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(directory.join(FIRST), fs::Permissions::from_mode(0o644)).unwrap();
    close(open(&directory).unwrap().0, &directory);
    assert_eq!(mode(&directory), 0o700);
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_file_on_disk_is_cut_and_synced_by_name() {
    let temporary = Temporary::new();
    let disk = Disk::lock(&temporary.0, true).unwrap();
    let file = disk.create("one").unwrap();
    file.write_all_at(b"0123456789", 0).unwrap();
    file.set_size(4).unwrap();
    file.sync().unwrap();
    disk.rename("one", "two").unwrap();
    Directory::sync(&disk).unwrap();
    assert!(!disk.names().unwrap().contains(&"one".to_owned()));
    assert_eq!(fs::read(temporary.0.join("two")).unwrap(), b"0123");
    disk.remove("two").unwrap();
    assert!(!disk.names().unwrap().contains(&"two".to_owned()));
}
