//! Decodes the chunked transfer coding (RFC 9112 §7.1), in pieces of any size.
//!
//! A small state machine reads the framing byte by byte; content is copied in bulk. The result does
//! not depend on how the input is cut. Extensions and trailers are checked and dropped.
//!
//! Where the RFC allows more, this is strict: sizes have 1 to 16 digits and no white space, and
//! lines end with CR LF.

use super::error::Error;
use super::scan::{self, TEXT, TOKEN};
use crate::limits::{CHUNK_EXTENSIONS_SIZE_MAX, TRAILERS_SIZE_MAX};

/// A chunk's size has no more digits than 64 bits need, and so cannot overflow.
const SIZE_DIGITS_MAX: u32 = u64::BITS / 4;

/// Decodes one body.
#[derive(Debug, Clone)]
pub struct Decoder {
    state: State,
    limit: u64,
    /// How many more bytes of content may come.
    content_left: u64,
    extensions_size: usize,
    trailers_size: usize,
}

/// What the next byte may be.
#[derive(Debug, Clone, Copy)]
enum State {
    /// A digit of a chunk's size, or what ends it.
    Size { size: u64, digits: u32 },
    /// A byte of an extension. What it says is of no interest, only that it is well formed.
    Extension { size: u64, part: Part },
    /// The line feed after a chunk's size.
    SizeEnd { size: u64 },
    /// Content.
    Content { left: u64 },
    /// The carriage return after a chunk's content.
    ContentEnd,
    /// The line feed after that.
    ContentLineFeed,
    /// A trailer, or the empty line that ends the body.
    TrailerStart,
    /// More of a trailer's name.
    TrailerName,
    /// More of a trailer's value.
    TrailerValue,
    /// The line feed after that.
    TrailerEnd,
    /// The last line feed.
    End,
    /// Nothing: the body is complete.
    Finished,
}

/// Where in an extension (RFC 9112 §7.1.1) the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Before the name, behind `;`.
    Start,
    Name,
    /// Behind the name or the value, and white space.
    End {
        value: bool,
    },
    /// Before the value, behind `=`.
    ValueStart,
    Value,
    Quoted,
    /// Behind a backslash in quotes.
    Escaped,
}

/// How far a call of [`Decoder::decode`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// How many bytes of the input were used: all of it, unless the body ended before.
    pub consumed: usize,
    /// Whether the body is complete.
    pub finished: bool,
}

/// Makes content one chunk. It must not be empty: an empty chunk ends the body.
pub fn frame(content: &mut Vec<u8>) {
    let size = format!("{:x}\r\n", content.len());
    content.splice(..0, size.into_bytes());
    content.extend_from_slice(b"\r\n");
}

impl Decoder {
    /// A decoder for a body of at most `limit` bytes of content.
    pub fn new(limit: u64) -> Decoder {
        let state = State::Size { size: 0, digits: 0 };
        Decoder { state, limit, content_left: limit, extensions_size: 0, trailers_size: 0 }
    }

    /// Decodes the next piece of the body and appends its content to `output`.
    ///
    /// # Errors
    ///
    /// The first fault of the body; the decoder cannot be used after it.
    pub fn decode(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<Decoded, Error> {
        let mut rest = input;
        while let Some((&byte, after)) = rest.split_first() {
            match self.state {
                State::Finished => break,
                State::Content { left } => {
                    let size =
                        usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    let (content, after) = rest.split_at(size);
                    output.extend_from_slice(content);
                    rest = after;
                    self.state = match left - size as u64 {
                        0 => State::ContentEnd,
                        left => State::Content { left },
                    };
                }
                state => {
                    rest = after;
                    self.state = self.next(state, byte)?;
                }
            }
        }
        let finished = matches!(self.state, State::Finished);
        Ok(Decoded { consumed: input.len() - rest.len(), finished })
    }

    /// The state after one byte of framing.
    fn next(&mut self, state: State, byte: u8) -> Result<State, Error> {
        Ok(match (state, byte) {
            (State::Size { size, digits }, _) => match (char::from(byte).to_digit(16), byte) {
                (Some(digit), _) if digits < SIZE_DIGITS_MAX => {
                    State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
                }
                (None, b'\r') if digits > 0 => State::SizeEnd { size },
                (None, b';') if digits > 0 => self.extension(size, Part::Start)?,
                _ => return Err(Error::SIZE),
            },
            (State::Extension { size, part }, _) => {
                let is_token = scan::is(byte, TOKEN);
                let part = match (part, byte) {
                    (Part::Name | Part::Value | Part::End { .. }, b'\r') => {
                        return Ok(State::SizeEnd { size });
                    }
                    (Part::Name | Part::Value | Part::End { .. }, b';') => Part::Start,
                    (Part::Name | Part::End { value: false }, b'=') => Part::ValueStart,
                    (Part::Name, b' ' | b'\t') => Part::End { value: false },
                    (Part::Value, b' ' | b'\t') => Part::End { value: true },
                    (Part::Start | Part::ValueStart | Part::End { .. }, b' ' | b'\t') => part,
                    (Part::Start | Part::Name, _) if is_token => Part::Name,
                    (Part::ValueStart | Part::Value, _) if is_token => Part::Value,
                    (Part::ValueStart, b'"') | (Part::Escaped, _) if scan::is(byte, TEXT) => {
                        Part::Quoted
                    }
                    (Part::Quoted, b'"') => Part::End { value: true },
                    (Part::Quoted, b'\\') => Part::Escaped,
                    (Part::Quoted, _) if scan::is(byte, TEXT) => Part::Quoted,
                    _ => return Err(Error::EXTENSION),
                };
                self.extension(size, part)?
            }
            (State::SizeEnd { size: 0 }, b'\n') => State::TrailerStart,
            (State::SizeEnd { size }, b'\n') => {
                self.content_left =
                    self.content_left.checked_sub(size).ok_or(Error::too_large(self.limit))?;
                State::Content { left: size }
            }
            (State::SizeEnd { .. }, _) => return Err(Error::SIZE),
            (State::ContentEnd, b'\r') => State::ContentLineFeed,
            (State::ContentLineFeed, b'\n') => State::Size { size: 0, digits: 0 },
            (State::ContentEnd | State::ContentLineFeed, _) => return Err(Error::CONTENT_END),
            (State::TrailerStart, b'\r') => State::End,
            (State::End, b'\n') | (State::Finished, _) => State::Finished,
            (State::TrailerName, b':') => self.trailer(State::TrailerValue)?,
            (State::TrailerStart | State::TrailerName, _) if scan::is(byte, TOKEN) => {
                self.trailer(State::TrailerName)?
            }
            (State::TrailerValue, b'\r') => self.trailer(State::TrailerEnd)?,
            (State::TrailerValue, _) if scan::is(byte, TEXT) => self.trailer(state)?,
            (State::TrailerEnd, b'\n') => self.trailer(State::TrailerStart)?,
            _ => return Err(Error::TRAILER),
        })
    }

    /// Counts one byte of an extension.
    fn extension(&mut self, size: u64, part: Part) -> Result<State, Error> {
        self.extensions_size += 1;
        if self.extensions_size > CHUNK_EXTENSIONS_SIZE_MAX {
            return Err(Error::EXTENSIONS_TOO_LARGE);
        }
        Ok(State::Extension { size, part })
    }

    /// Counts one byte of a trailer.
    fn trailer(&mut self, next: State) -> Result<State, Error> {
        self.trailers_size += 1;
        if self.trailers_size > TRAILERS_SIZE_MAX {
            return Err(Error::TRAILERS_TOO_LARGE);
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests;
