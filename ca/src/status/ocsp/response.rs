//! OCSP responses: error replies, and signed answers about one or more certificates.

use std::time::Duration;

use const_oid::db::rfc6960::ID_PKIX_OCSP_NONCE;
use der::{
    Decode, Encode,
    asn1::{BitString, GeneralizedTime, OctetString},
};
use jiff::Timestamp;
use ocsp::response::{OcspRespStatus, OcspResponse as ErrorResponse};
use sigillo_protocol::x509::reason::RevocationReason;
use x509_cert::{ext::Extension, ext::pkix::CrlReason, spki::AlgorithmIdentifierOwned};
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspResponse, ResponseData, RevokedInfo,
    SingleResponse, Version,
};

use super::Responder;
use crate::{
    model::Revocation,
    signer::SignError,
    status::{crl::published_reason, encode::algorithm_identifier},
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
#[derive(Debug, Clone)]
pub(super) struct Statement {
    /// The CertID as it was asked.
    pub cert_id: CertId,
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

/// An answer that was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    /// It cannot be encoded.
    #[error("the answer cannot be encoded: {0}")]
    Encode(#[from] der::Error),
    /// The key did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// Builds and signs an answer; returns the whole response.
pub(super) fn sign(
    responder: &Responder,
    statements: Vec<Statement>,
    times: Times,
    nonce: Option<Vec<u8>>,
) -> Result<Vec<u8>, AnswerError> {
    let responses = statements
        .into_iter()
        .map(|statement| single(statement, times))
        .collect::<Result<_, _>>()?;
    let response_extensions = nonce.map(nonce_extension).transpose()?.map(|extension| vec![extension]);
    let tbs_response_data = ResponseData {
        version: Version::V1,
        responder_id: responder.id.clone(),
        produced_at: generalized(times.produced_at)?,
        responses,
        response_extensions,
    };
    let signature = responder.signer.sign(&tbs_response_data.to_der()?)?;
    let basic = BasicOcspResponse {
        tbs_response_data,
        signature_algorithm: AlgorithmIdentifierOwned::from_der(algorithm_identifier(responder.signer.algorithm()))?,
        signature: BitString::from_bytes(&signature)?,
        // Always there: some clients cannot check the answer without it.
        certs: Some(vec![responder.certificate.clone()]),
    };
    Ok(OcspResponse::successful(basic)?.to_der()?)
}

fn single(statement: Statement, times: Times) -> Result<SingleResponse, der::Error> {
    let cert_status = match statement.status {
        Status::Good => CertStatus::good(),
        Status::Unknown => CertStatus::unknown(),
        Status::Revoked(revocation) => CertStatus::revoked(RevokedInfo {
            revocation_time: generalized(revocation.at)?,
            revocation_reason: published_reason(&revocation).map(crl_reason),
        }),
    };
    Ok(SingleResponse {
        cert_id: statement.cert_id,
        cert_status,
        this_update: generalized(times.this_update)?,
        next_update: Some(generalized(times.next_update)?),
        single_extensions: None,
    })
}

fn generalized(time: Timestamp) -> Result<OcspGeneralizedTime, der::Error> {
    let seconds = u64::try_from(time.as_second()).map_err(|_| der::ErrorKind::DateTime)?;
    GeneralizedTime::from_unix_duration(Duration::from_secs(seconds)).map(OcspGeneralizedTime)
}

fn nonce_extension(value: Vec<u8>) -> Result<Extension, der::Error> {
    Ok(Extension {
        extn_id: ID_PKIX_OCSP_NONCE,
        critical: false,
        extn_value: OctetString::new(value)?,
    })
}

fn crl_reason(reason: RevocationReason) -> CrlReason {
    match reason {
        RevocationReason::Unspecified => CrlReason::Unspecified,
        RevocationReason::KeyCompromise => CrlReason::KeyCompromise,
        RevocationReason::CaCompromise => CrlReason::CaCompromise,
        RevocationReason::AffiliationChanged => CrlReason::AffiliationChanged,
        RevocationReason::Superseded => CrlReason::Superseded,
        RevocationReason::CessationOfOperation => CrlReason::CessationOfOperation,
        RevocationReason::CertificateHold => CrlReason::CertificateHold,
        RevocationReason::RemoveFromCrl => CrlReason::RemoveFromCRL,
        RevocationReason::PrivilegeWithdrawn => CrlReason::PrivilegeWithdrawn,
        RevocationReason::AaCompromise => CrlReason::AaCompromise,
    }
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
