//! Reads the fields of a request: the members of a JSON object, or the pairs of a query.
//!
//! A missing field is no error by itself. A field of the wrong type is one, and a field that occurs
//! twice.

use crate::refusal::{Refusal, Result};
use crate::store::{Begin, StreamId, Upto, entry};
use common::clock;
use common::http::percent::{self, Pair};
use common::json::Value;
use common::pattern::Pattern;

/// What is said of bytes that are no text.
const BAD_ENCODING: &str = "is not percent-encoded UTF-8";

/// A field that is there: its text, and the digits of its number. In a query each is both.
pub(super) struct Field<'f> {
    name: &'static str,
    text: Option<&'f str>,
    digits: Option<&'f str>,
}

impl<'f> Field<'f> {
    /// The member of an object that has this value.
    pub(super) fn of(name: &'static str, value: &'f Value<'_>) -> Field<'f> {
        match value {
            Value::String(text) => Field { name, text: Some(text), digits: None },
            Value::Number(digits) => Field { name, text: None, digits: Some(digits) },
            _ => Field { name, text: None, digits: None },
        }
    }

    pub(super) fn text(self) -> Result<&'f str> {
        self.text.ok_or_else(|| Refusal::field(self.name, "is not a string"))
    }

    /// A whole number: digits and nothing else.
    pub(super) fn number(self) -> Result<u64> {
        let digits = self.digits.filter(|digits| !digits.starts_with('+'));
        let number = digits.and_then(|digits| digits.parse().ok());
        number.ok_or_else(|| Refusal::field(self.name, "is not a whole number below 2^64"))
    }

    /// What may be written as text or as a number.
    pub(super) fn either(self) -> Result<&'f str> {
        self.digits.map_or_else(|| self.text(), Ok)
    }
}

/// Where fields are found.
pub(super) trait Fields {
    /// The only field of this name.
    fn find(&self, name: &'static str) -> Result<Option<Field<'_>>>;

    /// A field that holds text, if it is there.
    fn text(&self, name: &'static str) -> Result<Option<&str>> {
        self.find(name)?.map(Field::text).transpose()
    }

    /// A field that holds text, and has to be there.
    fn required(&self, name: &'static str) -> Result<&str> {
        self.text(name)?.ok_or_else(|| Refusal::field(name, "is missing"))
    }

    /// A field that holds a whole number, if it is there.
    fn number(&self, name: &'static str) -> Result<Option<u64>> {
        self.find(name)?.map(Field::number).transpose()
    }

    /// The topic that a request is about. It may be unknown, but is a name that a topic can have,
    /// so it may be kept and passed on.
    fn topic(&self, name: &'static str) -> Result<&str> {
        let topic = self.required(name)?;
        entry::check_topic(topic).map(|()| topic)
    }

    /// The pattern that stands in place of a topic, if there is one.
    fn pattern(&self) -> Result<Option<Pattern>> {
        match self.text("pattern")? {
            Some(_) if self.find("topic")?.is_some() => {
                Err(Refusal::field("pattern", "excludes 'topic'"))
            }
            text => text.map(as_pattern).transpose(),
        }
    }

    /// A moment: `10m` ago, in Unix milliseconds, or as RFC 3339 writes it.
    fn moment(&self, name: &'static str) -> Result<Option<u64>> {
        let Some(field) = self.find(name)? else { return Ok(None) };
        let moment = clock::moment(field.either()?, clock::unix_milliseconds());
        moment.map(Some).map_err(|how| Refusal::field(name, how))
    }

    /// Where to begin: `from`, an offset or `-N` for the last N messages, or `since`, a moment.
    fn begin(&self) -> Result<Option<Begin>> {
        let field = match (self.find("from")?, self.moment("since")?) {
            (Some(field), None) => field,
            (None, since) => return Ok(since.map(Begin::Since)),
            _ => return Err(Refusal::field("since", "excludes 'from'")),
        };
        match field.digits.and_then(|digits| digits.strip_prefix('-')) {
            Some(count) => Field { digits: Some(count), ..field }.number().map(Begin::Last),
            None => field.number().map(Begin::Offset),
        }
        .map(Some)
    }

    /// The stream that a request means, if it says so.
    fn stream(&self) -> Result<Option<StreamId>> {
        let wrong = |_| Refusal::field("stream", "is not 16 hexadecimal digits");
        self.text("stream")?.map(|text| text.parse().map_err(wrong)).transpose()
    }

    /// Which messages are let go.
    fn upto(&self) -> Result<Upto> {
        match (self.number("before")?, self.moment("before_time")?) {
            (Some(before), None) => Ok(Upto::Offset(before)),
            (None, Some(time)) => Ok(Upto::Time(time)),
            (None, None) => Err(Refusal::field("before", "is missing; or give 'before_time'")),
            _ => Err(Refusal::field("before_time", "excludes 'before'")),
        }
    }
}

impl Fields for Value<'_> {
    fn find(&self, name: &'static str) -> Result<Option<Field<'_>>> {
        Ok(member(self, name)?.map(|value| Field::of(name, value)))
    }
}

/// The value of the only member of this name.
pub(super) fn member<'a, 'b>(object: &'a Value<'b>, name: &str) -> Result<Option<&'a Value<'b>>> {
    once(object.all(name), name)
}

/// The names and values of a query, decoded.
pub(super) struct Query<'q>(Vec<Pair<'q>>);

impl<'q> Query<'q> {
    pub(super) fn of(query: &'q str) -> Result<Query<'q>> {
        let pairs = percent::pairs(query).collect::<Result<_, _>>();
        pairs.map(Query).map_err(|_| Refusal::field("query", BAD_ENCODING))
    }

    /// All values that are given to a name.
    pub(super) fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &str> {
        self.0.iter().filter(move |(it, _)| it == name).map(|(_, value)| &**value)
    }

    /// The last value that is given to one of these names, in any case.
    pub(super) fn last_of(&self, names: &[&str]) -> Option<&str> {
        let is_one = |name: &str| names.iter().any(|it| it.eq_ignore_ascii_case(name));
        self.0.iter().rfind(|(name, _)| is_one(name)).map(|(_, value)| &**value)
    }
}

impl Fields for Query<'_> {
    fn find(&self, name: &'static str) -> Result<Option<Field<'_>>> {
        let both = |text| Field { name, text: Some(text), digits: Some(text) };
        Ok(once(self.all(name), name)?.map(both))
    }
}

fn once<T>(mut values: impl Iterator<Item = T>, name: &str) -> Result<Option<T>> {
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Refusal::field(name, "is given twice")),
        (value, None) => Ok(value),
    }
}

/// A name in a path, where it is encoded.
pub(super) fn decoded(name: &str, encoded: &str) -> Result<String> {
    let text = percent::decode(encoded, false);
    text.map(Into::into).map_err(|_| Refusal::field(name, BAD_ENCODING))
}

/// This text as a pattern.
pub(super) fn as_pattern(text: &str) -> Result<Pattern> {
    let wrong = || Refusal::field("pattern", "is not 1 to 255 bytes without control characters");
    Pattern::new(text).ok_or_else(wrong)
}

/// This text as a digest.
pub(super) fn as_digest(text: &str) -> Result<u32> {
    let is_digest = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digest = u32::from_str_radix(text, 16).ok().filter(|_| is_digest);
    digest.ok_or_else(|| Refusal::field("digest", "is not 8 hexadecimal digits"))
}
