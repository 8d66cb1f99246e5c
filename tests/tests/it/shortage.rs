//! A system without descriptors or threads.

use crate::load::{is_served, regular};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;
use tests::raw::{Raw, request};
use tests::resources::Resources;
use tests::wait::{DEADLINE, wait_until};
use tests::{Folder, Process, program, publish_body, tools};

/// The user that owns nothing, by number.
const NOBODY: &str = "65534";

/// A broker under limits of the shell, and its address.
fn start_limited(limits: &str, folder: &Folder) -> (Process, String) {
    start_as("", limits, &program::path("broker"), folder)
}

/// The same, started by the command `under`.
fn start_as(under: &str, limits: &str, program: &Path, folder: &Folder) -> (Process, String) {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limits}; exec {under} \"$0\" --port 0 --data data")]);
    command.arg(program);
    command.env_remove("PORT").env_remove("BROKER_TOKEN");
    let mut broker = Process::start("broker", command, folder);
    let line = broker.first_line();
    // The second line says for how many there is room.
    wait_until(DEADLINE, "a second line", || broker.output().matches('\n').count() >= 2);
    let address = line.split([' ', '/']).find(|word| word.starts_with("127.0.0.1:")).unwrap();
    (broker, address.to_owned())
}

/// F12.
#[test]
fn a_broker_without_descriptors_waits_for_them_without_spinning() {
    let folder = Folder::temporary("broker");
    let (broker, address) = start_limited("ulimit -n 64", &folder);
    assert!(broker.output().contains("the open-file limit"), "{}", broker.output());
    let mut present: Vec<_> = (0..32).map(|_| regular(&address)).collect();
    // Those who are turned away are kept for a moment, which takes the last descriptors.
    let mut others: Vec<_> = (0..100).map(|_| Raw::connect(&address)).collect();
    for raw in &mut others {
        assert_eq!(raw.answer().status, 503);
    }
    let before = Resources::of(broker.id()).processor_time;
    thread::sleep(Duration::from_millis(500));
    let spent = Resources::of(broker.id()).processor_time - before;
    assert!(spent <= 10, "{spent} hundredths of a second while nothing happened");
    drop(others);
    present.truncate(16);
    wait_until(DEADLINE, "room for a newcomer", || is_served(&address));
}

/// However few there are, as many clients are served at once as the broker said.
#[test]
fn a_broker_with_few_descriptors_serves_as_many_as_it_says() {
    for limit in [17, 24, 40] {
        let folder = Folder::temporary("broker");
        let (broker, address) = start_limited(&format!("ulimit -n {limit}"), &folder);
        let output = broker.output();
        let words = output.split_once("Room for ").map(|(_, rest)| rest.split_whitespace());
        let room: usize = words.unwrap().next().unwrap().parse().unwrap();
        assert!(room > 0, "{output}");
        let mut present: Vec<_> = (0..room).map(|_| regular(&address)).collect();
        for raw in &mut present {
            raw.request("POST", "/publish", publish_body("t", "x"));
            assert_eq!(raw.answer().status, 200);
        }
    }
}

#[test]
fn a_broker_without_room_for_a_single_connection_says_what_to_raise_and_ends() {
    let folder = Folder::temporary("broker");
    for (limit, arguments) in [("ulimit -n 16", "--data data"), ("ulimit -n 8", "")] {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{limit}; exec \"$0\" --port 0 {arguments}")]);
        command.arg(program::path("broker"));
        let mut broker = Process::start("broker", command, &folder);
        assert_eq!(broker.wait().code(), Some(1));
        let raise = "raise the open-file limit (ulimit -n)";
        let errors = format!("broker: no room for a single connection: {raise}\n");
        assert_eq!((broker.output(), broker.errors()), (String::new(), errors));
        assert!(!folder.path().join("data").exists(), "nothing was begun");
    }
}

/// F13: no thread can be had for a connection. The limit binds no administrator, whose broker is
/// therefore another user's.
#[test]
fn a_broker_without_threads_turns_newcomers_away_and_lives() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    let own = user.split_whitespace().next().unwrap();
    let is_root = own == "0";
    if is_root && tools::setpriv().is_none() {
        return;
    }
    let user = if is_root { NOBODY } else { own };
    let of_user = |id: &str| {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
        let owner = field("Uid:").and_then(|line| line.split_whitespace().next());
        let threads = field("Threads:").and_then(|line| line.trim().parse::<usize>().ok());
        threads.filter(|_| owner == Some(user)).unwrap_or_default()
    };
    let processes = fs::read_dir("/proc").unwrap();
    let present: usize =
        processes.map(|entry| of_user(entry.unwrap().file_name().to_str().unwrap())).sum();
    let folder = Folder::temporary("broker");
    // Room enough for what other tests start meanwhile, and far less than is tried.
    let limits = format!("prlimit --pid $$ --nproc={}", present + 200);
    let (broker, address) = if is_root {
        // Where the workspace is, others may have no way to.
        let copy = folder.path().join("broker");
        fs::copy(program::path("broker"), &copy).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let under = format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups");
        start_as(&under, &limits, &copy, &folder)
    } else {
        start_limited(&limits, &folder)
    };
    let said = broker.errors();
    let mut served = Vec::new();
    let refused = loop {
        let mut raw = Raw::connect(&address);
        raw.send_as_far_as_taken(&request("GET", "/livez", ""));
        match raw.answer().status {
            200 => served.push(raw),
            status => break status,
        }
        assert!(served.len() < 500, "the limit was never reached");
    };
    assert_eq!(refused, 503);
    served.clear();
    wait_until(DEADLINE, "room for a newcomer", || is_served(&address));
    assert_eq!(broker.errors(), said);
}

#[test]
fn a_journal_that_is_larger_than_memory_is_refused_with_a_word_about_how_much_it_needs() {
    let folder = Folder::temporary("broker");
    let (mut broker, address) = start_limited("ulimit -n 64", &folder);
    let mut publisher = Raw::connect(&address);
    for _ in 0..40 {
        publisher.request("POST", "/topics/t", "text\n".repeat(50_000));
        assert_eq!(publisher.answer().status, 200);
    }
    broker.kill();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 200000; exec \"$0\" --port 0 --data data"]);
    command.arg(program::path("broker")).env_remove("PORT").env_remove("BROKER_TOKEN");
    let mut broker = Process::start("broker", command, &folder);
    assert_eq!(broker.wait().code(), Some(1));
    let said = broker.errors();
    assert!(said.contains("data needs about 1") && said.contains("MB of memory"), "{said}");
}
