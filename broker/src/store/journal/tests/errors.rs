//! Errors of the disk: the answers, and what the next start finds.

use super::super::{Error, Failure, Journal, Notice, Settings, Sync};
use super::disk::{Call, Fault, SimulatedDisk};
use super::{Base, FIRST, ONE, contents, news, open, open_with, seen_in, single, with_news};
use std::error::Error as _;
use std::io::ErrorKind;

/// Appends five frames and says of each whether it was appended; a fatal error ends the run, and
/// then nothing more may be asked of the disk.
fn run(disk: &SimulatedDisk, journal: &mut Journal) -> (Vec<String>, Vec<Failure>) {
    let (mut acknowledged, mut errors) = (Vec::new(), Vec::new());
    let mut next = 0;
    for message in ["one", "two", "three", "four", "five"] {
        let mut frame = single(next, message);
        match journal.append(&mut frame) {
            Ok(()) => {
                acknowledged.extend(seen_in(&frame));
                next += 1;
            }
            Err(error @ Failure::Unknown(_)) => {
                errors.push(error);
                let calls = disk.calls();
                let again = journal.append(&mut frame).unwrap_err();
                assert!(matches!(again, Failure::Unknown(_)));
                assert_eq!(disk.calls(), calls, "the disk was not touched again");
                break;
            }
            Err(error) => errors.push(error),
        }
    }
    (acknowledged, errors)
}

#[test]
fn e01_e10_a_failed_write_refuses_one_frame_and_the_next_is_appended() {
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        for number in 1..=5 {
            let disk = SimulatedDisk::default();
            let mut journal = with_news(&disk);
            disk.plan(Some(Call::Write), number, Fault::Error(kind));
            let (acknowledged, errors) = run(&disk, &mut journal);
            assert_eq!(acknowledged.len(), 4);
            assert!(matches!(errors.as_slice(), [Failure::NotDone(_)]));
            assert_eq!(errors[0].source().unwrap().to_string(), kind.to_string());
            // Also without another sync: the cut is on disk with what follows it.
            for after in disk.after_power_cuts().into_iter().chain([disk.after_kill()]) {
                assert_eq!(contents(&after)[1..], acknowledged);
            }
        }
    }
}

#[test]
fn e01_a_disk_that_fills_up_in_the_middle_of_a_frame_leaves_nothing_of_it() {
    for taken in [1, 49, 50, 51, 60] {
        let disk = SimulatedDisk::default();
        let mut journal = with_news(&disk);
        disk.plan(Some(Call::Write), 2, Fault::Short(taken));
        disk.plan(Some(Call::Write), 3, Fault::Error(ErrorKind::StorageFull));
        let (acknowledged, errors) = run(&disk, &mut journal);
        assert!(matches!(errors.as_slice(), [Failure::NotDone(_)]));
        assert_eq!(acknowledged.len(), 4);
        for after in disk.after_power_cuts().into_iter().chain([disk.after_kill()]) {
            assert_eq!(contents(&after)[1..], acknowledged);
        }
    }
}

#[test]
fn e04_a_cut_back_that_fails_ends_the_journal_and_the_next_start_cuts() {
    for call in [Call::SetSize, Call::Sync] {
        let disk = SimulatedDisk::default();
        let mut journal = with_news(&disk);
        disk.plan(Some(Call::Write), 1, Fault::Short(30));
        disk.plan(Some(Call::Write), 2, Fault::Error(ErrorKind::StorageFull));
        disk.plan(Some(call), 1, Fault::Error(ErrorKind::Other));
        let (acknowledged, errors) = run(&disk, &mut journal);
        assert!(acknowledged.is_empty());
        let [Failure::Unknown(Error::Io { action, .. })] = errors.as_slice() else {
            panic!("not fatal: {errors:?}");
        };
        assert_eq!(*action, "cut back");
        for after in disk.after_power_cuts().into_iter().chain([disk.after_kill()]) {
            assert_eq!(open(&after).unwrap().seen, seen_in(&news()));
            assert_eq!(contents(&after).len(), 1);
        }
    }
}

#[test]
fn e04_a_torn_end_on_a_full_disk_is_cut_though_it_cannot_be_kept() {
    let base = Base::new();
    let disk = base.changed(|bytes| bytes.truncate(base.last() + 100));
    disk.plan(Some(Call::Write), 1, Fault::Error(ErrorKind::StorageFull));
    let opened = open(&disk).unwrap();
    assert_eq!(opened.seen, base.seen(2));
    let [Notice::Torn(torn)] = opened.notices.as_slice() else {
        panic!("nothing told: {:?}", opened.notices);
    };
    assert_eq!((torn.size, &torn.kept), (100, &None));
    assert_eq!(disk.names(), ["journal", FIRST]);
    assert_eq!(contents(&disk), base.seen(2));
}

#[test]
fn e06_a_short_write_is_continued_and_one_of_no_bytes_is_a_failed_write() {
    for taken in [1, 30, 51] {
        let disk = SimulatedDisk::default();
        let mut journal = with_news(&disk);
        disk.plan(Some(Call::Write), 2, Fault::Short(taken));
        let (acknowledged, errors) = run(&disk, &mut journal);
        assert!(errors.is_empty());
        assert_eq!(contents(&disk)[1..], acknowledged);
    }
    let disk = SimulatedDisk::default();
    let mut journal = with_news(&disk);
    disk.plan(Some(Call::Write), 2, Fault::Short(0));
    let (acknowledged, errors) = run(&disk, &mut journal);
    assert!(matches!(errors.as_slice(), [Failure::NotDone(_)]));
    assert_eq!(contents(&disk)[1..], acknowledged);
}

#[test]
fn e07_an_interrupted_write_is_repeated() {
    let disk = SimulatedDisk::default();
    let mut journal = with_news(&disk);
    disk.plan(Some(Call::Write), 2, Fault::Error(ErrorKind::Interrupted));
    let (acknowledged, errors) = run(&disk, &mut journal);
    assert!(errors.is_empty());
    assert_eq!(contents(&disk)[1..], acknowledged);
}

#[test]
fn e08_after_a_failed_sync_nothing_is_acknowledged_and_nothing_synced_again() {
    for number in 1..=5 {
        let disk = SimulatedDisk::default();
        let mut journal = with_news(&disk);
        disk.plan(Some(Call::Sync), number, Fault::Error(ErrorKind::Other));
        let (acknowledged, errors) = run(&disk, &mut journal);
        assert_eq!(acknowledged.len(), number - 1);
        let [Failure::Unknown(Error::Io { action, .. })] = errors.as_slice() else {
            panic!("not fatal: {errors:?}");
        };
        assert_eq!(*action, "sync");
        for after in disk.after_power_cuts() {
            let seen = open(&after).unwrap().seen;
            assert!(seen[1..].starts_with(&acknowledged), "sync {number}");
        }
    }
}

#[test]
fn e09_what_a_start_shows_after_a_failed_sync_survives_a_power_cut() {
    let disk = SimulatedDisk::default();
    let mut journal = with_news(&disk);
    disk.plan(Some(Call::Sync), 3, Fault::Error(ErrorKind::Other));
    let (acknowledged, _) = run(&disk, &mut journal);
    // The same machine: the frame is in the cache, and not on disk.
    assert_eq!(open(&disk.after_power_cuts()[0]).unwrap().seen[1..], acknowledged);
    let same = disk.after_kill();
    let shown = open(&same).unwrap().seen;
    assert_eq!(shown.len(), acknowledged.len() + 2);
    for after in same.after_power_cuts() {
        assert_eq!(contents(&after), shown);
    }
}

#[test]
fn e11_e13_a_start_that_cannot_read_or_sync_is_refused_and_cuts_nothing() {
    let base = Base::new();
    let whole = base.changed(|_| {});
    whole.plan(None, usize::MAX, Fault::Kill);
    open(&whole).unwrap();
    for number in 1..=whole.calls().len() {
        let disk = base.changed(|_| {});
        disk.plan(None, number, Fault::Error(ErrorKind::Other));
        let error = open(&disk).map(|opened| opened.seen).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "call {number}: {error:?}");
        assert!(error.to_string().contains("simulated/journal"), "{error}");
        assert_eq!(disk.read(FIRST).unwrap(), base.bytes);
    }
}

#[test]
fn with_sync_os_an_append_leaves_the_sync_to_the_system() {
    let disk = SimulatedDisk::default();
    let settings = Settings { sync: Sync::Os, ..ONE };
    let mut journal = open_with(&disk, settings).unwrap().journal;
    // The first one notes that others follow.
    journal.append(&mut news()).unwrap();
    disk.plan(None, usize::MAX, Fault::Kill);
    journal.append(&mut single(0, "one")).unwrap();
    assert_eq!(disk.calls(), [Call::Write]);
    let seen = [seen_in(&news()), seen_in(&single(0, "one"))].concat();
    assert_eq!(contents(&disk.after_kill()), seen);
}
