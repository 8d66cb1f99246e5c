//! G: paths, queries, bodies, browsers and tokens.

use super::{BODY, Case, close, get, keep, post, publish, run, run_with};
use tests::{Folder, System};

/// A request for a target.
fn target(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// A publish by a page of an origin.
fn from_page(origin: &str) -> Vec<u8> {
    publish(&format!("Origin: {origin}\r\n"), BODY)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        keep("G01", target("/messages?topic=%74"), 200),
        keep("G01", target("/messages?%74opic=t"), 200),
    ];
    for topic in ["%", "%7", "%zz", "%u0074", "t%", "%%74", "%+7"] {
        cases.push(keep("G02", target(&format!("/messages?topic={topic}")), 400));
        cases.push(keep("G02", target(&format!("/topics/{topic}")), 400));
    }
    for topic in ["%00", "%0d%0a", "t%0a", "%1f", "%7f", "%C2%85", "%C2%9F"] {
        cases.push(keep("G03", target(&format!("/messages?topic={topic}")), 400));
        cases.push(keep("G03", target(&format!("/topics/{topic}")), 400));
    }
    for topic in ["%c0%af", "%ff", "%ed%a0%80", "%f4%90%80%80", "%e2%82", "%80"] {
        cases.push(keep("G04", target(&format!("/messages?topic={topic}")), 400));
        cases.push(keep("G04", target(&format!("/topics/{topic}")), 400));
    }
    for query in ["", "?", "?topic", "?topic=", "?topic=t&topic=t", "?topic=t&topic=", "?Topic=t"] {
        cases.push(keep("G05", target(&format!("/messages{query}")), 400));
    }
    for path in [
        "/./messages",
        "//messages",
        "/messages/",
        "/%6dessages",
        "/x/../messages",
        "/Messages",
        "/messages;x",
        "/topics/",
        "/messages%3Ftopic=t",
    ] {
        cases.push(keep("G06", target(&format!("{path}?topic=t")), 404));
    }
    let bodies: &[&[u8]] = &[
        b"",
        b"x",
        br#"{"topic":"t","message":"x"} x"#,
        br#"{"topic":"t","message":"x"},"#,
        br#"{"topic":"t","message":"x"}{"#,
        b"\xef\xbb\xbf{\"topic\":\"t\",\"message\":\"x\"}",
        b"{\"topic\":\"t\",\"message\":\"\xff\"}",
        b"\xff\xfe{\0\"\0",
        b"{\"topic\":\"t\",\"message\":\"x\"}\0",
    ];
    cases.extend(bodies.iter().map(|body| keep("G07", publish("", body), 400)));
    for deep in ["[", "[[{\"a\":", "{\"a\":[", "[{},"] {
        cases.push(keep("G08", publish("", deep.repeat(100_000)), 400));
    }
    for body in [
        r#"{"topic":"t","message":"\ud800"}"#,
        r#"{"topic":"t","message":"\udc00\ud800"}"#,
        r#"{"topic":"t","message":"\ud800\u0041"}"#,
        r#"{"topic":"\ud800","message":"x"}"#,
    ] {
        cases.push(keep("G10", publish("", body), 400));
    }
    for body in [
        r#"{"topic":"t","topic":"t","message":"x"}"#,
        r#"{"topic":"t","message":"x","message":"y"}"#,
        r#"{"topic":"t","message":"x","publisher":"p","publisher":"p"}"#,
        r#"{"topic":"t","message":"x","\u0074opic":"t"}"#,
    ] {
        cases.push(keep("G11", publish("", body), 400));
    }
    let twice = r#"{"topic":"t","message":"x","other":1,"other":{"topic":1,"topic":2}}"#;
    cases.push(keep("G11", publish("", twice), 200).stores(&["x"]));
    let extra = r#"{"version":{"a":[null]},"topic":"t","message":"x","Message":"y"}"#;
    cases.push(keep("G12", publish("", extra), 200).stores(&["x"]));
    for body in [
        r#"{"topic":"t","message":null}"#,
        r#"{"topic":"t","message":1}"#,
        r#"{"topic":null,"message":"x"}"#,
        r#"{"topic":["t"],"message":"x"}"#,
        r#"{"topic":"t","messages":"x"}"#,
        r#"{"topic":"t","message":"x","publisher":null}"#,
        r#"{"topic":"t","message":"x","publisher":"p","epoch":"0","sequence":0}"#,
        r#""t""#,
        "null",
    ] {
        cases.push(keep("G12a", publish("", body), 400));
    }
    for message in [r"a\nb", r"\n", r"a\r", r"a\r\n", r"\u000a", r"a\u0000"] {
        let body = format!(r#"{{"topic":"t","message":"{message}"}}"#);
        cases.push(keep("G13", publish("", body), 400));
    }
    for kind in ["application/x-www-form-urlencoded", "text/plain; charset=latin1", "", "x"] {
        let request = publish(&format!("Content-Type: {kind}\r\n"), BODY);
        cases.push(keep("G14", request, 200).stores(&["x"]));
    }
    for origin in
        ["null", "http://example.net", "http://localhost:9999", "http://localhost.example.net", ""]
    {
        cases.push(keep("G15", from_page(origin), 403).without("access-control"));
    }
    let preflight = "OPTIONS /publish HTTP/1.1\r\nHost: localhost\r\nOrigin: http://example.net\r\n\
                     Access-Control-Request-Method: POST\r\n\r\n";
    let two_origins = "Origin: http://localhost\r\nOrigin: http://example.net\r\n";
    cases.extend([
        keep("G15", get("Origin: http://example.net\r\n"), 403),
        keep("G15", from_page("http://localhost"), 200).stores(&["x"]),
        // A proxy in front of the broker may have added TLS.
        keep("G15", from_page("https://localhost"), 200).stores(&["x"]),
        close("G15", publish(two_origins, BODY), 400),
        keep("G16", preflight, 403).without("access-control"),
    ]);
    cases
}

#[test]
fn requests_that_cannot_be_meant_are_refused_and_the_connection_stays() {
    run(&System::start(), &cases());
}

const TOKEN: &str = "a-secret";

/// Rows for a broker that asks for [`TOKEN`].
pub(super) fn cases_with_a_token() -> Vec<Case> {
    let with = |value: &str| publish(&format!("Authorization: {value}\r\n"), BODY);
    let refused = |row, request: Vec<u8>| {
        keep(row, request, 401).with("www-authenticate", "Bearer").without(TOKEN)
    };
    let mut cases = vec![
        refused("E23", publish("", BODY)),
        refused("E23", get("").into_bytes()),
        refused("E23", target("/nothing").into_bytes()),
        close("E13", post("Expect: 100-continue\r\nContent-Length: 27\r\n", ""), 401),
        close(
            "E13",
            post("Expect: 100-continue\r\nContent-Length: 9999999\r\n", "").as_slice(),
            401,
        ),
        keep("G17", with("Bearer a-secret"), 200).stores(&["x"]),
        keep("G17", target("/"), 200),
        keep("G17", target("/livez"), 200),
        keep("G17", target("/readyz"), 200),
        keep("G17", "OPTIONS /publish HTTP/1.1\r\nHost: localhost\r\n\r\n", 204),
        refused("G17", publish("", BODY)),
    ];
    for value in [
        "",
        "Bearer",
        "Bearer ",
        "a-secret",
        "Basic a-secret",
        "Basic OmEtc2VjcmV0",
        "Bearer\ta-secret",
        "Bearer a-secret a-secret",
        "Bearer a-secrets",
        "Bearer a-secre",
        "Bearer a-secreta-secret",
        "Bearer A-SECRET",
        "Bearer \"a-secret\"",
    ] {
        cases.push(refused("G17", with(value)));
    }
    for position in 0..TOKEN.len() {
        let changed = |(index, byte)| if index == position { byte ^ 1 } else { byte };
        let token: Vec<u8> = TOKEN.bytes().enumerate().map(changed).collect();
        cases.push(refused("G17", with(&format!("Bearer {}", String::from_utf8(token).unwrap()))));
    }
    cases.extend([
        keep("G18", with("bearer a-secret"), 200).stores(&["x"]),
        keep("G18", with("BEARER  a-secret "), 200).stores(&["x"]),
        refused("G19", target("/messages?topic=t&token=a-secret").into_bytes()),
        refused("G19", target("/messages?topic=t&access_token=a-secret").into_bytes()),
    ]);
    cases
}

#[test]
fn a_token_is_asked_for_and_compared_whole() {
    let folder = Folder::temporary("token");
    folder.write("token.txt", format!("\n{TOKEN} \r\n"));
    let path = folder.path().join("token.txt");
    let mut system = System::start_with(&["--token-file", path.to_str().unwrap()]);
    run_with(&system, "Authorization: Bearer a-secret\r\n", &cases_with_a_token());
    let printed = format!("{}{}", system.broker().output(), system.broker().errors());
    assert!(!printed.contains(TOKEN), "{printed}");
}
