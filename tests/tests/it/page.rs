//! The page in a real browser.
//!
//! Selectors name what people see: `#wanted` is the box that finds a topic, `#list` holds the
//! messages, `#state` shows the state of the connection.

use tests::{ARROW_UP, Browser, ENTER, Folder, SHIFT, System};

pub(crate) const LIVE: &str = "document.querySelector('#state').innerText === 'live'";

pub(crate) fn page(system: &System) -> String {
    format!("http://{}/", system.address())
}

/// Opens a topic's page, and waits until it is live.
#[track_caller]
pub(crate) fn open(browser: &mut Browser, system: &System, topic: &str) {
    browser.go(&format!("{}#{topic}", page(system)));
    browser.wait_until(LIVE);
}

/// How many messages of this text the list shows.
pub(crate) fn rows(text: &str) -> String {
    format!(
        "[...list.querySelectorAll('.text')].filter((row) => row.textContent === {text:?}).length"
    )
}

/// The console holds nothing but what the network did: no mistake in the script, and nothing
/// that the page's policy had to forbid.
#[track_caller]
pub(crate) fn assert_quiet(browser: &mut Browser) {
    let mut lines = browser.console();
    lines.retain(|line| !line.starts_with("network "));
    assert!(lines.is_empty(), "{lines:#?}");
}

#[test]
fn what_is_published_on_one_page_is_seen_on_another() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    let ann = browser.window();
    // By keyboard alone: a topic that nobody has used yet, and a name.
    browser.go(&page(&system));
    browser.write("#create", ENTER);
    browser.write("#field-name", &format!("room 1/2?{ENTER}"));
    browser.wait_until(LIVE);
    browser.write("#publisher", "ann");
    browser.write("#message", &format!("good morning{ENTER}"));
    browser.wait_until(&format!("{} === 1", rows("good morning")));

    let ben = browser.open_window();
    open(&mut browser, &system, "room%201%2F2%3F");
    browser.wait_until(&format!("{} === 1", rows("good morning")));
    browser.write("#publisher", "ben");
    browser.write("#message", &format!("hello ann{ENTER}"));
    browser.write("#message", &format!("how are you?{ENTER}"));
    browser.wait_until(&format!("{} === 1", rows("how are you?")));
    assert_quiet(&mut browser);

    browser.look_at(&ann);
    browser.wait_until(&format!("{} === 1", rows("how are you?")));
    assert_eq!(
        browser.evaluate("[...list.querySelectorAll('p')].map((row) => row.innerText).join('|')"),
        "anngood morning|benhello ann|benhow are you?"
    );
    browser.wait_until(
        "document.querySelector('tbody').innerText.replace(/\\s+/g, ' ').startsWith('room 1/2? 3 ')",
    );
    browser.wait_until("heard.textContent !== ''");
    assert_eq!(system.messages("room 1/2?"), ["good morning", "hello ann", "how are you?"]);
    assert_quiet(&mut browser);
    browser.look_at(&ben);
}

#[test]
fn a_message_is_text_whatever_it_says() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    let hostile = "<script>document.title = 'taken'</script><img src=x onerror=alert(1)>";
    system.publish(hostile, hostile);
    open(&mut browser, &system, &common::http::percent::encode(hostile));
    browser.wait_until("list.childElementCount === 1");
    assert_eq!(browser.text_of("#list .text"), hostile);
    assert_eq!(browser.text_of("#name"), hostile);
    assert_eq!(browser.text_of("tbody a"), hostile);
    assert_eq!(browser.evaluate("document.title"), format!("\u{2068}{hostile}\u{2069} – Broker"));
    assert_eq!(browser.evaluate("document.querySelectorAll('main script, main img').length"), "0");
    assert_quiet(&mut browser);
    // The policy would hold even if the page forgot.
    browser.evaluate(
        "document.body.append(Object.assign(document.createElement('style'), \
         { textContent: 'body { display: none }' }))",
    );
    let complaint = browser.console().join("\n");
    assert!(complaint.contains("Content Security Policy"), "{complaint}");
}

/// JavaScript takes U+2028 and U+2029 for line ends, and event streams do not.
#[test]
fn a_message_may_hold_what_javascript_takes_for_a_line_end() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    let text = "one\u{2028}two\u{2029}three";
    system.publish("t", text);
    open(&mut browser, &system, "t");
    browser.wait_until(&format!("{} === 1", rows(text)));
    assert_quiet(&mut browser);
}

/// What `fetch` does instead of failing at the network is put in its place.
#[test]
fn a_page_that_got_no_event_before_its_connection_broke_follows_from_the_start() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    system.publish("t", "one");
    browser.go(&page(&system));
    browser.evaluate(
        "(() => { const real = fetch; let broken = 2; window.fetch = (path, ...rest) => \
         String(path).startsWith('/events') && broken-- > 0 \
         ? Promise.reject(new TypeError('broken')) : real(path, ...rest); })()",
    );
    browser.evaluate("location.hash = '#t'");
    browser.wait_until(&format!("{} === 1", rows("one")));
    assert_quiet(&mut browser);
}

#[test]
fn a_page_that_is_hidden_and_shown_often_asks_no_more_often() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    browser.go(&page(&system));
    browser.wait_until(LIVE);
    let asked = "performance.getEntriesByType('resource') \
                 .filter(({ name }) => name.endsWith('/topics')).length";
    // Each change is told as soon as the answer to the last one is there.
    for _ in 0..20 {
        let before = browser.evaluate(asked);
        browser.evaluate("document.dispatchEvent(new Event('visibilitychange'))");
        browser.wait_until(&format!("{asked} > {before}"));
    }
    browser.evaluate("performance.clearResourceTimings()");
    browser.evaluate("window.begun = performance.now()");
    browser.wait_until("performance.now() - begun > 5000");
    let times: u32 = browser.evaluate(asked).parse().unwrap();
    let seconds: f64 = browser.evaluate("(performance.now() - begun) / 1000").parse().unwrap();
    assert!(f64::from(times) <= 2.0 * seconds, "{times} times in {seconds} s");
}

#[test]
fn the_page_goes_on_after_the_broker_was_killed() {
    let Some(mut browser) = Browser::start() else { return };
    let mut system = System::reserve_with(&["--data", "data"]);
    system.start_broker();
    system.publish_batch("t", ["one", "two"].into_iter());
    open(&mut browser, &system, "t");
    browser.wait_until("list.childElementCount === 2");

    system.kill_broker();
    browser.wait_until("state.dataset.state === 'lost'");
    browser.write("#message", &format!("into the void{ENTER}"));
    browser.wait_until("failure.textContent.startsWith('no answer')");
    assert_eq!(browser.evaluate("message.value"), "into the void", "it is not lost");

    system.start_broker();
    system.publish("t", "three");
    browser.wait_until(&format!("{} === 1", rows("three")));
    browser.wait_until(LIVE);
    assert_eq!(browser.evaluate("list.childElementCount"), "3", "none is shown twice");
    assert_eq!(browser.text_of("#failure"), "", "what went wrong is over");
    assert_quiet(&mut browser);
}

#[test]
fn a_topic_that_was_deleted_and_created_again_is_shown_again() {
    let Some(mut browser) = Browser::start() else { return };
    let mut system = System::reserve();
    system.start_broker();
    system.publish_batch("t", ["old", "older"].into_iter());
    open(&mut browser, &system, "t");
    browser.wait_until("list.childElementCount === 2");
    // Under the eyes of the page.
    assert_eq!(system.request("DELETE", "/topics/t", "").status, 204);
    system.publish("t", "new");
    browser.wait_until(&format!("list.childElementCount === 1 && {} === 1", rows("new")));
    assert_eq!(browser.text_of("#range"), "1 message, this topic was deleted and created again");
    // And behind its back.
    system.kill_broker();
    browser.wait_until("state.dataset.state === 'lost'");
    system.start_broker();
    system.publish("t", "newest");
    browser.wait_until(&format!("list.childElementCount === 1 && {} === 1", rows("newest")));
    assert_quiet(&mut browser);
}

#[test]
fn a_long_topic_is_shown_in_parts() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    for part in 0..10 {
        let numbers = part * 10_000..(part + 1) * 10_000;
        system.publish_batch("t", numbers.map(|number| number.to_string()));
    }
    open(&mut browser, &system, "t");
    browser.wait_until(&format!("{} === 1", rows("99999")));
    assert_eq!(browser.text_of("#range"), "100,000 messages, here 99,800 to 99,999");
    browser.click("#earlier");
    browser.wait_until("range.textContent === '100,000 messages, here 99,600 to 99,999'");
    // What comes now is counted, and does not move what somebody reads.
    system.publish("t", "100000");
    browser.wait_until("newest.textContent === '1 newer: go to the end'");
    browser.write("#from", &format!("5{ENTER}"));
    browser.wait_until("range.textContent === '100,001 messages, here 5 to 204'");
    browser.evaluate("list.scrollTop = list.scrollHeight");
    browser.wait_until("range.textContent === '100,001 messages, here 5 to 404'");
    browser.click("#newest");
    browser.wait_until(&format!("{} === 1 && newest.hidden", rows("100000")));
    system.publish_batch("t", (0..5_000).map(|number| format!("more {number}")));
    browser.wait_until(&format!("{} === 1", rows("more 4999")));
    let count: u32 = browser.evaluate("list.childElementCount").parse().unwrap();
    assert!(count <= 600, "{count} rows");
    assert_eq!(
        browser
            .evaluate("list.lastElementChild.message.offset - list.children[0].message.offset + 1"),
        count.to_string()
    );
    assert_quiet(&mut browser);
}

#[test]
fn a_long_message_is_shown_whole_when_somebody_asks() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    let long = "long ".repeat(1000);
    system.publish("t", &long);
    open(&mut browser, &system, "t");
    browser.wait_until("list.querySelector('.whole') !== null");
    assert_eq!(browser.evaluate("list.querySelector('.text').textContent.length"), "600");
    browser.click("#list .whole");
    assert_eq!(browser.evaluate("list.querySelector('.text').textContent.length"), "5000");
    browser.click("#list .whole");
    assert_eq!(browser.evaluate("list.querySelector('.text').textContent.length"), "600");
    assert_quiet(&mut browser);
}

#[test]
fn the_page_asks_for_the_token_and_keeps_it_for_its_tab() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = Folder::temporary("token");
    folder.write("token", "secret-1\n");
    let path = folder.path().join("token");
    let system = System::start_with(&["--token-file", path.to_str().unwrap()]);
    browser.go(&format!("{}#t", page(&system)));
    browser.wait_until("locked.open");
    let behind = "getComputedStyle(document.querySelector('main')).visibility";
    assert_eq!(browser.evaluate(behind), "hidden", "what is not known is not shown");
    browser.write("#token", &format!("wrong{ENTER}"));
    browser.wait_until("locked.open && why.textContent === 'That is not the token.'");
    browser.evaluate("token.value = ''");
    browser.write("#token", &format!("secret-1{ENTER}"));
    browser.wait_until(LIVE);
    assert_eq!(browser.evaluate(behind), "visible");
    browser.write("#message", &format!("inside{ENTER}"));
    browser.wait_until(&format!("{} === 1", rows("inside")));

    open(&mut browser, &system, "other");
    open(&mut browser, &system, "t");
    browser.wait_until(&format!("{} === 1", rows("inside")));
    browser.open_window();
    browser.go(&page(&system));
    browser.wait_until("locked.open");
    assert_quiet(&mut browser);
}

#[test]
fn several_lines_in_the_box_are_several_messages() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    open(&mut browser, &system, "t");
    browser.write("#message", &format!("one{SHIFT}{ENTER}{SHIFT}two"));
    assert_eq!(browser.text_of("#lines"), "2 messages, one a line");
    browser.write("#message", ENTER);
    browser.wait_until(&format!("{} === 1 && {} === 1", rows("one"), rows("two")));
    assert_eq!(browser.evaluate("message.value"), "");
    assert_eq!(system.messages("t"), ["one", "two"]);
    assert_quiet(&mut browser);
}

#[test]
fn a_topic_that_is_deleted_under_the_page_is_said_to_be_deleted() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    system.publish("t", "one");
    open(&mut browser, &system, "t");
    assert_eq!(system.request("DELETE", "/topics/t", "").status, 204);
    browser.wait_until("state.innerText === 'deleted'");
    assert_eq!(browser.text_of("#range"), "1 message, this topic was deleted");
    system.publish("t", "two");
    browser.wait_until(&format!("{LIVE} && {} === 1", rows("two")));
    assert_quiet(&mut browser);
}

#[test]
fn no_press_is_dropped_while_something_loads() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    system.publish_batch("t", (0..5_000).map(|number| number.to_string()));
    open(&mut browser, &system, "t");
    browser.wait_until(&format!("{} === 1", rows("4999")));
    browser.evaluate("(earlier.click(), earlier.click())");
    browser.wait_until("range.textContent === '5,000 messages, here 4,400 to 4,999'");
    assert_quiet(&mut browser);
}

#[test]
fn json_is_unfolded_into_its_parts_as_they_were_written() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    let text = r#"{"a":{"b":[1.50,12345678901234567890]},"c":"x\ny","e":{}}"#;
    system.publish_batch("t", [text, "[not json", "7"].into_iter());
    open(&mut browser, &system, "t");
    browser.wait_until("list.childElementCount === 3");
    assert_eq!(browser.evaluate("list.querySelectorAll('.whole').length"), "1");
    assert_eq!(browser.text_of("#list .text"), text);
    browser.click("#list .whole");
    browser.evaluate("list.querySelectorAll('details').forEach((part) => { part.open = true })");
    let lines = "[...list.querySelectorAll('summary, .inner > div')].map((line) => \
                 line.textContent).join('|')";
    assert_eq!(
        browser.evaluate(lines),
        "{3}|a: {1}|b: [2]|1.50|12345678901234567890|c: \"x\ny\"|e: {0}"
    );
    assert_quiet(&mut browser);
}

#[test]
fn addresses_in_messages_can_be_followed_safely() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    system
        .publish("t", "see (http://a.example/b?c=d#e), javascript:alert(1) and https://f.example.");
    open(&mut browser, &system, "t");
    browser.wait_until("list.childElementCount === 1");
    let links = "[...list.querySelectorAll('a')].map(({ href, rel, target }) => \
                 [href, rel, target].join(' ')).join('|')";
    assert_eq!(
        browser.evaluate(links),
        "http://a.example/b?c=d#e noopener noreferrer nofollow _blank|\
         https://f.example/ noopener noreferrer nofollow _blank"
    );
    assert_quiet(&mut browser);
}

#[test]
fn what_is_shown_is_copied_and_saved_as_it_is() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    system.publish_batch("a/b", ["one", "two \"2\""].into_iter());
    open(&mut browser, &system, "a%2Fb");
    browser.wait_until("list.childElementCount === 2");
    // What a download would write is read back instead.
    browser.evaluate(
        "(() => { HTMLAnchorElement.prototype.click = function () { window.saved = \
         this.download; window.blob = blobs.at(-1); }; window.blobs = []; \
         URL.createObjectURL = (blob) => { blobs.push(blob); return ''; } })()",
    );
    browser.click("#menu summary");
    browser.click("#save-text");
    browser.evaluate("blob.text().then((text) => { window.text = text })");
    browser.wait_until("window.text === 'one\\ntwo \"2\"\\n' && saved === 'a/b.txt'");
    browser.click("#menu summary");
    browser.click("#save-json");
    browser.evaluate("blob.text().then((text) => { window.text = text })");
    browser.wait_until("saved === 'a/b.json' && text.startsWith('[')");
    browser.wait_until(
        "JSON.parse(text).map(({ topic, offset, message, publisher }) => \
         [topic, offset, message, publisher].join()).join('|') === 'a/b,0,one,|a/b,1,two \"2\",'",
    );
    // By keyboard: up from the end, and the tools of the message are next.
    browser.write("#list", ARROW_UP);
    assert_eq!(browser.evaluate("document.activeElement.message.message"), "two \"2\"");
    browser.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text }");
    browser.click("#copy");
    browser.wait_until("copied === 'two \"2\"'");
    assert_quiet(&mut browser);
}

#[test]
fn a_page_that_was_left_holds_no_connection() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    system.publish("t", "one");
    // A browser opens six connections to a host and no more.
    for visit in 0..8 {
        browser.go(&format!("http://{}/?{visit}#t", system.address()));
        browser.wait_until(LIVE);
        browser.go("about:blank");
    }
    open(&mut browser, &system, "t");
    browser.evaluate("history.go(-2)");
    browser.wait_until(&format!("location.search === '?7' && {LIVE}"));
    assert_quiet(&mut browser);
}

#[test]
fn what_a_topic_keeps_is_shown_and_changed_after_a_question() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    system.publish_batch("t", (0..1000).map(|number| number.to_string()));
    open(&mut browser, &system, "t");
    browser.wait_until("range.textContent === '1,000 messages, here 800 to 999'");
    browser.wait_until("kept.textContent === '(3.9 kB)'");
    browser.click("#menu summary");
    browser.click("#keep");
    browser.write("#field-keep_messages", "500");
    browser.write("#field-keep_for", "soon");
    browser.click("#confirm");
    browser.wait_until("refused.innerText.includes('keep_for')");
    browser.evaluate("document.querySelector('#field-keep_for').value = '7d'");
    browser.click("#confirm");
    browser.wait_until(
        "range.textContent === '500 messages, 500 to 999, here 800 to 999' && \
         kept.textContent === '(2.0 kB; keeps 500 messages, 7d)'",
    );
    for _ in 0..2 {
        browser.click("#earlier");
    }
    browser.wait_until("list.children[0].message.offset === 500 && earlier.disabled");
    browser.click("#menu summary");
    browser.click("#let-go");
    browser.evaluate("document.querySelector('#field-before').value = ''");
    browser.write("#field-before", &format!("990{ENTER}"));
    browser.wait_until("range.textContent.startsWith('10 messages, 990 to 999')");
    // What is gone cannot be read: the list begins at what is there.
    browser.write("#from", &format!("5{ENTER}"));
    browser.wait_until("list.children[0].message.offset === 990");
    browser.go(&page(&system));
    open(&mut browser, &system, "t");
    browser.wait_until("list.childElementCount === 10");
    assert_quiet(&mut browser);
}
