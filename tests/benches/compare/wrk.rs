//! Publishes over HTTP with `wrk`, a tool that many use: it checks this benchmark's own driver.

use crate::Result;
use crate::driver::Lane;
use crate::payload::Payload;
use crate::peers::{Contender, Disk, Kind, Server};
use std::process::Command;
use std::time::Duration;

/// Whether it is installed.
pub(crate) fn is_here() -> bool {
    Command::new("wrk").arg("--version").output().is_ok()
}

/// Publishes over so many connections, one in flight on each: publishes a second.
pub(crate) fn publish(contender: &Contender, connections: usize, time: Duration) -> Result<f64> {
    let server = Server::start(contender, Disk::None)?;
    let topics = ["t0".to_owned()];
    let message = String::from_utf8(Payload::new(100).bytes().to_vec())?;
    let (path, body) = match contender.kind {
        Kind::Nchan => ("/pub/t0", message),
        _ => ("/publish", format!("{{\"topic\":\"t0\",\"message\":\"{message}\"}}")),
    };
    server.folder.write("publish.lua", format!("wrk.method = \"POST\"\nwrk.body = '{body}'\n"));
    // It counts in whole seconds.
    let seconds = time.as_secs().max(1);
    let output = Command::new("wrk")
        .args(["--threads", "1", "--connections", &connections.to_string()])
        .args(["--duration", &seconds.to_string(), "--script", "publish.lua"])
        .arg(format!("http://127.0.0.1:{}{path}", server.port))
        .current_dir(server.folder.path())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(format!("wrk: {text}{}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let before = |word: &str| words.windows(2).find(|pair| pair[1] == word).map(|pair| pair[0]);
    let after = |word: &str| words.windows(2).find(|pair| pair[0] == word).map(|pair| pair[1]);
    let answered: u64 = before("requests").ok_or("wrk counts requests")?.parse()?;
    let rate = after("Requests/sec:").ok_or("wrk gives a rate")?.parse()?;
    // At the end it leaves, and does not wait for the last answers.
    let mut lane = Lane::open(contender, Disk::None, &server)?;
    let sent = answered..=answered + connections as u64;
    match lane.stored(&topics, server.port)? {
        Some(stored) if !sent.contains(&stored) => {
            Err(format!("{stored} stored of {answered} that were answered").into())
        }
        _ => Ok(rate),
    }
}
