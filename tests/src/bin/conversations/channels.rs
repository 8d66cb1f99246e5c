//! Conversations of several clients with channels, text lines, and all doors at once.

use crate::dice::Dice;
use crate::http::{TOKEN_FIELD, with_field};
use crate::script::Script;
use tests::raw::request;

const AUTH: &str = r#"{"command":"auth","token":"open-sesame"}"#;
const AUTH_LINE: &str = "AUTH open-sesame\n";

fn channel(command: &str, channel: &str, rest: &str, dice: &mut Dice) -> String {
    if dice.once_in(2) {
        format!("{{\"command\":\"{command}\",\"args\":{{\"channel\":\"{channel}\"{rest}}}}}")
    } else {
        format!("{{\"command\":\"{command}\",\"channel\":\"{channel}\"{rest}}}\n")
    }
}

/// Two listeners and a publisher in the dialect `channel`.
pub(crate) fn json(script: &mut Script, dice: &mut Dice) {
    let topic = script.topic("a");
    // In a peer's network a channel has to be created before it is used.
    let create = format!("{{\"command\":\"create_topic\",\"topic\":\"{topic}\"}}");
    script.say(0, format!("{AUTH}{create}"));
    for listener in 1..=2 {
        let word = dice.of(&["SUBSCRIBE", "subscribe", "Subscribe"]);
        script.send(listener, format!("{AUTH}{}", channel(word, &topic, "", dice)));
        script.until(listener, "\"SUBSCRIBE\"", 1);
    }
    let mut session = AUTH.to_owned();
    let odd = dice.of(&[
        "",
        r#","message":7"#,
        r#","message":"a\nb""#,
        r#","message":"one","publisher":"p""#,
    ]);
    session += &channel("PUBLISH", &topic, odd, dice);
    session += &channel(dice.of(&["FLY", "", "UNSUBSCRIBE"]), &topic, "", dice);
    session += &channel("PUBLISH", &topic, r#","message":"last \u00e9""#, dice);
    script.say(3, session);
    for listener in 1..=2 {
        script.until(listener, "last", 1);
        script.send(listener, channel("UNSUBSCRIBE", &topic, "", dice));
        script.until(listener, "\"UNSUBSCRIBE\"", 1);
        script.end(listener);
    }
}

/// Subscribers of the text door, who come and go.
pub(crate) fn text(script: &mut Script, dice: &mut Dice) {
    let topic = script.topic("a");
    let create = format!("{{\"command\":\"create_topic\",\"topic\":\"{topic}\"}}");
    script.say(0, format!("{AUTH}{create}"));
    // Nothing answers a subscription: the line that does not parse shows that it was taken.
    let id = script.topic("anna");
    script.send(1, format!("{AUTH_LINE}SUBSCRIBE {topic} {id}\nSUBSCRIBE\n"));
    script.until(1, "ERROR", 1);
    let words = dice.of(&["rain", "rain until noon", "", " two  blanks ", "h\u{e9}"]);
    script.say(2, format!("{AUTH_LINE}PUBLISH {topic} {words} bob\nPUBLISH {topic} end. bob\n"));
    script.until(1, "end.", 1);
    // The broker has to see that she is gone before it is given what waits for her.
    script.end(1);
    if dice.once_in(4) {
        script.say(3, format!("{AUTH_LINE}UNSUBSCRIBE {topic} {id}\nUNSUBSCRIBE {topic} {id}\n"));
        return;
    }
    script.say(3, format!("{AUTH_LINE}PUBLISH {topic} again. bob"));
    script.send(4, format!("{AUTH_LINE}SUBSCRIBE {topic} {id}\n"));
    script.until(4, "again.", 1);
    script.leave(4);
}

/// One message, seen through all doors.
pub(crate) fn across(script: &mut Script, dice: &mut Dice) {
    let topic = script.topic("a");
    let create = format!("{{\"command\":\"create_topic\",\"topic\":\"{topic}\"}}");
    script.say(0, format!("{AUTH}{create}"));
    script.send(1, format!("{AUTH}{}", channel("SUBSCRIBE", &topic, "", dice)));
    script.until(1, "\"SUBSCRIBE\"", 1);
    script.send(2, format!("{AUTH}{{\"command\":\"subscribe\",\"topic\":\"{topic}\",\"from\":0}}"));
    script.until(2, "Subscribed", 1);
    let events =
        with_field(&request("GET", &format!("/events?topic={topic}&from=0"), ""), TOKEN_FIELD);
    script.send(3, events);
    script.until(3, "\r\n\r\n", 1);
    let id = script.topic("anna");
    script.send(4, format!("{AUTH_LINE}SUBSCRIBE {topic} {id}\nSUBSCRIBE\n"));
    script.until(4, "ERROR", 1);
    let lines = format!("/topics/{topic}");
    match dice.below(4) {
        0 => script.say(5, format!("{AUTH_LINE}PUBLISH {topic} all of it. ann")),
        1 => script.say(5, with_field(&request("POST", &lines, "one\nall of it.\n"), TOKEN_FIELD)),
        2 => {
            let rest = r#","message":"all of it.""#;
            script.say(5, format!("{AUTH}{}", channel("PUBLISH", &topic, rest, dice)));
        }
        _ => {
            let body = format!(r#"{{"topic":"{topic}","message":"all of it.","publisher":"ann"}}"#);
            script.say(5, with_field(&request("POST", "/publish", body), TOKEN_FIELD));
        }
    }
    for listener in 1..=4 {
        script.until(listener, "all of it.", 1);
    }
    let word = dice.of(&["delete_topic", "fly"]);
    script.say(6, format!("{AUTH}{{\"command\":\"{word}\",\"topic\":\"{topic}\"}}"));
    if word == "delete_topic" {
        script.until(2, "\"deleted\"", 1);
    }
    script.until(3, "all of it.", 1);
    for listener in 1..=4 {
        script.leave(listener);
    }
}
