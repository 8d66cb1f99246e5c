//! Each rule at its limits.

use super::*;

fn admit(access: &Access, token: Option<&str>) -> Option<Grant> {
    let address = Ipv4Addr::LOCALHOST.into();
    access.admit(token, &mut Client::at(address)).unwrap()
}

#[test]
fn a_broker_on_loopback_answers_to_loopback_names_only() {
    let hosts = vec!["hub.example.net".to_owned()];
    let access = Access { loopback_only: true, hosts, ..Access::default() };
    for own in [
        "localhost",
        "LocalHost:1",
        "127.0.0.1",
        "127.0.0.1:9000",
        "127.255.255.255",
        "[::1]",
        "[::1]:9000",
        "[0:0:0:0:0:0:0:1]",
        "localhost.",
        "app.localhost",
        "a.b.LOCALHOST.:9000",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7F.1",
        "0177.0.0.1",
        "[::ffff:127.0.0.1]",
        "[::1%lo]",
        "[::1%25lo]:9000",
        "Hub.Example.net.",
    ] {
        assert!(access.check_host(Some(own)).is_ok(), "{own}");
    }
    for foreign in [
        "example.net",
        "localhost.example.net",
        "xlocalhost",
        "127.0.0.1.example.net",
        "128.0.0.1",
        "126.255.255.255",
        "10.0.0.1:9000",
        "0.0.0.0",
        "128.1",
        "127.0.0.256",
        "127.0.0.0.1",
        "127.16777216",
        "4294967295",
        "0x",
        "localhost..",
        ".localhost.example.net",
        "example.net.",
        "hub.example.net.example.net",
        "[fe80::1%lo]",
        "[::]",
        "[::2]",
        "[::ffff:10.0.0.1]",
    ] {
        assert!(access.check_host(Some(foreign)).is_err(), "{foreign}");
    }
    assert!(access.check_host(None).is_ok(), "HTTP/1.0 has no Host");
}

#[test]
fn a_broker_on_the_network_answers_to_any_name() {
    assert!(Access::default().check_host(Some("example.net")).is_ok());
}

#[test]
fn a_page_may_use_the_broker_that_it_came_from() {
    let access = Access::default();
    for (origin, authority) in [
        ("http://localhost:9000", "localhost:9000"),
        ("http://localhost:9000", "LOCALHOST:9000"),
        ("http://example.net", "example.net:80"),
        ("https://example.net", "example.net"),
        ("https://example.net", "example.net:443"),
        ("http://[::1]:9000", "[::1]:9000"),
    ] {
        assert_eq!(access.check_origin(Some(origin), Some(authority)).unwrap(), None, "{origin}");
    }
    assert_eq!(access.check_origin(None, None).unwrap(), None);
}

#[test]
fn pages_from_elsewhere_are_refused() {
    let access = Access::default();
    for origin in [
        "null",
        "",
        "http://localhost",
        "http://localhost:9001",
        "http://localhost:9000.example.net",
        "http://127.0.0.1:9000",
        "ftp://localhost:9000",
        "http://localhost:9000/",
        "http://a@localhost:9000",
        "localhost:9000",
        "*",
    ] {
        assert!(access.check_origin(Some(origin), Some("localhost:9000")).is_err(), "{origin}");
        assert!(access.check_origin(Some(origin), None).is_err(), "{origin}");
    }
}

#[test]
fn pages_of_an_allowed_origin_are_answered_with_its_name() {
    let mut origins = Origins::default();
    origins.add("https://app.example.net").unwrap();
    origins.add("http://LOCALHOST:3000").unwrap();
    assert!(origins.vary());
    let access = Access { origins, ..Access::default() };
    for origin in ["https://app.example.net", "http://localhost:3000"] {
        assert_eq!(access.check_origin(Some(origin), Some("a")).unwrap(), Some(origin));
    }
    for origin in ["http://app.example.net", "https://app.example.net:444", "null"] {
        assert!(access.check_origin(Some(origin), Some("a")).is_err(), "{origin}");
    }
}

#[test]
fn a_star_allows_all_origins() {
    let mut origins = Origins::default();
    origins.add("*").unwrap();
    assert!(!origins.vary());
    let access = Access { origins, ..Access::default() };
    for origin in ["https://app.example.net", "null"] {
        assert_eq!(access.check_origin(Some(origin), Some("a")).unwrap(), Some("*"));
    }
}

#[test]
fn what_is_no_origin_cannot_be_allowed() {
    for name in ["", "null", "example.net", "http://", "http://a/", "://a", "http://a b", "h/://a"]
    {
        assert!(Origins::default().add(name).is_err(), "{name:?}");
    }
}

#[test]
fn one_changed_byte_or_one_more_or_one_less_is_another_token() {
    let tokens = Some(Arc::new(Tokens::one(Token::new("secret").unwrap())));
    let access = Access { tokens, ..Access::default() };
    assert!(admit(&access, Some("secret")).is_some());
    for given in ["", "s", "secre", "secrets", "secretsecret", "Secret", "sEcret", "secreT"] {
        assert!(admit(&access, Some(given)).is_none(), "{given}");
    }
    assert!(admit(&access, None).is_none());
    let open = Access::default();
    assert!(admit(&open, None).is_some() && admit(&open, Some("any")).is_some());
}

#[test]
fn a_token_is_trimmed_and_has_to_be_one_that_can_be_sent() {
    assert_eq!(Token::new(" \ttwo words\r\n").unwrap().text(), "two words");
    for wrong in ["", " ", "\n", "two\nlines", "caf\u{e9}", "\u{7f}x", &"x".repeat(4097)] {
        assert!(Token::new(wrong).is_err(), "{wrong:?}");
    }
    assert!(Token::new(&"x".repeat(4096)).is_ok());
    assert_eq!(format!("{:?}", Token::new("secret").unwrap()), "Token(not shown)");
}
