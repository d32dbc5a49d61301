//! The audit log: how events are chained and put into the log's tree, and how both are verified.

mod chain;
mod export;
mod leaf;
mod verifier;

pub use chain::{Break, Chain, canonical, verify};
pub use export::{FileFault, Found, HeadLine, verify_lines};
pub use leaf::{certificate_of, entry_of, leaf_of, salt};
pub use verifier::{Fault, HeadKeys, Verifier};

/// Reads 32 octets from hexadecimal digits in lower case.
pub(crate) fn hex(text: &str) -> Option<[u8; 32]> {
    let digit = |octet: &u8| match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'a'..=b'f' => Some(octet - b'a' + 10),
        _ => None,
    };
    let digits: Vec<u8> = text.as_bytes().iter().map(digit).collect::<Option<_>>()?;
    let octets: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    (digits.len() == 64).then(|| octets.try_into().ok()).flatten()
}
