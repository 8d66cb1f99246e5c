//! Bodies to decode and bodies to refuse, whole and cut in two at every byte.

use super::*;

const LIMIT: u64 = 1000;

/// Content, how many bytes of the input were used, and whether the body is complete.
type Outcome = Result<(Vec<u8>, usize, bool), Error>;

/// Decodes pieces until one fails.
fn decode_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut decoder = Decoder::new(LIMIT);
    let (mut content, mut consumed, mut finished) = (Vec::new(), 0, false);
    for piece in pieces {
        let decoded = decoder.decode(piece, &mut content)?;
        assert!(decoded.finished || decoded.consumed == piece.len());
        consumed += decoded.consumed;
        finished = decoded.finished;
    }
    Ok((content, consumed, finished))
}

/// Decodes the input whole, cut in two at every place, and byte by byte: always the same.
fn decode(input: &[u8]) -> Outcome {
    let whole = decode_pieces([input]);
    for cut in 0..=input.len() {
        let (front, back) = input.split_at(cut);
        assert_eq!(decode_pieces([front, back]), whole, "{} at {cut}", input.escape_ascii());
    }
    assert_eq!(decode_pieces(input.chunks(1)), whole);
    whole
}

/// The content of a body that is complete at the end of the input, and not before.
fn accept(input: &[u8]) -> Vec<u8> {
    for cut in 0..input.len() {
        let prefix = decode_pieces([&input[..cut]]);
        assert!(matches!(prefix, Ok((_, _, false))), "{}", input[..cut].escape_ascii());
    }
    match decode(input) {
        Ok((content, consumed, true)) if consumed == input.len() => content,
        other => panic!("{other:?} for {}", input.escape_ascii()),
    }
}

/// The error of a body.
fn refuse(input: &[u8]) -> Error {
    decode(input).expect_err(&input.escape_ascii().to_string())
}

#[test]
fn chunks_are_joined() {
    for (input, content) in [
        ("0\r\n\r\n", ""),
        ("000\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("1\r\nh\r\n1\r\ne\r\n3\r\nllo\r\n0\r\n\r\n", "hello"),
        (
            "a\r\n0123456789\r\nA\r\n\r\n\r\n\r\n\r\n\r\n\r\n00\r\n\r\n",
            "0123456789\r\n\r\n\r\n\r\n\r\n",
        ),
        ("0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", "hello"),
    ] {
        assert_eq!(accept(input.as_bytes()), content.as_bytes(), "{input:?}");
    }
}

#[test]
fn what_follows_a_body_is_left_alone() {
    let input = b"5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    assert_eq!(decode(input), Ok((b"hello".to_vec(), 15, true)));
}

#[test]
fn a_size_is_hexadecimal_digits_and_nothing_else() {
    for size in [
        "",
        "g",
        "0x5",
        "+5",
        "-5",
        "5_0",
        " 5",
        "5 ",
        "5\t",
        "5h",
        "\n",
        "5\n",
        "5\r",
        "5\rx",
        "\0",
        "00000000000000005",
        "10000000000000000",
        ";a",
    ] {
        let input = format!("{size}\r\nhello\r\n0\r\n\r\n");
        assert_eq!(refuse(input.as_bytes()), Error::SIZE, "{size:?}");
    }
    assert_eq!(refuse(b"5\nhello\r\n0\r\n\r\n"), Error::SIZE);
}

#[test]
fn content_is_taken_up_to_the_limit() {
    let content = "x".repeat(500);
    let twice = format!("1f4\r\n{content}\r\n1F4\r\n{content}\r\n");
    assert_eq!(accept(format!("{twice}0\r\n\r\n").as_bytes()).len() as u64, LIMIT);
    // It is the size that is refused; the content need not come.
    assert_eq!(refuse(format!("{twice}1\r\n").as_bytes()), Error::too_large(LIMIT));
    for size in ["3e9", "7fffffffffffffff", "8000000000000000", "ffffffffffffffff"] {
        assert_eq!(refuse(format!("{size}\r\n").as_bytes()), Error::too_large(LIMIT));
        let after_some = format!("5\r\nhello\r\n{size}\r\n");
        assert_eq!(refuse(after_some.as_bytes()), Error::too_large(LIMIT));
    }
    assert!(Error::too_large(LIMIT).to_string().contains("1000"));
}

#[test]
fn a_chunk_ends_where_its_size_says() {
    for input in ["5\r\nhelloX\r\n", "5\r\nhello\n", "5\r\nhello\r\r\n", "5\r\nhelloXY0\r\n\r\n"] {
        assert_eq!(refuse(input.as_bytes()), Error::CONTENT_END, "{input:?}");
    }
    assert_eq!(refuse(b"5\r\nhell\r\n0\r\n\r\n"), Error::CONTENT_END);
}

#[test]
fn extensions_are_ignored() {
    for extension in [";a", ";a=b", ";a=\"b;c\"", ";a;b=c;d", ";a=\"\\\"\t\u{e9}\""] {
        let input = format!("5{extension}\r\nhello\r\n0{extension}\r\n\r\n");
        assert_eq!(accept(input.as_bytes()), b"hello", "{extension}");
    }
}

#[test]
fn broken_extensions_are_refused() {
    for extension in [";", ";;a", "; ", ";=a", ";a\n", ";a\0", ";a\x01b", ";a\x7f", ";\n", ";\0"] {
        let input = format!("5{extension}\r\nhello\r\n0\r\n\r\n");
        assert_eq!(refuse(input.as_bytes()), Error::EXTENSION, "{extension:?}");
    }
    // The carriage return was not one half of a line end.
    assert_eq!(refuse(b"5;a\rb\r\nhello\r\n0\r\n\r\n"), Error::SIZE);
}

#[test]
fn extensions_are_read_up_to_their_limit() {
    let long = "a".repeat(CHUNK_EXTENSIONS_SIZE_MAX - 1);
    accept(format!("0;{long}\r\n\r\n").as_bytes());
    assert_eq!(refuse(format!("0;{long}a").as_bytes()), Error::EXTENSIONS_TOO_LARGE);

    let many = "1;aaa\r\nx\r\n".repeat(CHUNK_EXTENSIONS_SIZE_MAX / ";aaa".len());
    accept(format!("{many}0\r\n\r\n").as_bytes());
    assert_eq!(refuse(format!("{many}0;").as_bytes()), Error::EXTENSIONS_TOO_LARGE);
    let limit = CHUNK_EXTENSIONS_SIZE_MAX.to_string();
    assert!(Error::EXTENSIONS_TOO_LARGE.to_string().contains(&limit));
}

#[test]
fn trailers_are_thrown_away() {
    let input = b"5\r\nhello\r\n0\r\nContent-Length: 7\r\nhost:\r\nA: b\xff \t\r\n\r\n";
    assert_eq!(accept(input), b"hello");
}

#[test]
fn broken_trailers_are_refused() {
    for trailer in [
        "A",
        ":",
        ": b",
        " A: b",
        "A : b",
        "A: b\r\n c",
        "A: b\0",
        "A: b\n",
        "\n",
        "A\n",
        "A: b\rc",
        "\rA",
        "\r",
    ] {
        let input = format!("0\r\n{trailer}\r\n\r\n");
        assert_eq!(refuse(input.as_bytes()), Error::TRAILER, "{trailer:?}");
    }
}

#[test]
fn trailers_are_read_up_to_their_limit() {
    let long = format!("A:{}\r\n", "b".repeat(TRAILERS_SIZE_MAX - 4));
    assert!(matches!(decode_pieces([format!("0\r\n{long}\r\n").as_bytes()]), Ok((_, _, true))));
    let longer = format!("0\r\nA:{}\r\n", "b".repeat(TRAILERS_SIZE_MAX - 3));
    assert_eq!(decode_pieces([longer.as_bytes()]), Err(Error::TRAILERS_TOO_LARGE));
    let many = "0\r\n".to_owned() + &"A:b\r\n".repeat(TRAILERS_SIZE_MAX / 5 + 1);
    assert_eq!(decode_pieces([many.as_bytes()]), Err(Error::TRAILERS_TOO_LARGE));
    assert!(Error::TRAILERS_TOO_LARGE.to_string().contains(&TRAILERS_SIZE_MAX.to_string()));
}

/// Not random, so that a failure can be repeated.
#[test]
fn damaged_bodies_are_decoded_the_same_whole_and_in_parts() {
    let seeds: [&[u8]; 2] = [
        b"5\r\nhello\r\n1a;ext=\"v\"\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nA: b\r\n\r\nrest",
        b"1\r\na\r\n2\r\nbc\r\n3;x\r\ndef\r\n0\r\n\r\n",
    ];
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut next = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % bound as u64).unwrap()
    };
    for round in 0..2_000 {
        let mut input = seeds[round % seeds.len()].to_vec();
        for _ in 0..=next(3) {
            let at = next(input.len());
            match next(4) {
                0 => input[at] ^= 1 << next(8),
                1 => input[at] = b"\r\n\t ;:0f\x80"[next(9)],
                2 => input.insert(at, input[at]),
                _ => drop(input.remove(at)),
            }
        }
        if let Ok((content, consumed, finished)) = decode(&input) {
            assert!(content.len() as u64 <= LIMIT && consumed <= input.len());
            assert!(!finished || input[..consumed].ends_with(b"\r\n\r\n"));
        }
    }
}

/// Whatever is written in chunks of any sizes comes back, in whatever pieces it arrives.
#[test]
fn what_was_written_in_chunks_is_read_back() {
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut next = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % bound as u64).unwrap()
    };
    for _ in 0..1_000 {
        let content: Vec<u8> = (0..next(200)).map(|_| b"\r\n0;a\xff"[next(6)]).collect();
        let mut body = Vec::new();
        let mut rest = content.as_slice();
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(1 + next(rest.len()));
            rest = after;
            let extension = ["", ";a", ";a=\"\t;\""][next(3)];
            body.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice([&b"0\r\n\r\n"[..], b"00\r\nA: b\r\n\r\n"][next(2)]);
        let size = body.len();
        body.extend_from_slice(b"GET");
        let pieces = body.chunks(1 + next(20));
        let mut decoder = Decoder::new(LIMIT);
        let (mut decoded, mut consumed) = (Vec::new(), 0);
        for piece in pieces {
            consumed += decoder.decode(piece, &mut decoded).unwrap().consumed;
        }
        assert_eq!((decoded, consumed), (content, size), "{}", body.escape_ascii());
    }
}
