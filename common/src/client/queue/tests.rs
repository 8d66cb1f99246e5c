//! Tests of what is sent, and with which sequences.

use super::*;

/// The commands that are sent now: topic, epoch, sequence and messages.
fn commands(queue: &mut Queue) -> Vec<String> {
    let mut out = Vec::new();
    queue.write_unsent("me", &mut out);
    let text = String::from_utf8(out).unwrap();
    let read = |line: &str| {
        let command = json::parse(line.as_bytes()).unwrap();
        let field = |key| command.get(key).unwrap();
        assert_eq!(field("command").as_str(), Some("publish"));
        assert_eq!(field("publisher").as_str(), Some("me"));
        let topic = field("topic").as_str().unwrap();
        format!("{topic} {} {} {}", field("epoch"), field("sequence"), field("messages"))
    };
    text.lines().map(read).collect()
}

fn filled(messages: &[(&str, &str)]) -> Queue {
    let mut queue = Queue::new(0);
    messages.iter().for_each(|(topic, message)| assert!(queue.push(topic, message)));
    queue
}

#[test]
fn messages_that_follow_one_another_become_one_command() {
    let mut queue = filled(&[("a", "1"), ("a", "\"2\""), ("b", "3"), ("a", "4")]);
    let expected = [r#"a 0 0 ["1","\"2\""]"#, r#"b 0 0 ["3"]"#, r#"a 0 2 ["4"]"#];
    assert_eq!(commands(&mut queue), expected);
    assert_eq!(commands(&mut queue), [""; 0]);
    assert_eq!(queue.unsent_size(), 0);
}

#[test]
fn nothing_joins_what_was_sent_or_what_belongs_together() {
    let mut queue = filled(&[("a", "1")]);
    assert_eq!(commands(&mut queue), [r#"a 0 0 ["1"]"#]);
    queue.push("a", "2");
    assert!(queue.push_batch("a", &["3", "4"], false));
    queue.push("a", "5");
    let expected = [r#"a 0 1 ["2"]"#, r#"a 0 2 ["3","4"]"#, r#"a 0 4 ["5"]"#];
    assert_eq!(commands(&mut queue), expected);
}

#[test]
fn a_command_is_no_larger_than_a_batch_unless_its_message_is() {
    let mut queue = Queue::new(0);
    let (half, whole) = ("x".repeat(BATCH_SIZE / 2), "x".repeat(3 * BATCH_SIZE));
    for message in [&half, &half, &whole, &half] {
        queue.push("a", message);
    }
    let sizes: Vec<_> = queue.batches.iter().map(|batch| batch.count).collect();
    assert_eq!(sizes, [1, 1, 1, 1]);
}

#[test]
fn over_a_new_connection_everything_goes_again_under_the_same_sequences() {
    let mut queue = filled(&[("a", "1"), ("b", "2"), ("a", "3")]);
    let sent = commands(&mut queue);
    assert_eq!(queue.remove_front(), 1);
    queue.forget_sent();
    assert_eq!(commands(&mut queue), sent[1..]);
}

#[test]
fn no_more_is_on_its_way_than_the_window_holds() {
    let send_all = |queue: &mut Queue| {
        loop {
            let sent = queue.sent;
            queue.write_unsent("me", &mut Vec::new());
            if queue.sent == sent {
                return sent;
            }
        }
    };
    let mut queue = Queue::new(0);
    let message = "x".repeat(BATCH_SIZE);
    (0..100).for_each(|_| assert!(queue.push("a", &message)));
    assert_eq!(send_all(&mut queue), WINDOW_SIZE / BATCH_SIZE);
    queue.remove_front();
    assert_eq!(send_all(&mut queue), WINDOW_SIZE / BATCH_SIZE);

    let mut queue = Queue::new(0);
    let topics = ["a", "b"].iter().cycle().take(2 * WINDOW_BATCHES);
    topics.for_each(|topic| assert!(queue.push(topic, "x")));
    assert_eq!(send_all(&mut queue), WINDOW_BATCHES);
}

#[test]
fn a_batch_that_was_refused_is_judged_message_by_message() {
    let mut queue = filled(&[("a", "1"), ("a", "\\\"ü"), ("a", "3"), ("b", "4")]);
    commands(&mut queue);
    assert!(queue.front().unwrap().0.can_be_split());
    queue.split_front();
    assert!(!queue.front().unwrap().0.can_be_split());
    let expected = [r#"a 0 0 ["1"]"#, r#"a 0 1 ["\\\"ü"]"#, r#"a 0 2 ["3"]"#, r#"b 0 0 ["4"]"#];
    assert_eq!(commands(&mut queue), expected);
}

#[test]
fn new_numbers_are_those_of_a_newer_epoch() {
    let mut queue = filled(&[("a", "1"), ("a", "2"), ("b", "3"), ("a", "4")]);
    commands(&mut queue);
    queue.remove_front();
    queue.renumber("a", 0);
    queue.push("a", "5");
    assert_eq!(commands(&mut queue), [r#"b 0 0 ["3"]"#, r#"a 1 0 ["4","5"]"#]);
    queue.renumber("a", 7);
    assert_eq!(commands(&mut queue), [r#"b 0 0 ["3"]"#, r#"a 8 0 ["4","5"]"#]);
}

#[test]
fn what_is_forgotten_uses_no_sequences() {
    let mut queue = filled(&[("a", "1"), ("a", "2")]);
    commands(&mut queue);
    queue.remove_front();
    queue.push("a", "3");
    queue.push("b", "4");
    queue.clear();
    assert!(queue.is_empty());
    queue.push("a", "5");
    queue.push("b", "6");
    assert_eq!(commands(&mut queue), [r#"a 0 2 ["5"]"#, r#"b 0 0 ["6"]"#]);
    assert_eq!(queue.unsent_size(), 0);
}
