//! OCSP requests: from a stranger's bytes to what is asked, or a refusal.

use const_oid::db::rfc6960::{
    ID_PKIX_OCSP_BASIC, ID_PKIX_OCSP_NONCE, ID_PKIX_OCSP_PREF_SIG_ALGS, ID_PKIX_OCSP_RESPONSE,
};
use der::{
    Decode, Encode, Tagged,
    asn1::{ObjectIdentifier, OctetStringRef},
};
use x509_cert::ext::{Extension, Extensions};
use x509_ocsp::CertId;

use super::HashAlgorithm;
use crate::model::Serial;

/// The longest request that is read: 64 KiB hold [`REQUESTS_MAX`] CertIDs and a signature with its chain.
pub const REQUEST_OCTETS_MAX: usize = 64 * 1024;

/// How many certificates one message may ask for: each may cost a look into the store. Fifty must work.
pub const REQUESTS_MAX: usize = 64;

/// The longest nonce (RFC 9654 section 2.1); the shortest has one octet.
pub const NONCE_LENGTH_MAX: usize = 128;

/// How many extensions one list may hold. RFC 6960 and RFC 9654 define five in all.
const EXTENSIONS_MAX: usize = 16;

/// A request that is answered with `malformedRequest`, and why, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer than [`REQUEST_OCTETS_MAX`].
    #[error("the request is too long")]
    TooLong,
    /// Not the DER of an OCSPRequest.
    #[error("the request is not the DER of an OCSPRequest")]
    NotDer,
    /// Asks for nothing.
    #[error("the request asks for nothing")]
    Empty,
    /// Asks for more than [`REQUESTS_MAX`].
    #[error("the request asks for too many certificates")]
    TooMany,
    /// A hash algorithm has parameters other than NULL.
    #[error("a CertID's hash algorithm has parameters")]
    HashParameters,
    /// An extension is there twice, or there are too many.
    #[error("an extension is there twice, or there are too many")]
    Extensions,
    /// A critical extension is not known here.
    #[error("a critical extension is not known")]
    CriticalExtension,
    /// The nonce is no OCTET STRING of 1 to [`NONCE_LENGTH_MAX`] octets.
    #[error("the nonce is no OCTET STRING of 1 to 128 octets")]
    Nonce,
    /// The response types that the client insists on do not include the basic one.
    #[error("the client does not accept basic responses")]
    AcceptableResponses,
}

/// What a message asks.
#[derive(Debug, Clone)]
pub struct OcspRequest {
    /// The certificates, in the message's order: 1 to [`REQUESTS_MAX`].
    pub requests: Vec<RequestedStatus>,
    /// The nonce extension's value: the DER of an OCTET STRING, as it is to be returned.
    pub nonce: Option<Vec<u8>>,
    /// Whether the message has nothing but one CertID, so that its answer serves others too.
    pub is_plain: bool,
}

/// One certificate that is asked for.
#[derive(Debug, Clone)]
pub struct RequestedStatus {
    /// The CertID, to be repeated in the answer.
    pub cert_id: CertId,
    /// The hash algorithm, if it is one that is understood.
    pub hash: Option<HashAlgorithm>,
    /// The serial, if it is one that this CA could have given.
    pub serial: Option<Serial>,
}

impl OcspRequest {
    /// Reads a message. A signature is not looked at: the answers are public, so it would change nothing
    /// (RFC 9919 section 3.1.2 lets a responder ignore it).
    ///
    /// # Errors
    /// [`Malformed`] for all that must be answered with `malformedRequest`.
    pub fn from_der(octets: &[u8]) -> Result<Self, Malformed> {
        if octets.len() > REQUEST_OCTETS_MAX {
            return Err(Malformed::TooLong);
        }
        let request = x509_ocsp::OcspRequest::from_der(octets).map_err(|_| Malformed::NotDer)?;
        // The decoder lets some BER pass, such as a written-out default. What is answered must be what was asked.
        if request.to_der().map_err(|_| Malformed::NotDer)? != octets {
            return Err(Malformed::NotDer);
        }
        let tbs = request.tbs_request;
        match tbs.request_list.len() {
            0 => return Err(Malformed::Empty),
            1..=REQUESTS_MAX => {}
            _ => return Err(Malformed::TooMany),
        }
        let nonce = tbs
            .request_extensions
            .as_ref()
            .map(read_request_extensions)
            .transpose()?
            .flatten();
        for single in &tbs.request_list {
            single
                .single_request_extensions
                .as_ref()
                .map(read_single_extensions)
                .transpose()?;
        }
        let is_plain = request.optional_signature.is_none()
            && tbs.requestor_name.is_none()
            && tbs.request_extensions.is_none()
            && tbs.request_list.len() == 1
            && tbs
                .request_list
                .iter()
                .all(|single| single.single_request_extensions.is_none());
        let requests = tbs
            .request_list
            .into_iter()
            .map(|single| read_cert_id(single.req_cert))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            requests,
            nonce,
            is_plain,
        })
    }
}

fn read_cert_id(cert_id: CertId) -> Result<RequestedStatus, Malformed> {
    if let Some(parameters) = &cert_id.hash_algorithm.parameters
        && (parameters.tag() != der::Tag::Null || !parameters.value().is_empty())
    {
        return Err(Malformed::HashParameters);
    }
    let hash = HashAlgorithm::from_oid(cert_id.hash_algorithm.oid);
    let serial = Serial::from_der_content(cert_id.serial_number.as_bytes());
    Ok(RequestedStatus { cert_id, hash, serial })
}

/// Looks at the extensions of the message; returns the nonce's value.
fn read_request_extensions(extensions: &Extensions) -> Result<Option<Vec<u8>>, Malformed> {
    check_list(extensions)?;
    let mut nonce = None;
    for extension in extensions {
        match extension.extn_id {
            ID_PKIX_OCSP_NONCE => nonce = Some(read_nonce(extension)?),
            ID_PKIX_OCSP_RESPONSE => read_acceptable_responses(extension)?,
            // Each key has one algorithm, and it is never a weak one: preferences change nothing.
            ID_PKIX_OCSP_PREF_SIG_ALGS => {}
            _ if extension.critical => return Err(Malformed::CriticalExtension),
            _ => {}
        }
    }
    Ok(nonce)
}

fn read_single_extensions(extensions: &Extensions) -> Result<(), Malformed> {
    check_list(extensions)?;
    if extensions.iter().any(|extension| extension.critical) {
        Err(Malformed::CriticalExtension)
    } else {
        Ok(())
    }
}

fn check_list(extensions: &Extensions) -> Result<(), Malformed> {
    let repeated = |(place, extension): (usize, &Extension)| {
        extensions[..place]
            .iter()
            .any(|earlier| earlier.extn_id == extension.extn_id)
    };
    if extensions.is_empty() || extensions.len() > EXTENSIONS_MAX || extensions.iter().enumerate().any(repeated) {
        return Err(Malformed::Extensions);
    }
    Ok(())
}

fn read_nonce(extension: &Extension) -> Result<Vec<u8>, Malformed> {
    let value = extension.extn_value.as_bytes();
    let nonce = OctetStringRef::from_der(value).map_err(|_| Malformed::Nonce)?;
    match nonce.as_bytes().len() {
        1..=NONCE_LENGTH_MAX => Ok(value.to_vec()),
        _ => Err(Malformed::Nonce),
    }
}

/// A list without the basic type is refused only where it is critical: other types do not exist, so a client
/// that merely prefers one is better served with the basic one.
fn read_acceptable_responses(extension: &Extension) -> Result<(), Malformed> {
    let types = Vec::<ObjectIdentifier>::from_der(extension.extn_value.as_bytes())
        .map_err(|_| Malformed::AcceptableResponses)?;
    if extension.critical && !types.contains(&ID_PKIX_OCSP_BASIC) {
        return Err(Malformed::AcceptableResponses);
    }
    Ok(())
}
