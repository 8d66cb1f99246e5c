//! What the service manager is told, and what a broker waits for during boot.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use tests::wait::{DEADLINE, wait_until};
use tests::{Folder, Process, System, program, tools};

/// Starts a broker with a journal that tells this socket how far it is.
fn start(name: &str, folder: &Folder) -> Process {
    let mut command = program::command("broker");
    command.args(["--port", "0", "--data", "data"]).env("NOTIFY_SOCKET", name);
    Process::start("broker", command, folder)
}

/// The words that came until the broker was ready.
fn words(socket: &UnixDatagram) -> Vec<String> {
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut words = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let size = socket.recv(&mut buffer).unwrap();
        words.push(String::from_utf8(buffer.get(..size).unwrap().to_vec()).unwrap());
        if words.last().unwrap().starts_with("READY=1\n") {
            return words;
        }
    }
}

#[test]
fn the_service_manager_hears_of_the_start_and_of_its_end() {
    let folder = Folder::temporary("notify");
    let path = folder.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    let _broker = start(path.to_str().unwrap(), &folder);
    let words = words(&socket);
    assert!(words[0].starts_with("STATUS=the journal is being read: "), "{words:?}");
    assert!(words[0].contains("\nEXTEND_TIMEOUT_USEC="), "{words:?}");
    let last = words.last().unwrap();
    assert!(last.starts_with("READY=1\nSTATUS=serves on 127.0.0.1:"), "{words:?}");
}

#[test]
fn the_service_manager_may_listen_outside_of_the_file_system() {
    let folder = Folder::temporary("notify");
    let name = format!("broker-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    let _broker = start(&format!("@{name}"), &folder);
    assert!(words(&socket).last().unwrap().starts_with("READY=1\n"));
}

#[test]
fn a_service_manager_that_is_not_there_keeps_no_broker_from_serving() {
    let folder = Folder::temporary("notify");
    let broker = start("/nowhere/at/all", &folder);
    wait_until(DEADLINE, "the broker serves", || broker.output().contains("Broker running"));
}

/// In a network of its own, where even the loopback address is missing until it is brought up.
#[test]
fn an_address_that_is_not_there_yet_is_waited_for() {
    let folder = Folder::temporary("address");
    let broker = program::command("broker").get_program().to_str().unwrap().to_owned();
    let script = format!(
        "ip link set lo up; {broker} --host 127.0.0.1 --port 0 & \
                          {broker} --host 10.9.8.7 --port 0 & \
                          sleep 1; ip address add 10.9.8.7/32 dev lo; wait"
    );
    let mut command = Command::new("unshare");
    command.args(["--net", "--map-root-user", "sh", "-c", "true"]);
    if !command.output().is_ok_and(|output| output.status.success()) {
        tools::say_skipped("no network of its own can be had");
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "--map-root-user", "--kill-child", "--fork", "--pid", "sh", "-c"]);
    command.arg(&script);
    let waiting = Process::start("broker", command, &folder);
    wait_until(DEADLINE, "both serve", || waiting.output().matches("Broker running").count() == 2);
    let said = "broker: this machine has no address 10.9.8.7 yet: waiting for it\n";
    assert!(waiting.errors().contains(said), "{}", waiting.errors());
}

/// The directory is held by another broker, so the start does not get on until that one is killed.
#[test]
fn while_a_broker_starts_it_is_alive_and_not_ready_and_sessions_wait() {
    let mut first = System::start_with(&["--data", "data"]);
    first.publish("t", "one");
    let data = first.folder().path().join("data");
    let mut second = System::reserve_with(&["--data", data.to_str().unwrap()]);
    second.begin_broker();
    wait_until(DEADLINE, "it is alive", || TcpStream::connect(second.address()).is_ok());
    assert_eq!(second.request("GET", "/livez", "").status, 200);
    let ready = second.request("GET", "/readyz", "");
    assert_eq!((ready.status, ready.field("Retry-After")), (503, Some("1")));
    assert!(ready.text().contains("the journal is being read: "), "{ready:?}");
    let publish = second.request("POST", "/publish", r#"{"topic":"t","message":"two"}"#);
    assert_eq!(publish.status, 503);
    let mut session = TcpStream::connect(second.address()).unwrap();
    session.write_all(b"{\"command\":\"pull\",\"topic\":\"t\"}").unwrap();

    first.kill_broker();
    let mut line = String::new();
    session.set_read_timeout(Some(DEADLINE)).unwrap();
    BufReader::new(session).read_line(&mut line).unwrap();
    assert!(line.contains("\"messages\":[\"one\"]"), "{line}");
    assert_eq!(second.request("GET", "/readyz", "").status, 200);
}
