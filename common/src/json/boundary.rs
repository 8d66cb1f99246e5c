//! Finds the end of an object that is still arriving.

use super::scan;

/// A scan for the end of an object (or array) that comes in pieces. It goes on where it stopped, so
/// that each byte is looked at once, however small the pieces.
///
/// It only counts brackets and skips strings: whether what lies between is JSON is for
/// [`parse`](super::parse()) to say.
///
/// ```
/// let mut boundary = common::json::Boundary::default();
/// assert_eq!(boundary.find(br#"{"message": "a }"#), None);
/// assert_eq!(boundary.find(br#"{"message": "a } b"} {"#), Some(20));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Boundary {
    /// How many bytes were looked at, one more where the last of them was a backslash: the byte
    /// that it escapes cannot end a string.
    scanned: usize,
    /// How many brackets are open.
    depth: usize,
    in_string: bool,
}

impl Boundary {
    /// How many bytes of `input` the object takes, once they are all there. `input` is everything
    /// since the object's start, that is, the bytes of the last call and those that came after.
    ///
    /// White space before the object counts as part of it. What can be no object ends at the byte
    /// that spoils it: one outside all brackets, or a control character inside a string. So nobody
    /// waits for the rest of what is lost already. After an end was found, begin with a new
    /// `Boundary`.
    pub fn find(&mut self, input: &[u8]) -> Option<usize> {
        loop {
            if self.in_string {
                self.scanned += scan::ordinary(input.get(self.scanned..)?);
            }
            let byte = *input.get(self.scanned)?;
            self.scanned += 1;
            match (byte, self.in_string) {
                (b'\\', true) => {
                    self.scanned += 1;
                    continue;
                }
                (b'"', _) => self.in_string = !self.in_string,
                (_, true) => return Some(self.scanned),
                (b'{' | b'[', false) => self.depth += 1,
                (b'}' | b']', false) => self.depth = self.depth.saturating_sub(1),
                (b' ' | b'\t' | b'\n' | b'\r', false) => continue,
                (_, false) => {}
            }
            if self.depth == 0 && !self.in_string {
                return Some(self.scanned);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECTS: [&str; 7] = [
        "{}",
        " \r\n\t{ }",
        r#"{"a":{"b":[1,{"c":[]}]},"d":"{[\"\\"}"#,
        r#"{"}\\\"}":"\\","\u0022}":"]"}"#,
        r#"["a string that is longer than a few words of eight bytes }", "☃ \\ ☃"]"#,
        r#"{"":"","e":-1.5e+3,"f":[true,false,null]}"#,
        r#"[[[[]]],"[[[["]"#,
    ];

    #[test]
    fn an_object_ends_at_its_last_byte_however_it_comes_in() {
        for object in OBJECTS {
            let stream = format!("{object} {{\"next\":1}}").into_bytes();
            for step in 1..=stream.len() {
                let mut boundary = Boundary::default();
                let found = (0..=stream.len())
                    .step_by(step)
                    .chain([stream.len()])
                    .find_map(|end| Some((boundary.find(&stream[..end])?, end)));
                let (size, seen) = found.unwrap();
                assert_eq!(size, object.len(), "{object} by {step}");
                assert!(seen - size < step, "{object} by {step} was found late");
            }
        }
    }

    #[test]
    fn what_can_be_no_object_ends_at_once() {
        for (input, end) in [
            ("}", 1),
            ("]", 1),
            (" x", 2),
            ("12", 1),
            (r#""text" "#, 6),
            ("{]", 2),
            ("{\"a\n", 4),
            ("{\"a\0\"}", 4),
        ] {
            assert_eq!(Boundary::default().find(input.as_bytes()), Some(end), "{input:?}");
        }
    }

    #[test]
    fn nothing_and_white_space_have_no_end() {
        assert_eq!(Boundary::default().find(b""), None);
        assert_eq!(Boundary::default().find(b" \n\r\t"), None);
    }
}
