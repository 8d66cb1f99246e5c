//! The table of lasting subscriptions, and changes of it that come late or fail.

use super::keep::Keep;
use super::*;
use crate::store::journal::Frame;
use crate::store::{Admission, Change, Dependents, Lists, Locked, Memory};

fn at(next: u64) -> Cursor {
    Cursor { stream: StreamId::NONE, next }
}

fn key(name: &str, topic: &str) -> Vec<Key> {
    vec![Key { name: name.into(), topic: topic.into() }]
}

/// Where it goes on, and whether that is on disk.
fn subscribe(
    lasting: &LastingSubscriptions,
    name: &str,
    topic: &str,
    begin: Cursor,
) -> (Cursor, bool) {
    let begun = lasting.subscribe(name, topic, begin, 1).unwrap();
    (begun.cursor, begun.is_kept)
}

fn begin_end(lasting: &LastingSubscriptions, name: &str, topic: &str) -> bool {
    !lasting.begin_end(&key(name, topic), None).is_empty()
}

/// Accepts, and applies or takes back.
fn change(mut keep: Keep, admission: &mut Admission, is_stored: bool) -> Keep {
    let mut locked = Locked { admission, lists: &mut Lists::new() };
    keep.accept(&mut locked, None).unwrap();
    if is_stored {
        keep.apply(&mut locked);
    } else {
        keep.undo(&mut locked);
    }
    keep
}

#[test]
fn a_name_goes_on_where_it_acknowledged() {
    let lasting = LastingSubscriptions::default();
    assert_eq!(subscribe(&lasting, "ann", "a", at(5)), (at(5), false));
    assert_eq!(subscribe(&lasting, "ann", "a", at(9)), (at(5), false));
    assert_eq!(lasting.acknowledge("ann", "a", at(7)), Some(at(7)));
    assert_eq!(lasting.acknowledge("ann", "a", at(6)), Some(at(7)));
    assert_eq!(subscribe(&lasting, "ann", "a", at(9)), (at(7), false));
    assert_eq!(lasting.acknowledge("ann", "b", at(7)), None);
    assert_eq!(lasting.acknowledge("bob", "a", at(7)), None);
    let other = Cursor { stream: StreamId::random(), next: 1 };
    let known = lasting.acknowledge("ann", "a", other);
    assert_eq!(known, Some(other), "another list has its own start");
    assert_eq!(subscribe(&lasting, "ann", "a", at(9)), (other, false));
}

#[test]
fn positions_that_moved_are_kept_once() {
    let lasting = Arc::new(LastingSubscriptions::default());
    let mut admission = Admission::new(Memory::new(u64::MAX));
    let mut keep = |keys, is_stored| {
        change(Keep::new(&lasting, keys, false), &mut admission, is_stored);
    };
    subscribe(&lasting, "ann", "a", at(5));
    keep(key("ann", "a"), true);
    assert!(lasting.moved().is_empty());
    lasting.acknowledge("ann", "a", at(6));
    lasting.acknowledge("ann", "a", at(7));
    assert_eq!(lasting.moved(), key("ann", "a"));
    keep(key("ann", "a"), false);
    assert_eq!(lasting.moved(), key("ann", "a"), "it could not be kept");
    keep(key("ann", "a"), true);
    assert!(lasting.moved().is_empty());
    lasting.acknowledge("ann", "a", at(8));
    assert_eq!(lasting.moved(), key("ann", "a"));
}

/// All orders in which an acknowledgement, an end and a beginning may come to the journal.
#[test]
fn what_comes_late_to_the_journal_overtakes_nothing() {
    let lasting = Arc::new(LastingSubscriptions::default());
    let mut admission = Admission::new(Memory::new(u64::MAX));
    let keep = |begins| Keep::new(&lasting, key("ann", "a"), begins);
    subscribe(&lasting, "ann", "a", at(0));
    change(keep(true), &mut admission, true);
    assert_eq!(admission.memory.used, subscription_size("ann", "a"));
    lasting.acknowledge("ann", "a", at(70));
    // Taken from the table before the end, and written after it.
    let late = keep(false);
    assert!(begin_end(&lasting, "ann", "a"));
    change(keep(false), &mut admission, true);
    assert_eq!(admission.memory.used, 0);
    assert_eq!(subscribe(&lasting, "ann", "a", at(5)), (at(5), false));
    change(keep(true), &mut admission, true);
    let late = change(late, &mut admission, true);
    assert!(late.written[0].is_some());
    assert_eq!(subscribe(&lasting, "ann", "a", at(0)), (at(5), true));
    // An end that is accepted when it has begun again ends nothing.
    assert!(begin_end(&lasting, "ann", "a"));
    assert_eq!(subscribe(&lasting, "ann", "a", at(8)), (at(8), false));
    assert!(change(keep(false), &mut admission, true).written[0].is_some());
    assert_eq!(subscribe(&lasting, "ann", "a", at(0)), (at(8), true));
}

#[test]
fn what_was_not_stored_has_not_happened() {
    let lasting = Arc::new(LastingSubscriptions::default());
    let mut admission = Admission::new(Memory::new(subscription_size("ann", "a")));
    let keep = |topic, begins| Keep::new(&lasting, key("ann", topic), begins);
    subscribe(&lasting, "ann", "a", at(5));
    change(keep("a", true), &mut admission, false);
    assert!(lasting.table.lock().names.is_empty());
    assert_eq!(admission.memory.used, 0);
    subscribe(&lasting, "ann", "a", at(7));
    change(keep("a", true), &mut admission, true);
    assert!(begin_end(&lasting, "ann", "a"));
    change(keep("a", false), &mut admission, false);
    assert_eq!(subscribe(&lasting, "ann", "a", at(9)), (at(7), true));
    // There is memory for one.
    subscribe(&lasting, "ann", "b", at(0));
    assert!(matches!(
        change(keep("b", true), &mut admission, true).refused,
        Some(Refusal::Full { .. })
    ));
    assert_eq!(lasting.of("ann"), key("ann", "a"));
}

#[test]
fn the_end_of_a_topic_ends_its_subscriptions() {
    let lasting = Arc::new(LastingSubscriptions::default());
    let mut admission = Admission::new(Memory::new(u64::MAX));
    let old = StreamId::random();
    admission.begin("a", old, false);
    for name in ["ann", "bob"] {
        subscribe(&lasting, name, "a", Cursor { stream: old, next: 1 });
    }
    subscribe(&lasting, "dan", "a", at(0));
    change(Keep::new(&lasting, key("ann", "a"), true), &mut admission, true);
    let ended = lasting.end("a");
    admission.remove("a");
    assert_eq!(admission.memory.used, ended, "what the topic took was given back");
    assert!(lasting.of("ann").is_empty());
    // Those that come to the journal behind the deletion.
    let late = change(Keep::new(&lasting, key("bob", "a"), true), &mut admission, true);
    assert!(matches!(late.refused, Some(Refusal::OtherStream)));
    assert!(lasting.of("bob").is_empty());
    let waits = change(Keep::new(&lasting, key("dan", "a"), true), &mut admission, true);
    assert!(waits.refused.is_none(), "it waits for the topic to be there");
    assert_eq!(lasting.of("dan"), key("dan", "a"));
}

/// Those who were behind the messages that both lists have go on behind those, others where
/// they were, and what comes late of the old list moves nobody.
#[test]
fn who_reads_a_mirror_goes_on_in_the_list_that_takes_its_place() {
    let lasting = Arc::new(LastingSubscriptions::default());
    let mut admission = Admission::new(Memory::new(u64::MAX));
    let (old, new) = (StreamId::random(), StreamId::random());
    let of = |stream, next| Cursor { stream, next };
    admission.begin("a", old, true);
    for (name, next) in [("ann", 5), ("bob", 15)] {
        subscribe(&lasting, name, "a", of(old, next));
        change(Keep::new(&lasting, key(name, "a"), true), &mut admission, true);
    }
    assert_eq!(lasting.last_in("a"), Some(15));
    let mut frame = Frame::default();
    lasting.write_suspended("a", 10, &mut frame);
    assert!(frame.size() > 2 * "@\tbob\ta\t0000000000000000\t10\t".len());
    lasting.suspend("a", 10);
    admission.remove("a");
    lasting.acknowledge("bob", "a", of(old, 18));
    assert_eq!(lasting.next_in("bob", "a", of(new, 0)), None);
    let kept = change(Keep::new(&lasting, key("bob", "a"), false), &mut admission, true);
    assert!(kept.written[0].is_some());
    // The home may have another list once more before this one is there.
    let bob = [("bob".into(), [("a".into(), (at(10), 1))].into())];
    let twice = Arc::new(LastingSubscriptions::restored(bob.into()));
    twice.suspend("a", 3);
    twice.settle("a", of(new, 8));
    assert_eq!(twice.next_in("bob", "a", of(new, 0)), Some(3));
    // The process may end meanwhile.
    let positions = [("ann", 5), ("bob", 10)]
        .map(|(name, next)| (name.into(), [("a".into(), (at(next), 1))].into()));
    for lasting in [&*lasting, &LastingSubscriptions::restored(positions.into())] {
        lasting.settle("a", of(new, 8));
        let next = |name| lasting.next_in(name, "a", of(new, 0));
        assert_eq!([next("ann"), next("bob")], [Some(5), Some(8)]);
        assert!(lasting.moved().len() >= 2);
        lasting.acknowledge("bob", "a", of(new, 9));
        lasting.settle("a", of(new, 3));
        assert_eq!(next("bob"), Some(9));
    }
}

#[test]
fn the_newest_session_of_a_name_has_it_until_it_ends() {
    let lasting = LastingSubscriptions::default();
    let before = |session| lasting.subscribe("ann", "a", at(5), session).unwrap().before;
    assert_eq!([before(1), before(1), before(2)], [None, None, Some(1)]);
    lasting.sent("ann", "a", at(9), 1);
    lasting.release(1);
    assert_eq!(lasting.holder("ann"), Some(2));
    assert_eq!(lasting.standings()[0].cursor, at(5), "1 has it no more");
    lasting.sent("ann", "a", at(9), 2);
    assert_eq!(lasting.standings()[0].cursor, at(9));
    lasting.release(2);
    assert_eq!(lasting.holder("ann"), None);
    assert_eq!(before(3), None);
    lasting.table.lock().remove("ann", "a");
    let table = lasting.table.lock();
    assert!(table.names.is_empty() && table.held.len() == 1);
}

#[test]
fn those_are_forgotten_that_nobody_has_and_had() {
    let lasting = LastingSubscriptions::default();
    subscribe(&lasting, "ann", "a", at(0));
    let [past, future] = [0, u64::MAX];
    assert!(lasting.unseen_since(future).is_empty(), "it is connected");
    lasting.release(1);
    assert!(lasting.unseen_since(past).is_empty());
    let unseen = lasting.unseen_since(future);
    assert_eq!(unseen, key("ann", "a"));
    subscribe(&lasting, "ann", "a", at(0));
    assert!(lasting.begin_end(&unseen, Some(future)).is_empty(), "it came back");
    lasting.release(1);
    assert_eq!(lasting.begin_end(&unseen, Some(future)), unseen);
}

#[test]
fn when_somebody_was_seen_is_kept_now_and_then() {
    let lasting = Arc::new(LastingSubscriptions::default());
    let mut admission = Admission::new(Memory::new(u64::MAX));
    subscribe(&lasting, "ann", "a", at(0));
    change(Keep::new(&lasting, key("ann", "a"), true), &mut admission, true);
    assert!(lasting.moved().is_empty());
    lasting.table.lock().names.get_mut("ann").unwrap().seen_kept -= SEEN_INTERVAL;
    let moved = lasting.moved();
    assert_eq!(moved, key("ann", "a"));
    change(Keep::new(&lasting, moved, false), &mut admission, true);
    assert!(lasting.moved().is_empty());
}
