//! Percent-encoding (RFC 3986 §2.1) and query strings.
//!
//! Decoding is strict: two hexadecimal digits follow every `%`, and the result must be UTF-8.

use std::borrow::Cow;

/// A text that cannot be decoded: a `%` is not followed by two hexadecimal digits, or the decoded
/// bytes are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotEncoded;

/// Replaces each escape by its byte, and, where `plus_is_space`, each `+` by a space. Text with
/// neither is borrowed.
///
/// # Errors
///
/// A broken escape, or a result that is not UTF-8.
pub fn decode(text: &str, plus_is_space: bool) -> Result<Cow<'_, str>, NotEncoded> {
    if !text.bytes().any(|byte| byte == b'%' || (byte == b'+' && plus_is_space)) {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let ([high, low], after) = rest.split_first_chunk().ok_or(NotEncoded)?;
                let digit = |digit: &u8| char::from(*digit).to_digit(16).ok_or(NotEncoded);
                decoded.push((digit(high)? << 4 | digit(low)?).to_le_bytes()[0]);
                rest = after;
            }
            b'+' if plus_is_space => decoded.push(b' '),
            _ => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| NotEncoded)
}

/// Escapes every byte that is not unreserved, so that the result fits in any part of a URL.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A name and its value, decoded.
pub type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The pairs of a query (`name=value`, joined by `&`), decoded, with `+` as a space. A name alone
/// has an empty value; empty pairs are skipped.
pub fn pairs(query: &str) -> impl Iterator<Item = Result<Pair<'_>, NotEncoded>> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(name, true)?, decode(value, true)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_in_either_case_become_bytes() {
        for (text, plus_is_space, expected) in [
            ("", true, ""),
            ("a%2Fb%2fc", true, "a/b/c"),
            ("%61", false, "a"),
            ("a+b%2B", true, "a b+"),
            ("a+b", false, "a+b"),
            ("%C3%A9\u{e9}", false, "éé"),
            ("%00%0d%0A", false, "\0\r\n"),
        ] {
            assert_eq!(decode(text, plus_is_space).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn broken_escapes_are_refused() {
        for text in ["%", "%6", "%zz", "%u0061", "a%", "%+1", "%1", "%é"] {
            assert_eq!(decode(text, true), Err(NotEncoded), "{text}");
        }
    }

    #[test]
    fn overlong_and_broken_utf8_is_refused() {
        for text in ["%c0%af", "%ff", "%ed%a0%80", "%C3", "%f4%90%80%80"] {
            assert_eq!(decode(text, true), Err(NotEncoded), "{text}");
        }
    }

    #[test]
    fn text_without_escapes_is_borrowed() {
        assert!(matches!(decode("plain", true), Ok(Cow::Borrowed("plain"))));
        assert!(matches!(decode("a+b", false), Ok(Cow::Borrowed("a+b"))));
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        let text: String = (0..=0x2ff).filter_map(char::from_u32).chain("€😀".chars()).collect();
        let encoded = encode(&text);
        assert!(
            encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte))
        );
        for plus_is_space in [true, false] {
            assert_eq!(decode(&encoded, plus_is_space).as_deref(), Ok(text.as_str()));
        }
        assert_eq!(encode("a b/é~"), "a%20b%2F%C3%A9~");
    }

    #[test]
    fn a_query_is_split_before_it_is_decoded() {
        let decoded: Result<Vec<_>, _> = pairs("&a=1%262&b&=c&d=e=f&&g+h=%3D+&").collect();
        let expected = [("a", "1&2"), ("b", ""), ("", "c"), ("d", "e=f"), ("g h", "= ")];
        assert_eq!(decoded.unwrap(), expected.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(pairs("").count(), 0);
        assert_eq!(pairs("a=%zz").next(), Some(Err(NotEncoded)));
    }
}
