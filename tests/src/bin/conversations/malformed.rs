//! Conversations of bytes that their door does not accept.

use crate::dice::Dice;
use crate::http::{TOKEN_FIELD, with_field};
use crate::script::Script;
use tests::raw::request;

/// Heads that are wrong, or nearly.
const HEADS: [&str; 40] = [
    "GET /livez HTTP/1.1\r\n\r\n",
    "GET /livez HTTP/1.0\r\n\r\n",
    "GET /livez HTTP/2.0\r\nHost: localhost\r\n\r\n",
    "GET /livez HTTP/1.2\r\nHost: localhost\r\n\r\n",
    "GET /livez HTTX/1.1\r\nHost: localhost\r\n\r\n",
    "GET /livez\r\n\r\n",
    "GET  /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /li vez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "get /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "G\u{e9}T /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET http://localhost/livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET http://example.org/livez HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "GET /livez#part HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost: a b\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost:\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost: 127.0.0.1:99999\r\n\r\n",
    "GET /livez HTTP/1.1\nHost: localhost\n\n",
    "GET /livez HTTP/1.1\r\nHost: localhost\r\n folded: 1\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost: localhost\r\nNo colon\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: \u{1}\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost: localhost\r\nOrigin: http://example.org\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n\r\n",
    "OPTIONS /publish HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\r\n",
    "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1x\r\n\r\n",
    "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2, 2\r\n\r\n{}",
    "POST /publish HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
    "POST /publish HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\nGET /livez HTTP/1.1\r\n\r\n",
    "GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "\r\n\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

/// Requests with heads that are wrong, too long, or changed at random.
pub(crate) fn http(script: &mut Script, dice: &mut Dice) {
    let head = dice.of(&HEADS).as_bytes();
    let target = format!("/topics/{}", script.topic("a"));
    let post = with_field(&request("POST", &target, "one\ntwo\n"), TOKEN_FIELD);
    let bytes = match dice.below(8) {
        0..=3 => head.to_vec(),
        4 => with_field(head, &format!("X: {}\r\n", "x".repeat(1 << (10 + dice.below(7))))),
        5 => with_field(head, &"X: y\r\n".repeat(90 + dice.below(20))),
        6 => format!(
            "GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "p".repeat(16_300 + dice.below(200))
        )
        .into_bytes(),
        _ => changed(&post, dice),
    };
    script.send_line_cut(0, &bytes, dice);
    script.say(0, request("GET", "/livez", ""));
}

/// Sessions of the JSON and the text door with something wrong in them.
pub(crate) fn sessions(script: &mut Script, dice: &mut Dice) {
    let topic = script.topic("a");
    let objects = [
        format!(
            r#"{{"command":"auth","token":"open-sesame"}}{{"command":"publish","topic":"{topic}","message":"a"}}"#
        ),
        format!(r#"{{"command":"PUBLISH","args":{{"channel":"{topic}","message":"a"}}}}"#),
        format!(r#"{{"command":"pull","topic":"{topic}","from":0,"limit":3}}"#),
        r#"{"command":"list_peers"}{"command":["#.to_owned(),
        format!("{{\"a\":{}", "[".repeat(60 + dice.below(10))),
        "{\"a\":1e999,\"b\":\"\\ud800\"}".to_owned(),
        format!("AUTH open-sesame\nPUBLISH {topic} some words ann\nPUBLISH {topic} ann\n"),
        format!("PUBLISH {topic}  ann\r\nPUBLISH  {topic}\n\nUNSUBSCRIBE {topic} nobody\nBYE\n"),
        format!("  \n\tPUBLISH {topic} x y\nSUBSCRIBE\nSUBSCRIBE a b c\nUNSUBSCRIBE a"),
    ];
    let object = objects.get(dice.below(objects.len())).map(String::as_bytes).unwrap_or_default();
    let bytes = match dice.below(3) {
        0 => object.to_vec(),
        1 => changed(object, dice),
        _ => [object, &changed(object, dice)].concat(),
    };
    script.send_cut(0, &bytes, dice.below(bytes.len()));
    script.end(0);
    script
        .say(1, with_field(&request("GET", &format!("/messages?topic={topic}"), ""), TOKEN_FIELD));
}

/// The same bytes with a few of them changed, lost or doubled. No change makes a request wait.
fn changed(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len());
        let odd =
            [0, b' ', b'\r', b'\n', b'"', b'{', b'}', b',', b':', b'/', 0x7f, 0x80, 0xff, b'9'];
        match dice.below(4) {
            0 if bytes.len() > 1 => drop(bytes.remove(at)),
            1 => bytes.insert(at, odd.get(dice.below(odd.len())).copied().unwrap_or_default()),
            2 => bytes.truncate(at.max(1)),
            _ => {
                let new = odd.get(dice.below(odd.len())).copied().unwrap_or_default();
                bytes.splice(at..=at, [new]);
            }
        }
    }
    bytes
}
