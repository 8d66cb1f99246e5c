//! Conversations over HTTP: all routes, and what they refuse.

use crate::dice::Dice;
use crate::script::{STREAM, Script};
use common::http::percent;
use tests::raw::request;

/// Messages of all kinds that a topic takes, as JSON strings without their quotes.
const MESSAGES: [&str; 10] = [
    "hello",
    "",
    " two  words ",
    "h\u{e9} \u{1f600} \u{2028}",
    "\\u0041\\ud83d\\ude00",
    "tab\\tand\\u0001",
    "quote \\\" and \\\\ and \\/",
    "{\\\"a\\\":[1,2]}",
    "DELIVER a b c",
    "0123456789012345678901234567890123456789012345678901234567890123456789",
];

/// Parts of a publish's body that are wrong, or not used.
const ODD_MEMBERS: [&str; 22] = [
    r#","message":7"#,
    r#","message":null"#,
    r#","messages":[]"#,
    r#","messages":["a",7]"#,
    r#","messages":"a""#,
    r#","messages":["a","b\n"]"#,
    r#","message":"line\nbreak""#,
    r#","message":"nul\u0000""#,
    r#","message":"return\r""#,
    r#","message":"a","message":"b""#,
    r#","message":"a","messages":["b"]"#,
    r#","message":"a","publisher":7"#,
    r#","message":"a","publisher":"""#,
    r#","message":"a","publisher":"p","epoch":0"#,
    r#","message":"a","publisher":"p","sequence":0"#,
    r#","message":"a","epoch":0,"sequence":0"#,
    r#","message":"a","publisher":"p","epoch":-1,"sequence":0"#,
    r#","message":"a","publisher":"p","epoch":0.5,"sequence":0"#,
    r#","message":"a","publisher":"p","epoch":"0","sequence":0"#,
    r#","message":"a","unknown":{"deep":[[[]]]}"#,
    r#","message":"\ud800""#,
    r#","message":"a"#,
];

/// The end of a query of `GET /messages`.
const QUERIES: [&str; 26] = [
    "",
    "&from=0",
    "&from=1",
    "&from=2&limit=1",
    "&from=99",
    "&from=-1",
    "&from=",
    "&from=1x",
    "&from=18446744073709551616",
    "&limit=0",
    "&limit=2",
    "&limit=a",
    "&wait=0",
    "&wait=1.5",
    "&stream=@STREAM@",
    "&from=1&stream=@STREAM@",
    "&from=0&stream=0000000000000000",
    "&from=1&stream=00000000000000ff",
    "&stream=7",
    "&digest=00000000",
    "&from=0&digest=00000000",
    "&from=1&digest=deadbeef",
    "&from=1&digest=xyz",
    "&from=0&from=0",
    "&other=1",
    "&from=%30",
];

pub(crate) const TOKEN_FIELD: &str = "Authorization: Bearer open-sesame\r\n";

/// A topic's name, now and then one that is odd in a URL.
fn topic(script: &Script, dice: &mut Dice) -> String {
    let name = dice.of(&["a", "a", "a", "b", "a/b", "..", "a b", "\u{e9}\u{1f600}", "a?&=#%", "*"]);
    script.topic(name)
}

/// A request, most times with the token that a set-up may ask for.
fn ask(dice: &mut Dice, method: &str, target: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let field = match dice.below(16) {
        0 => "",
        1 => "Authorization: Bearer wrong\r\n",
        _ => TOKEN_FIELD,
    };
    with_field(&request(method, target, body), field)
}

/// The same request with one more line in its head.
pub(crate) fn with_field(request: &[u8], field: &str) -> Vec<u8> {
    let at = request.windows(2).position(|bytes| bytes == b"\r\n").map_or(0, |at| at + 2);
    let (line, rest) = request.split_at(at);
    [line, field.as_bytes(), rest].concat()
}

/// A publish that is right, with a number now and then.
fn publish(script: &Script, dice: &mut Dice) -> Vec<u8> {
    let topic = topic(script, dice).replace('"', "\\\"");
    let one = |dice: &mut Dice| format!("\"{}\"", dice.of(&MESSAGES));
    let messages = match dice.below(4) {
        0 => {
            let several: Vec<_> = (0..=dice.below(4)).map(|_| one(dice)).collect();
            format!("\"messages\":[{}]", several.join(", "))
        }
        _ => format!("\"message\":{}", one(dice)),
    };
    let number = match dice.below(8) {
        0 => r#","publisher":"ann""#.to_owned(),
        1..=3 => {
            let (epoch, sequence) = (dice.below(3), dice.below(4));
            format!(r#","publisher":"bob","epoch":{epoch},"sequence":{sequence}"#)
        }
        _ => String::new(),
    };
    let body = format!("{{\"topic\":\"{topic}\",{messages}{number}}}");
    ask(dice, "POST", "/publish", body)
}

/// A publish in which something is wrong.
fn odd_publish(script: &Script, dice: &mut Dice) -> Vec<u8> {
    let topic = script.topic("a");
    let body = match dice.below(12) {
        0 => dice
            .of(&["", "{", "[]", "7", "null", "{} {}", "\u{feff}{}", "{\"topic\":\"\"}"])
            .to_owned(),
        1 => r#"{"message":"a"}"#.to_owned(),
        2 => format!(
            r#"{{"topic":"{}","message":"a"}}"#,
            dice.of(&["", "\\n", "\\u007f", "\\u0000"])
        ),
        3 => format!(r#"{{"topic":"{}","message":"a"}}"#, "t".repeat(250 + dice.below(10))),
        4 => format!(r#"{{"topic":7{}}}"#, dice.of(&ODD_MEMBERS)),
        5 => format!(r#"{{"topic":"{topic}"}}"#),
        _ => format!(r#"{{"topic":"{topic}"{}}}"#, dice.of(&ODD_MEMBERS)),
    };
    ask(dice, "POST", "/publish", body)
}

fn read(script: &Script, dice: &mut Dice) -> Vec<u8> {
    let target = match dice.below(12) {
        0 => "/messages".to_owned(),
        1 => "/messages?topic=".to_owned(),
        2 => "/messages?topic=%0a&topic=%ff".to_owned(),
        _ => {
            let topic = topic(script, dice);
            format!("/messages?topic={}{}", percent::encode(&topic), dice.of(&QUERIES))
        }
    };
    let method = if dice.once_in(8) { "HEAD" } else { "GET" };
    ask(dice, method, &target, "")
}

fn resource(script: &Script, dice: &mut Dice) -> Vec<u8> {
    let topic = topic(script, dice);
    let target = format!("/topics/{}", percent::encode(&topic));
    match dice.below(14) {
        0..=2 => ask(dice, "GET", &target, ""),
        3..=4 => ask(dice, "PUT", &target, ""),
        5..=6 => ask(dice, "DELETE", &target, ""),
        7 => ask(dice, "HEAD", &target, ""),
        8 => ask(dice, "OPTIONS", &target, ""),
        9 => ask(dice, "PATCH", &target, "a"),
        10..=12 => {
            let lines = dice.of(&[
                "a",
                "a\n",
                "a\nb\nc\n",
                "a\r\nb\r\n",
                "",
                "\n",
                "a\n\nb",
                "a\rb\nc",
                "a\0",
            ]);
            ask(dice, "POST", &target, lines)
        }
        _ => ask(dice, "POST", &target, [b'a', b'\n', 0xff, b'\n']),
    }
}

fn other(dice: &mut Dice) -> Vec<u8> {
    let target = dice.of(&[
        "/livez",
        "/readyz",
        "/metrics",
        "/nothing",
        "/publish",
        "/messages/",
        "/topics/",
        "//",
        "*",
        "/publish?x=1",
        "/PUBLISH",
        "/%70ublish",
        "/events",
    ]);
    let method =
        dice.of(&["GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "TRACE", "FOO"]);
    ask(dice, method, target, "")
}

fn any(script: &Script, dice: &mut Dice) -> Vec<u8> {
    match dice.below(10) {
        0..=3 => publish(script, dice),
        4 => odd_publish(script, dice),
        5..=6 => read(script, dice),
        7..=8 => resource(script, dice),
        _ => other(dice),
    }
}

/// Creates the topic, which only a broker among peers needs; mostly.
fn create(script: &mut Script, dice: &mut Dice) {
    if !dice.once_in(6) {
        let target = format!("/topics/{}", script.topic("a"));
        script.say(9, with_field(&request("PUT", &target, ""), TOKEN_FIELD));
    }
}

/// Publishes one after another, right ones and wrong ones, and what is there then.
pub(crate) fn publishes(script: &mut Script, dice: &mut Dice) {
    create(script, dice);
    for _ in 0..=dice.below(5) {
        let bytes = if dice.once_in(3) { odd_publish(script, dice) } else { publish(script, dice) };
        script.send_line_cut(0, &bytes, dice);
    }
    script.end(0);
    script.say(1, read(script, dice));
}

/// Publishes, and then many ways to read it.
pub(crate) fn reads(script: &mut Script, dice: &mut Dice) {
    create(script, dice);
    for _ in 0..=dice.below(3) {
        script.send(0, publish(script, dice));
    }
    let target = format!("/topics/{}", script.topic("a"));
    script.send(0, ask(dice, "POST", &target, "one\ntwo\nthree\n"));
    script.end(0);
    for connection in 1..=3 {
        script.say(connection, read(script, dice));
    }
}

/// Topics as resources.
pub(crate) fn topics(script: &mut Script, dice: &mut Dice) {
    for _ in 0..=dice.below(6) {
        script.send(0, resource(script, dice));
    }
    if dice.once_in(30) {
        script.send(0, ask(dice, "GET", "/topics", ""));
    }
    script.end(0);
}

/// Event streams, from several places, with messages that come meanwhile.
pub(crate) fn events(script: &mut Script, dice: &mut Dice) {
    let target = format!("/topics/{}", script.topic("a"));
    script.say(9, with_field(&request("PUT", &target, ""), TOKEN_FIELD));
    let topic = percent::encode(&script.topic("a"));
    let lines = |number: usize| format!("before {number}\nlast before {number}\n");
    let publish =
        |text: String| with_field(&request("POST", &format!("/topics/{topic}"), text), TOKEN_FIELD);
    script.say(0, publish(lines(0)));
    let query = dice.of(&[
        "",
        "&from=0",
        "&from=1",
        "&from=2",
        "&from=9",
        "&from=x",
        "&topic=",
        "&from=0&from=1",
    ]);
    let last = match dice.below(6) {
        0 => "Last-Event-ID: 1@@STREAM@\r\n".replace("@@STREAM@", &format!("@{STREAM}")),
        1 => "Last-Event-ID: 0@00000000000000aa\r\n".to_owned(),
        2 => "Last-Event-ID: nonsense\r\n".to_owned(),
        3 => "Last-Event-ID: \r\n".to_owned(),
        _ => String::new(),
    };
    let target = format!("/events?topic={topic}{query}");
    let get = with_field(&request("GET", &target, ""), &(TOKEN_FIELD.to_owned() + &last));
    script.send(1, get);
    script.until(1, "\r\n\r\n", 1);
    script.say(2, publish("live\nlast of all\n".to_owned()));
    let is_first = last.is_empty() || last == "Last-Event-ID: \r\n";
    let is_wrong = ["&from=x", "&topic=", "&from=0&from=1"].contains(&query);
    if last.contains("nonsense") || is_wrong || query == "&from=9" && is_first {
        script.end(1);
    } else {
        script.until(1, "last of all", 1);
        script.until(1, "\n\n", 2);
        script.leave(1);
    }
}

/// Long polls, which a publish on another connection ends.
pub(crate) fn waits(script: &mut Script, dice: &mut Dice) {
    let target = format!("/topics/{}", script.topic("a"));
    script.say(9, with_field(&request("PUT", &target, ""), TOKEN_FIELD));
    let topic = percent::encode(&script.topic("a"));
    let publish =
        |text: &str| with_field(&request("POST", &format!("/topics/{topic}"), text), TOKEN_FIELD);
    script.say(0, publish("zero"));
    let (wait, text) = if dice.once_in(20) { (1, "") } else { (60, "one") };
    let target = format!("/messages?topic={topic}&from=1&wait={wait}");
    let method = if dice.once_in(6) { "HEAD" } else { "GET" };
    script.send(1, with_field(&request(method, &target, ""), TOKEN_FIELD));
    if !text.is_empty() {
        script.say(2, publish(text));
    }
    script.until(1, "\r\n\r\n", 1);
    script.end(1);
}

/// Many requests in one write.
pub(crate) fn pipelined(script: &mut Script, dice: &mut Dice) {
    let mut bytes = Vec::new();
    for _ in 0..2 + dice.below(12) {
        bytes.extend(any(script, dice));
    }
    if dice.once_in(4) {
        let last = any(script, dice);
        bytes.extend(with_field(&last, "Connection: close\r\n"));
        bytes.extend(any(script, dice));
    }
    script.send_line_cut(0, &bytes, dice);
    script.end(0);
}

/// Bodies that come in chunks, after a word, or in a coding.
pub(crate) fn bodies(script: &mut Script, dice: &mut Dice) {
    let topic = script.topic("a");
    let body = format!(r#"{{"topic":"{topic}","message":"{}"}}"#, dice.of(&MESSAGES));
    let head = |fields: &str| {
        format!("POST /publish HTTP/1.1\r\nHost: localhost\r\n{TOKEN_FIELD}{fields}\r\n")
    };
    let chunks = |size: usize, end: &str| {
        let mut bytes = Vec::new();
        for piece in body.as_bytes().chunks(size) {
            bytes.extend(format!("{:x}\r\n", piece.len()).bytes().chain(piece.iter().copied()));
            bytes.extend(b"\r\n");
        }
        bytes.extend(end.bytes());
        bytes
    };
    let size = 1 + dice.below(40);
    let length = format!("Content-Length: {}\r\n", body.len());
    let coded = "Transfer-Encoding: chunked\r\n";
    let bytes = match dice.below(14) {
        0..=3 => [head(coded).into_bytes(), chunks(size, "0\r\n\r\n")].concat(),
        4 => [head(coded).into_bytes(), chunks(size, "0\r\nTrailer: x\r\n\r\n")].concat(),
        5 => [head(coded).into_bytes(), chunks(size, "0;ext=1\r\n\r\n")].concat(),
        6 => [head(coded).into_bytes(), chunks(size, "z\r\n\r\n")].concat(),
        7 => [head(coded).into_bytes(), chunks(size, "fffffffffffffffff\r\n")].concat(),
        8 => [head(coded).into_bytes(), chunks(size, "")].concat(),
        9 => [head(&format!("{coded}{length}")).into_bytes(), chunks(size, "0\r\n\r\n")].concat(),
        10 => [head("Transfer-Encoding: gzip\r\n").into_bytes(), body.into_bytes()].concat(),
        11 => {
            let field =
                format!("Content-Encoding: {}\r\n{length}", dice.of(&["gzip", "identity", "br"]));
            [head(&field).into_bytes(), body.into_bytes()].concat()
        }
        12 => {
            let field = format!("Expect: {}\r\n{length}", dice.of(&["100-continue", "42"]));
            script.send(0, head(&field));
            script.until(0, "\r\n\r\n", 1);
            body.into_bytes()
        }
        _ => [
            head(dice.of(&["Content-Length: 8388609\r\n", "Content-Length: 99\r\n"])).into_bytes(),
            body.into_bytes(),
        ]
        .concat(),
    };
    script.send_line_cut(0, &bytes, dice);
    script.end(0);
    script.say(1, read(script, dice));
}
