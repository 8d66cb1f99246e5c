//! Who may connect, and how each door gets the token. The rows for HTTP are in `http_cases`.

use std::thread;
use std::time::{Duration, Instant};
use tests::raw::{Answer, Raw, request};
use tests::wait::{DEADLINE, wait_until};
use tests::{Folder, Process, System, program, publish_body};

const TOKEN: &str = "a-secret";

/// A broker that asks for [`TOKEN`].
fn guarded(folder: &Folder) -> System {
    folder.write("token.txt", TOKEN);
    let path = folder.path().join("token.txt");
    System::start_with(&["--token-file", path.to_str().unwrap()])
}

/// Asks for the topic `t` with the token.
fn messages(system: &System) -> String {
    let mut raw = Raw::connect(&system.address());
    raw.send(format!(
        "GET /messages?topic=t HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    ));
    let answer = raw.answer();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.text().to_owned()
}

#[test]
fn a_json_session_shows_the_token_first() {
    let folder = Folder::temporary("token");
    let system = guarded(&folder);
    let mut raw = Raw::connect(&system.address());
    raw.send(r#"{"command":"publish","topic":"t","message":"too early"}"#);
    let refusal = raw.line();
    assert!(refusal.starts_with(r#"{"status":"error","message":"#), "{refusal}");
    assert!(refusal.contains(r#"send {\"command\":\"auth\""#), "it says how: {refusal}");
    raw.send(r#"{"command":"auth","token":"a guess"}"#);
    let wrong = refusal.replace("this broker asks for a token", "this token is wrong");
    assert_eq!(raw.line(), wrong);
    raw.send(
        r#"{"command":"auth","token":"a-secret"}{"command":"publish","topic":"t","message":"x"}"#,
    );
    assert_eq!(raw.line(), r#"{"status":"success","message":"Authenticated"}"#);
    assert!(raw.line().contains("Message published"));
    assert_eq!(messages(&system), "x\n");
}

#[test]
fn a_session_in_the_dialect_of_channels_is_answered_in_it() {
    let folder = Folder::temporary("token");
    let system = guarded(&folder);
    let mut raw = Raw::connect(&system.address());
    raw.send(r#"{"command":"SUBSCRIBE","args":{"channel":"t"}}"#);
    let refusal = raw.line();
    assert!(refusal.starts_with(r#"{"type":"ERROR","error":"#), "{refusal}");
    raw.send(r#"{"command":"AUTH","args":{"token":"a-secret"}}"#);
    assert_eq!(raw.line(), r#"{"type":"AUTH","message":"Authenticated"}"#);
    raw.send(r#"{"command":"SUBSCRIBE","args":{"channel":"t"}}"#);
    assert_eq!(raw.line(), r#"{"type":"SUBSCRIBE","channel":"t","count":1}"#);
}

#[test]
fn a_text_session_shows_the_token_first() {
    let folder = Folder::temporary("token");
    let system = guarded(&folder);
    let mut raw = Raw::connect(&system.address());
    raw.send("PUBLISH t early id\nAUTH guess\nnonsense\nAUTH\n");
    for what in ["broker asks for a token", "token is wrong", "broker asks", "token is wrong"] {
        let refusal = raw.line();
        assert!(refusal.starts_with(&format!("ERROR this {what}")), "{refusal}");
        assert!(refusal.ends_with(": send AUTH <token> first"), "{refusal}");
    }
    raw.send("AUTH a-secret\nSUBSCRIBE t id\nPUBLISH t x id\n");
    assert!(raw.line().starts_with("DELIVER t x id "));
    assert_eq!(messages(&system), "x\n");
}

/// A guess costs time, and a connection has eight of them.
#[test]
fn wrong_tokens_over_http_are_counted_and_slowed() {
    let folder = Folder::temporary("token");
    let system = guarded(&folder);
    let begun = Instant::now();
    let mut raw = Raw::connect(&system.address());
    let guess = "GET /topics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer guess\r\n\r\n";
    raw.send(guess.repeat(20));
    for _ in 0..8 {
        assert_eq!(raw.answer().status, 401);
    }
    raw.end();
    assert!(begun.elapsed() > Duration::from_secs(2), "{:?}", begun.elapsed());
    // Who sends none at all does not guess: a page that asks for the token first.
    let mut raw = Raw::connect(&system.address());
    for _ in 0..20 {
        raw.send("GET /topics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(raw.answer().status, 401);
    }
    assert_eq!(messages(&system), "");
}

/// Nor does it help to guess on many connections at once, through whatever door. Whoever is in
/// already does not notice.
#[test]
fn wrong_tokens_are_counted_over_all_connections_of_an_address() {
    let folder = Folder::temporary("token");
    let system = guarded(&folder);
    let ask = |token: &str| {
        format!("GET /topics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n")
    };
    let mut good = Raw::connect(&system.address());
    good.send(ask("a-secret"));
    assert_eq!(good.answer().status, 200);

    let begun = Instant::now();
    let guess = |number: usize| {
        let mut raw = Raw::connect(&system.address());
        if number.is_multiple_of(2) {
            raw.send(ask(&format!("guess{number}")));
            let answer = raw.answer();
            assert!([401, 429].contains(&answer.status), "{answer:?}");
            assert!(answer.status == 401 || answer.field("retry-after") == Some("1"));
            return answer.status == 401;
        }
        raw.send(format!("AUTH guess{number}\n"));
        let line = raw.line();
        assert!(line.contains("AUTH <token>") || line.contains("too many"), "{line}");
        line.contains("AUTH <token>")
    };
    let looked_at = thread::scope(|scope| {
        let guessing: Vec<_> = (0..20)
            .map(|n| scope.spawn(move || (0..10).filter(|it| guess(n + it)).count()))
            .collect();
        guessing.into_iter().map(|it| it.join().unwrap()).sum::<usize>()
    });
    // Forty at once, and five a second.
    let most = 41 + usize::try_from(begun.elapsed().as_millis() / 200).unwrap();
    assert!((40..=most).contains(&looked_at), "{looked_at} of 200 in {:?}", begun.elapsed());

    good.send(ask("a-secret"));
    assert_eq!(good.answer().status, 200);
    wait_until(DEADLINE, "the address to be heard again", || {
        let mut raw = Raw::connect(&system.address());
        raw.send(ask("a-secret"));
        raw.answer().status == 200
    });
}

#[test]
fn a_session_that_keeps_guessing_is_closed_and_nothing_behind_it_is_done() {
    let folder = Folder::temporary("token");
    let system = guarded(&folder);
    let json = r#"{"command":"auth","token":"a guess"}"#;
    let json_end =
        r#"{"command":"auth","token":"a-secret"}{"command":"publish","topic":"t","message":"x"}"#;
    for (guess, end) in [(json, json_end), ("AUTH guess\n", "AUTH a-secret\nPUBLISH t x id\n")] {
        let mut raw = Raw::connect(&system.address());
        raw.send(format!("{}{end}", guess.repeat(8)));
        for _ in 0..8 {
            assert!(raw.line().contains("token"));
        }
        raw.end();
    }
    assert_eq!(messages(&system), "");
}

#[test]
fn where_no_token_is_asked_for_one_may_be_shown() {
    let system = System::start();
    let mut json = Raw::connect(&system.address());
    json.send(r#"{"command":"auth","token":"any"}"#);
    assert_eq!(json.line(), r#"{"status":"success","message":"Authenticated"}"#);
    let mut text = Raw::connect(&system.address());
    text.send("AUTH any\nSUBSCRIBE t id\nPUBLISH t x id\n");
    assert!(text.line().starts_with("DELIVER t x id "));
    let mut raw = Raw::connect(&system.address());
    raw.send("GET /topics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer any\r\n\r\n");
    assert_eq!(raw.answer().status, 200);
}

/// Its clients can do nothing about it, so it is no refusal of them; whoever runs it can.
#[test]
fn a_leaf_without_the_token_of_its_upstream_says_what_it_lacks() {
    let folder = Folder::temporary("token");
    let hub = guarded(&folder);
    let address = hub.address();
    for token in [None, Some("a-guess")] {
        let mut command = program::command("broker");
        command.args(["--port", "0", "--upstream", &address]);
        if let Some(token) = token {
            command.env("BROKER_TOKEN", token);
        }
        let mut leaf = Process::start("broker", command, &Folder::temporary("leaf"));
        let line = leaf.first_line();
        let own = line.split_once("http://").unwrap().1.split(' ').next().unwrap();
        let mut raw = Raw::connect(own);
        if let Some(token) = token {
            raw.send(format!("{{\"command\":\"auth\",\"token\":\"{token}\"}}"));
            raw.line();
        }
        raw.send(r#"{"command":"publish","topic":"t","message":"x"}"#);
        let answer = raw.line();
        assert!(answer.contains("\"code\":503"), "{answer}");
        assert!(answer.contains(&address) && answer.contains("BROKER_TOKEN"), "{answer}");
        assert!(!answer.contains("a-guess"), "{answer}");
    }
}

/// Runs a broker that is expected to end at once.
/// Runs a broker that cannot start. Gives its exit status, and what it says.
fn run_broker(arguments: &[&str], token: Option<&str>) -> (Option<i32>, String) {
    let mut command = program::command("broker");
    command.args(["--port", "0"]).args(arguments);
    if let Some(token) = token {
        command.env("BROKER_TOKEN", token);
    }
    let mut broker = Process::start("broker", command, &Folder::temporary("broker"));
    let status = broker.wait();
    (status.code(), broker.errors())
}

#[test]
fn a_token_that_cannot_be_had_keeps_the_broker_from_starting() {
    let folder = Folder::temporary("token");
    folder.write("empty.txt", " \n");
    folder.write("wrong.txt", "a token with spaces\tread\nanother\treed\n");
    let path = |file| folder.path().join(file).to_str().unwrap().to_owned();
    for (file, word) in
        [("none.txt", "No such file"), ("empty.txt", "no token"), ("wrong.txt", "line 2")]
    {
        let (status, errors) = run_broker(&["--token-file", &path(file)], None);
        assert_eq!(status, Some(1), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.contains(file) && errors.contains(word), "{errors}");
    }
    for (token, word) in [("", "no token"), ("a-secret\ttwo", "not printable")] {
        let (status, errors) = run_broker(&[], Some(token));
        assert_eq!(status, Some(2), "{errors}");
        assert!(errors.contains("BROKER_TOKEN") && errors.contains(word), "{errors}");
        assert!(!errors.contains(TOKEN), "never shown: {errors}");
    }
}

#[test]
fn what_is_no_origin_is_wrong_usage() {
    for origin in ["null", "example.net", "https://example.net/", "://"] {
        let (status, errors) = run_broker(&["--allow-origin", origin], None);
        assert_eq!(status, Some(2), "{errors}");
        assert!(errors.contains("scheme://host"), "{errors}");
    }
}

#[test]
fn the_first_line_says_who_can_reach_the_broker_and_whether_a_token_is_asked_for() {
    for (arguments, token, phrase) in [
        (&[][..], None, "for programs on this machine only,"),
        (&[], Some(TOKEN), "for programs on this machine only that send the token,"),
        (
            &["--host", "0.0.0.0"],
            None,
            "for everybody who can reach this machine, without a token,",
        ),
        (
            &["--host", "0.0.0.0"],
            Some(TOKEN),
            "for everybody who can reach this machine and sends the token,",
        ),
    ] {
        let mut command = program::command("broker");
        command.args(["--port", "0"]).args(arguments);
        if let Some(token) = token {
            command.env("BROKER_TOKEN", token);
        }
        let mut broker = Process::start("broker", command, &Folder::temporary("broker"));
        let line = broker.first_line();
        assert!(line.contains(phrase), "{line}");
        assert!(!line.contains(TOKEN), "{line}");
    }
}

/// Sends a request as a page of an origin would.
fn as_page(system: &System, origin: &str, method: &str, target: &str, lines: &str) -> Answer {
    let mut raw = Raw::connect(&system.address());
    let bytes = String::from_utf8(request(method, target, "")).unwrap();
    let own = format!("Host: localhost\r\nOrigin: {origin}\r\n{lines}");
    raw.send(bytes.replace("Host: localhost\r\n", &own));
    raw.answer()
}

const PREFLIGHT: &str = "Access-Control-Request-Method: POST\r\n";

#[test]
fn a_page_of_an_allowed_origin_is_told_what_it_may_send_and_read() {
    let system = System::start_with(&[
        "--allow-origin",
        "https://app.example.net",
        "--allow-origin=http://localhost:3000",
    ]);
    for origin in ["https://app.example.net", "http://localhost:3000"] {
        let answer = as_page(&system, origin, "OPTIONS", "/publish", PREFLIGHT);
        assert_eq!(answer.status, 204);
        for (name, value) in [
            ("access-control-allow-origin", origin),
            ("access-control-allow-methods", "POST, OPTIONS"),
            (
                "access-control-allow-headers",
                "Authorization, Cache-Control, Content-Type, Last-Event-ID",
            ),
            ("access-control-max-age", "7200"),
            ("vary", "Origin"),
        ] {
            assert_eq!(answer.field(name), Some(value), "{answer:?}");
        }
        for (target, status) in
            [("/messages?topic=t", 200), ("/messages", 400), ("/nothing", 404), ("/livez", 200)]
        {
            let answer = as_page(&system, origin, "GET", target, "");
            assert_eq!(answer.status, status);
            assert_eq!(answer.field("access-control-allow-origin"), Some(origin));
            assert_eq!(answer.field("vary"), Some("Origin"));
            let exposed = answer.field("access-control-expose-headers").unwrap();
            assert!(exposed.contains("Stream-Next-Offset, Stream-Id"), "{exposed}");
        }
    }
    for origin in ["https://example.net", "null"] {
        let answer = as_page(&system, origin, "GET", "/livez", "");
        assert_eq!(answer.status, 403);
        assert_eq!(answer.field("access-control-allow-origin"), None);
        assert_eq!(answer.field("vary"), Some("Origin"));
    }
    // Whoever sends no origin is told the same to as far as a cache can see.
    assert_eq!(system.get("/livez").field("vary"), Some("Origin"));
}

/// A publish in the middle of others keeps its own answer's fields.
#[test]
fn pipelined_publishes_of_several_origins_are_answered_each_as_its_own() {
    let system =
        System::start_with(&["--allow-origin", "http://a.net", "--allow-origin=http://b.net"]);
    let plain = String::from_utf8(request("POST", "/publish", publish_body("t", "x"))).unwrap();
    let page = |origin| plain.replace("Host:", &format!("Origin: {origin}\r\nHost:"));
    let mut raw = Raw::connect(&system.address());
    raw.send(
        [&plain, &page("http://a.net"), &plain, &page("http://b.net"), &plain]
            .map(String::as_str)
            .concat(),
    );
    for origin in [None, Some("http://a.net"), None, Some("http://b.net"), None] {
        let answer = raw.answer();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("access-control-allow-origin"), origin);
    }
    assert_eq!(system.messages("t").len(), 5);
}

#[test]
fn all_origins_may_be_allowed() {
    let system = System::start_with(&["--allow-origin", "*"]);
    for origin in ["https://example.net", "null"] {
        let answer = as_page(&system, origin, "GET", "/messages?topic=t", "");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.field("vary"), None);
    }
}

/// A page has to ask before it may show the token, and can read that it was wrong.
#[test]
fn a_page_can_show_the_token() {
    let folder = Folder::temporary("token");
    folder.write("token.txt", TOKEN);
    let path = folder.path().join("token.txt");
    let origin = "https://app.example.net";
    let system =
        System::start_with(&["--token-file", path.to_str().unwrap(), "--allow-origin", origin]);
    assert_eq!(as_page(&system, origin, "OPTIONS", "/publish", PREFLIGHT).status, 204);
    let refused = as_page(&system, origin, "GET", "/topics", "");
    assert_eq!(refused.status, 401);
    assert_eq!(refused.field("access-control-allow-origin"), Some(origin));
    let authorization = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(as_page(&system, origin, "GET", "/topics", &authorization).status, 200);
}

/// Each wrong token uses up some of what an address may guess.
#[test]
fn a_program_shows_a_wrong_token_once() {
    let folder = Folder::temporary("token");
    folder.write("token.txt", TOKEN);
    let path = folder.path().join("token.txt");
    let mut system =
        System::start_with(&["--token-file", path.to_str().unwrap(), "--log", "log.txt"]);
    let address = system.address();
    let start = ["--from=0", "--last=1", "--count=1"].map(|start| vec!["--topic=t", start]);
    let subscribers = start.into_iter().map(|arguments| ("subscriber", arguments));
    let verbs = [("publisher", vec!["--topic=t", "a"]), ("broker", vec!["topics"])];
    for (count, (name, arguments)) in subscribers.chain(verbs).enumerate() {
        let mut command = program::command(name);
        command.args(&arguments).args(["--broker", &address]).env("BROKER_TOKEN", "guess");
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name} {arguments:?}: {output:?}");
        let mut refused = || {
            let log = system.broker().folder().read("log.txt");
            String::from_utf8(log).unwrap().matches("refused=401").count()
        };
        wait_until(DEADLINE, "the log", || refused() > count);
        assert_eq!(refused(), count + 1, "{name} {arguments:?}");
    }
}
