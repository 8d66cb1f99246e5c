//! Tests: lines in, events and commands out.

use super::*;
use crate::crc32::Crc32;

const CONFIRMED: &str =
    r#"{"status":"success","message":"m","next":3,"stream":"00000000000000aa"}"#;
const ABSENT: &str = r#"{"status":"success","message":"m","next":0,"stream":"0000000000000000"}"#;
const ANEW: &str = r#"{"status":"success","message":"m","next":0,"stream":"00000000000000bb"}"#;
const OTHER_STREAM: &str = r#"{"status":"error","message":"another","code":410}"#;

fn subscriptions(start: Start) -> Subscriptions {
    let mut subscriptions = Subscriptions::default();
    subscriptions.add("t", start);
    subscriptions
}

/// The commands that are to be sent, without what they have in common: all but those for a name ask
/// for the digest.
fn commands(subscriptions: &mut Subscriptions) -> String {
    let text = String::from_utf8(std::mem::take(subscriptions.commands())).unwrap();
    let text = text.replace(r#"{"command":"#, "").replace(r#","topic":"t""#, "");
    text.replace(r#","digest":true"#, "").replace("}\n", ";")
}

/// What a line comes to: an offset and its stream, or a word.
fn take(subscriptions: &mut Subscriptions, line: &str) -> String {
    match subscriptions.take(line.as_bytes()) {
        Ok(None) => "nothing".to_owned(),
        Ok(Some(Event::Message(message))) => format!("{}@{}", message.offset, message.stream),
        Ok(Some(Event::Reset { .. })) => "reset".to_owned(),
        Ok(Some(Event::Trimmed { next, .. })) => format!("trimmed to {next}"),
        Err(Fault::Passing(_)) => "trouble".to_owned(),
        Err(Fault::Final(_)) => "refused".to_owned(),
    }
}

fn message(offset: u64) -> String {
    format!(
        r#"{{"event":"message","topic":"t","offset":{offset},"message":"","time":1,"publisher":"p"}}"#
    )
}

#[test]
fn each_start_is_asked_for_in_its_own_words() {
    let cursor = "7@00000000000000aa".parse().unwrap();
    for (start, words) in [
        (Start::Now, r#""subscribe";"#),
        (Start::Offset(5), r#""subscribe","from":5;"#),
        (Start::Last(5), r#""subscribe","from":-5;"#),
        (Start::Since("10m".to_owned()), r#""subscribe","since":"10m";"#),
        (Start::Cursor(cursor), r#""subscribe","from":7,"stream":"00000000000000aa";"#),
        (Start::Name("n".to_owned()), r#""subscribe","subscriber":"n";"#),
    ] {
        assert_eq!(commands(&mut subscriptions(start)), words);
    }
}

#[test]
fn over_a_new_connection_it_goes_on_behind_the_last_message() {
    let mut it = subscriptions(Start::Now);
    assert_eq!(take(&mut it, CONFIRMED), "nothing");
    assert_eq!(take(&mut it, &message(3)), "3@00000000000000aa");
    it.ask_for_all();
    assert_eq!(commands(&mut it), r#""subscribe","from":4,"stream":"00000000000000aa";"#);
}

#[test]
fn another_list_is_told_and_read_from_its_start() {
    let mut it = subscriptions(Start::Now);
    take(&mut it, CONFIRMED);
    it.ask_for_all();
    commands(&mut it);
    assert_eq!(take(&mut it, OTHER_STREAM), "reset");
    assert_eq!(commands(&mut it), r#""subscribe","from":0;"#);
    assert_eq!(take(&mut it, ANEW), "nothing");
    assert_eq!(take(&mut it, &message(0)), "0@00000000000000bb");
}

#[test]
fn a_reset_by_the_broker_is_told_and_followed() {
    let mut it = subscriptions(Start::Now);
    take(&mut it, CONFIRMED);
    let reset = r#"{"event":"reset","topic":"t","next":0,"stream":"00000000000000bb"}"#;
    assert_eq!(take(&mut it, reset), "reset");
    assert_eq!(take(&mut it, &message(0)), "0@00000000000000bb");
}

#[test]
fn a_topic_that_was_not_there_says_its_stream_with_its_first_message() {
    let mut it = subscriptions(Start::Now);
    assert_eq!(take(&mut it, ABSENT), "nothing");
    it.ask_for_all();
    assert_eq!(commands(&mut it), r#""subscribe","from":0,"stream":"0000000000000000";"#);
    assert_eq!(take(&mut it, ABSENT), "nothing");
    let first = message(0).replace('}', r#","stream":"00000000000000bb"}"#);
    assert_eq!(take(&mut it, &first), "0@00000000000000bb");
    it.ask_for_all();
    assert_eq!(commands(&mut it), r#""subscribe","from":1,"stream":"00000000000000bb";"#);
}

#[test]
fn a_name_goes_on_where_the_broker_says_and_nothing_is_read_twice() {
    let mut it = subscriptions(Start::Name("n".to_owned()));
    take(&mut it, CONFIRMED);
    take(&mut it, &message(3));
    take(&mut it, &message(4));
    commands(&mut it);
    it.ask_for_all();
    assert_eq!(commands(&mut it), r#""subscribe","from":0,"subscriber":"n";"#);
    // Only what stands before offset 3 was acknowledged.
    assert_eq!(take(&mut it, CONFIRMED), "nothing");
    assert_eq!(take(&mut it, &message(3)), "nothing");
    assert_eq!(take(&mut it, &message(4)), "nothing");
    assert_eq!(take(&mut it, &message(5)), "5@00000000000000aa");
}

#[test]
fn a_broker_that_has_forgotten_a_name_is_noticed_by_its_stream() {
    let mut it = subscriptions(Start::Name("n".to_owned()));
    take(&mut it, CONFIRMED);
    it.ask_for_all();
    assert_eq!(take(&mut it, ANEW), "reset");
    assert_eq!(take(&mut it, &message(0)), "0@00000000000000bb");
}

#[test]
fn a_gap_is_never_passed_over() {
    let mut it = subscriptions(Start::Now);
    take(&mut it, CONFIRMED);
    assert_eq!(take(&mut it, &message(4)), "trouble");
    let other = r#"{"event":"message","topic":"t","offset":3,"message":"","time":1,"publisher":null,"stream":"00000000000000bb"}"#;
    assert_eq!(take(&mut it, other), "trouble");
    assert_eq!(take(&mut it, CONFIRMED), "trouble", "nothing was asked");
}

#[test]
fn what_is_refused_for_good_is_no_longer_subscribed_to() {
    for (start, code, outcome) in [
        (Start::Now, 400, "refused"),
        (Start::Offset(9), 416, "refused"),
        (Start::Name("n".to_owned()), 507, "trouble"),
        (Start::Now, 503, "trouble"),
    ] {
        let mut it = subscriptions(start);
        let refusal = format!(r#"{{"status":"error","message":"no","code":{code}}}"#);
        assert_eq!(take(&mut it, &refusal), outcome);
        assert_eq!(it.is_empty(), outcome == "refused");
    }
}

#[test]
fn an_end_is_asked_for_and_what_was_on_its_way_is_dropped() {
    let mut it = subscriptions(Start::Name("n".to_owned()));
    take(&mut it, CONFIRMED);
    commands(&mut it);
    it.ask_for_end(Target::Topic("t"));
    it.remove(Target::Topic("t"));
    assert_eq!(commands(&mut it), r#""unsubscribe","subscriber":"n";"#);
    assert_eq!(take(&mut it, &message(3)), "nothing");
    assert!(it.is_waiting());
    take(&mut it, r#"{"status":"success","message":"m"}"#);
    assert!(!it.is_waiting());
}

#[test]
fn a_list_that_begins_with_what_was_read_is_gone_on_with_under_another_id() {
    const WITH_DIGEST: &str = r#"{"status":"success","message":"m","next":3,"stream":"00000000000000aa","digest":"00c0ffee"}"#;
    let mut it = subscriptions(Start::Now);
    assert_eq!(take(&mut it, WITH_DIGEST), "nothing");
    assert_eq!(take(&mut it, &message(3)), "3@00000000000000aa");
    commands(&mut it);
    it.ask_for_all();
    let mut crc = Crc32::after(0x00c0_ffee);
    crc.update(b"\n");
    let digest = format!("{:08x}", crc.value());
    let expected =
        format!(r#""subscribe","from":4,"stream":"00000000000000aa","digest":"{digest}";"#);
    assert_eq!(commands(&mut it), expected);
    let repaired = format!(
        r#"{{"status":"success","message":"m","next":4,"stream":"00000000000000bb","digest":"{digest}"}}"#
    );
    assert_eq!(take(&mut it, &repaired), "nothing");
    assert_eq!(take(&mut it, &message(4)), "4@00000000000000bb");

    // And one that does not is another one.
    it.ask_for_all();
    let other = r#"{"status":"error","message":"another","code":412}"#;
    assert_eq!(take(&mut it, other), "reset");
}

#[test]
fn what_was_let_go_is_told_and_left_out() {
    let mut it = subscriptions(Start::Now);
    assert_eq!(take(&mut it, CONFIRMED), "nothing");
    let trimmed = r#"{"event":"trimmed","topic":"t","next":7}"#;
    assert_eq!(take(&mut it, trimmed), "trimmed to 7");
    assert_eq!(take(&mut it, &message(7)), "7@00000000000000aa");
    commands(&mut it);
    it.ask_for_all();
    commands(&mut it);
    let gone = r#"{"status":"error","message":"gone","code":410,"first":20}"#;
    assert_eq!(take(&mut it, gone), "trimmed to 20");
    assert_eq!(commands(&mut it), r#""subscribe","from":20,"stream":"00000000000000aa";"#);

    // Where the digest is said, the list is known by it from there on.
    let trimmed = r#"{"event":"trimmed","topic":"t","next":30,"digest":"9ab3c1d2"}"#;
    assert_eq!(take(&mut it, trimmed), "trimmed to 30");
    assert_eq!(it.topic("t").unwrap().digest.map(Crc32::value), Some(0x9ab3_c1d2));

    // Whoever asks for what is gone in the first place is told so.
    assert_eq!(take(&mut subscriptions(Start::Offset(3)), gone), "refused");
}

#[test]
fn a_topic_that_was_deleted_goes_on_when_it_is_there_again() {
    let deleted = r#"{"event":"deleted","topic":"t"}"#;
    let reset = r#"{"event":"reset","topic":"t","next":0,"stream":"00000000000000bb"}"#;
    let mut it = subscriptions(Start::Now);
    for (line, expected) in [
        (CONFIRMED, "nothing"),
        (deleted, "nothing"),
        (reset, "reset"),
        (&message(0), "0@00000000000000bb"),
    ] {
        assert_eq!(take(&mut it, line), expected);
    }
    // A lasting subscription ends with its topic: it is asked for again.
    let mut it = subscriptions(Start::Name("n".to_owned()));
    assert_eq!(take(&mut it, CONFIRMED), "nothing");
    commands(&mut it);
    assert_eq!(take(&mut it, deleted), "nothing");
    assert_eq!(commands(&mut it), r#""subscribe","from":0,"subscriber":"n";"#);
}

#[test]
fn what_a_broker_would_not_write_is_trouble() {
    for line in [
        "",
        "hello",
        "{}",
        "[]",
        r#"{"event":"other"}"#,
        r#"{"event":"message","topic":"t","message":"a","time":5}"#,
        r#"{"event":"reset","topic":"t","next":0,"stream":"x"}"#,
        r#"{"event":"trimmed","topic":"t"}"#,
    ] {
        assert_eq!(take(&mut subscriptions(Start::Now), line), "trouble", "{line}");
    }
}

#[test]
fn a_topic_that_was_left_is_left_again_when_a_pattern_brings_it() {
    const CHOSEN: &str =
        r#"{"event":"subscribed","topic":"t","next":3,"stream":"00000000000000aa"}"#;
    let begin = |is_left: bool| {
        let mut it = subscriptions(Start::Now);
        it.follow(Pattern::new("*").unwrap(), Start::Now);
        take(&mut it, CONFIRMED);
        match is_left {
            true => it.end(Target::Topic("t")),
            // It was not the user who ended it.
            false => it.remove(Target::Topic("t")),
        }
        it.ask_for_all();
        commands(&mut it);
        take(&mut it, r#"{"status":"success","message":"m"}"#);
        assert_eq!(take(&mut it, CHOSEN), "nothing");
        it
    };
    let mut left = begin(true);
    assert_eq!(commands(&mut left), r#""unsubscribe";"#);
    assert_eq!(take(&mut left, &message(3)), "nothing");
    left.add("t", Start::Now);
    assert_eq!(commands(&mut left), r#""subscribe";"#);
    assert_eq!(take(&mut begin(false), &message(3)), "3@00000000000000aa");
}
