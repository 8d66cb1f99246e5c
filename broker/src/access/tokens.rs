//! Tokens, and the file that says what each may do.
//!
//! A file has one token a line: `TOKEN [RIGHTS [PATTERN…]]`, with tabs between the fields. Rights
//! are `read`, `write` and `admin`, joined by commas; a token without rights may do everything.
//! Patterns limit a token to topics; a token without patterns is for all topics.
//!
//! # Guarantee
//!
//! The time to compare a token does not depend on its bytes, and no token is ever shown. A file
//! that changes is read again within seconds; connections whose token was removed or changed are
//! ended. A file that cannot be used changes nothing: it never opens the broker.

use crate::access::grant::{Grant, Right, Rights};
use crate::access::guesses::{Client, Guesses};
use crate::notify;
use crate::refusal::{Refusal, Result};
use common::flags::{Error, one_line};
use common::lock::Mutex;
use common::pattern::Pattern;
use std::collections::HashSet;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use std::{fmt, mem, thread};

/// The longest token, in bytes: it has to fit into one header line.
pub(super) const TOKEN_SIZE_MAX: usize = 4096;

/// The largest file of tokens, in bytes: a device has no end.
const FILE_SIZE_MAX: u64 = 1 << 20;

/// How often a file is looked at.
const WATCH_TIME: Duration = Duration::from_secs(1);

/// A secret that opens the broker.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The token that `text` holds, white space around it aside.
    ///
    /// # Errors
    ///
    /// Why it cannot be one.
    pub fn new(text: &str) -> Result<Token, &'static str> {
        let text = text.trim();
        if text.is_empty() {
            Err("there is no token in it")
        } else if text.len() > TOKEN_SIZE_MAX {
            Err("the token is longer than 4096 bytes")
        } else if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            Err("the token is not printable ASCII")
        } else {
            Ok(Token(text.to_owned()))
        }
    }

    /// The secret itself, for a broker that asks for it.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// Compares every byte, whatever the first ones are: the time tells the length of what was
    /// given, which whoever gave it knows.
    pub(super) fn equals(&self, given: &str) -> bool {
        let mut own = self.0.bytes().cycle();
        let mut difference = u8::from(self.0.len() != given.len());
        for byte in given.bytes() {
            difference |= black_box(byte ^ own.next().unwrap_or_default());
        }
        black_box(difference) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(not shown)")
    }
}

/// All tokens of a broker.
pub(crate) struct Tokens {
    /// The file that they are from; none, where the environment names the one there is.
    path: Option<PathBuf>,
    state: Mutex<State>,
}

/// Held to compare or to change, never across I/O but that of shutting sockets down.
#[derive(Default)]
struct State {
    list: Vec<(Token, Arc<Rights>)>,
    /// Connections that go on by what they were allowed when they came.
    holders: Vec<(Arc<Rights>, Weak<TcpStream>)>,
    /// Wrong ones, and where they come from.
    guesses: Guesses,
}

impl State {
    fn knows(&self, rights: &Arc<Rights>) -> bool {
        self.list.iter().any(|(_, known)| Arc::ptr_eq(known, rights))
    }
}

impl Tokens {
    /// One token, which may do everything.
    pub(crate) fn one(token: Token) -> Tokens {
        let tokens = Tokens { path: None, state: Mutex::default() };
        let rights = Rights { rights: Right::ALL.to_vec(), patterns: Vec::new() };
        tokens.replace(vec![(token, rights)]);
        tokens
    }

    /// The tokens of a file.
    ///
    /// # Errors
    ///
    /// Why there are none.
    pub(crate) fn read(path: &Path) -> Result<Tokens, Error> {
        let tokens = Tokens { path: Some(path.to_owned()), state: Mutex::default() };
        tokens.replace(parse(&read(path)?)?);
        Ok(tokens)
    }

    /// What a token is good for; nothing, where it is none of these. All of them are compared.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyGuesses`]: none was looked at.
    pub(super) fn find(&self, given: &str, client: &mut Client) -> Result<Option<Grant>> {
        let mut state = self.state.lock();
        let now = Instant::now();
        if !client.is_known && state.guesses.are_too_many(client.address, now) {
            return Err(Refusal::TooManyGuesses);
        }
        let mut found = None;
        for (token, rights) in &state.list {
            if token.equals(given) {
                found = Some(Grant(Some(Arc::clone(rights))));
            }
        }
        match found {
            Some(_) => client.is_known = true,
            None => state.guesses.count(client.address, now),
        }
        Ok(found)
    }

    /// Ends a connection when what it was granted is so no more.
    pub(super) fn end_with(&self, grant: &Grant, stream: &Arc<TcpStream>) {
        let Some(rights) = &grant.0 else { return };
        let mut state = self.state.lock();
        if !state.knows(rights) {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
        if state.holders.len() == state.holders.capacity() {
            let holders = &mut state.holders;
            holders.retain(|(_, stream)| stream.strong_count() > 0);
            // One that waits again and again stands there once.
            let place = |it: &(Arc<Rights>, Weak<TcpStream>)| (Arc::as_ptr(&it.0), it.1.as_ptr());
            holders.sort_unstable_by_key(place);
            holders.dedup_by_key(|it| place(it));
            holders.reserve(holders.len() + 1);
        }
        state.holders.push((Arc::clone(rights), Arc::downgrade(stream)));
    }

    /// Reads the file again whenever it changes. A change counts once it was found twice, because
    /// the file may still be written the first time.
    pub(crate) fn watch(&self) {
        let Some(path) = &self.path else { return };
        let mut known = read(path).ok();
        let (mut before, mut told) = (known.clone(), String::new());
        loop {
            thread::sleep(WATCH_TIME);
            let text = read(path);
            let now = text.as_ref().ok().cloned();
            let is_steady = mem::replace(&mut before, now.clone()) == now;
            if !is_steady || now == known {
                continue;
            }
            match text.and_then(|text| parse(&text)) {
                Ok(list) => {
                    known = now;
                    told.clear();
                    self.replace(list);
                }
                Err(cause) => {
                    let line = one_line(&cause);
                    if line != told {
                        let path = path.display();
                        notify::warn(format_args!("{path}: {line}; the tokens stay as they were"));
                        told = line;
                    }
                }
            }
        }
    }

    fn replace(&self, list: Vec<(Token, Rights)>) {
        let mut state = self.state.lock();
        let before = mem::take(&mut state.list);
        for (token, rights) in list {
            // What is as it was goes on.
            let same = before
                .iter()
                .find(|(known, before)| known.equals(token.text()) && **before == rights);
            let rights = same.map_or_else(|| Arc::new(rights), |(_, rights)| Arc::clone(rights));
            state.list.push((token, rights));
        }
        let mut holders = mem::take(&mut state.holders);
        holders.retain(|(rights, stream)| {
            let stays = state.knows(rights);
            if let Some(stream) = stream.upgrade().filter(|_| !stays) {
                let _ = stream.shutdown(Shutdown::Both);
            }
            stays
        });
        state.holders = holders;
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(not shown)")
    }
}

fn read(path: &Path) -> Result<String, Error> {
    let unread = |cause: io::Error| Error::new("the file cannot be read").because(cause);
    let mut bytes = Vec::new();
    let read = |file: File| file.take(FILE_SIZE_MAX + 1).read_to_end(&mut bytes);
    if File::open(path).and_then(read).map_err(unread)? as u64 > FILE_SIZE_MAX {
        // Cut off, its last line could say more than it does.
        return Err(unread(io::Error::other("it is larger than 1 MiB")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The tokens that a text holds, a line each. Empty lines mean nothing.
fn parse(text: &str) -> Result<Vec<(Token, Rights)>, Error> {
    let mut list = Vec::new();
    let mut seen = HashSet::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (line, number) in text.lines().zip(1..) {
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |reason| Error::new(format!("line {number}: {reason}"));
        let mut fields = line.split('\t').map(str::trim).filter(|field| !field.is_empty());
        let token = Token::new(fields.next().unwrap_or_default()).map_err(wrong)?;
        if !seen.insert(token.text().to_owned()) {
            return Err(wrong("this token occurs twice"));
        }
        let rights = match fields.next() {
            None => Right::ALL.to_vec(),
            Some(names) => names
                .split(',')
                .map(|name| Right::ALL.into_iter().find(|right| right.name() == name.trim()))
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| wrong("rights are read, write and admin, joined by commas"))?,
        };
        let patterns = fields.map(Pattern::new).collect::<Option<Vec<_>>>();
        let patterns = patterns.ok_or_else(|| wrong("a pattern has 1 to 255 bytes"))?;
        list.push((token, Rights { rights, patterns }));
    }
    if list.is_empty() { Err(Error::new("there is no token in it")) } else { Ok(list) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    fn a_line_says_what_a_token_may_do() {
        let text =
            "\u{feff}all\r\n\n reader \tread\nboth\tread, write\ta/*\tb c\nboss\tadmin\t**\n";
        let list = parse(text).unwrap();
        let shown = list.iter().map(|(token, Rights { rights, patterns })| {
            let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
            format!("{} {rights:?} {patterns:?}", token.text())
        });
        assert_eq!(
            shown.collect::<Vec<_>>(),
            [
                "all [Read, Write, Admin] []",
                "reader [Read] []",
                "both [Read, Write] [\"a/*\", \"b c\"]",
                "boss [Admin] [\"**\"]",
            ]
        );
    }

    #[test]
    fn what_could_mean_something_else_is_refused() {
        for (text, number) in [
            ("a\tRead", 1),
            ("a\nb\treadwrite", 2),
            ("a\tread,", 1),
            ("a\nb\n\na", 4),
            ("caf\u{e9}", 1),
            (&format!("a\tread\t{}", "x".repeat(256)), 1),
            (&"x".repeat(TOKEN_SIZE_MAX + 1), 1),
        ] {
            let error = parse(text).unwrap_err();
            let found = error.to_string().starts_with(&format!("line {number}: "));
            assert!(found, "{text:?}: {error}");
        }
        for empty in ["", " \n\t\n", "\u{feff}"] {
            assert_eq!(parse(empty).unwrap_err().to_string(), "there is no token in it");
        }
    }

    #[test]
    fn a_grant_is_for_what_it_names() {
        let tokens = Tokens::one(Token::new("x").unwrap());
        tokens.replace(parse("r\tread\ta/**\nw\twrite\nall\n").unwrap());
        let find = |token: &str| {
            let address = Ipv4Addr::LOCALHOST.into();
            tokens.find(token, &mut Client::at(address)).unwrap()
        };
        assert!(find("x").is_none() && find("").is_none());
        let [reader, writer, all] = ["r", "w", "all"].map(|token| find(token).unwrap());
        assert!(reader.allows(Right::Read, "a/b") && !reader.allows(Right::Read, "b"));
        assert!(!reader.allows(Right::Write, "a/b"));
        assert!(reader.check_any(Right::Read).is_ok() && reader.check_all(Right::Read).is_err());
        assert!(writer.allows(Right::Write, "b") && writer.check_all(Right::Write).is_ok());
        assert!(writer.check_any(Right::Read).is_err());
        for right in Right::ALL {
            assert!(all.allows(right, "any") && all.check_all(right).is_ok());
            assert!(Grant::EVERYTHING.allows(right, "any"));
        }
    }

    #[test]
    fn a_connection_that_waits_again_and_again_takes_no_more_memory() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let streams =
            [(); 3].map(|()| Arc::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap()));
        let tokens = Tokens::one(Token::new("x").unwrap());
        let grant = tokens.find("x", &mut Client::of(&streams[0])).unwrap().unwrap();
        for _ in 0..1000 {
            streams.iter().for_each(|stream| tokens.end_with(&grant, stream));
        }
        let state = tokens.state.lock();
        assert!(state.holders.len() < 100, "{}", state.holders.len());
        for stream in &streams {
            let is_it = |holder: &Weak<TcpStream>| holder.as_ptr() == Arc::as_ptr(stream);
            assert!(state.holders.iter().any(|(_, holder)| is_it(holder)));
        }
    }

    #[test]
    fn connections_end_when_their_token_is_gone_or_may_do_something_else() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (Arc::new(listener.accept().unwrap().0), client)
        };
        let tokens = Tokens::one(Token::new("x").unwrap());
        tokens.replace(parse("gone\nother\tread\nsame\tread\n").unwrap());
        let held = ["gone", "other", "same"].map(|token| {
            let (stream, client) = connect();
            let grant = tokens.find(token, &mut Client::of(&stream)).unwrap().unwrap();
            tokens.end_with(&grant, &stream);
            (stream, client, grant)
        });
        tokens.replace(parse("other\twrite\nsame\tread\n").unwrap());
        let ended = held.each_ref().map(|(_, client, _)| {
            client.set_nonblocking(true).unwrap();
            matches!((&*client).read(&mut [0]), Ok(0))
        });
        assert_eq!(ended, [true, true, false]);
        // One that comes while the file changes.
        let (late, client) = connect();
        tokens.end_with(&held[0].2, &late);
        assert_eq!((&client).read(&mut [0]).unwrap(), 0);
    }
}
