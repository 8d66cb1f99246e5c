//! Reads the topic's name from a file of one line, as people and editors write it.

use crate::error;
use common::flags::Error;
use common::limits::TOPIC_NAME_SIZE_MAX;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// How much of the file is read: more than a name and the white space that an editor leaves.
const FILE_SIZE_MAX: u64 = 64 << 10;

/// Reads the topic's name. White space around it and a byte-order mark are not part of it.
pub(crate) fn read(path: &Path) -> Result<String, Error> {
    error::check_file(path)?;
    let mut bytes = Vec::new();
    let read = |file: File| file.take(FILE_SIZE_MAX).read_to_end(&mut bytes);
    File::open(path).and_then(read).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => {
            let path = path.display();
            Error::new(format!(
                "there is no {path} here: write the topic's name into it (echo alpha > {path}), \
                 or name one with --topic"
            ))
        }
        _ => error::unusable(path, cause),
    })?;
    parse(&bytes).map_err(|reason| Error::of(path, reason))
}

fn parse(bytes: &[u8]) -> Result<String, &'static str> {
    let text = str::from_utf8(bytes).map_err(|_| "is not UTF-8: save it as UTF-8 text")?;
    let name = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{FEFF}');
    if name.is_empty() {
        Err("is empty: write the topic's name into it")
    } else if name.contains(['\n', '\r']) {
        Err("has more than one line: leave the topic's name alone in it")
    } else if name.len() > TOPIC_NAME_SIZE_MAX {
        Err("has a line that is longer than a topic's name can be (255 bytes)")
    } else if name.contains(char::is_control) {
        Err("has a control character in its line: no topic's name can hold one")
    } else {
        Ok(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_a_byte_order_mark_are_not_part_of_the_name() {
        for text in [
            "alpha",
            "alpha\n",
            "alpha\r\n",
            "\n\t alpha \n\n",
            "\u{FEFF}alpha\n",
            "\u{FEFF} alpha",
            " \u{FEFF}alpha",
        ] {
            assert_eq!(parse(text.as_bytes()).as_deref(), Ok("alpha"), "{text:?}");
        }
    }

    #[test]
    fn a_name_may_hold_spaces_slashes_and_any_script() {
        for name in ["a b", "a/../b", "Ünï – 話題"] {
            assert_eq!(parse(format!("{name}\n").as_bytes()).as_deref(), Ok(name));
        }
    }

    #[test]
    fn a_file_without_one_name_is_refused() {
        assert!(parse(b"").unwrap_err().starts_with("is empty"));
        assert!(parse("\u{FEFF}\r\n ".as_bytes()).unwrap_err().starts_with("is empty"));
        assert!(parse(b"alpha\nbeta\n").unwrap_err().starts_with("has more than one line"));
        assert!(parse(b"a\tb").unwrap_err().starts_with("has a control character"));
        assert!(parse(&[b'a'; 256]).unwrap_err().starts_with("has a line that is longer"));
        assert!(parse(b"\xFF\xFEa\0").unwrap_err().starts_with("is not UTF-8"));
    }

    #[test]
    fn a_missing_file_is_told_with_what_to_do() {
        let line = read(Path::new("/nonexistent/topic.txt")).unwrap_err().to_string();
        assert!(line.contains("write the topic's name into it"), "{line}");
    }
}
