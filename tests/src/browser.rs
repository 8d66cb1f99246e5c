//! A real browser without a screen, controlled over WebDriver (W3C, level 2).

use crate::folder::Folder;
use crate::process::Process;
use crate::tools;
use crate::wait::{DEADLINE, wait_for, wait_until};
use common::http::client::Client;
use common::json::{self, Json, Value};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Two browsers at a time: each takes as much memory and time as all the programs together.
static TURNS: [Mutex<()>; 2] = [const { Mutex::new(()) }; 2];

/// Who comes next waits for the other one.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// What the browser is started with: no screen, nobody else's settings, and no traffic but ours.
const ARGUMENTS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,800",
];

/// The key that submits a form.
pub const ENTER: &str = "\u{e007}";
/// The key that is held from its first mention to its second.
pub const SHIFT: &str = "\u{e008}";
/// The keys that go to the line above and below, and the one that leaves something.
pub const ARROW_UP: &str = "\u{e013}";
/// See [`ARROW_UP`].
pub const ARROW_DOWN: &str = "\u{e015}";
/// See [`ARROW_UP`].
pub const ESCAPE: &str = "\u{e00c}";

/// A browser with one window or several, of which one is looked at. It ends with this value.
pub struct Browser {
    client: Client,
    /// What all paths begin with.
    session: String,
    _driver: Process,
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    /// Starts a browser; nothing where there is none, which is then said.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn start() -> Option<Browser> {
        let [one, other] = &TURNS;
        let is_even = COUNT.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        let turn = if is_even { one } else { other }.lock().unwrap_or_else(PoisonError::into_inner);
        tools::chromedriver()?;
        let folder = Folder::temporary("browser");
        // It takes a port that is free over IPv6, and ends where that is taken over IPv4.
        let (driver, port) = wait_for(DEADLINE, "a chromedriver with a port", || {
            let mut command = tools::chromedriver()?;
            // Whatever the two leave behind is gone with the folder.
            command.arg("--port=0").env("HOME", folder.path()).env("TMPDIR", folder.path());
            let mut driver = Process::start("chromedriver", command, &folder);
            let port = wait_for(DEADLINE, "the port of chromedriver, or its end", || {
                let is_running = driver.is_running();
                let output = driver.output();
                let port = output.split_once("successfully on port ");
                let port = port.and_then(|(_, rest)| rest.split_once('.'));
                let port = port.map(|(port, _)| port.to_owned());
                (port.is_some() || !is_running).then_some(port)
            })?;
            Some((driver, port))
        });
        let client = Client::new(&format!("127.0.0.1:{port}"), None);
        let mut browser = Browser { client, session: String::new(), _driver: driver, _turn: turn };
        let profile = folder.path().join("profile");
        let mut arguments = String::new();
        for argument in ARGUMENTS.into_iter().map(str::to_owned) {
            arguments.push_str(&format!("{},", quoted(&argument)));
        }
        arguments.push_str(&quoted(&format!("--user-data-dir={}", profile.display())));
        let answer = browser.call(
            "POST",
            "/session",
            &format!(
                r#"{{"capabilities":{{"alwaysMatch":{{"goog:loggingPrefs":{{"browser":"ALL"}},
                "goog:chromeOptions":{{"args":[{arguments}]}}}}}}}}"#
            ),
        );
        let id = text(answer.value().get("sessionId"));
        browser.session = format!("/session/{id}");
        Some(browser)
    }

    /// Opens an address in the window that is looked at.
    ///
    /// # Panics
    ///
    /// When the browser does not answer, as every other method does.
    pub fn go(&mut self, address: &str) {
        self.post("/url", &format!(r#"{{"url":{}}}"#, quoted(address)));
    }

    /// Goes back in the history of the window, as a person does. A script that does so is cut off
    /// by what it does, and the driver runs it again: then the window is too far back.
    pub fn back(&mut self) {
        self.post("/back", "{}");
    }

    /// The window that is looked at.
    pub fn window(&mut self) -> String {
        let path = format!("{}/window", self.session);
        text(Some(&self.call("GET", &path, "").value()))
    }

    /// Opens another window, and looks at it.
    pub fn open_window(&mut self) -> String {
        let answer = self.post("/window/new", r#"{"type":"window"}"#);
        let window = text(answer.value().get("handle"));
        self.look_at(&window);
        window
    }

    /// Looks at a window.
    pub fn look_at(&mut self, window: &str) {
        self.post("/window", &format!(r#"{{"handle":{}}}"#, quoted(window)));
    }

    /// Types into the element that a selector finds, key by key.
    pub fn write(&mut self, selector: &str, keys: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/value"), &format!(r#"{{"text":{}}}"#, quoted(keys)));
    }

    /// Clicks on the element that a selector finds.
    pub fn click(&mut self, selector: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/click"), "{}");
    }

    fn element(&mut self, selector: &str) -> String {
        let body = format!(r#"{{"using":"css selector","value":{}}}"#, quoted(selector));
        let answer = self.post("/element", &body);
        match answer.value() {
            Value::Object(fields) => text(fields.first().map(|(_, id)| id)),
            other => panic!("no element {selector}: {other:?}"),
        }
    }

    /// What a JavaScript expression comes to, as text.
    pub fn evaluate(&mut self, expression: &str) -> String {
        let script = quoted(&format!("return String({expression})"));
        let answer = self.post("/execute/sync", &format!(r#"{{"script":{script},"args":[]}}"#));
        text(Some(&answer.value()))
    }

    /// Waits until a JavaScript expression is true.
    ///
    /// # Panics
    ///
    /// When it is not within [`DEADLINE`].
    #[track_caller]
    pub fn wait_until(&mut self, expression: &str) {
        wait_until(DEADLINE, expression, || self.evaluate(expression) == "true");
    }

    /// The text of the element that a selector finds, as a person sees it.
    pub fn text_of(&mut self, selector: &str) -> String {
        self.evaluate(&format!("document.querySelector({}).innerText", quoted(selector)))
    }

    /// What the browser has said on its console since this was last asked, a line each: where it
    /// comes from, and what it is.
    pub fn console(&mut self) -> Vec<String> {
        let answer = self.post("/se/log", r#"{"type":"browser"}"#);
        let value = answer.value();
        let entries = value.as_array().unwrap_or_default().iter();
        entries
            .map(|entry| format!("{} {}", text(entry.get("source")), text(entry.get("message"))))
            .collect()
    }

    fn post(&mut self, path: &str, body: &str) -> Answer {
        let path = format!("{}{path}", self.session);
        self.call("POST", &path, body)
    }

    #[track_caller]
    fn call(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let answer = self.client.request(method, path, body.as_bytes(), DEADLINE);
        let head = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let mut body = Vec::new();
        self.client.body(DEADLINE, |piece| body.write_all(piece)).expect("a body");
        let body = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(head.status, 200, "{method} {path}: {body}");
        Answer { body }
    }
}

impl Drop for Browser {
    /// The driver ends the browser; killed itself, it would leave it behind.
    fn drop(&mut self) {
        // A browser that has crashed has ended as well.
        let _ = self.client.request("DELETE", &self.session, b"", Duration::from_secs(20));
    }
}

/// A body of the driver's.
struct Answer {
    body: String,
}

impl Answer {
    /// What it says, in the field that every answer has.
    fn value(&self) -> Value<'_> {
        let whole = json::parse(self.body.as_bytes());
        let Ok(Value::Object(fields)) = whole else { panic!("not an object: {}", self.body) };
        let value = fields.into_iter().find(|(name, _)| name == "value");
        value.unwrap_or_else(|| panic!("no value: {}", self.body)).1
    }
}

/// Text as JSON has it.
fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    text.write(&mut out, json::Charset::Utf8);
    String::from_utf8(out).expect("it was text before")
}

/// A value that has to be text.
#[track_caller]
fn text(value: Option<&Value<'_>>) -> String {
    value.and_then(Value::as_str).unwrap_or_else(|| panic!("not text: {value:?}")).to_owned()
}
