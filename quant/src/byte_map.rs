//! The alphabet in which byte-level vocabularies are written: one printable character for each byte.
//!
//! Bytes that are printable in Latin-1 stand for themselves; the other 68 are, in ascending order, the characters
//! from U+0100 on (a space is `Ġ`, a line feed `Ċ`).

/// Whether the byte is written as the character of the same number.
const fn is_printable(byte: u8) -> bool {
    matches!(byte, 33..=126 | 161..=172 | 174..=255)
}

/// The byte that the character U+0100 + index stands for.
const SHIFTED: [u8; 68] = {
    let mut bytes = [0; 68];
    let mut count = 0;
    let mut byte = 0;
    while byte < 256 {
        if !is_printable(byte as u8) {
            bytes[count] = byte as u8;
            count += 1;
        }
        byte += 1;
    }
    bytes
};

/// The character that stands for `byte`.
pub fn char_of(byte: u8) -> char {
    match SHIFTED.binary_search(&byte) {
        Ok(index) => char::from_u32(0x100 + index as u32).unwrap_or(char::REPLACEMENT_CHARACTER),
        Err(_) => char::from(byte),
    }
}

/// Appends the bytes that `text`, written in the alphabet, stands for. Whatever is not of the alphabet (padding
/// tokens may hold it) stands for itself.
pub fn append_bytes(text: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while at < text.len() {
        let lead = text[at];
        // Characters of the alphabet are at most U+0143: one or two bytes.
        let code_point = match (lead, text.get(at + 1)) {
            (0xc2..=0xc5, Some(&low)) if low & 0xc0 == 0x80 => {
                u32::from(lead & 0x1f) << 6 | u32::from(low & 0x3f)
            }
            _ => {
                out.push(lead);
                at += 1;
                continue;
            }
        };
        let byte = match code_point {
            0x00..=0xff => Some(code_point as u8).filter(|&byte| is_printable(byte)),
            _ => SHIFTED.get((code_point - 0x100) as usize).copied(),
        };
        match byte {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(&text[at..at + 2]),
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_a_bijection() {
        let alphabet: String = (0..=255).map(char_of).collect();
        let mut bytes = Vec::new();
        append_bytes(alphabet.as_bytes(), &mut bytes);
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!((char_of(b' '), char_of(b'\n'), char_of(173), char_of(b'a')), ('Ġ', 'Ċ', '\u{143}', 'a'));
    }

    #[test]
    fn what_is_not_of_the_alphabet_stands_for_itself() {
        for text in ["a b\n", "\u{85}\u{ad}", "\u{144}ƀ", "中文😀", "é"] {
            let mut bytes = Vec::new();
            append_bytes(text.as_bytes(), &mut bytes);
            let expected = if text == "é" { vec![0xe9] } else { text.as_bytes().to_vec() };
            assert_eq!(bytes, expected, "{text:?}");
        }
        let mut bytes = Vec::new();
        append_bytes(b"\xc4", &mut bytes);
        append_bytes(b"\xc4a\xff", &mut bytes);
        assert_eq!(bytes, b"\xc4\xc4a\xff");
    }
}
