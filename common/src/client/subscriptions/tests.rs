//! Lines in, events and commands out.

use super::*;

const CONFIRMED: &str =
    r#"{"status":"success","message":"m","next":3,"stream":"00000000000000aa"}"#;
const ABSENT: &str = r#"{"status":"success","message":"m","next":0,"stream":"0000000000000000"}"#;
const ANEW: &str = r#"{"status":"success","message":"m","next":0,"stream":"00000000000000bb"}"#;
const OTHER_STREAM: &str = r#"{"status":"error","message":"another","code":410}"#;

fn subscriptions(start: Start<'_>) -> Subscriptions {
    let mut subscriptions = Subscriptions::default();
    subscriptions.add("t", start);
    subscriptions
}

/// The commands that are to be sent, without what they have in common.
fn commands(subscriptions: &mut Subscriptions) -> String {
    let text = String::from_utf8(std::mem::take(subscriptions.commands())).unwrap();
    text.replace(r#"{"command":"#, "").replace(r#","topic":"t""#, "").replace("}\n", ";")
}

/// What a line comes to: an offset and its stream, or a word.
fn take(subscriptions: &mut Subscriptions, line: &str) -> String {
    match subscriptions.take(Line::read(line.as_bytes()).unwrap()) {
        Ok(None) => "nothing".to_owned(),
        Ok(Some(Event::Message(message))) => format!("{}@{}", message.offset, message.stream),
        Ok(Some(Event::Reset { .. })) => "reset".to_owned(),
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
        (Start::Cursor(cursor), r#""subscribe","from":7,"stream":"00000000000000aa";"#),
        (Start::Name("n"), r#""subscribe","subscriber":"n";"#),
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
    let mut it = subscriptions(Start::Name("n"));
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
    let mut it = subscriptions(Start::Name("n"));
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
        (Start::Name("n"), 507, "trouble"),
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
    let mut it = subscriptions(Start::Name("n"));
    take(&mut it, CONFIRMED);
    commands(&mut it);
    assert_eq!(it.remove("t"), Some(Some("n".to_owned())));
    it.ask_for_end("t", Some("n"));
    assert_eq!(commands(&mut it), r#""unsubscribe","subscriber":"n";"#);
    assert_eq!(take(&mut it, &message(3)), "nothing");
    assert!(it.is_waiting());
    take(&mut it, r#"{"status":"success","message":"m"}"#);
    assert!(!it.is_waiting());
}
