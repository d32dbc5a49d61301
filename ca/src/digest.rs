//! SHA-256, the one digest that rooms share.

/// Returns the SHA-256 of some octets.
pub fn sha256(octets: &[u8]) -> [u8; 32] {
    sha256_of_all(std::iter::once(octets))
}

/// Returns the SHA-256 of octets that come in pieces.
pub fn sha256_of_all<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for piece in pieces {
        context.update(piece);
    }
    let digest = context.finish();
    digest.as_ref().try_into().expect("invariant: SHA-256 gives 32 octets")
}
