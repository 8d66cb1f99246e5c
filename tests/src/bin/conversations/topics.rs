//! Conversations with the JSON door in the dialect `topic`, and with the index.

use crate::dice::Dice;
use crate::script::Script;

const AUTH: &str = r#"{"command":"auth","token":"open-sesame"}"#;

/// Commands; `T` stands for the topic. None of them subscribes.
const COMMANDS: [&str; 44] = [
    r#"{"command":"create_topic","topic":"T"}"#,
    r#"{"command":"CREATE_TOPIC","args":{"topic":"T"}}"#,
    r#"{"command":"publish","topic":"T","message":"one"}"#,
    r#"{"command":"publish","topic":"T","message":"\u00e9\ud83d\ude00\u0001\""}"#,
    r#"{"command":"publish","topic":"T","messages":["two","three"]}"#,
    r#"{"command":"publish","topic":"T","message":"n","publisher":"p","epoch":0,"sequence":0}"#,
    r#"{"command":"publish","topic":"T","message":"n","publisher":"p","epoch":0,"sequence":1}"#,
    r#"{"command":"publish","topic":"T","messages":["n","m"],"publisher":"p","epoch":0,"sequence":1}"#,
    r#"{"command":"publish","topic":"T","message":"n","publisher":"p","epoch":0,"sequence":9}"#,
    r#"{"command":"publish","topic":"T","message":"n","publisher":"p","epoch":1,"sequence":0}"#,
    r#"{"command":"publish","topic":"T"}"#,
    r#"{"command":"publish","topic":"T","message":7}"#,
    r#"{"command":"publish","topic":"T","messages":[]}"#,
    r#"{"command":"publish","topic":"T","message":"a\nb"}"#,
    r#"{"command":"publish","topic":"","message":"a"}"#,
    r#"{"command":"publish","message":"a"}"#,
    r#"{"command":"pull","topic":"T"}"#,
    r#"{"command":"pull","topic":"T","from":1,"limit":1}"#,
    r#"{"command":"pull","topic":"T","from":99}"#,
    r#"{"command":"pull","topic":"T","from":-1}"#,
    r#"{"command":"pull","topic":"T","from":"1"}"#,
    r#"{"command":"pull","topic":"T","limit":1.5}"#,
    r#"{"command":"pull","topic":7}"#,
    r#"{"command":"pull"}"#,
    r#"{"command":"unsubscribe","topic":"T"}"#,
    r#"{"command":"unsubscribe","topic":"T","subscriber":"nobody"}"#,
    r#"{"command":"ack","topic":"T","subscriber":"nobody","offset":0}"#,
    r#"{"command":"ack","topic":"T","subscriber":"nobody"}"#,
    r#"{"command":"ack","topic":"T","offset":0}"#,
    r#"{"command":"subscribe","topic":"T","from":99}"#,
    r#"{"command":"subscribe","topic":"T","from":1,"stream":"00000000000000aa"}"#,
    r#"{"command":"subscribe","topic":"T","stream":"x"}"#,
    r#"{"command":"subscribe"}"#,
    r#"{"command":"delete_topic","topic":"T"}"#,
    r#"{"command":"fly","topic":"T"}"#,
    r#"{"command":7,"topic":"T"}"#,
    r#"{"topic":"T"}"#,
    r#"{}"#,
    r#"{"command":"query_topic","topic":"T"}"#,
    r#"{"command":"register_peer","host":"127.0.0.1"}"#,
    r#"{"command":"register_peer","host":"","port":1}"#,
    r#"{"command":"unregister_peer","host":"127.0.0.1","port":70000}"#,
    r#"{"command":"unregister_peer","host":"127.0.0.1","port":7}"#,
    r#"{"command":"auth","token":"wrong"}"#,
];

fn command(topic: &str, dice: &mut Dice) -> String {
    let between = dice.of(&["", "\n", "\r\n", " "]);
    dice.of(&COMMANDS).replace("\"T\"", &format!("\"{topic}\"")) + between
}

/// Commands one after another, each of which is answered.
pub(crate) fn commands(script: &mut Script, dice: &mut Dice) {
    let topic = script.topic("a");
    let mut session = if dice.once_in(8) { String::new() } else { AUTH.to_owned() };
    for _ in 0..2 + dice.below(12) {
        session += &command(&topic, dice);
    }
    script.send_cut(0, session.as_bytes(), dice.below(session.len()));
    script.end(0);
}

/// A lasting subscription over several connections, and what happens to its topic.
pub(crate) fn lasting(script: &mut Script, dice: &mut Dice) {
    let topic = script.topic("a");
    let with = |command: &str, rest: &str| {
        format!("{{\"command\":\"{command}\",\"topic\":\"{topic}\"{rest}}}\n")
    };
    let named = r#","subscriber":"anna""#;
    let three = with("publish", r#","messages":["one","two","three"]"#);
    script.say(0, format!("{AUTH}{}{three}", with("create_topic", "")));
    let from = dice.of(&["", r#","from":0"#, r#","from":2"#]);
    script.send(1, format!("{AUTH}{}", with("subscribe", &format!("{named}{from}"))));
    script.until(1, "Subscribed", 1);
    script.say(2, format!("{AUTH}{}", with("publish", r#","message":"four""#)));
    script.until(1, "\"four\"", 1);
    let offset = dice.below(6);
    script.send(1, with("ack", &format!("{named},\"offset\":{offset}")));
    script.until(1, "\"status\":", 3);
    script.leave(1);
    if dice.once_in(3) {
        let word = dice.of(&["unsubscribe", "delete_topic"]);
        script.say(3, format!("{AUTH}{}", with(word, named)));
        return;
    }
    script.send(4, format!("{AUTH}{}", with("subscribe", named)));
    script.until(4, "Subscribed", 1);
    script.say(5, format!("{AUTH}{}", with("publish", r#","message":"five""#)));
    script.until(4, "\"five\"", 1);
    if dice.once_in(2) {
        script.say(6, format!("{AUTH}{}", with("delete_topic", "")));
        script.until(4, "\"deleted\"", 1);
    }
    script.leave(4);
}
