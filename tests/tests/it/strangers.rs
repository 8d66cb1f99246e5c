//! Sessions that begin as other programs do: byte order marks, heads of HTTP.

use tests::System;
use tests::raw::Raw;

/// .NET's `StreamWriter` begins so.
#[test]
fn a_byte_order_mark_before_the_first_command_means_nothing() {
    let system = System::start();
    for blank in ["", "\r\n"] {
        let mut raw = Raw::connect(&system.address());
        raw.send(format!("{blank}\u{feff}PUBLISH t text ann\r\n"));
        raw.end_sending();
        assert!(raw.rest().is_empty());
        let mut raw = Raw::connect(&system.address());
        let command = "{\"command\":\"publish\",\"topic\":\"t\",\"message\":\"json\"}";
        raw.send(format!("{blank}\u{feff}{command}"));
        assert!(raw.line().contains("Message published"));
    }
    assert_eq!(system.messages("t"), ["text", "json", "text", "json"]);
    let mut raw = Raw::connect(&system.address());
    raw.send(b"\xEF");
    raw.send(b"\xBB\xBF");
    raw.send("PUBLISH t slowly ann\n");
    raw.end_sending();
    assert!(raw.rest().is_empty());
    assert_eq!(system.messages("t").last().map(String::as_str), Some("slowly"));
    // HTTP has no such mark.
    let mut raw = Raw::connect(&system.address());
    raw.send("\u{feff}GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(raw.answer().status, 400);
}

/// A web page can send any method and any body to a name that it has made to mean this machine:
/// `fetch('/x', {method: 'SUBSCRIBE', body: 'PUBLISH orders forged bob\n'})`.
#[test]
fn the_head_of_an_http_request_ends_a_session() {
    let system = System::start();
    let forged = "PUBLISH orders forged bob\n";
    for line in [
        "SUBSCRIBE /x HTTP/1.1",
        "PUBLISH /x HTTP/1.1",
        "UNSUBSCRIBE /x HTTP/1.0",
        "AUTH /x HTTP/1.1",
        // Where the line before it was harmless.
        "PUBLISH a b c\r\nHost: evil.example",
        "SUBSCRIBE a b\r\nhost:evil.example",
    ] {
        let mut raw = Raw::connect(&system.address());
        let head = format!("{line}\r\nHost: evil.example\r\nContent-Length: 27\r\n\r\n");
        raw.send(head + forged);
        let said = String::from_utf8(raw.rest()).unwrap();
        assert!(said.contains("ERROR this is HTTP"), "{line}: {said:?}");
    }
    // What is no object ends a JSON session, whatever comes behind it.
    let forged = "{\"command\":\"publish\",\"topic\":\"orders\",\"message\":\"forged\"}";
    for head in ["POST / HTTP/1.1\r\n", "Host: evil.example\r\n"] {
        let mut raw = Raw::connect(&system.address());
        raw.send(format!("{{}}\n{head}\r\n{forged}"));
        let said = String::from_utf8(raw.rest()).unwrap();
        assert!(said.ends_with("\"message\":\"Invalid JSON format\"}\n"), "{said:?}");
    }
    assert!(system.messages("orders").is_empty());
}

#[test]
fn names_that_the_operator_gave_are_the_brokers_own() {
    let system = System::start_with(&["--allow-host", "Hub.example.net", "--allow-host", "b"]);
    for (host, status) in
        [("hub.example.net", 200), ("hub.example.net.:80", 200), ("b", 200), ("c", 421)]
    {
        let mut raw = Raw::connect(&system.address());
        raw.send(format!("GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(raw.answer().status, status, "{host}");
    }
}
