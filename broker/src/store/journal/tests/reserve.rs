//! A full disk: removals can still be written, and then there is room again.

use super::super::{Event, Failure, Journal, Record, Settings, Sync};
use super::disk::SimulatedDisk;
use super::{Opened, open_with, stream};
use crate::store::journal::Frame;

/// What the disk holds.
const CAPACITY: usize = 80_000;

/// A topic that can go and one that stays, on a disk that is full.
fn full(settings: Settings) -> (SimulatedDisk, Journal, u64) {
    let disk = SimulatedDisk::default();
    let mut journal = open_with(&disk, settings).unwrap().journal;
    let mut frame = Frame::default();
    frame.add(&Record::new("goes", stream(1), Event::Create));
    frame.add(&Record::new("stays", stream(2), Event::Create));
    journal.append(&mut frame).unwrap();
    disk.limit(Some(CAPACITY));
    let text = "x".repeat(300);
    for first in 0.. {
        frame.clear();
        frame.append("goes", stream(1), first, 5, None, [text.as_str()].into_iter());
        frame.append("stays", stream(2), first, 5, None, ["short"].into_iter());
        match journal.append(&mut frame) {
            Ok(()) => {}
            Err(Failure::NotDone(_)) => return (disk, journal, first),
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("no disk is that large")
}

fn publish(journal: &mut Journal, first: u64) -> Result<(), Failure> {
    let mut frame = Frame::default();
    frame.append("stays", stream(2), first, 5, None, ["after"].into_iter());
    journal.append(&mut frame)
}

#[test]
fn on_a_full_disk_a_deletion_and_a_trim_are_written_and_make_room() {
    for segment_size in [8 << 10, 64 << 20] {
        for deletes in [true, false] {
            let settings = Settings { sync: Sync::Always, segment_size };
            let (disk, mut journal, next) = full(settings);
            assert!(next > 20, "{next} messages on a disk of {CAPACITY} bytes");
            let mut frame = Frame::default();
            match deletes {
                true => frame.add(&Record::new("goes", stream(1), Event::Delete)),
                false => frame.add(&Record::new(
                    "goes",
                    stream(1),
                    Event::Trim { first: next, digest: Some(7), gone: false },
                )),
            }
            assert!(journal.shared.is_full());
            journal.append(&mut frame).unwrap();
            while journal.shared.clean_next(true).unwrap() {}
            for more in 0..20 {
                publish(&mut journal, next + more).unwrap();
            }
            drop(journal);
            let Opened { seen, .. } = open_with(&disk, settings).unwrap();
            let stays = seen.iter().filter(|line| line.starts_with("stays")).count() as u64;
            assert_eq!(stays, next + 20);
            let goes = seen.iter().filter(|line| line.starts_with("goes")).count() as u64;
            assert!(goes < next / 2, "{goes} of {next}: {segment_size}");
        }
    }
}

#[test]
fn a_start_on_a_full_disk_serves_and_refuses_until_there_is_room_for_the_reserve() {
    let settings = Settings { sync: Sync::Always, segment_size: 8 << 10 };
    let (disk, journal, next) = full(settings);
    drop(journal);
    disk.lose("journal.reserve");
    disk.put("something else", &vec![b'x'; 16 << 10]);
    let mut journal = open_with(&disk, settings).unwrap().journal;
    assert!(matches!(publish(&mut journal, next), Err(Failure::NotDone(_))));
    disk.limit(Some(CAPACITY + 17_000));
    publish(&mut journal, next).unwrap();
    assert!(disk.read("journal.reserve").unwrap().len() >= 16 << 10);
}
