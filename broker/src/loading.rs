//! Answers clients and the service manager while the journal is read.
//!
//! `GET /livez` is 200 from the beginning, so that nobody takes a long start for a dead process.
//! Every other request is 503, and `/readyz` says how far the start is. JSON and text sessions wait
//! until the broker serves. One thread does all of this, over non-blocking sockets.

use crate::door::http::lone_answer;
use crate::notify;
use crate::refusal::Refusal;
use crate::server::TurnedAway;
use crate::store::journal::Progress;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often clients are looked at.
const PAUSE: Duration = Duration::from_millis(20);

/// How often the service manager hears of it.
const NOTIFY_TIME: Duration = Duration::from_secs(1);

/// How many clients may wait; more stay in the queue of the system.
const WAITING_MAX: usize = 1000;

/// Answers the clients of `listener` while `load` runs; gives back those that wait to be served.
pub(crate) fn during<T>(
    listener: &TcpListener,
    progress: &Progress,
    load: impl FnOnce() -> T,
) -> (T, Vec<TcpStream>) {
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let attend = || attend(listener, progress, &is_done);
        // Without a thread to spare, all clients wait.
        let attending = thread::Builder::new().spawn_scoped(scope, attend);
        let loaded = load();
        is_done.store(true, Ordering::Relaxed);
        let waiting = attending.ok().and_then(|thread| thread.join().ok());
        (loaded, waiting.unwrap_or_default())
    })
}

fn attend(listener: &TcpListener, progress: &Progress, is_done: &AtomicBool) -> Vec<TcpStream> {
    let mut waiting: Vec<TcpStream> = Vec::new();
    let mut answered = TurnedAway::default();
    let mut notified: Option<Instant> = None;
    let _ = listener.set_nonblocking(true);
    while !is_done.load(Ordering::Relaxed) {
        let status = status(progress);
        if notified.is_none_or(|at| at.elapsed() >= NOTIFY_TIME) {
            notify::starting(&status);
            notified = Some(Instant::now());
        }
        while waiting.len() < WAITING_MAX {
            let Ok((stream, _)) = listener.accept() else { break };
            let _ = stream.set_nonblocking(true);
            waiting.push(stream);
        }
        let stays = |client: TcpStream| match answer_to(&client, &status) {
            None => Some(client),
            Some(answer) => {
                answered.add(client.into(), &answer);
                None
            }
        };
        waiting = waiting.into_iter().filter_map(stays).collect();
        thread::sleep(PAUSE);
    }
    let _ = listener.set_nonblocking(false);
    waiting.retain(|client| client.set_nonblocking(false).is_ok());
    waiting
}

fn status(progress: &Progress) -> String {
    let read = progress.read.load(Ordering::Relaxed);
    let size = progress.size.load(Ordering::Relaxed).max(1);
    format!("the journal is being read: {} %", read.min(size) * 100 / size)
}

/// What a client is told that is not kept waiting: nothing at all, where it has left.
fn answer_to(client: &TcpStream, status: &str) -> Option<Vec<u8>> {
    let mut buffer = [0; 4096];
    match client.peek(&mut buffer) {
        Ok(size) if size > 0 => answer(buffer.get(..size).unwrap_or_default(), status),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            None
        }
        _ => Some(Vec::new()),
    }
}

/// The answer to a request; nothing where its first line is not all there, or is no HTTP.
fn answer(input: &[u8], status: &str) -> Option<Vec<u8>> {
    let line = input.split(|&byte| byte == b'\n').next().filter(|line| line.len() < input.len())?;
    let mut words = str::from_utf8(line).ok()?.trim_end().split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if !version.starts_with("HTTP/1.") {
        return None;
    }
    let refusal = Refusal::Starting { status: status.to_owned() };
    let refusal = Some(&refusal).filter(|_| target != "/livez");
    Some(lone_answer(refusal, method == "HEAD"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_line_of_http_is_answered() {
        let said = |input: &str| {
            let answer = answer(input.as_bytes(), "40 %")?;
            Some(String::from_utf8(answer).unwrap())
        };
        assert!(said("GET /livez HTTP/1.1\r\n").unwrap().ends_with("\r\n\r\nok\n"));
        let ready = said("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(ready.starts_with("HTTP/1.1 503 ") && ready.ends_with("\"detail\":\"40 %\"}\n"));
        assert!(ready.contains("\r\nRetry-After: 1\r\n") && ready.contains(": nosniff\r\n"));
        assert!(said("HEAD /topics HTTP/1.0\n").unwrap().ends_with("close\r\n\r\n"));
        for input in [
            "",
            "GET /livez HTT",
            "GET /livez HTTP/1.1",
            "{\"command\":\"pull\"}\n",
            "PUBLISH a b c\n",
        ] {
            assert_eq!(said(input), None, "{input:?}");
        }
    }
}
