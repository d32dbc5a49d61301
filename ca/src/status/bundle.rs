//! The certs-only bundle that relying parties fetch (`.p7c`).

use super::encode::{element, push, tag};

/// id-signedData, 1.2.840.113549.1.7.2, as a whole element.
const ID_SIGNED_DATA: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// id-data, 1.2.840.113549.1.7.1, as a whole element.
const ID_DATA: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];

/// Builds a certs-only CMS message: SignedData with certificates and without content and signers (RFC 5652 section 5).
pub fn certs_only(certificates: &[impl AsRef<[u8]>]) -> Vec<u8> {
    // DER sorts the members of a SET OF by their encoding.
    let mut sorted: Vec<&[u8]> = certificates.iter().map(AsRef::as_ref).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut signed_data = element(tag::INTEGER, &[1]);
    push(&mut signed_data, tag::SET, &[]);
    push(&mut signed_data, tag::SEQUENCE, &ID_DATA);
    push(&mut signed_data, tag::CONTEXT_0_CONSTRUCTED, &sorted.concat());
    push(&mut signed_data, tag::SET, &[]);
    let content = element(tag::CONTEXT_0_CONSTRUCTED, &element(tag::SEQUENCE, &signed_data));
    element(tag::SEQUENCE, &[ID_SIGNED_DATA.as_slice(), &content].concat())
}
