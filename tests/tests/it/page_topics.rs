//! The page's table of topics, its overview, and how it creates and deletes topics.

use crate::page::{LIVE, assert_quiet, open, page, rows};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use tests::raw::Raw;
use tests::{ARROW_DOWN, Browser, ENTER, ESCAPE, Folder, System};

/// The names in the table, without what is in folders that are closed.
const NAMES: &str = "[...document.querySelectorAll('tbody bdi')].map((name) => \
                     name.textContent).join('|')";

#[test]
fn enter_opens_a_topic_that_matches_and_creates_none() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    for topic in ["json/sensors", "json/orders", "text"] {
        system.publish(topic, "one");
    }
    browser.go(&page(&system));
    browser.wait_until(&format!("{NAMES} === 'json/orders|json/sensors|text'"));
    browser.write("#wanted", "SENS json");
    browser.wait_until(&format!("{NAMES} === 'json/sensors'"));
    assert_eq!(browser.text_of("#found"), "1 of 3 topics");
    browser.write("#wanted", ENTER);
    browser.wait_until(&format!(
        "{LIVE} && document.querySelector('#name').innerText === 'json/sensors'"
    ));
    browser.write("#wanted", &format!("nothing{ENTER}"));
    browser.wait_until("empty.innerText === 'No topic matches. “New topic” creates one.'");
    assert_eq!(browser.text_of("#name"), "json/sensors");
    browser.write("#wanted", ESCAPE);
    browser.wait_until(&format!("{NAMES} === 'json/orders|json/sensors|text'"));
    // A pattern, as subscriptions have it.
    for (pattern, names) in
        [("json/*", "json/orders|json/sensors"), ("*", "text"), ("**s", "json/orders|json/sensors")]
    {
        browser.evaluate("wanted.value = ''");
        browser.write("#wanted", pattern);
        browser.wait_until(&format!("{NAMES} === '{names}'"));
    }
    assert_eq!(system.request("GET", "/topics", "").text().matches("stream").count(), 3);
    assert_quiet(&mut browser);
}

#[test]
fn a_thousand_topics_are_a_tree_and_all_can_be_reached() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    for number in 0..1000 {
        system.publish(&format!("floor/{}/room/{number}", number / 100), "one");
    }
    browser.go(&page(&system));
    // What holds only one folder is shown as one with it.
    browser.wait_until(&format!("{NAMES} === 'floor/'"));
    browser.write("#wanted", ARROW_DOWN);
    browser.write("tbody button", ENTER);
    browser.wait_until(&format!("{NAMES}.startsWith('floor/|0/room/|1/room/|2/room/')"));
    assert_eq!(browser.evaluate("document.querySelectorAll('tbody tr').length"), "11");
    browser.evaluate("document.querySelectorAll('tbody button')[10].click()");
    browser.wait_until(&format!("{NAMES}.endsWith('|998|999')"));
    // Without the tree, as far as somebody scrolls.
    browser.click("#tree");
    browser.wait_until("document.querySelectorAll('tbody tr').length >= 200");
    for _ in 0..20 {
        browser.evaluate("document.querySelector('#rows').scrollTo(0, 1e9)");
    }
    browser.wait_until(
        "(document.querySelector('#rows').scrollTo(0, 1e9), \
         document.querySelectorAll('tbody tr').length === 1000)",
    );
    assert_quiet(&mut browser);
}

#[test]
fn topics_are_sorted_as_somebody_wants() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    system.publish_batch("a 10", ["1", "2"].into_iter());
    system.publish_batch("a 9", ["1", "2", "3"].into_iter());
    system.publish("b", "1");
    browser.go(&page(&system));
    browser.wait_until(&format!("{NAMES} === 'a 9|a 10|b'"));
    browser.evaluate("(sort.value = 'messages', sort.dispatchEvent(new Event('change')))");
    browser.wait_until(&format!("{NAMES} === 'a 9|a 10|b'"));
    browser.evaluate("(sort.value = 'rate', sort.dispatchEvent(new Event('change')))");
    system.publish("b", "2");
    browser.wait_until(&format!("{NAMES} === 'b|a 9|a 10'"));
    assert_quiet(&mut browser);
}

#[test]
fn a_topic_is_created_and_deleted_after_a_question() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    browser.go(&page(&system));
    browser.wait_until("empty.innerText.startsWith('There are no topics yet.')");
    browser.write("#wanted", "new/one");
    browser.click("#create");
    assert_eq!(browser.evaluate("document.querySelector('#field-name').value"), "new/one");
    browser.write("#field-name", ENTER);
    browser
        .wait_until(&format!("{LIVE} && document.querySelector('#name').innerText === 'new/one'"));
    assert_eq!(system.request("GET", "/topics/new%2Fone", "").status, 200);
    browser.write("#message", &format!("inside{ENTER}"));
    browser.wait_until(&format!("{} === 1", rows("inside")));

    browser.click("#menu summary");
    browser.click("#delete");
    assert_eq!(browser.evaluate("document.activeElement.id"), "cancel", "Enter deletes nothing");
    browser.write("#cancel", ENTER);
    assert_eq!(browser.evaluate("question.open"), "false");
    browser.click("#menu summary");
    browser.click("#delete");
    browser.click("#confirm");
    browser.wait_until("state.innerText === 'deleted' && !question.open");
    assert_eq!(system.request("GET", "/topics/new%2Fone", "").status, 404);
    // What is refused is said where it was asked.
    browser.click("#menu summary");
    browser.click("#delete");
    browser.click("#confirm");
    browser.wait_until("refused.innerText !== '' && question.open");
    assert_quiet(&mut browser);
}

#[test]
fn where_nothing_is_chosen_the_page_shows_how_the_broker_is() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    system.publish("t", "one");
    browser.go(&page(&system));
    let fact = |name: &str| {
        format!(
            "[...document.querySelectorAll('dt')].find((term) => term.innerText === '{name}')\
             ?.nextSibling.innerText"
        )
    };
    browser.wait_until(&format!("{} === '1'", fact("Topics")));
    assert_eq!(browser.evaluate(&fact("State")), "takes publishes");
    assert_eq!(browser.evaluate(&fact("Version")), env!("CARGO_PKG_VERSION"));
    let kept = browser.evaluate(&fact("Kept"));
    assert_eq!(kept, "in memory only: a restart forgets all messages");
    assert!(browser.evaluate(&fact("Memory")).contains(" of "), "the limit is named");
    assert!(browser.evaluate(&fact("Published")).contains("1 in all"));
    assert!(browser.evaluate(&fact("Connections")).contains("http "));
    // By keyboard to a topic and back.
    browser.write("body", "/");
    browser.wait_until("document.activeElement.id === 'wanted'");
    browser.write("#wanted", ARROW_DOWN);
    browser.write("tbody a", ENTER);
    browser.wait_until(&format!("{LIVE} && document.querySelector('#name').innerText === 't'"));
    browser.write("#name", ESCAPE);
    browser.wait_until("!overview.hidden && location.hash === ''");
    assert_quiet(&mut browser);
}

/// A proxy that serves a broker below a path, a connection for each request.
fn serve_below(prefix: &'static str, broker: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let broker = broker.clone();
            thread::spawn(move || pass_on(client, prefix, &broker));
        }
    });
    address
}

fn pass_on(mut client: TcpStream, prefix: &str, broker: &str) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut head = String::new();
    let mut size = 0;
    while !head.ends_with("\r\n\r\n") {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|&size| size > 0)?;
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            size = value.trim().parse().ok()?;
        }
        if !lower.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    let mut body = vec![0; size];
    reader.read_exact(&mut body).ok()?;
    let (method, rest) = head.split_once(' ')?;
    let Some(rest) = rest.strip_prefix(prefix) else {
        let _ = client.write_all(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n");
        return None;
    };
    let (line, fields) = rest.split_once("\r\n")?;
    let mut server = TcpStream::connect(broker).ok()?;
    let head = format!("{method} {line}\r\nConnection: close\r\n{fields}");
    server.write_all(head.as_bytes()).ok()?;
    server.write_all(&body).ok()?;
    std::io::copy(&mut server, &mut client).ok()?;
    Some(())
}

#[test]
fn the_page_works_below_a_path_of_a_proxy() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    let proxy = serve_below("/broker", system.address());
    browser.go(&format!("http://{proxy}/broker/#t"));
    browser.wait_until(LIVE);
    assert_eq!(browser.text_of("#where"), format!("{proxy}/broker"));
    browser.write("#message", &format!("through{ENTER}"));
    browser.wait_until(&format!("{} === 1", rows("through")));
    browser.wait_until(&format!("{NAMES} === 't'"));
    browser.evaluate("location.hash = ''");
    browser.wait_until("facts.innerText.includes('takes publishes')");
    assert_eq!(system.messages("t"), ["through"]);
    assert_quiet(&mut browser);
}

#[test]
fn a_name_from_right_to_left_and_a_long_one_stay_within_their_place() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    let long = "x".repeat(255);
    for topic in ["רשימת קניות", &long] {
        system.publish(topic, "one");
        open(&mut browser, &system, &common::http::percent::encode(topic));
        browser.wait_until("document.querySelectorAll('#list li').length === 1");
        let fits = "document.documentElement.scrollWidth <= innerWidth && \
                    document.querySelector('#topic').scrollWidth <= \
                    document.querySelector('#topic').clientWidth && \
                    document.querySelector('#name').clientHeight < 60";
        assert_eq!(browser.evaluate(fits), "true", "{topic}");
        assert_eq!(browser.evaluate("document.title"), format!("\u{2068}{topic}\u{2069} – Broker"));
    }
    assert_quiet(&mut browser);
}

#[test]
fn a_token_is_shown_only_what_it_may_do() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = Folder::temporary("rights");
    folder.write("token", "boss\nreader\tread\nwriter\tread,write\n");
    let path = folder.path().join("token");
    let system = System::start_with(&["--token-file", path.to_str().unwrap()]);
    let mut raw = Raw::connect(&system.address());
    raw.send("PUT /topics/t HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer boss\r\n\r\n");
    assert_eq!(raw.answer().status, 201);
    let shown = "['publish', 'create', 'keep', 'let-go', 'delete'] \
                 .filter((id) => !document.getElementById(id).hidden).join()";
    for (token, expected) in
        [("reader", ""), ("writer", "publish"), ("boss", "publish,create,keep,let-go,delete")]
    {
        browser.go(&page(&system));
        browser.evaluate(&format!("sessionStorage.setItem('token', '{token}')"));
        browser.go("about:blank");
        // Without a topic, and with one.
        browser.go(&page(&system));
        browser.wait_until(LIVE);
        browser.wait_until(&format!("{shown} === '{expected}'"));
        open(&mut browser, &system, "t");
        browser.wait_until(&format!("{shown} === '{expected}'"));
    }
    assert_quiet(&mut browser);
}

#[test]
fn lasting_subscriptions_are_shown_with_how_far_they_are_behind() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    system.publish("t", "one");
    let mut raw = Raw::connect(&system.address());
    raw.send(r#"{"command":"subscribe","topic":"t","subscriber":"ann"}"#);
    assert!(raw.line().contains("Subscribed"));
    system.publish_batch("t", ["two", "three"].into_iter());
    browser.go(&page(&system));
    browser.wait_until("facts.innerText.includes('ann in t: 2 behind, connected')");
    drop(raw);
    browser.wait_until("facts.innerText.includes('ann in t: 2 behind, away for')");
    browser.click("#facts a");
    browser.wait_until("behind.textContent === '1 lasting subscription, at most 2 behind'");
    assert_quiet(&mut browser);
}
