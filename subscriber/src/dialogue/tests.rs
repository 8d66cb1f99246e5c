//! Lines of a broker, and typed lines.

use super::*;

fn dialogue(prompt: &'static str) -> Dialogue<Vec<u8>> {
    let topics = Arc::new(DesiredTopics::new("ann".to_owned()));
    let dialogue = Dialogue::new(Broker::at("nowhere:1"), topics, Vec::new(), !prompt.is_empty());
    Dialogue { prompt, ..dialogue }
}

#[test]
fn what_is_delivered_is_printed_as_it_came() {
    let mut dialogue = dialogue("");
    let lines = b"DELIVER t two words ann 1970-01-01 00:00:00\nDELIVER t  - 1970-01-01 00:00:00\n";
    assert!(dialogue.take(lines).unwrap());
    let printed = String::from_utf8(dialogue.output).unwrap();
    let expected = ">> DELIVER t two words ann 1970-01-01 00:00:00\n\
                    >> DELIVER t  - 1970-01-01 00:00:00\n";
    assert_eq!(printed, expected);
}

#[test]
fn what_is_delivered_stands_above_what_is_being_typed() {
    let mut dialogue = dialogue("> ");
    dialogue.take(b"DELIVER t a - 1970-01-01 00:00:00\n").unwrap();
    let expected = above_prompt(">> DELIVER t a - 1970-01-01 00:00:00", "> ");
    assert_eq!(String::from_utf8(dialogue.output).unwrap(), expected);
}

#[test]
fn on_a_terminal_control_characters_are_shown_and_do_nothing() {
    let mut dialogue = dialogue("> ");
    dialogue.take(b"DELIVER t a\x1b[2J - 1970-01-01 00:00:00\n").unwrap();
    let expected = above_prompt(r">> DELIVER t a\u{1b}[2J - 1970-01-01 00:00:00", "> ");
    assert_eq!(String::from_utf8(dialogue.output).unwrap(), expected);
}

#[test]
fn a_complaint_is_kept_until_it_is_known_what_follows() {
    let mut dialogue = dialogue("");
    assert!(!dialogue.take(b"ERROR no such thing\n").unwrap());
    assert_eq!(dialogue.complaint.as_deref(), Some("no such thing"));
    assert!(dialogue.take(b"DELIVER t a - 1970-01-01 00:00:00\n").unwrap());
    assert_eq!(dialogue.complaint, None);
    assert!(!dialogue.take(b"something newer\n").unwrap());
}

#[test]
fn two_commands_are_understood_and_other_lines_change_nothing() {
    for (typed, told) in [
        ("subscribe t", "SUBSCRIBE t ann\n"),
        (" SUBSCRIBE  t\r", "SUBSCRIBE t ann\n"),
        ("subscribe t\nunsubscribe \u{fc}", "UNSUBSCRIBE \u{fc} ann\nSUBSCRIBE t ann\n"),
        ("subscribe t\nhelp\n\nsubscribe\nsubscribe a b\nlist", "SUBSCRIBE t ann\n"),
        ("subscribe t\nQUIT\nsubscribe u", "SUBSCRIBE t ann\n"),
    ] {
        let topics = DesiredTopics::new("ann".to_owned());
        listen(typed.as_bytes(), &topics, "");
        assert_eq!(topics.all_lines(), told, "{typed:?}");
    }
}

#[test]
fn a_line_that_is_not_text_does_not_end_what_is_typed() {
    let topics = DesiredTopics::new("ann".to_owned());
    listen(&b"subscribe \xFF\nsubscribe a\n"[..], &topics, "");
    assert!(topics.wait(), "there is a topic to go on with");
}
