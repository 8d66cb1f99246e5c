//! The row of segments: a missing, doubled, foreign or shortened one is found and named.

use super::super::segment::Segment;
use super::super::{Error, Event, Failure, Notice, Record, Settings, Sync};
use super::disk::{Fault, SimulatedDisk};
use super::{Opened, news, open_with, seen_in, single};
use std::io::ErrorKind;

/// Segments that are closed after about three frames.
const SMALL: Settings = Settings { sync: Sync::Always, segment_size: 300 };

/// A row of several segments, and what is seen of it.
fn row() -> (SimulatedDisk, Vec<String>) {
    let disk = SimulatedDisk::default();
    let mut journal = open_with(&disk, SMALL).unwrap().journal;
    let mut seen = seen_in(&news());
    journal.append(&mut news()).unwrap();
    for first in 0..12 {
        let mut frame = single(first, &format!("message {first}"));
        journal.append(&mut frame).unwrap();
        seen.extend(seen_in(&frame));
    }
    assert!(segments(&disk).len() > 4, "{:?}", disk.names());
    (disk, seen)
}

fn segments(disk: &SimulatedDisk) -> Vec<String> {
    let names = disk.names().into_iter();
    names.filter(|name| Segment::number(name).is_some()).collect()
}

/// Where a start finds damage.
fn damage(disk: &SimulatedDisk) -> (String, u64) {
    match open_with(disk, SMALL).map(|opened| opened.seen) {
        Err(Error::Damaged { path, offset, .. }) => {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), offset)
        }
        other => panic!("not damaged: {other:?}"),
    }
}

#[test]
fn a_journal_of_many_segments_comes_back_in_order() {
    let (disk, mut expected) = row();
    for first in 12..40 {
        let Opened { mut journal, seen, notices } = open_with(&disk, SMALL).unwrap();
        assert_eq!(seen, expected);
        assert!(notices.is_empty(), "{notices:?}");
        let mut frame = single(first, "more");
        journal.append(&mut frame).unwrap();
        expected.extend(seen_in(&frame));
    }
}

#[test]
fn d12_a_segment_that_is_missing_is_named_whichever_it_is() {
    let (whole, _) = row();
    for name in segments(&whole) {
        let disk = whole.after_kill();
        disk.lose(&name);
        assert_eq!(damage(&disk), (name, 0));
    }
}

#[test]
fn a_segment_in_the_place_of_another_and_one_of_another_journal_are_named() {
    let (whole, _) = row();
    let (other, _) = row();
    let names = segments(&whole);
    for name in &names {
        let disk = whole.after_kill();
        disk.put(name, &other.read(name).unwrap());
        assert_eq!(damage(&disk), (name.clone(), 0));
        for twin in names.iter().filter(|twin| *twin != name) {
            let disk = whole.after_kill();
            disk.put(name, &whole.read(twin).unwrap());
            assert_eq!(damage(&disk), (name.clone(), 0));
        }
    }
}

#[test]
fn a_closed_segment_that_is_shorter_than_it_was_is_damage_at_every_byte() {
    let (whole, _) = row();
    let name = &segments(&whole)[1];
    let bytes = whole.read(name).unwrap();
    for size in 0..bytes.len() {
        let disk = whole.after_kill();
        disk.put(name, &bytes[..size]);
        let (path, offset) = damage(&disk);
        assert!(path == *name && offset <= size as u64, "cut at {size}: {path} {offset}");
    }
}

#[test]
fn a_last_segment_that_is_shorter_than_at_the_last_start_is_damage() {
    let (whole, _) = row();
    open_with(&whole, SMALL).unwrap();
    let name = segments(&whole).pop().unwrap();
    let bytes = whole.read(&name).unwrap();
    for size in 0..bytes.len() {
        let disk = whole.after_kill();
        disk.put(&name, &bytes[..size]);
        assert_eq!(damage(&disk).0, name, "cut at {size}");
    }
}

#[test]
fn d03_a_flipped_bit_in_a_closed_segment_names_segment_and_byte() {
    let (whole, _) = row();
    let name = &segments(&whole)[1];
    let bytes = whole.read(name).unwrap();
    for place in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[place] ^= 1 << (place % 8);
        let disk = whole.after_kill();
        disk.put(name, &bytes);
        let (path, offset) = damage(&disk);
        assert!(path == *name && offset <= place as u64, "byte {place}: {path} {offset}");
    }
}

/// Appends to a row until the n-th call kills it: what was acknowledged, and what came last.
fn run_until(disk: &SimulatedDisk, number: usize, fault: Fault) -> (Vec<String>, Vec<String>) {
    let Opened { mut journal, seen: mut acknowledged, .. } = open_with(disk, SMALL).unwrap();
    disk.plan(None, number, fault);
    let mut first = 12;
    for _ in 0..6 {
        let mut frame = single(first, "more");
        let seen = seen_in(&frame);
        match journal.append(&mut frame) {
            Ok(()) => {
                acknowledged.extend(seen);
                first += 1;
            }
            Err(Failure::Unknown(_)) => return (acknowledged, seen),
            Err(_) => {}
        }
    }
    (acknowledged, Vec::new())
}

#[test]
fn k09_c04_e12_a_rotation_that_is_killed_or_fails_at_any_call_loses_nothing() {
    let (whole, _) = row();
    let disk = whole.after_kill();
    run_until(&disk, usize::MAX, Fault::Kill);
    let calls = disk.calls().len();
    assert!(segments(&disk).len() > segments(&whole).len());
    let faults =
        [Fault::Kill, Fault::Error(ErrorKind::StorageFull), Fault::Error(ErrorKind::Other)];
    for (number, fault) in (1..=calls).flat_map(|number| faults.map(|fault| (number, fault))) {
        let disk = whole.after_kill();
        let (acknowledged, last) = run_until(&disk, number, fault);
        let both = [acknowledged.clone(), last].concat();
        for after in disk.after_power_cuts().into_iter().chain([disk.after_kill()]) {
            let what = format!("{fault:?} at call {number}");
            let opened = open_with(&after, SMALL).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(opened.seen == acknowledged || opened.seen == both, "{what}");
            let mut frame = single(opened.seen.len() as u64 - 1, "after");
            let mut journal = opened.journal;
            journal.append(&mut frame).unwrap();
            let seen = [opened.seen, seen_in(&frame)].concat();
            assert_eq!(open_with(&after, SMALL).unwrap().seen, seen, "{what}");
        }
    }
}

/// A journal of format 1, as an older broker wrote it.
fn older() -> Vec<u8> {
    include_bytes!("../../../../../tests/data/journal-version-1").to_vec()
}

#[test]
fn s05_k08_a_take_over_that_is_killed_at_any_call_ends_in_the_same_row() {
    let whole = SimulatedDisk::with("journal", &older());
    whole.plan(None, usize::MAX, Fault::Kill);
    let expected = open_with(&whole, SMALL).unwrap().seen;
    assert_eq!(expected.len(), 15, "{expected:?}");
    for killed_at in 1..=whole.calls().len() {
        let disk = SimulatedDisk::with("journal", &older());
        disk.plan(None, killed_at, Fault::Kill);
        assert!(open_with(&disk, SMALL).is_err());
        for after in disk.after_power_cuts().into_iter().chain([disk.after_kill()]) {
            for _ in 0..2 {
                let seen = open_with(&after, SMALL).unwrap().seen;
                assert_eq!(seen, expected, "killed at call {killed_at}");
            }
            assert_eq!(after.names(), ["journal", "journal-00000001", "journal-00000002"]);
        }
    }
}

#[test]
fn a_machine_that_was_restarted_under_sync_os_gives_new_stream_ids_and_no_other_start_does() {
    let settings = Settings { sync: Sync::Os, ..SMALL };
    let disk = SimulatedDisk::default();
    let mut journal = open_with(&disk, settings).unwrap().journal;
    journal.append(&mut news()).unwrap();
    journal.append(&mut single(0, "one")).unwrap();
    // The broker was killed: the machine still has what was written.
    let killed = open_with(&disk.after_kill(), settings).unwrap();
    assert!(killed.notices.is_empty());
    assert_eq!(killed.seen.len(), 2);
    for after in disk.after_power_cuts() {
        let opened = open_with(&after, settings).unwrap();
        let renewed = opened.seen.iter().filter(|line| line.starts_with("NewStream")).count();
        let is_told = opened.notices.iter().any(|it| matches!(it, Notice::Unsynced { .. }));
        assert!(is_told);
        assert_eq!(renewed, usize::from(opened.seen.iter().any(|line| line.starts_with("Create"))));
        // Once is enough, and what was given is on disk.
        let again = open_with(&after.after_power_cuts().remove(0), settings).unwrap();
        assert_eq!(again.seen, opened.seen);
        assert!(again.notices.is_empty());
    }
    // All of it was synced by a start: a restart of the machine loses nothing.
    open_with(&disk, settings).unwrap();
    let opened = open_with(&disk.after_power_cuts().remove(0), settings).unwrap();
    assert!(opened.notices.is_empty() && opened.seen.len() == 2);
}

#[test]
fn a_record_that_cannot_follow_on_what_was_there_is_damage() {
    let wrong: [fn(&mut super::Frame); 5] = [
        |frame| super::publish(frame, "news", 1, 1, "after a gap"),
        |frame| super::publish(frame, "news", 2, 0, "of another list"),
        |frame| super::publish(frame, "olds", 1, 0, "of another topic"),
        |frame| frame.add(&Record::new("news", super::stream(3), Event::Create)),
        |frame| {
            frame.add(&Record::new(
                "olds",
                super::stream(3),
                Event::Trim { first: 1, digest: None, gone: false },
            ))
        },
    ];
    for (number, make) in wrong.into_iter().enumerate() {
        let disk = SimulatedDisk::default();
        let mut journal = super::with_news(&disk);
        let end = journal.size();
        let mut frame = super::Frame::default();
        make(&mut frame);
        journal.write(&mut frame, Sync::Always).unwrap();
        assert_eq!(damage(&disk), (super::FIRST.to_owned(), end), "record {number}");
    }
}
