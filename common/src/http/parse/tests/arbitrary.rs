//! Rules that must hold for any bytes at all. The bytes are generated but not random, so a failure
//! can be repeated.

use super::{with_fields, with_line};
use crate::http::parse::{Error, Progress, request, response};

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    const SEED: Random = Random(0x9E37_79B9_7F4A_7C15);

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    /// Replaces, doubles and leaves out a few bytes.
    fn damage(&mut self, input: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(input.len());
            match self.below(4) {
                0 => input[at] ^= 1 << self.below(8),
                1 => input[at] = b"\r\n\t :,;\0\x80"[self.below(9)],
                2 => input.insert(at, input[at]),
                _ => drop(input.remove(at)),
            }
        }
    }

    /// A text of up to `size` of these bytes.
    fn text(&mut self, alphabet: &[u8], size: usize) -> String {
        (0..self.below(size)).map(|_| char::from(alphabet[self.below(alphabet.len())])).collect()
    }
}

/// Checks what a parser made of the whole input and of a part of it: a part is incomplete or says
/// the same, and nothing is used that is not there.
fn check<T: PartialEq + std::fmt::Debug>(
    input: &[u8],
    whole: &Result<Progress<T>, Error>,
    part: &Result<Progress<T>, Error>,
) {
    if !matches!(part, Ok(Progress::Partial)) {
        assert_eq!(part, whole, "{}", input.escape_ascii());
    }
    if let Ok(Progress::Complete { size, .. }) = whole {
        assert!(input[..*size].ends_with(b"\r\n\r\n"), "{}", input.escape_ascii());
    }
}

#[test]
fn damaged_requests_are_answered_the_same_whole_and_in_parts() {
    let seeds = [
        with_fields(b"Content-Length: 12\r\nExpect: 100-continue\r\nConnection: a, close\r\n"),
        with_fields(b"Transfer-Encoding: chunked\r\nAuthorization: Bearer a\r\n"),
        with_line("OPTIONS http://[::1]:80/a?b HTTP/1.0"),
    ];
    let mut random = Random::SEED;
    for round in 0..4_000 {
        let mut input = seeds[round % seeds.len()].clone();
        random.damage(&mut input);
        let cut = random.below(input.len());
        check(&input, &request(&input), &request(&input[..cut]));
    }
}

#[test]
fn damaged_responses_are_read_the_same_whole_and_in_parts() {
    let seeds = [
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n",
        "HTTP/1.0 404\r\n\r\n",
        "HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\nRetry-After: 1\r\n\r\n",
    ];
    let mut random = Random::SEED;
    for round in 0..4_000 {
        let mut input = seeds[round % seeds.len()].as_bytes().to_vec();
        random.damage(&mut input);
        let cut = random.below(input.len());
        let to_head = round % 2 == 0;
        check(&input, &response(&input, to_head), &response(&input[..cut], to_head));
    }
}

#[test]
fn bytes_of_any_kind_are_refused_or_incomplete() {
    let mut random = Random::SEED;
    for _ in 0..4_000 {
        let mut input: Vec<u8> = (0..64).map(|_| random.below(256).to_le_bytes()[0]).collect();
        let cut = random.below(input.len());
        check(&input, &request(&input), &request(&input[..cut]));
        check(&input, &response(&input, false), &response(&input[..cut], false));
        input.make_ascii_uppercase();
        check(&input, &request(&input), &request(&input[..cut]));
    }
}

#[test]
fn what_was_written_is_read_back() {
    let mut random = Random::SEED;
    for _ in 0..2_000 {
        let method = format!("X{}", random.text(b"AZ-09!~", 20));
        let path = format!("/{}", random.text(b"az/.%20;=:@!~", 40));
        let query = random.text(b"az&=%2F+?/", 40);
        let fields: Vec<(String, String)> = (0..random.below(8))
            .map(|_| {
                let name = format!("x{}", random.text(b"az-AZ_09", 12));
                (name, random.text(b"az, ;\t\"09", 30).trim().to_owned())
            })
            .collect();
        let lines: String =
            fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("{method} {path}?{query} HTTP/1.1\r\nHost: a:1\r\n{lines}\r\n");
        let Ok(Progress::Complete { value, size }) = request(head.as_bytes()) else {
            panic!("{head:?} was refused");
        };
        assert_eq!(size, head.len());
        assert_eq!((value.method, value.path), (method.as_str(), path.as_str()));
        assert_eq!((value.query, value.authority), (query.as_str(), Some("a:1")));
        let written: Vec<_> =
            fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        assert_eq!(value.fields.lines[1..], written, "{head:?}");
    }
}
