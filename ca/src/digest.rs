//! SHA-256, the one digest that rooms share.

/// Returns the SHA-256 of some octets.
pub fn sha256(octets: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets);
    digest.as_ref().try_into().expect("invariant: SHA-256 gives 32 octets")
}
