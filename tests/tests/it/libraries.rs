//! Event streams with other people's libraries: Python, Node and a real browser, directly and
//! through nginx and HAProxy with their defaults, while the broker is killed and started again.

use std::process::Command;
use tests::raw::Raw;
use tests::wait::{DEADLINE, wait_for, wait_until};
use tests::{Browser, Folder, Process, System, program, tools};

const KILLS: usize = 3;
const LINES: usize = 20;

/// A way to the broker: its name and its address.
type Way = (&'static str, String);

/// nginx with nothing but the address of the broker.
fn nginx(broker: &str) -> Option<(Way, Process)> {
    let mut command = tools::nginx()?;
    let folder = Folder::temporary("nginx");
    let address = System::reserve().address();
    let path = folder.path().display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {path}/{name};"))
        .join(" ");
    let rest = format!("listen {address}; location / {{ proxy_pass http://{broker}; }}");
    folder.write(
        "nginx.conf",
        format!(
            "daemon off; master_process off; error_log {path}/error.log; pid {path}/pid;\n\
             events {{ }}\nhttp {{ access_log off; {temporary} server {{ {rest} }} }}\n"
        ),
    );
    command.args(["-p", &path.to_string(), "-c", "nginx.conf"]);
    Some((("nginx", address), Process::start("nginx", command, &folder)))
}

/// HAProxy with nothing but the address of the broker, and the time-outs that it asks for.
fn haproxy(broker: &str) -> Option<(Way, Process)> {
    let mut command = tools::haproxy()?;
    let folder = Folder::temporary("haproxy");
    let address = System::reserve().address();
    let timeouts = "timeout connect 5s\n timeout client 50s\n timeout server 50s";
    folder.write(
        "haproxy.cfg",
        format!(
            "defaults\n mode http\n {timeouts}\nlisten all\n bind {address}\n server b {broker}\n"
        ),
    );
    command.args(["-db", "-f", "haproxy.cfg"]);
    Some((("HAProxy", address), Process::start("haproxy", command, &folder)))
}

/// The broker, which forgets nothing, and the ways to it.
fn ways() -> (System, Vec<Way>, Vec<Process>) {
    let mut system = System::reserve_with(&["--data", "data"]);
    system.start_broker();
    let address = system.address();
    let mut ways = vec![("direct", address.clone())];
    let mut proxies = Vec::new();
    for (way, process) in [nginx(&address), haproxy(&address)].into_iter().flatten() {
        wait_until(DEADLINE, way.0, || std::net::TcpStream::connect(&way.1).is_ok());
        ways.push(way);
        proxies.push(process);
    }
    (system, ways, proxies)
}

/// Publishes a few lines, and kills the broker as soon as they are answered, again and again.
fn publish_and_kill(system: &mut System) -> Vec<String> {
    let lines = |round: usize| (0..LINES).map(move |line| format!("round {round} line {line}"));
    for round in 0..=KILLS {
        let body: Vec<_> = lines(round).collect();
        let mut raw = Raw::connect(&system.address());
        raw.request("POST", "/topics/t", body.join("\n"));
        assert_eq!(raw.answer().status, 200);
        if round < KILLS {
            system.restart_broker();
        }
    }
    (0..=KILLS).flat_map(lines).zip(0..).map(|(line, offset)| format!("{offset} {line}")).collect()
}

fn url(address: &str) -> String {
    format!("http://{address}/events?topic=t&from=0")
}

/// Starts each command on each way, kills the broker a few times, and sees what each printed.
#[track_caller]
fn follow_with(libraries: &[(&str, &dyn Fn() -> Command)]) {
    let (mut system, ways, _proxies) = ways();
    let mut followers = Vec::new();
    for (library, command) in libraries {
        for (way, address) in &ways {
            let mut command = command();
            command.arg(url(address));
            let name = format!("{library}, {way}");
            followers.push((Process::start(&name, command, &Folder::temporary("library")), name));
        }
    }
    let expected = publish_and_kill(&mut system);
    for (follower, name) in &mut followers {
        let lines = wait_for(DEADLINE, name, || {
            assert!(follower.is_running(), "{name} ended: {}", follower.errors());
            let lines = follower.lines();
            (lines.len() >= expected.len()).then_some(lines)
        });
        assert_eq!(lines, expected, "{name}");
    }
}

/// A program of the folder beside this test.
fn script(name: &str) -> std::path::PathBuf {
    program::workspace().join("tests/libraries").join(name)
}

#[test]
fn libraries_of_python_miss_nothing_and_see_nothing_twice() {
    for module in ["requests", "sseclient", "aiohttp_sse_client2"] {
        if tools::python_with(module).is_none() {
            return;
        }
    }
    let python = |name: &'static str| {
        move || {
            let mut command = tools::python_with("requests").expect("it was there a moment ago");
            command.arg(script(name));
            command
        }
    };
    follow_with(&[
        ("requests", &python("with_requests.py")),
        ("sseclient-py", &python("with_sseclient.py")),
        ("aiohttp-sse-client2", &python("with_aiohttp.py")),
    ]);
}

#[test]
fn libraries_of_node_miss_nothing_and_see_nothing_twice() {
    for library in ["eventsource", "event-source-polyfill"] {
        if tools::node_with(library).is_none() {
            return;
        }
    }
    let node = |library: &'static str| {
        move || {
            let (mut command, folder) =
                tools::node_with(library).expect("it was there a moment ago");
            command.arg(script("with_eventsource.cjs")).arg(folder).arg(library);
            command
        }
    };
    follow_with(&[
        ("eventsource", &node("eventsource")),
        ("event-source-polyfill", &node("event-source-polyfill")),
    ]);
}

/// Follows as `with_eventsource.cjs` does.
const FOLLOW: &str = "(() => { window.got = []; const follow = (last) => {
    const url = '/events?topic=t&from=0';
    const events = new EventSource(last ? url + '&lastEventId=' + encodeURIComponent(last) : url);
    events.onmessage = (event) => { const it = JSON.parse(event.data);
        window.got.push(it.offset + ' ' + it.message); last = event.lastEventId; };
    events.onerror = () => { if (events.readyState === 2) setTimeout(() => follow(last), 100); };
}; follow(''); return 'ok'; })()";

#[test]
fn a_browser_misses_nothing_and_sees_nothing_twice() {
    let Some(mut browser) = Browser::start() else { return };
    let (mut system, ways, _proxies) = ways();
    let mut windows = Vec::new();
    for (way, address) in &ways {
        windows.push((browser.open_window(), way));
        browser.go(&format!("http://{address}/livez"));
        browser.evaluate(FOLLOW);
    }
    let expected = publish_and_kill(&mut system);
    for (window, way) in windows {
        browser.look_at(&window);
        browser.wait_until(&format!("window.got.length >= {}", expected.len()));
        let got = browser.evaluate("window.got.join('\\n')");
        assert_eq!(got.lines().collect::<Vec<_>>(), expected, "a browser, {way}");
    }
}
