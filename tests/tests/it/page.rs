//! The page in a real browser.
//!
//! Selectors name what people see: `#wanted` is the box that finds a topic, `#list` holds the
//! messages, `#state` shows the state of the connection.

use tests::{Browser, ENTER, Folder, SHIFT, System};

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
    // A page is live before the first message has come.
    browser.wait_until(&format!("{} === 1", rows("one")));
    assert_eq!(system.request("DELETE", "/topics/t", "").status, 204);
    browser.wait_until("state.innerText === 'deleted'");
    assert_eq!(browser.text_of("#range"), "1 message, this topic was deleted");
    system.publish("t", "two");
    browser.wait_until(&format!("{LIVE} && {} === 1", rows("two")));
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
    browser.back();
    browser.back();
    browser.wait_until(&format!("location.search === '?7' && {LIVE}"));
    assert_quiet(&mut browser);
}
