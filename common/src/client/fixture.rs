//! A broker that follows a script, for the tests of the client library.

use super::Broker;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

/// In a script: reads one command.
pub(super) const READ: &str = "<";

/// A broker that takes one connection after another, and on each follows a script: [`READ`] reads
/// a command, anything else is a line that it writes. At the end of a script it closes the
/// connection. Gives all commands that it read.
pub(super) fn broker(scripts: &[&[&str]]) -> (Broker, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let broker = Broker::at(listener.local_addr().unwrap().to_string());
    let owned = |script: &&[&str]| script.iter().map(|&step| step.to_owned()).collect();
    let scripts: Vec<Vec<String>> = scripts.iter().map(owned).collect();
    let thread = thread::spawn(move || {
        let mut commands = Vec::new();
        for script in scripts {
            let mut open = BufReader::new(listener.accept().unwrap().0);
            for step in script {
                if step == READ {
                    let mut line = String::new();
                    open.read_line(&mut line).unwrap();
                    commands.push(line.trim_end().to_owned());
                } else {
                    writeln!(open.get_mut(), "{step}").unwrap();
                }
            }
        }
        commands
    });
    (broker, thread)
}

/// A broker's address at which nobody listens.
pub(super) fn nobody() -> Broker {
    Broker::at(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string())
}
