//! The page's list of messages: long topics, long messages, JSON, links, and where to read from.

use crate::page::{assert_quiet, open, page, rows};
use tests::{ARROW_UP, Browser, ENTER, System};

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

#[test]
fn somebody_reads_from_an_offset_the_last_few_or_a_time() {
    let Some(mut browser) = Browser::start() else { return };
    let system = System::start();
    system.publish_batch("t", (0..1000).map(|number| number.to_string()));
    open(&mut browser, &system, "t");
    for (text, first) in [("7", 7), ("-600", 400), ("1h", 0), ("-5000", 0)] {
        browser.evaluate("document.querySelector('#from').value = ''");
        browser.write("#from", &format!("{text}{ENTER}"));
        browser.wait_until(&format!("list.children[0]?.message.offset === {first}"));
    }
    browser.write("#from", &format!(" nonsense{ENTER}"));
    browser.wait_until("failure.innerText.includes('since')");
    browser.evaluate("document.querySelector('#from').value = ''");
    browser.write("#from", &format!("1000{ENTER}"));
    browser.wait_until(&format!("{} === 1 && newest.hidden", rows("999")));
    assert_quiet(&mut browser);
}
