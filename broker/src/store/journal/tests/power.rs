//! Power cuts and kills: a start works with every state that they may leave.

use super::super::header::{FRAME_HEADER_SIZE, FRAME_SIZE_MAX};
use super::super::{Event, Failure, Frame, Notice, Record};
use super::disk::{Call, Fault, SimulatedDisk};
use super::with_news;
use super::{Base, FIRST, contents, frames, open, refused_at, says, seen_in, single, stream};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Starts a broker on an empty disk and commits five frames, until the n-th call kills it. Gives
/// what was acknowledged, and what was being written.
fn run_until(disk: &SimulatedDisk, killed_at: usize) -> (Vec<String>, Vec<String>) {
    disk.plan(None, killed_at, Fault::Kill);
    let mut acknowledged = Vec::new();
    let Ok(mut opened) = open(disk) else {
        return (acknowledged, Vec::new());
    };
    let more = [single(12, "four"), single(13, "five")];
    for mut frame in frames().into_iter().chain(more) {
        let seen = seen_in(&frame);
        if opened.journal.append(&mut frame).is_err() {
            return (acknowledged, seen);
        }
        acknowledged.extend(seen);
    }
    (acknowledged, Vec::new())
}

/// A start finds all that was acknowledged, then all or nothing of what was being written; and
/// what it shows is still there after the next power cut.
fn check_start(disk: &SimulatedDisk, acknowledged: &[String], written: &[String], what: &str) {
    let opened = open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let whole = [acknowledged, written].concat();
    assert!(opened.seen == acknowledged || opened.seen == whole, "{what}: {:?}", opened.seen);
    for after in disk.after_power_cuts() {
        assert_eq!(contents(&after), opened.seen, "{what}: a phantom");
    }
    let mut journal = opened.journal;
    let mut frame = Frame::default();
    frame.add(&Record::new("after", stream(9), Event::Create));
    journal.append(&mut frame).unwrap();
    assert_eq!(open(disk).unwrap().seen.len(), opened.seen.len() + 1, "{what}");
}

#[test]
fn c05_k05_every_subset_of_what_was_not_synced_keeps_the_promises() {
    let whole = SimulatedDisk::default();
    run_until(&whole, usize::MAX);
    let calls = whole.calls().len();
    assert!(calls > 10);
    for killed_at in 1..=calls + 1 {
        let disk = SimulatedDisk::default();
        let (acknowledged, written) = run_until(&disk, killed_at);
        let what = format!("killed at call {killed_at}");
        check_start(&disk.after_kill(), &acknowledged, &written, &what);
        for after in disk.after_power_cuts() {
            check_start(&after, &acknowledged, &written, &format!("{what}, power cut"));
        }
        for after in disk.after_torn_writes() {
            check_start(&after, &acknowledged, &written, &format!("{what}, torn"));
        }
    }
}

#[test]
fn c06_a_frame_whose_middle_came_back_as_zeros_is_torn() {
    let base = Base::new();
    let middle = (base.last() + FRAME_HEADER_SIZE).next_multiple_of(512);
    for size in [512, 1024, 2048, 4096] {
        let disk = base.changed(|bytes| bytes[middle..middle + size].fill(0));
        let opened = open(&disk).unwrap();
        assert_eq!(opened.seen, base.seen(2), "{size} bytes");
        assert!(matches!(opened.notices.as_slice(), [Notice::Torn(_)]));
    }
    // With the header gone as well, the frame is still the last one.
    let disk = base.changed(|bytes| bytes[base.last()..middle + 512].fill(0));
    assert_eq!(open(&disk).unwrap().seen, base.seen(2));
}

#[test]
fn c06_a_hole_in_a_frame_that_others_follow_is_damage() {
    let base = Base::new();
    let (start, end) = (base.ends[1], base.ends[2]);
    let sector = (start + 2 * FRAME_HEADER_SIZE).next_multiple_of(512);
    assert!(sector < end);
    for from in [start, start + 20, start + FRAME_HEADER_SIZE + 1, sector - 2] {
        let disk = base.changed(|bytes| bytes[from..sector].fill(0));
        assert_eq!(refused_at(&open(&disk).map(|_| ()).unwrap_err()), start as u64, "from {from}");
    }
}

#[test]
fn c07_a_tail_of_zeros_is_torn() {
    let base = Base::new();
    for size in (1..600).chain([4096, 65_535, 65_536]) {
        let disk = base.changed(|bytes| bytes.resize(bytes.len() + size, 0));
        let opened = open(&disk).unwrap();
        assert_eq!(opened.seen, base.seen(3), "{size} zeros");
        assert!(
            matches!(opened.notices.as_slice(), [Notice::Torn(torn)] if torn.size == size as u64)
        );
        assert_eq!(contents(&disk), base.seen(3));
    }
}

#[test]
fn c07_zeros_that_go_on_longer_than_any_frame_are_damage() {
    let base = Base::new();
    let disk = base.changed(|bytes| bytes.resize(bytes.len() + FRAME_SIZE_MAX + 51, 0));
    assert_eq!(refused_at(&open(&disk).map(|_| ()).unwrap_err()), base.bytes.len() as u64);
}

#[test]
fn c08_a_tail_of_other_bytes_is_damage_unless_it_is_shorter_than_a_header() {
    let base = Base::new();
    for size in (1..200).chain([4096, 65_536]) {
        let tail = (1..=255).cycle().take(size);
        let disk = base.changed(|bytes| bytes.extend(tail));
        match open(&disk) {
            Ok(opened) => {
                assert!(size < FRAME_HEADER_SIZE);
                assert_eq!(opened.seen, base.seen(3));
            }
            Err(error) => {
                assert!(size >= FRAME_HEADER_SIZE);
                assert_eq!(refused_at(&error), base.bytes.len() as u64);
            }
        }
    }
}

#[test]
fn c09_a_journal_that_is_gone_with_a_new_one_beside_it_is_not_started_empty() {
    let base = Base::new();
    // The manifest is gone, and there may be one that was to take its place.
    let disk = SimulatedDisk::with(FIRST, &base.bytes);
    for _ in 0..2 {
        let error = open(&disk).map(|opened| opened.seen).unwrap_err();
        assert!(says(&error, "is missing but"));
        assert_eq!(disk.read(FIRST).unwrap(), base.bytes);
        disk.put("journal.tmp", &base.manifest);
    }
    disk.put("journal", &base.manifest);
    assert_eq!(contents(&disk), base.seen(3));
    assert_eq!(disk.names(), ["journal", FIRST]);
    // So it is with the file of an older broker.
    let old = SimulatedDisk::with("journal.tmp", b"topic journal 0001 1c18ac87\n");
    assert!(says(&open(&old).map(drop).unwrap_err(), "is missing but"));
}

#[test]
fn k08_a_recovery_that_is_killed_at_any_call_can_be_repeated() {
    let base = Base::new();
    let torn = |bytes: &mut Vec<u8>| bytes.truncate(base.bytes.len() - 10);
    let whole = base.changed(torn);
    whole.plan(None, usize::MAX, Fault::Kill);
    open(&whole).unwrap();
    for killed_at in 1..=whole.calls().len() {
        let disk = base.changed(torn);
        disk.plan(None, killed_at, Fault::Kill);
        assert!(open(&disk).is_err());
        for after in disk.after_power_cuts().into_iter().chain([disk.after_kill()]) {
            assert_eq!(open(&after).unwrap().seen, base.seen(2), "killed at call {killed_at}");
            assert_eq!(contents(&after), base.seen(2));
            let names = after.names();
            let kept: Vec<_> = names.iter().filter(|name| name.starts_with("torn-")).collect();
            assert!(!kept.is_empty(), "the torn bytes are kept before they are cut");
            for name in kept {
                let torn = &base.bytes[base.last()..base.bytes.len() - 10];
                assert!(after.read(name).unwrap() == torn, "killed at call {killed_at}: {name}");
            }
            assert!(!names.iter().any(|name| name.ends_with(".tmp")), "{names:?}");
        }
    }
}

#[test]
fn k15_after_a_panic_in_an_append_nothing_is_appended_any_more() {
    for call in [Call::Write, Call::Sync] {
        let disk = SimulatedDisk::default();
        let mut journal = with_news(&disk);
        disk.plan(Some(call), 1, Fault::Panic);
        let appended = catch_unwind(AssertUnwindSafe(|| journal.append(&mut single(0, "one"))));
        assert!(appended.is_err());
        let calls = disk.calls().len();
        let again = journal.append(&mut single(0, "two"));
        assert!(matches!(again, Err(Failure::Unknown(_))));
        assert_eq!(disk.calls().len(), calls, "the disk was not touched again");
    }
}
