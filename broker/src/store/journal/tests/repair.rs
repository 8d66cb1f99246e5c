//! Repair: good records are kept, bad ones set aside, and readers are told.

use super::super::manifest;
use super::super::repair::{Damage, Repaired, repair_in};
use super::super::{Event, Notice, Record, Settings, Sync};
use super::disk::{Call, Fault, SimulatedDisk};
use super::{Base, FIRST, end_of, open, open_with, publish, says, single, stream, with_news};
use crate::store::StreamId;
use crate::store::journal::Frame;
use std::ops::Range;

const SMALL: Settings = Settings { sync: Sync::Always, segment_size: 400 };

fn repair(disk: &SimulatedDisk) -> Repaired {
    repair_in(disk, false, |_| {}).unwrap()
}

/// Repairs a journal of one segment of which so many bytes are damaged.
fn repair_without(disk: &SimulatedDisk, lost: Range<usize>) -> Damage {
    let mut bytes = disk.read(FIRST).unwrap();
    bytes[lost].fill(b'x');
    disk.put(FIRST, &bytes);
    match repair(disk) {
        Repaired::Damage(damage) => damage,
        other => panic!("not damaged: {other:?}"),
    }
}

/// The topics that go on under another stream id.
fn renewed(disk: &SimulatedDisk) -> Vec<String> {
    let seen = open(disk).unwrap().seen.into_iter();
    seen.filter(|line| line.contains("NewStream")).collect()
}

#[test]
fn d15_a_repair_keeps_all_whole_frames_and_the_damaged_file() {
    let base = Base::new();
    for place in (base.ends[0]..base.bytes.len()).step_by(97) {
        let disk = base.changed(|bytes| bytes[place] ^= 1 << (place % 8));
        let damaged = disk.read(FIRST).unwrap();
        let before = disk.after_kill();
        let mut told = 0;
        let planned = repair_in(&before, true, |_| told += 1).unwrap();
        assert!(planned == Repaired::Planned && told == 1);
        assert_eq!(before.read(FIRST).unwrap(), damaged, "a dry run changes nothing");
        assert_eq!(before.names(), ["journal", FIRST]);

        let Repaired::Damage(damage) = repair(&disk) else { panic!("byte {place}") };
        let lost = base.frames_before(place);
        assert_eq!((damage.frames_kept, damage.gaps), (2, 1), "byte {place}");
        assert_eq!(damage.offset, base.ends[lost] as u64);
        assert_eq!(disk.read("damaged-1-0").unwrap(), damaged);
        // Whatever the power does: the start finds all other frames, and new ids.
        let opened = open(&disk.after_power_cuts().remove(0)).unwrap();
        assert!(opened.notices.is_empty(), "{:?}", opened.notices);
        let messages = opened.seen.iter().filter(|line| line.contains(": ")).count();
        assert!(messages >= 7, "{messages} messages, byte {place}");
        assert!(!renewed(&disk).is_empty());
        assert_eq!(repair(&disk), Repaired::Nothing);
    }
}

/// An older broker was started on the directory of a newer one: both journals may be needed.
#[test]
fn two_journals_in_one_directory_are_refused_and_left_as_they_are() {
    let disk = SimulatedDisk::default();
    drop(with_news(&disk));
    disk.put("journal", manifest::first_line(1).as_bytes());
    let before = [disk.read("journal"), disk.read(FIRST)];
    for dry_run in [true, false] {
        let refused = repair_in(&disk, dry_run, |_| {}).unwrap_err();
        assert!(says(&refused, "move one of the two away"), "{refused:?}");
        assert_eq!([disk.read("journal"), disk.read(FIRST)], before);
    }
    assert!(open(&disk).is_err());
}

#[test]
fn a_topic_whose_messages_follow_on_one_another_keeps_its_stream() {
    let disk = SimulatedDisk::default();
    let mut journal = with_news(&disk);
    let mut frame = Frame::default();
    frame.add(&Record::new("other", stream(2), Event::Create));
    frame.add(&Record::new("silent", stream(3), Event::Create));
    journal.append(&mut frame).unwrap();
    let start = end_of(&journal);
    journal.append(&mut single(0, "lost")).unwrap();
    journal.append(&mut single(1, "kept")).unwrap();
    frame.clear();
    frame.append("other", stream(2), 0, 5, None, ["whole"].into_iter());
    journal.append(&mut frame).unwrap();
    drop(journal);
    let mut bytes = disk.read(FIRST).unwrap();
    bytes[start + 60] ^= 1;
    disk.put(FIRST, &bytes);
    let Repaired::Damage(damage) = repair(&disk) else { panic!("not damaged") };
    // Nobody knows whether what is lost was of the silent one.
    let topics = Vec::from_iter(damage.topics);
    assert_eq!(topics, [("news".to_owned(), 1), ("silent".to_owned(), 0)]);
    let seen = open(&disk).unwrap().seen;
    assert!(seen.iter().any(|line| line.starts_with("news") && line.ends_with("0 1 None: kept")));
}

#[test]
fn a_repair_that_is_killed_at_any_call_can_be_repeated() {
    let whole = row();
    let mut bytes = whole.read("journal-00000002").unwrap();
    bytes[150] ^= 1;
    whole.put("journal-00000002", &bytes);
    let probe = whole.after_kill();
    probe.plan(None, usize::MAX, Fault::Kill);
    repair(&probe);
    let expected = open_with(&probe, SMALL).unwrap().seen.len();
    assert!(expected > 10, "{expected}");
    for killed_at in 1..=probe.calls().len() {
        let disk = whole.after_kill();
        disk.plan(None, killed_at, Fault::Kill);
        assert!(repair_in(&disk, false, |_| {}).is_err() || killed_at > 1);
        for after in disk.after_power_cuts().into_iter().chain([disk.after_kill()]) {
            let repaired = repair(&after);
            let seen = open_with(&after, SMALL).unwrap().seen;
            let renewed = seen.iter().filter(|line| line.contains("NewStream")).count();
            assert!(renewed > 0, "killed at call {killed_at}: {repaired:?}");
            assert_eq!(seen.len() - renewed, expected - 1, "killed at call {killed_at}");
        }
    }
}

#[test]
fn a_journal_that_was_shortened_is_repaired_with_new_stream_ids() {
    let base = Base::new();
    let disk = base.changed(|_| {});
    open(&disk).unwrap();
    let bytes = disk.read(FIRST).unwrap();
    disk.put(FIRST, &bytes[..base.ends[2]]);
    assert!(open(&disk).is_err());
    assert!(matches!(repair(&disk), Repaired::Damage(_)));
    assert_eq!(renewed(&disk).len(), 2);
    // So is one without its manifest.
    let disk = base.changed(|_| {});
    disk.lose("journal");
    assert_eq!(repair(&disk), Repaired::Manifest);
    assert_eq!(open(&disk).unwrap().seen, base.seen(3));
}

/// A journal of several segments, all with messages of one topic.
fn row() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    let mut journal = open_with(&disk, SMALL).unwrap().journal;
    journal.append(&mut super::news()).unwrap();
    for first in 0..20 {
        journal.append(&mut single(first, "a message")).unwrap();
    }
    disk
}

/// Where messages before them are lost, offsets that stand in later records mean others.
#[test]
fn a_repair_lets_go_of_nothing_and_skips_nothing_behind_a_message_that_is_lost() {
    let disk = SimulatedDisk::default();
    let mut journal = with_news(&disk);
    (0..4).for_each(|first| journal.append(&mut single(first, "kept")).unwrap());
    let start = end_of(&journal);
    (4..6).for_each(|first| journal.append(&mut single(first, "lost")).unwrap());
    let end = end_of(&journal);
    let mut frame = Frame::default();
    let position = |subscriber, next| Event::Position { subscriber, next, seen: 1 };
    frame.add(&Record::new("news", stream(1), position("ann", 6)));
    (6..9).for_each(|first| publish(&mut frame, "news", 1, first, "kept"));
    frame.add(&Record::new("news", stream(1), position("bob", 7)));
    // It waits for a list that takes the place of another.
    frame.add(&Record::new("other", StreamId::NONE, position("carl", 8)));
    for first in [3, 7] {
        let event = Event::Trim { first, digest: Some(7), gone: false };
        frame.add(&Record::new("news", stream(1), event));
    }
    journal.append(&mut frame).unwrap();
    drop(journal);
    let damage = repair_without(&disk, start..end);
    assert_eq!(Vec::from_iter(damage.topics), [("news".to_owned(), 2)]);
    let seen = open(&disk).unwrap().seen;
    let has = |words: &str| seen.iter().any(|line| line.contains(words));
    assert!(has(r#"subscriber: "ann", next: 4,"#), "{seen:?}");
    assert!(has(r#"subscriber: "bob", next: 5,"#), "{seen:?}");
    assert!(has(r#"subscriber: "carl", next: 8,"#), "{seen:?}");
    assert!(has("Trim { first: 1,") && has("Trim { first: 5,"), "{seen:?}");
}

#[test]
fn d12_a_repair_goes_on_without_a_segment_that_is_missing() {
    let whole = row();
    let segments = whole.names().into_iter().filter(|name| name.starts_with("journal-"));
    for missing in segments {
        for also in ["", "journal"] {
            let disk = whole.after_kill();
            disk.lose(&missing);
            if !also.is_empty() {
                disk.lose(also);
            }
            let repaired = repair(&disk);
            let Repaired::Damage(damage) = &repaired else { panic!("{missing}: {repaired:?}") };
            assert_eq!((damage.topics.len(), damage.gaps), (1, 1), "{missing}: {damage:?}");
            let seen = open_with(&disk, SMALL).unwrap().seen;
            assert!(seen.iter().any(|line| line.contains("NewStream")), "{missing}: {seen:?}");
            assert_eq!(repair(&disk), Repaired::Nothing);
        }
    }
}

#[test]
fn a_repair_mends_what_stands_before_a_segment_that_is_missing() {
    let disk = row();
    let mut bytes = disk.read("journal-00000002").unwrap();
    bytes[150] ^= 1;
    disk.put("journal-00000002", &bytes);
    for (lost, gaps) in [("journal-00000003", 2), ("", 1)] {
        let disk = disk.after_kill();
        disk.lose(lost);
        disk.put("journal-00000004", b"no header");
        let Repaired::Damage(damage) = repair(&disk) else { panic!("not damaged") };
        assert_eq!(damage.gaps, gaps + 1, "{damage:?}");
        open_with(&disk, SMALL).unwrap();
    }
}

/// Whoever restores files may give one the name of another, or take one of another journal.
#[test]
fn a_repair_leaves_no_segment_in_the_place_of_another() {
    let (whole, other) = (row(), row());
    let name = |number: u32| format!("journal-{number:08}");
    let last = whole.names().into_iter().max().unwrap();
    for (from, of, to) in [(2, &whole, 3), (3, &whole, 2), (2, &other, 3), (2, &other, 99)] {
        let disk = whole.after_kill();
        let bytes = of.read(&name(from)).unwrap();
        disk.put(&name(to), &bytes);
        if to == 2 {
            disk.put(&last, &bytes);
        } else {
            disk.lose(&name(2));
        }
        let Repaired::Damage(damage) = repair(&disk) else { panic!("{from} as {to}") };
        assert!(!damage.kept.is_empty(), "{damage:?}");
        assert_eq!(repair(&disk), Repaired::Nothing, "{from} as {to}");
        open_with(&disk, SMALL).unwrap();
    }
}

#[test]
fn a_last_segment_whose_header_is_gone_may_have_held_anything() {
    let whole = row();
    let last = whole.names().into_iter().max().unwrap();
    let bytes = whole.read(&last).unwrap();
    for left in [0, 20, 62] {
        let disk = whole.after_kill();
        disk.put(&last, &bytes[..left]);
        let Repaired::Damage(damage) = repair(&disk) else { panic!("{left} bytes") };
        assert_eq!(damage.topics.len(), 1, "{left} bytes: {damage:?}");
    }
    let disk = whole.after_kill();
    disk.put(&last, &vec![0; bytes.len()]);
    let Repaired::Damage(damage) = repair(&disk) else { panic!("a hole") };
    assert_eq!(damage.topics.len(), 1, "{damage:?}");
}

#[test]
fn a_topic_that_is_created_behind_the_damage_keeps_its_stream() {
    let disk = SimulatedDisk::default();
    let mut journal = with_news(&disk);
    let start = end_of(&journal);
    journal.append(&mut single(0, "lost")).unwrap();
    let end = end_of(&journal);
    journal.append(&mut single(1, "kept until the topic is deleted")).unwrap();
    let mut frame = Frame::default();
    frame.add(&Record::new("news", stream(1), Event::Delete));
    frame.add(&Record::new("news", stream(2), Event::Create));
    journal.append(&mut frame).unwrap();
    drop(journal);
    let damage = repair_without(&disk, start..end);
    assert_eq!((damage.gaps, damage.topics.len()), (1, 0), "{damage:?}");
    let seen = open(&disk).unwrap().seen;
    assert!(!seen.iter().any(|line| line.contains("NewStream")), "{seen:?}");
}

#[test]
fn a_topic_whose_other_stream_id_is_lost_keeps_its_messages() {
    let disk = SimulatedDisk::default();
    let mut journal = with_news(&disk);
    (0..3).for_each(|first| journal.append(&mut single(first, "kept")).unwrap());
    let start = end_of(&journal);
    let mut frame = Frame::default();
    let event = Event::NewStream { new: stream(2), own: false };
    frame.add(&Record::new("news", stream(1), event));
    journal.append(&mut frame).unwrap();
    let end = end_of(&journal);
    frame.clear();
    publish(&mut frame, "news", 2, 3, "kept");
    journal.append(&mut frame).unwrap();
    drop(journal);
    let damage = repair_without(&disk, start..end);
    assert_eq!(Vec::from_iter(damage.topics), [("news".to_owned(), 4)]);
    let seen = open(&disk).unwrap().seen;
    assert!(seen.last().unwrap().contains("NewStream"), "{seen:?}");
}

/// What the damage leaves may end before what was acknowledged.
#[test]
fn a_repair_after_a_power_cut_leaves_it_known_that_appends_were_not_synced() {
    let settings = Settings { sync: Sync::Os, ..SMALL };
    let disk = SimulatedDisk::default();
    let mut journal = open_with(&disk, settings).unwrap().journal;
    journal.append(&mut super::news()).unwrap();
    (0..8).for_each(|first| journal.append(&mut single(first, "a message")).unwrap());
    drop(journal);
    assert!(disk.names().len() > 2, "{:?}", disk.names());
    let disk = disk.after_power_cuts().swap_remove(0);
    let mut bytes = disk.read(FIRST).unwrap();
    bytes[150] ^= 1;
    disk.put(FIRST, &bytes);
    assert!(matches!(repair(&disk), Repaired::Damage(_)));
    let notices = open_with(&disk, settings).unwrap().notices;
    assert!(notices.iter().any(|it| matches!(it, Notice::Unsynced(1))), "{notices:?}");
}

#[test]
fn d15_a_repair_does_to_a_torn_journal_what_a_start_does() {
    let base = Base::new();
    let disk = base.changed(|bytes| bytes.truncate(base.last() + 100));
    disk.plan(Some(Call::Rename), usize::MAX, Fault::Kill);
    assert!(matches!(repair(&disk), Repaired::Torn(torn) if torn[0].size == 100));
    assert_eq!(repair(&disk), Repaired::Nothing);
    let opened = open(&disk).unwrap();
    assert_eq!(opened.seen, base.seen(2));
    assert!(!opened.notices.iter().any(|notice| matches!(notice, Notice::Torn(_))));
}
