//! Reads JSON objects from a connection, in pieces of any size.

use common::json::{self, Boundary, Value};

/// Takes one object after another from the front of the bytes that came in.
pub(crate) struct Objects {
    /// The largest that is handed out, in bytes.
    size_max: usize,
    /// How far the end of an object was looked for that did not come in one piece: a large one
    /// comes in many, and is parsed when it is all there.
    boundary: Option<Boundary>,
}

/// What stands at the front.
pub(crate) enum Next<'a> {
    /// An object, and how many bytes it took.
    Object(Value<'a>, usize),
    /// The beginning of one, of so many bytes.
    Partial { size: usize },
    /// What can be none.
    Invalid,
}

impl Objects {
    /// Nothing came in yet.
    pub(crate) fn new(size_max: usize) -> Objects {
        Objects { size_max, boundary: None }
    }

    /// What stands at the front of `input`, which begins where the last object ended.
    pub(crate) fn next<'a>(&mut self, input: &'a [u8]) -> Next<'a> {
        if input.trim_ascii_start().is_empty() {
            return Next::Partial { size: 0 };
        }
        if let Some(boundary) = &mut self.boundary
            && boundary.find(input).is_none()
        {
            return Next::Partial { size: input.len() };
        }
        self.boundary = None;
        match json::parse_prefix(input) {
            // Most that are too large are found out before they end; some end with the read.
            Ok((_, size)) if size > self.size_max => Next::Partial { size },
            Ok((object, size)) => Next::Object(object, size),
            Err(json::Error::Invalid { .. }) => Next::Invalid,
            Err(json::Error::Partial) => {
                let mut boundary = Boundary::default();
                boundary.find(input);
                self.boundary = Some(boundary);
                Next::Partial { size: input.len() }
            }
        }
    }
}
