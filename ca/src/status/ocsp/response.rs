//! OCSP responses: error replies, and signed answers about one or more certificates.

use jiff::Timestamp;
use ocsp::response::{OcspRespStatus, OcspResponse as ErrorResponse};

use super::Responder;
use crate::{
    model::Revocation,
    status::{
        crl::published_reason,
        encode::{UnencodableTime, header_octets, push, push_bit_string, push_generalized_time, push_header, tag},
    },
};

/// A status without an answer. `sigRequired` has no use here: nothing asks for signed requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorStatus {
    /// The request cannot be understood.
    MalformedRequest,
    /// Something is wrong here that trying again will not mend soon.
    InternalError,
    /// No answer now; perhaps soon.
    TryLater,
    /// None of the issuers asked about is served here.
    Unauthorized,
}

/// Returns the whole reply for an error: only the status, without response bytes.
pub fn error_reply(status: ErrorStatus) -> Vec<u8> {
    let status = match status {
        ErrorStatus::MalformedRequest => OcspRespStatus::MalformedReq,
        ErrorStatus::InternalError => OcspRespStatus::InternalError,
        ErrorStatus::TryLater => OcspRespStatus::TryLater,
        ErrorStatus::Unauthorized => OcspRespStatus::Unauthorized,
    };
    ErrorResponse::new_non_success(status)
        .and_then(|response| response.to_der())
        .expect("invariant: every status above is one of RFC 6960's error statuses")
}

/// What is said about one certificate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statement<'a> {
    /// The CertID's DER as it was asked.
    pub cert_id: &'a [u8],
    /// Its status.
    pub status: Status,
}

/// A certificate's status as RFC 6960 section 2.2 has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// Issued and not revoked.
    Good,
    /// Revoked.
    Revoked(Revocation),
    /// Never issued, or nothing that is served here.
    Unknown,
}

/// The times of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    /// When it is signed.
    pub produced_at: Timestamp,
    /// When the status was known.
    pub this_update: Timestamp,
    /// When a newer answer is there at the latest.
    pub next_update: Timestamp,
}

/// How many octets a GeneralizedTime takes.
const TIME_OCTETS: usize = 2 + 15;

/// How many octets a CRLReason takes in `[0] EXPLICIT`.
const REASON_OCTETS: usize = 2 + 3;

/// id-pkix-ocsp-nonce, 1.3.6.1.5.5.7.48.1.2, as a whole element.
const NONCE_IDENTIFIER: [u8; 11] = [0x06, 0x09, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02];

/// What stands before the BasicOCSPResponse: the OID id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1.
const BASIC_IDENTIFIER: [u8; 11] = [0x06, 0x09, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

/// The responseStatus `successful`.
const SUCCESSFUL: [u8; 3] = [0x0a, 0x01, 0x00];

/// Encodes what is signed: ResponseData with one SingleResponse for each statement.
pub(super) fn response_data(
    responder: &Responder,
    statements: &[Statement<'_>],
    times: Times,
    nonce: Option<&[u8]>,
) -> Result<Vec<u8>, UnencodableTime> {
    let singles = statements
        .iter()
        .map(|single| element_octets(single_octets(single)))
        .sum();
    let extension = nonce.map_or(0, |value| NONCE_IDENTIFIER.len() + element_octets(value.len()));
    let extensions = element_octets(element_octets(extension));
    let content = responder.id_der.len()
        + TIME_OCTETS
        + element_octets(singles)
        + nonce.map_or(0, |_| element_octets(extensions));
    let mut out = Vec::with_capacity(element_octets(content));
    push_header(&mut out, tag::SEQUENCE, content);
    out.extend_from_slice(&responder.id_der);
    push_generalized_time(&mut out, times.produced_at)?;
    push_header(&mut out, tag::SEQUENCE, singles);
    for statement in statements {
        push_single(&mut out, statement, times)?;
    }
    if let Some(value) = nonce {
        push_header(&mut out, tag::CONTEXT_1_CONSTRUCTED, extensions);
        push_header(&mut out, tag::SEQUENCE, element_octets(extension));
        push_header(&mut out, tag::SEQUENCE, extension);
        out.extend_from_slice(&NONCE_IDENTIFIER);
        push(&mut out, tag::OCTET_STRING, value);
    }
    Ok(out)
}

/// Puts the whole response around what was signed. The responder's certificate is always there: some clients cannot
/// check the answer without it.
pub(super) fn response(responder: &Responder, response_data: &[u8], signature: &[u8]) -> Vec<u8> {
    let basic = response_data.len()
        + responder.algorithm_der.len()
        + element_octets(1 + signature.len())
        + responder.certs_der.len();
    let response_bytes = BASIC_IDENTIFIER.len() + element_octets(element_octets(basic));
    let explicit = element_octets(response_bytes);
    let content = SUCCESSFUL.len() + element_octets(explicit);
    let mut out = Vec::with_capacity(element_octets(content));
    push_header(&mut out, tag::SEQUENCE, content);
    out.extend_from_slice(&SUCCESSFUL);
    push_header(&mut out, tag::CONTEXT_0_CONSTRUCTED, explicit);
    push_header(&mut out, tag::SEQUENCE, response_bytes);
    out.extend_from_slice(&BASIC_IDENTIFIER);
    push_header(&mut out, tag::OCTET_STRING, element_octets(basic));
    push_header(&mut out, tag::SEQUENCE, basic);
    out.extend_from_slice(response_data);
    out.extend_from_slice(responder.algorithm_der);
    push_bit_string(&mut out, signature);
    out.extend_from_slice(&responder.certs_der);
    out
}

/// How many octets an element takes whose content has so many.
fn element_octets(content: usize) -> usize {
    header_octets(content) + content
}

/// How many octets are inside a SingleResponse.
fn single_octets(statement: &Statement<'_>) -> usize {
    let status = match statement.status {
        Status::Good | Status::Unknown => 2,
        Status::Revoked(revocation) => element_octets(revoked_octets(&revocation)),
    };
    statement.cert_id.len() + status + TIME_OCTETS + element_octets(TIME_OCTETS)
}

fn revoked_octets(revocation: &Revocation) -> usize {
    TIME_OCTETS + published_reason(revocation).map_or(0, |_| REASON_OCTETS)
}

fn push_single(out: &mut Vec<u8>, statement: &Statement<'_>, times: Times) -> Result<(), UnencodableTime> {
    push_header(out, tag::SEQUENCE, single_octets(statement));
    out.extend_from_slice(statement.cert_id);
    match statement.status {
        Status::Good => push_header(out, tag::CONTEXT_0, 0),
        Status::Unknown => push_header(out, tag::CONTEXT_2, 0),
        Status::Revoked(revocation) => {
            push_header(out, tag::CONTEXT_1_CONSTRUCTED, revoked_octets(&revocation));
            push_generalized_time(out, revocation.at)?;
            if let Some(reason) = published_reason(&revocation) {
                push_header(out, tag::CONTEXT_0_CONSTRUCTED, REASON_OCTETS - 2);
                push(out, tag::ENUMERATED, &[reason.code()]);
            }
        }
    }
    push_generalized_time(out, times.this_update)?;
    push_header(out, tag::CONTEXT_0_CONSTRUCTED, TIME_OCTETS);
    push_generalized_time(out, times.next_update)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_replies_are_only_a_status() {
        let cases = [
            (ErrorStatus::MalformedRequest, 1),
            (ErrorStatus::InternalError, 2),
            (ErrorStatus::TryLater, 3),
            (ErrorStatus::Unauthorized, 6),
        ];
        for (status, code) in cases {
            assert_eq!(error_reply(status), [0x30, 0x03, 0x0a, 0x01, code], "{status:?}");
        }
    }
}
