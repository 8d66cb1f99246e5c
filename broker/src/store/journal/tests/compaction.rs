//! Compaction: the same records before and after, and nothing in between.

use super::super::Notice;
use super::super::check::verify_in;
use super::disk::{Call, Fault, SimulatedDisk};
use super::{Opened, contents, open, open_compacting, publish, stream};
use crate::store::journal::Frame;
use std::io::ErrorKind;

/// Several topics, most of them deleted; one of those was made again. What is seen of it, and
/// what must be seen once it is compacted.
fn journal_of_deleted_topics() -> (SimulatedDisk, Vec<String>, Vec<String>) {
    let disk = SimulatedDisk::default();
    let mut journal = open(&disk).unwrap().journal;
    let mut frame = Frame::default();
    frame.create("gone", stream(1));
    frame.create("again", stream(2));
    frame.create("kept", stream(3));
    frame.acknowledge("ann", "kept", stream(3), 1);
    frame.acknowledge("bob", "kept", stream(3), 1);
    journal.append(&mut frame).unwrap();
    for time in 0..20 {
        frame.clear();
        publish(&mut frame, "gone", time, "to be deleted");
        publish(&mut frame, "again", time, "to be deleted");
        journal.append(&mut frame).unwrap();
    }
    frame.clear();
    publish(&mut frame, "kept", 20, "kept");
    frame.delete("again", stream(2));
    frame.create("again", stream(4));
    publish(&mut frame, "again", 21, "after");
    frame.delete("gone", stream(1));
    frame.acknowledge("ann", "kept", stream(3), 2);
    frame.end("bob", "kept");
    journal.append(&mut frame).unwrap();

    let mut frame = Frame::default();
    frame.create("kept", stream(3));
    publish(&mut frame, "kept", 20, "kept");
    frame.create("again", stream(4));
    publish(&mut frame, "again", 21, "after");
    frame.acknowledge("ann", "kept", stream(3), 2);
    let compacted = super::seen_in(&mut frame);
    let before = contents(&disk);
    (disk, before, compacted)
}

#[test]
fn a_journal_that_is_mostly_deleted_is_compacted_once() {
    let (disk, before, compacted) = journal_of_deleted_topics();
    let size = disk.read("journal").unwrap().len() as u64;
    let Opened { mut journal, notices, seen } = open_compacting(&disk, 1).unwrap();
    assert_eq!(seen, before);
    let [Notice::Compacted { before: from, after }] = notices.as_slice() else {
        panic!("not compacted: {notices:?}");
    };
    assert_eq!((*from, *after), (size, journal.size()));
    assert!(*after < size / 4);
    journal.append(&mut super::single("more")).unwrap();
    drop(journal);

    let opened = open_compacting(&disk, 1).unwrap();
    assert!(opened.notices.is_empty(), "{:?}", opened.notices);
    assert_eq!(opened.seen[..compacted.len()], compacted);
    assert_eq!(opened.seen.len(), compacted.len() + 1);
    assert_eq!(disk.names(), ["journal"]);
}

#[test]
fn little_garbage_is_left_where_it_is() {
    let (disk, before, _) = journal_of_deleted_topics();
    let opened = open_compacting(&disk, 1 << 20).unwrap();
    assert!(opened.notices.is_empty());
    assert_eq!(contents(&disk), before);
}

#[test]
fn a_journal_of_which_more_than_half_counts_is_left_as_it_is() {
    for (kept, is_compacted) in [(900, true), (1100, false)] {
        let disk = SimulatedDisk::default();
        let mut frame = Frame::default();
        publish(&mut frame, "gone", 0, &"x".repeat(1000));
        frame.delete("gone", stream(0));
        publish(&mut frame, "kept", 0, &"x".repeat(kept));
        open(&disk).unwrap().journal.append(&mut frame).unwrap();
        let notices = open_compacting(&disk, 1).unwrap().notices;
        assert_eq!(!notices.is_empty(), is_compacted, "{kept} bytes: {notices:?}");
    }
}

#[test]
fn a_large_journal_is_compacted_into_frames_that_stay_small() {
    let disk = SimulatedDisk::default();
    let mut journal = open(&disk).unwrap().journal;
    let mut frame = Frame::default();
    frame.create("kept", stream(1));
    for time in 0..6 {
        publish(&mut frame, "kept", time, &"x".repeat(400_000));
        publish(&mut frame, "gone", time, &"x".repeat(500_000));
    }
    frame.delete("gone", stream(2));
    journal.append(&mut frame).unwrap();
    drop(journal);
    open_compacting(&disk, 1).unwrap();
    let summary = verify_in(&disk).unwrap();
    assert_eq!((summary.frames, summary.topics["kept"].messages), (3, 6));
}

#[test]
fn k09_c04_a_compaction_cut_short_at_any_call_leaves_the_old_journal_or_the_new() {
    let (whole, before, compacted) = journal_of_deleted_topics();
    whole.plan(None, usize::MAX, Fault::Kill);
    open_compacting(&whole, 1).unwrap();
    for killed_at in 1..=whole.calls().len() {
        let (disk, ..) = journal_of_deleted_topics();
        disk.plan(None, killed_at, Fault::Kill);
        assert!(open_compacting(&disk, 1).is_err() || killed_at > 1);
        for after in disk.after_power_cuts().into_iter().chain([disk.after_kill()]) {
            let seen = open(&after).unwrap().seen;
            assert!(seen == before || seen == compacted, "killed at call {killed_at}: {seen:?}");
            open_compacting(&after, 1).unwrap();
            assert_eq!(contents(&after), compacted, "killed at call {killed_at}");
            assert_eq!(after.names(), ["journal"]);
        }
    }
}

#[test]
fn e12_a_compaction_that_fails_leaves_the_old_journal_in_use() {
    for (call, number) in [(Call::Create, 1), (Call::Write, 2), (Call::Write, 3), (Call::Sync, 2)] {
        let (disk, before, _) = journal_of_deleted_topics();
        disk.plan(Some(call), number, Fault::Error(ErrorKind::StorageFull));
        let mut opened = open_compacting(&disk, 1).unwrap();
        let told = opened.notices.as_slice();
        assert!(matches!(told, [Notice::NotCompacted { .. }]), "{call:?} {number}: {told:?}");
        opened.journal.append(&mut super::single("more")).unwrap();
        assert_eq!(contents(&disk.after_kill()).len(), before.len() + 1);
        assert_eq!(disk.names(), ["journal"]);
    }
}

#[test]
fn e12_a_rename_that_may_or_may_not_have_happened_ends_the_start() {
    for call in [Call::Rename, Call::SyncDirectory] {
        let (disk, before, compacted) = journal_of_deleted_topics();
        let number = if call == Call::SyncDirectory { 2 } else { 1 };
        disk.plan(Some(call), number, Fault::Error(ErrorKind::Other));
        assert!(open_compacting(&disk, 1).is_err());
        for after in disk.after_power_cuts().into_iter().chain([disk.after_kill()]) {
            let seen = open(&after).unwrap().seen;
            assert!(seen == before || seen == compacted);
        }
    }
}
