//! Base64 in both alphabets, written by hand so that the judge shares no decoder with what it judges.

const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64url without padding, as JOSE and ACME use it.
pub(crate) fn url(bytes: impl AsRef<[u8]>) -> String {
    encode(bytes.as_ref(), URL)
}

/// Standard base64 with padding, as PEM and OCSP over GET use it.
pub(crate) fn standard(bytes: impl AsRef<[u8]>) -> String {
    let mut text = encode(bytes.as_ref(), STANDARD);
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

/// Reads unpadded base64url; refuses padding, other characters and spare bits.
pub(crate) fn from_url(text: &str) -> Option<Vec<u8>> {
    decode(text.as_bytes(), URL)
}

/// Reads padded standard base64 without any whitespace.
pub(crate) fn from_standard(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let bare = text
        .strip_suffix("==")
        .or_else(|| text.strip_suffix('='))
        .unwrap_or(text);
    decode(bare.as_bytes(), STANDARD)
}

fn encode(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for place in 0..=group.len() {
            text.push(char::from(alphabet[(word >> (18 - 6 * place)) as usize & 63]));
        }
    }
    text
}

fn decode(text: &[u8], alphabet: &[u8; 64]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for group in text.chunks(4) {
        let mut word = 0u32;
        for &character in group {
            word = word << 6 | alphabet.iter().position(|&known| known == character)? as u32;
        }
        let spare = match group.len() {
            4 => 0,
            3 => 2,
            2 => 4,
            _ => return None,
        };
        if word & ((1 << spare) - 1) != 0 {
            return None;
        }
        word >>= spare;
        for place in (0..group.len() - 1).rev() {
            bytes.push((word >> (8 * place)) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
        for length in 0..70 {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 37 + 11) as u8).collect();
            assert_eq!(from_url(&url(&bytes)).as_ref(), Some(&bytes));
            assert_eq!(from_standard(&standard(&bytes)).as_ref(), Some(&bytes));
        }
    }

    #[test]
    fn agrees_with_the_vectors_of_rfc_4648() {
        assert_eq!(standard("fo"), "Zm8=");
        assert_eq!(standard("foobar"), "Zm9vYmFy");
        assert_eq!(url([0xfb, 0xff]), "-_8");
    }

    #[test]
    fn refuses_padding_and_spare_bits() {
        assert_eq!(from_url("Zm8="), None);
        assert_eq!(from_url("Zm9"), None);
        assert_eq!(from_url("Z"), None);
        assert_eq!(from_url("Zm 8"), None);
    }
}
