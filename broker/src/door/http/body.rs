//! Reads a body that comes in more than one piece.

use super::answer::Manner;
use super::{Door, End, Next, take};
use crate::door::http::route::Route;
use crate::refusal::Refusal;
use common::deadline::ProgressDeadline;
use common::http::chunked::Decoder;
use common::http::parse::Body;
use common::limits::BODY_SIZE_MAX;

/// A request whose body has not wholly arrived.
pub(super) struct Unfinished<'a> {
    pub(super) route: Route,
    pub(super) head_size: usize,
    /// Its body, which is sized or chunked.
    pub(super) body: Body,
    /// Whether the client waits for a word before it sends the body.
    pub(super) expects_continue: bool,
    pub(super) manner: Manner<'a>,
}

impl<'a> Door<'a> {
    /// Reads the rest of a body, and takes the request then.
    pub(super) fn gather(&mut self, unfinished: Unfinished<'a>) -> Result<Next<'a>, End> {
        self.flush()?;
        let Unfinished { route, head_size, body, expects_continue, manner } = unfinished;
        self.connection.consume(head_size);
        let mut share = self.broker.input_budget.share();
        let promised = match body {
            Body::Sized(size) => Some(usize::try_from(size).unwrap_or(usize::MAX)),
            _ => None,
        };
        if let Err(refusal) = share.grow(promised.unwrap_or_default()) {
            return Ok(Next::Close(refusal, manner));
        }
        let timeout = self.broker.timeouts.body;
        let mut deadline = ProgressDeadline::new(timeout);
        if expects_continue && self.connection.buffered().is_empty() {
            let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
            self.connection.write_all(interim, Some(deadline.at())).map_err(|_| End)?;
        }
        // What was promised in one piece gets its memory in one piece (row `bulk` of the
        // benchmark); the system hands it out as it is written to.
        let mut gathered = Vec::with_capacity(promised.unwrap_or_default());
        let mut decoder = Decoder::new(BODY_SIZE_MAX as u64);
        loop {
            let input = self.connection.buffered();
            let (consumed, is_whole) = match promised.map(|promised| promised - gathered.len()) {
                Some(missing) => {
                    let part = input.get(..missing).unwrap_or(input);
                    gathered.extend_from_slice(part);
                    (part.len(), part.len() == missing)
                }
                None => match decoder.decode(input, &mut gathered) {
                    Ok(decoded) => (decoded.consumed, decoded.finished),
                    Err(error) => return Ok(Next::Close(Refusal::Http(error), manner)),
                },
            };
            self.connection.consume(consumed);
            if let Err(refusal) = share.grow(gathered.len()) {
                return Ok(Next::Close(refusal, manner));
            }
            if is_whole {
                let Door { batch, broker, grant, .. } = self;
                return Ok(take(route, &gathered, manner, batch, broker, &mut share, grant));
            }
            let seconds = timeout.as_secs();
            let refusal = Refusal::NoProgress { what: "body of the request", seconds };
            let size = self.fill(deadline.at(), &refusal, manner)?;
            deadline.progressed(size);
        }
    }
}
