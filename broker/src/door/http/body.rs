//! Reads the body of a request, and what it says.

use super::{Action, Door, End, Manner, Route, Stop, Taken, closing, topics};
use crate::access::Grant;
use crate::broker::Broker;
use crate::door::publish;
use crate::refusal::{Refusal, Result};
use crate::server::input_budget::{DocumentSize, Share, lines_size};
use crate::store::{Batch, BoundsChange};
use common::deadline::ProgressDeadline;
use common::http::chunked::Decoder;
use common::http::parse::Body;
use common::json;
use common::limits::BODY_SIZE_MAX;

/// The size of a body, as far as it says it before it comes.
pub(super) fn promised(body: Body) -> Result<Option<usize>> {
    match body {
        Body::None | Body::UntilClose => Ok(Some(0)),
        Body::Chunked => Ok(None),
        Body::Sized(size) => match usize::try_from(size) {
            Ok(size) if size <= BODY_SIZE_MAX => Ok(Some(size)),
            _ => Err(Refusal::BodySize { size_max: BODY_SIZE_MAX }),
        },
    }
}

impl Route {
    /// Takes a whole request: gives what answers it, or nothing for a publish, which is in the
    /// batch then. What a large body becomes on the way is on the same account as the body.
    pub(super) fn take(
        self,
        body: &[u8],
        batch: &mut Batch,
        broker: &Broker,
        share: &mut Share<'_>,
        grant: &Grant,
    ) -> Result<Option<Action>> {
        let size_max = broker.message_size_max;
        match self {
            Route::Publish => {
                share.grow(DocumentSize::default().of(body))?;
                let object = json::parse(body).map_err(Refusal::Json)?;
                publish::add(&object, "topic", batch, size_max, grant).map(|()| None)
            }
            Route::Lines { topic, is_whole } => {
                let size =
                    if is_whole { DocumentSize::default().of(body) } else { lines_size(body) };
                share.grow(size)?;
                topics::read_lines(&topic, is_whole, body, batch, size_max).map(|()| None)
            }
            Route::Create(topic) => {
                let change = match body {
                    [] => BoundsChange::default(),
                    _ => topics::read_bounds(body)?,
                };
                Ok(Some(Box::new(move |door| door.create(&topic, change))))
            }
            Route::Act(action) if body.is_empty() => Ok(Some(action)),
            // A body that is not used is refused: the client must not believe that it was stored.
            Route::Act(_) => Err(Refusal::UnusedBody),
        }
    }
}

impl<'a> Door<'a> {
    /// Reads the rest of a body that is sized or chunked, and takes the request then.
    /// `expects_continue` says that the client waits for a word before it sends the body.
    pub(super) fn gather(
        &mut self,
        route: Route,
        body: Body,
        expects_continue: bool,
        manner: Manner<'a>,
    ) -> Result<Taken<'a>, End> {
        let broker: &'a Broker = self.broker;
        let mut share = broker.input_budget.share();
        let body = match self.rest(body, expects_continue, &mut share) {
            Ok(body) => body,
            Err(Stop::Refused(refusal, _)) => return Ok(closing(refusal, manner)),
            Err(Stop::End) => return Err(End),
        };
        Ok((route.take(&body, &mut self.batch, broker, &mut share, &self.grant), manner))
    }

    /// Reads the rest of a body.
    fn rest(
        &mut self,
        body: Body,
        expects_continue: bool,
        share: &mut Share<'_>,
    ) -> Result<Vec<u8>, Stop> {
        let promised = promised(body)?;
        share.grow(promised.unwrap_or_default())?;
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
                None => {
                    let decoded = decoder.decode(input, &mut gathered).map_err(Refusal::Http)?;
                    (decoded.consumed, decoded.finished)
                }
            };
            self.connection.consume(consumed);
            share.grow(gathered.len())?;
            if is_whole {
                return Ok(gathered);
            }
            let (what, seconds) = ("body of the request", timeout.as_secs());
            let size = self.fill(deadline.at())?.ok_or(Refusal::NoProgress { what, seconds })?;
            deadline.progressed(size);
        }
    }
}
