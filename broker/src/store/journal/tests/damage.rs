//! Damage: a changed file is refused, a torn one is cut.

use super::super::check::verify_in;
use super::super::header::{FRAME_HEADER_SIZE, FRAME_SIZE_MAX, FrameHeader};
use super::super::recovery::Torn;
use super::super::repair::repair_in;
use super::super::scan::Scan;
use super::super::segment::Segment;
use super::super::storage::Directory;
use super::super::{Event, Frame, Notice, Record};
use super::disk::SimulatedDisk;
use super::{Base, FIRST, end_of, open, refused_at, says, seen_in, single, stream, with_news};
use common::crc32::crc32;
use std::path::Path;
use std::thread;

/// Cuts, starts, and compares: whole frames are kept, the rest is kept aside.
fn check_cut(base: &Base, size: usize) -> SimulatedDisk {
    let disk = base.changed(|bytes| bytes.truncate(size));
    if size < base.ends[0] {
        // The header was synced before the first start was done.
        assert_eq!(refused_at(&open(&disk).map(|_| ()).unwrap_err()), 0, "cut at {size}");
        return disk;
    }
    let opened = open(&disk).unwrap();
    let frames = base.frames_before(size);
    assert_eq!(opened.seen, base.seen(frames), "cut at {size}");
    match opened.notices.as_slice() {
        [] => assert!(base.ends.contains(&size), "cut at {size}: nothing told"),
        [Notice::Torn(torn)] => {
            let offset = base.ends[frames];
            let kept = format!("torn-1-{offset}");
            assert_eq!(disk.read(&kept).unwrap(), base.bytes[offset..size]);
            let kept = Some(Path::new("simulated").join(kept));
            let (offset, cut) = (offset as u64, (size - offset) as u64);
            let path = Path::new("simulated").join(FIRST);
            assert_eq!(*torn, Torn { path, offset, size: cut, kept });
        }
        other => panic!("cut at {size}: {other:?}"),
    }
    disk
}

#[test]
fn d01_a_file_cut_at_any_byte_keeps_its_whole_frames() {
    let base = Base::new();
    for size in 0..=base.bytes.len() {
        check_cut(&base, size);
    }
}

#[test]
fn d02_after_a_cut_a_new_message_follows_and_the_next_start_has_nothing_to_cut() {
    let base = Base::new();
    for size in base.ends[0]..=base.bytes.len() {
        let disk = check_cut(&base, size);
        let mut expected = base.seen(base.frames_before(size));
        let mut opened = open(&disk).unwrap();
        let mut frame = Frame::default();
        frame.add(&Record::new("new", stream(9), Event::Create));
        opened.journal.append(&mut frame).unwrap();
        expected.extend(seen_in(&frame));
        let opened = open(&disk).unwrap();
        assert!(opened.notices.is_empty(), "cut at {size}: {:?}", opened.notices);
        assert_eq!(opened.seen, expected, "cut at {size}");
    }
}

/// A change to one byte is refused, at the frame that holds the byte.
fn check_refused(base: &Base, place: usize, byte: u8) {
    let disk = base.changed(|bytes| bytes[place] = byte);
    let error = open(&disk).map(|opened| opened.notices).unwrap_err();
    let offset = if place < base.ends[0] { 0 } else { base.ends[base.frames_before(place)] };
    assert_eq!(refused_at(&error), offset as u64, "byte {place} became {byte:#x}: {error}");
    assert_eq!(disk.names(), ["journal", FIRST], "nothing is cut off by a start that refuses");
    assert!(error.to_string().contains("simulated/journal-00000001"));
    assert!(error.to_string().contains(&format!("byte {offset}")));
}

/// Calls `check` with every byte of the base file, on as many threads as pay.
fn for_every_byte(base: &Base, check: impl Fn(usize) + Sync) {
    let threads = 4;
    thread::scope(|scope| {
        for first in 0..threads {
            let check = &check;
            scope.spawn(move || (first..base.bytes.len()).step_by(threads).for_each(check));
        }
    });
}

#[test]
fn d03_every_flipped_bit_is_refused() {
    let base = Base::new();
    for_every_byte(&base, |place| {
        for bit in 0..8 {
            check_refused(&base, place, base.bytes[place] ^ 1 << bit);
        }
    });
}

#[test]
fn d04_every_byte_that_became_all_zeros_or_all_ones_is_refused() {
    let base = Base::new();
    for_every_byte(&base, |place| {
        check_refused(&base, place, 0x00);
        check_refused(&base, place, 0xff);
    });
}

#[test]
fn d05_a_lost_sector_is_refused_or_in_the_last_frame_torn() {
    let base = Base::new();
    let mut torn = 0;
    for start in (0..base.bytes.len()).step_by(512) {
        let end = base.bytes.len().min(start + 512);
        let disk = base.changed(|bytes| bytes[start..end].fill(0));
        match open(&disk) {
            Err(error) => assert!(refused_at(&error) <= start.max(base.ends[0]) as u64),
            Ok(opened) => {
                assert!(start >= base.last(), "sector at {start} is not of the last frame");
                assert_eq!(opened.seen, base.seen(2));
                assert!(matches!(opened.notices.as_slice(), [Notice::Torn(_)]));
                torn += 1;
            }
        }
    }
    assert!(torn > 0);
}

#[test]
fn d06_frames_that_were_swapped_removed_or_doubled_are_refused() {
    let disk = SimulatedDisk::default();
    let mut journal = with_news(&disk);
    let mut ends = vec![end_of(&journal)];
    for (first, message) in (0..).zip(["one", "two", "six", "ten"]) {
        journal.append(&mut single(first, message)).unwrap();
        ends.push(end_of(&journal));
    }
    let bytes = disk.read(FIRST).unwrap();
    let manifest = disk.read("journal").unwrap();
    let frame = |number: usize| &bytes[ends[number]..ends[number + 1]];
    let header = &bytes[..ends[0]];
    for (what, order, damaged) in [
        ("swapped", &[0, 2, 1, 3][..], 1),
        ("removed", &[0, 2, 3], 1),
        ("doubled", &[0, 1, 1, 2, 3], 2),
        ("doubled at the end", &[0, 1, 2, 3, 3], 4),
        ("put in", &[3, 0, 1, 2, 3], 0),
    ] {
        let frames: Vec<_> = order.iter().map(|number| frame(*number)).collect();
        let disk = SimulatedDisk::with(FIRST, &[header, &frames.concat()].concat());
        disk.put("journal", &manifest);
        let error = open(&disk).map(|opened| opened.seen).unwrap_err();
        assert_eq!(refused_at(&error), ends[damaged] as u64, "{what}");
    }
}

#[test]
fn d07_bytes_that_were_put_in_or_taken_out_are_refused() {
    let base = Base::new();
    for_every_byte(&base, |place| {
        let disk = base.changed(|bytes| bytes.insert(place, b'x'));
        assert!(open(&disk).is_err(), "a byte put in at {place}");
        // A last frame that is too short looks as if its end had never been written: what is
        // taken out of it cannot be told from that.
        if place < base.last() + FRAME_HEADER_SIZE {
            let disk = base.changed(|bytes| drop(bytes.drain(place..=place)));
            assert!(open(&disk).is_err(), "a byte taken out at {place}");
        }
    });
}

#[test]
fn d08_a_length_that_is_wrong_is_refused_or_torn_and_never_believed() {
    let base = Base::new();
    let seed = base.segment().seed;
    let limit = u32::try_from(FRAME_SIZE_MAX).unwrap();
    for (frame, &at) in base.ends[..3].iter().enumerate() {
        let payload = &base.bytes[at + FRAME_HEADER_SIZE..base.ends[frame + 1]];
        for length in [0, 1, limit, limit + 1, 1 << 31, u32::MAX] {
            let checksum = crc32(payload.get(..length as usize).unwrap_or(payload));
            let header =
                FrameHeader { offset: at as u64, length, checksum }.text(seed).into_bytes();
            let disk = base.changed(|bytes| bytes[at..at + header.len()].copy_from_slice(&header));
            match open(&disk) {
                Err(error) => assert!(refused_at(&error) >= at as u64, "{length} at {at}"),
                Ok(opened) => {
                    assert_eq!(length, limit, "only a length that may be is torn");
                    assert_eq!(opened.seen, base.seen(frame));
                }
            }
            // The same without the right checksums.
            let mut header = header;
            header[45] ^= 1;
            let disk = base.changed(|bytes| bytes[at..at + header.len()].copy_from_slice(&header));
            let error = open(&disk).map(|opened| opened.seen).unwrap_err();
            assert_eq!(refused_at(&error), at as u64);
        }
    }
}

#[test]
fn d08_a_frame_of_nothing_is_refused() {
    let base = Base::new();
    let offset = base.bytes.len() as u64;
    let header = FrameHeader { offset, length: 0, checksum: crc32(b"") };
    let disk = base.changed(|bytes| bytes.extend(header.text(base.segment().seed).bytes()));
    assert_eq!(refused_at(&open(&disk).map(|_| ()).unwrap_err()), offset);
}

/// Bytes that look like chance and are the same in every run.
fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state.to_le_bytes()[3])
    })
}

#[test]
fn d09_a_file_of_noise_is_refused() {
    let base = Base::new();
    for (seed, size) in [1, 2, 27, 28, 29, 77, 78, 79, 512, 4096, 100_000, 1_000_000]
        .into_iter()
        .flat_map(|size| (0..5).map(move |seed| (seed, size)))
    {
        let bytes: Vec<u8> = noise(seed).take(size).collect();
        let error = open(&SimulatedDisk::with("journal", &bytes)).map(|opened| opened.seen);
        assert!(says(&error.unwrap_err(), "is not a journal"), "{size} bytes");
        let disk = base.changed(|file| *file = bytes.clone());
        assert_eq!(refused_at(&open(&disk).map(|_| ()).unwrap_err()), 0, "{size} bytes");
        // The same behind a header that is right.
        let disk = base.changed(|file| {
            file.truncate(base.ends[0]);
            file.extend(&bytes);
        });
        match open(&disk) {
            Ok(opened) => assert!(size < FRAME_HEADER_SIZE && opened.seen.is_empty()),
            Err(error) => assert_eq!(refused_at(&error), base.ends[0] as u64),
        }
    }
}

#[test]
fn d10_a_file_that_an_older_broker_had_only_begun_is_replaced() {
    let header = b"topic journal 0001 1c18ac87\n";
    for size in 0..header.len() {
        for rest in [0, header.len() - size] {
            let bytes = [&header[..size], &vec![0; rest][..]].concat();
            let disk = SimulatedDisk::with("journal", &bytes);
            let opened = open(&disk).unwrap();
            assert!(matches!(opened.notices.as_slice(), [Notice::Created { .. }]));
            assert!(open(&disk).unwrap().notices.is_empty());
        }
    }
    let other = SimulatedDisk::with("journal", b"topic j0urnal");
    assert!(says(&open(&other).map(drop).unwrap_err(), "is not a journal"));
}

#[test]
fn d11_another_magic_and_another_version_are_refused() {
    for version in [0, 3, 9999] {
        let text = format!("topic journal {version:04} ");
        let header = format!("{text}{:08x}\n", crc32(text.as_bytes()));
        let disk = SimulatedDisk::with("journal", header.as_bytes());
        let error = open(&disk).map(|opened| opened.seen).unwrap_err();
        assert!(says(&error, &format!("has format version {version},")) && !error.is_damage());
        let repaired = repair_in(&disk, false, |_| {});
        assert!(repaired.is_err(), "a repair changes nothing in another version's file");
    }
}

#[test]
fn d12_a_gap_before_the_first_frame_is_refused() {
    let base = Base::new();
    let disk = base.changed(|bytes| drop(bytes.drain(base.ends[0]..base.ends[1])));
    assert_eq!(refused_at(&open(&disk).map(|_| ()).unwrap_err()), base.ends[0] as u64);
}

#[test]
fn d13_a_left_over_file_is_removed_and_a_stray_one_left_alone() {
    let base = Base::new();
    let disk = base.changed(|_| {});
    for stray in ["journal~", ".journal.swp", "torn-28", "notes.tmp", "damaged-28", "journal-1"] {
        disk.put(stray, b"mine");
    }
    disk.put("journal.tmp", b"left over");
    disk.put("journal-00000002.tmp", b"left over");
    let opened = open(&disk).unwrap();
    assert_eq!(opened.seen, base.seen(3));
    assert_eq!(disk.read("journal.tmp"), None);
    assert_eq!(disk.read("journal-00000002.tmp"), None);
    for stray in ["journal~", ".journal.swp", "torn-28", "notes.tmp", "damaged-28", "journal-1"] {
        assert_eq!(disk.read(stray).unwrap(), b"mine");
    }
}

#[test]
fn torn_bytes_never_take_the_place_of_others_that_were_kept() {
    let base = Base::new();
    let last = base.last();
    let disk = base.changed(|bytes| bytes.truncate(last + 60));
    disk.put(&format!("torn-1-{last}"), b"from before");
    open(&disk).unwrap();
    assert_eq!(disk.read(&format!("torn-1-{last}")).unwrap(), b"from before");
    assert_eq!(disk.read(&format!("torn-1-{last}.2")).unwrap(), base.bytes[last..last + 60]);
}

#[test]
fn frames_are_found_wherever_they_stand_after_the_damage() {
    let block = 128 << 10;
    let segment = Base::new().segment();
    for start in [0, block - 50, block - 49, block - 25, block - 1, block] {
        let header = FrameHeader { offset: start, length: 1, checksum: 0 };
        let header = header.text(segment.seed).into_bytes();
        let bytes = [vec![b'x'; usize::try_from(start).unwrap()], header].concat();
        let disk = SimulatedDisk::with("journal", &bytes);
        let file = disk.open("journal").unwrap().into();
        let segment = Segment { file, ..segment.clone() };
        let mut scan = Scan::new(&segment).unwrap();
        assert_eq!(scan.next_header(0).unwrap(), Some(start), "{start}");
        assert_eq!(scan.next_header(start + 1).unwrap(), None, "{start}");
    }
}

#[test]
fn d15_a_file_that_never_was_a_journal_is_not_repaired() {
    let disk = SimulatedDisk::with("journal", b"#!/bin/sh\necho this is somebody else's file\n");
    let error = repair_in(&disk, false, |_| {}).unwrap_err();
    assert!(says(&error, "is not a journal"));
    assert_eq!(disk.names(), ["journal"]);
}

#[test]
fn verify_says_what_a_journal_holds_and_changes_nothing() {
    let base = Base::new();
    let disk = base.changed(|_| {});
    let summary = verify_in(&disk).unwrap();
    assert_eq!((summary.size, summary.frames), (base.bytes.len() as u64, 3));
    assert_eq!((summary.segments, summary.torn), (1, 0));
    let messages = summary.topics.iter().map(|(name, of)| (name.as_str(), of.first, of.next));
    assert_eq!(Vec::from_iter(messages), [("news", 0, 12), ("ünï/..", 0, 8)]);
    assert_eq!(summary.subscriptions, 1);
    assert_eq!(disk.read(FIRST).unwrap(), base.bytes);

    let disk = base.changed(|bytes| bytes[base.last() + 200] ^= 1);
    assert_eq!(refused_at(&verify_in(&disk).unwrap_err()), base.last() as u64);
}
