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

use super::{
    HashAlgorithm,
    walk::{Element, Walk},
};
use crate::{model::Serial, status::encode::tag};

/// The longest request that is read: 64 KiB hold [`REQUESTS_MAX`] CertIDs and a signature with its chain.
pub const REQUEST_OCTETS_MAX: usize = 64 * 1024;

/// How many certificates one message may ask for: each may cost a look into the store. Fifty must work.
pub const REQUESTS_MAX: usize = 64;

/// The longest nonce (RFC 9654 section 2.1); the shortest has one octet.
pub const NONCE_LENGTH_MAX: usize = 128;

/// The longest message that is recognised as a usual one: with a SHA-512 CertID and the longest nonce it has about 350 octets.
const USUAL_OCTETS_MAX: usize = 512;

/// id-pkix-ocsp-nonce, 1.3.6.1.5.5.7.48.1.2, as a whole element.
const NONCE_IDENTIFIER: [u8; 11] = [0x06, 0x09, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02];

/// NULL as a whole element.
const NULL: [u8; 2] = [0x05, 0x00];

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

/// What a message asks; it borrows from the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspRequest<'a> {
    /// The certificates, in the message's order: 1 to [`REQUESTS_MAX`].
    pub requests: Vec<RequestedStatus<'a>>,
    /// The nonce extension's value: the DER of an OCTET STRING, as it is to be returned.
    pub nonce: Option<&'a [u8]>,
    /// Whether the message has nothing but one CertID, so that its answer serves others too.
    pub is_plain: bool,
}

/// One certificate that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestedStatus<'a> {
    /// The CertID's DER, to be repeated in the answer.
    pub cert_id: &'a [u8],
    /// The hash algorithm, if it is one that is understood.
    pub hash: Option<HashAlgorithm>,
    /// The hash of the issuer's name.
    pub name_hash: &'a [u8],
    /// The hash of the issuer's key.
    pub key_hash: &'a [u8],
    /// The serial, if it is one that this CA could have given.
    pub serial: Option<Serial>,
}

impl<'a> OcspRequest<'a> {
    /// Reads a message. A signature is not looked at: the answers are public, so it would change nothing
    /// (RFC 9919 section 3.1.2 lets a responder ignore it).
    ///
    /// What nearly everybody sends, one CertID and perhaps a nonce, is recognised by a walk over its octets, which
    /// takes less than the strict decoder takes; everything else, and all that is to be refused, is left to the decoder.
    ///
    /// # Errors
    /// [`Malformed`] for all that must be answered with `malformedRequest`.
    pub fn from_der(octets: &'a [u8]) -> Result<Self, Malformed> {
        match Self::usual(octets) {
            Some(request) => Ok(request),
            None => Self::judged(octets),
        }
    }

    /// Recognises the usual message; `None` for everything else.
    pub(super) fn usual(octets: &'a [u8]) -> Option<Self> {
        if octets.len() > USUAL_OCTETS_MAX {
            return None;
        }
        let mut message = Walk::new(octets);
        let mut tbs = whole(&mut message)?.inside();
        let mut tbs = whole(&mut tbs)?.inside();
        let mut list = tbs.sequence()?.inside();
        let mut request = whole(&mut list)?.inside();
        let cert_id = whole(&mut request)?;
        let nonce = if tbs.is_over() {
            None
        } else {
            Some(usual_nonce(&mut tbs)?)
        };
        let asked = usual_cert_id(cert_id)?;
        Some(Self {
            requests: vec![asked],
            nonce,
            is_plain: nonce.is_none(),
        })
    }

    /// Reads any message with the strict decoder.
    pub(super) fn judged(octets: &'a [u8]) -> Result<Self, Malformed> {
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
        let (places, extensions) = find_parts(octets).ok_or(Malformed::NotDer)?;
        let requests = tbs
            .request_list
            .iter()
            .zip(places)
            .map(|(single, place)| read_cert_id(&single.req_cert, place))
            .collect::<Result<_, _>>()?;
        let nonce = match nonce {
            // It is the only extension of its kind, so it is found where it stands.
            Some(()) => Some(extensions.and_then(find_nonce).ok_or(Malformed::NotDer)?),
            None => None,
        };
        Ok(Self {
            requests,
            nonce,
            is_plain,
        })
    }
}

/// Takes a SEQUENCE behind which nothing follows.
fn whole<'a>(walk: &mut Walk<'a>) -> Option<Element<'a>> {
    walk.sequence().filter(|_| walk.is_over())
}

/// Takes `[2] EXPLICIT Extensions` with nothing but a nonce that is not critical, and nothing behind it.
fn usual_nonce<'a>(tbs: &mut Walk<'a>) -> Option<&'a [u8]> {
    let mut explicit = tbs.take(tag::CONTEXT_2_CONSTRUCTED).filter(|_| tbs.is_over())?.inside();
    let mut extensions = whole(&mut explicit)?.inside();
    let mut extension = whole(&mut extensions)?.inside();
    if !extension.literally(&NONCE_IDENTIFIER) {
        return None;
    }
    let value = extension.take(tag::OCTET_STRING).filter(|_| extension.is_over())?;
    let mut nonce = value.inside();
    let octets = nonce.take(tag::OCTET_STRING).filter(|_| nonce.is_over())?;
    (1..=NONCE_LENGTH_MAX)
        .contains(&octets.content.len())
        .then_some(value.content)
}

/// Reads a CertID whose hash algorithm is known, with parameters NULL or none, and whose serial could be ours.
fn usual_cert_id(cert_id: Element<'_>) -> Option<RequestedStatus<'_>> {
    let mut parts = cert_id.inside();
    let mut algorithm = parts.sequence()?.inside();
    let hash = HashAlgorithm::from_oid_content(algorithm.take(tag::OBJECT_IDENTIFIER)?.content)?;
    if !algorithm.is_over() {
        algorithm.literally(&NULL).then_some(())?;
    }
    algorithm.is_over().then_some(())?;
    let name_hash = parts.take(tag::OCTET_STRING)?.content;
    let key_hash = parts.take(tag::OCTET_STRING)?.content;
    let serial = parts.take(tag::INTEGER)?.content;
    Some(RequestedStatus {
        cert_id: cert_id.whole,
        hash: Some(hash),
        name_hash,
        key_hash,
        serial: Some(Serial::from_der_content(serial).filter(|_| parts.is_over())?),
    })
}

/// Finds the CertIDs, and the message's extensions, in what the strict decoder has taken.
fn find_parts(octets: &[u8]) -> Option<(Vec<Element<'_>>, Option<Walk<'_>>)> {
    let mut tbs = Walk::new(octets).sequence()?.inside().sequence()?.inside();
    // The requestor's name; the version is always the default, and so never there.
    if tbs.is_at(tag::CONTEXT_1_CONSTRUCTED) {
        tbs.take(tag::CONTEXT_1_CONSTRUCTED)?;
    }
    let mut list = tbs.sequence()?.inside();
    let mut places = Vec::new();
    while !list.is_over() {
        places.push(list.sequence()?.inside().sequence()?);
    }
    let extensions = tbs
        .take(tag::CONTEXT_2_CONSTRUCTED)
        .and_then(|explicit| explicit.inside().sequence())
        .map(Element::inside);
    Some((places, extensions))
}

/// Finds the value of the nonce among extensions that the strict decoder has taken.
fn find_nonce(mut extensions: Walk<'_>) -> Option<&[u8]> {
    while let Some(extension) = extensions.sequence() {
        let mut parts = extension.inside();
        if !parts.literally(&NONCE_IDENTIFIER) {
            continue;
        }
        _ = parts.take(tag::BOOLEAN);
        return parts.take(tag::OCTET_STRING).map(|value| value.content);
    }
    None
}

fn read_cert_id<'a>(cert_id: &CertId, place: Element<'a>) -> Result<RequestedStatus<'a>, Malformed> {
    if let Some(parameters) = &cert_id.hash_algorithm.parameters
        && (parameters.tag() != der::Tag::Null || !parameters.value().is_empty())
    {
        return Err(Malformed::HashParameters);
    }
    let mut parts = place.inside();
    let hashes = parts.sequence().and_then(|_| {
        let name_hash = parts.take(tag::OCTET_STRING)?.content;
        let key_hash = parts.take(tag::OCTET_STRING)?.content;
        Some((name_hash, key_hash))
    });
    let (name_hash, key_hash) = hashes.ok_or(Malformed::NotDer)?;
    Ok(RequestedStatus {
        cert_id: place.whole,
        hash: HashAlgorithm::from_oid(cert_id.hash_algorithm.oid),
        name_hash,
        key_hash,
        serial: Serial::from_der_content(cert_id.serial_number.as_bytes()),
    })
}

/// Looks at the extensions of the message; returns whether there is a nonce.
fn read_request_extensions(extensions: &Extensions) -> Result<Option<()>, Malformed> {
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

fn read_nonce(extension: &Extension) -> Result<(), Malformed> {
    let nonce = OctetStringRef::from_der(extension.extn_value.as_bytes()).map_err(|_| Malformed::Nonce)?;
    match nonce.as_bytes().len() {
        1..=NONCE_LENGTH_MAX => Ok(()),
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
