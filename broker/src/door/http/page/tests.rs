//! The page's policy has the digests of its script and its style sheet.

use super::*;

#[test]
fn the_policy_names_the_script_and_the_style_sheet() {
    for (directive, begin, end) in [
        ("script-src", "<script type=\"module\">", "</script>"),
        ("style-src", "<style>", "</style>"),
    ] {
        let (_, rest) = PAGE.split_once(begin).unwrap();
        let (text, _) = rest.split_once(end).unwrap();
        let source = format!("{directive} 'sha256-{}'", base64(&sha256(text.as_bytes())));
        assert!(POLICY.contains(&source), "the page has changed: its policy has to say {source}");
    }
}

#[test]
fn the_page_is_one_small_file_with_one_script_and_one_style_sheet() {
    for part in ["<script", "</script>", "<style", "</style>"] {
        assert_eq!(PAGE.matches(part).count(), 1, "{part}");
    }
    for part in [" style=", " onclick=", "innerHTML", "http://1", "https://", " src="] {
        assert!(!PAGE.contains(part), "{part}");
    }
    assert!(PAGE.len() < 70_000, "{} bytes", PAGE.len());
}

#[test]
fn digests_are_those_of_the_standards() {
    let hex: String = sha256(b"abc").iter().map(|byte| format!("{byte:02x}")).collect();
    // FIPS 180-4, the example of one block; and RFC 4648 §10.
    assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foobar", "Zm9vYmFy")] {
        assert_eq!(base64(bytes.as_bytes()), text);
    }
}

/// SHA-256 (FIPS 180-4 §6.2). The round constants are found as the standard defines them: from
/// the roots of the first primes.
fn sha256(message: &[u8]) -> [u8; 32] {
    let primes: Vec<u64> = (2..).filter(|n| (2..*n).all(|d| n % d != 0)).take(64).collect();
    let mut state: Vec<u32> = primes[..8].iter().map(|&prime| root_bits(prime, 2)).collect();
    let constants: Vec<u32> = primes.iter().map(|&prime| root_bits(prime, 3)).collect();
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize((message.len() + 9).next_multiple_of(64) - 8, 0);
    padded.extend_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks(64) {
        let word = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        let mut words: Vec<u32> = block.chunks(4).map(word).collect();
        for t in 16..64 {
            let (w2, w15) = (words[t - 2], words[t - 15]);
            let low = w15.rotate_right(7) ^ w15.rotate_right(18) ^ (w15 >> 3);
            let high = w2.rotate_right(17) ^ w2.rotate_right(19) ^ (w2 >> 10);
            let earlier = words[t - 16].wrapping_add(words[t - 7]);
            words.push(earlier.wrapping_add(low).wrapping_add(high));
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state[..] else { panic!() };
        for (constant, word) in constants.iter().zip(words) {
            let choice = (e & f) ^ (!e & g);
            let majority = (a & b) ^ (a & c) ^ (b & c);
            let first = (e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25))
                .wrapping_add(h)
                .wrapping_add(choice)
                .wrapping_add(*constant)
                .wrapping_add(word);
            let second = (a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22))
                .wrapping_add(majority);
            (h, g, f, e) = (g, f, e, d.wrapping_add(first));
            (d, c, b, a) = (c, b, a, first.wrapping_add(second));
        }
        for (old, new) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *old = old.wrapping_add(new);
        }
    }
    let bytes: Vec<u8> = state.iter().flat_map(|word| word.to_be_bytes()).collect();
    bytes.try_into().unwrap()
}

/// The first 32 bits of the fraction of a prime's square root (degree 2) or cube root (3).
fn root_bits(prime: u64, degree: u32) -> u32 {
    // The largest `root` whose power fits below `prime`, both scaled so that 32 bits are whole.
    let scaled = u128::from(prime) << (32 * degree);
    let (mut root, mut step) = (0u128, 1u128 << 37);
    while step > 0 {
        if (root + step).pow(degree) <= scaled {
            root += step;
        }
        step >>= 1;
    }
    u32::try_from(root & 0xffff_ffff).unwrap()
}

/// Base64 with padding (RFC 4648 §4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0usize, |bits, &byte| bits << 8 | usize::from(byte));
        let bits = bits << (8 * (3 - group.len()));
        for index in 0..4 {
            let digit = DIGITS[bits >> (18 - 6 * index) & 63];
            text.push(if index <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
