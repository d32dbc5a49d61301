//! Asking an OCSP responder and judging its answer (RFC 6960, RFC 9654, RFC 9919).

use base64::Engine;
use const_oid::db::rfc5912::ID_SHA_256;
use const_oid::db::rfc6960::{ID_PKIX_OCSP_BASIC, ID_PKIX_OCSP_NONCE};
use der::asn1::{Null, OctetString};
use der::{Decode, Encode, Reader, SliceReader};
use jiff::Timestamp;
use x509_cert::ext::Extension;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspRequest, OcspResponse, OcspResponseStatus, Request as OcspRequestItem,
    ResponderId, SingleResponse, TbsRequest, Version,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::report::{RevocationStatus, StatusReport};
use super::{signature, staleness};
use crate::revoke;
use crate::transport::{Request, Transport};

/// The length of our nonces (RFC 9654 section 2.1: at least 32 octets).
const NONCE_OCTETS: usize = 32;
/// URLs up to this length are asked by GET, which caches can answer (RFC 9919 section 5).
const GET_URL_MAX: usize = 255;
/// The largest answer that is read: one status with one certificate is a few kilobytes.
const ANSWER_OCTETS_MAX: usize = 128 * 1024;
/// The types of a request and an answer (RFC 6960 appendix C).
const REQUEST_TYPE: &str = "application/ocsp-request";
const ANSWER_TYPE: &str = "application/ocsp-response";

/// What is asked.
pub(super) struct Question<'a> {
    /// The certificate, DER.
    pub certificate: &'a [u8],
    /// Its issuer's, DER.
    pub issuer: &'a [u8],
    /// Responders that are trusted without being delegated, DER.
    pub responders: &'a [Vec<u8>],
    /// Whether to send a nonce.
    pub nonce: bool,
}

/// Asks the responders in turn until one gives an answer that counts.
pub(super) async fn ask(
    transport: &Transport,
    question: &Question<'_>,
    urls: &[String],
    now: Timestamp,
) -> StatusReport {
    let mut last = None;
    for url in urls {
        let report = match ask_one(transport, question, url, now).await {
            Ok(report) => return report,
            Err(why) => StatusReport::error(url, why),
        };
        last = Some(report);
    }
    last.unwrap_or_else(|| StatusReport::error("", "there is no responder to ask"))
}

async fn ask_one(
    transport: &Transport,
    question: &Question<'_>,
    url: &str,
    now: Timestamp,
) -> Result<StatusReport, String> {
    let id = certificate_id(question)?;
    let nonce = if question.nonce { Some(fresh_nonce()?) } else { None };
    let body = request(&id, nonce.as_deref()).map_err(|e| format!("cannot make the request: {e}"))?;
    let response = transport.fetch(message(url, body)).await.map_err(|e| e.to_string())?;
    if response.status != 200 {
        return Err(format!("the responder answered with status {}", response.status));
    }
    if response.media_type().as_deref() != Some(ANSWER_TYPE) {
        return Err(format!("the answer is not {ANSWER_TYPE}"));
    }
    judge(question, &id, nonce.as_deref(), &response.body, url, now)
}

/// Makes the HTTP request: GET when it is short enough, otherwise POST.
fn message(url: &str, body: Vec<u8>) -> Request {
    let base64 = base64::engine::general_purpose::STANDARD.encode(&body);
    let escaped = base64.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let short = format!("{}/{escaped}", url.trim_end_matches('/'));
    // A query would stand between the responder's address and the request.
    let mut message = if short.len() <= GET_URL_MAX && !url.contains('?') {
        Request::get(short)
    } else {
        Request::post(url, REQUEST_TYPE, body)
    };
    message.accept = Some(ANSWER_TYPE);
    message.body_max(ANSWER_OCTETS_MAX)
}

fn fresh_nonce() -> Result<Vec<u8>, String> {
    let mut nonce = vec![0; NONCE_OCTETS];
    getrandom::fill(&mut nonce).map_err(|e| format!("cannot get random numbers: {e}"))?;
    Ok(nonce)
}

/// Names the certificate by SHA-256 digests of its issuer (RFC 9919 section 3.1.1).
fn certificate_id(question: &Question<'_>) -> Result<CertId, String> {
    let (_, certificate) = X509Certificate::from_der(question.certificate).map_err(|e| e.to_string())?;
    let (_, issuer) = X509Certificate::from_der(question.issuer).map_err(|e| e.to_string())?;
    let sha256 = |octets: &[u8]| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets);
        OctetString::new(digest.as_ref()).map_err(|e| e.to_string())
    };
    let serial = certificate.raw_serial();
    let length = u8::try_from(serial.len()).ok().filter(|length| *length < 0x80);
    let integer = [&[0x02, length.ok_or("its serial number is too long")?], serial].concat();
    Ok(CertId {
        hash_algorithm: AlgorithmIdentifierOwned {
            oid: ID_SHA_256,
            parameters: Some(Null.into()),
        },
        issuer_name_hash: sha256(issuer.subject().as_raw())?,
        issuer_key_hash: sha256(&issuer.public_key().subject_public_key.data)?,
        serial_number: SerialNumber::from_der(&integer).map_err(|e| e.to_string())?,
    })
}

/// Builds a request for one certificate, without extensions of its own.
fn request(id: &CertId, nonce: Option<&[u8]>) -> der::Result<Vec<u8>> {
    let extension = |nonce: &[u8]| {
        let value = OctetString::new(OctetString::new(nonce)?.to_der()?)?;
        Ok::<_, der::Error>(Extension {
            extn_id: ID_PKIX_OCSP_NONCE,
            critical: false,
            extn_value: value,
        })
    };
    let item = OcspRequestItem {
        req_cert: id.clone(),
        single_request_extensions: None,
    };
    let tbs_request = TbsRequest {
        version: Version::default(),
        requestor_name: None,
        request_list: vec![item],
        request_extensions: nonce.map(extension).transpose()?.map(|e| vec![e]),
    };
    OcspRequest {
        tbs_request,
        optional_signature: None,
    }
    .to_der()
}

/// Decides what an answer says, or why it does not count.
fn judge(
    question: &Question<'_>,
    id: &CertId,
    nonce: Option<&[u8]>,
    body: &[u8],
    url: &str,
    now: Timestamp,
) -> Result<StatusReport, String> {
    let unreadable = |e: der::Error| format!("the answer cannot be read: {e}");
    let response = OcspResponse::from_der(body).map_err(unreadable)?;
    if response.response_status != OcspResponseStatus::Successful {
        return Err(format!("the responder answered {:?}", response.response_status));
    }
    let bytes = response.response_bytes.ok_or("the answer is empty")?;
    if bytes.response_type != ID_PKIX_OCSP_BASIC {
        return Err("the answer is of an unknown type".into());
    }
    let raw = bytes.response.as_bytes();
    let basic = BasicOcspResponse::from_der(raw).map_err(unreadable)?;
    let signed_by = verify_signer(question, &basic, raw, now)?;
    let data = &basic.tbs_response_data;
    require_known_extensions(data.response_extensions.as_deref())?;
    let echoed = match (nonce, data.nonce()) {
        (Some(ours), Some(theirs)) if theirs.0.as_bytes() != ours => {
            return Err("the answer is to another request: its nonce is not ours".into());
        }
        (Some(_), theirs) => Some(theirs.is_some()),
        (None, _) => None,
    };
    let single = data.responses.iter().find(|single| is_same(&single.cert_id, id));
    let single = single.ok_or("the answer says nothing about this certificate")?;
    require_known_extensions(single.single_extensions.as_deref())?;
    let (this_update, next_update) = times(single)?;
    staleness(this_update, next_update, now).map_err(|why| format!("the answer does not count: {why}"))?;
    let mut report = StatusReport::new(url, status(&single.cert_status)?);
    report.this_update = Some(this_update);
    report.next_update = next_update;
    report.signed_by = Some(signed_by);
    report.nonce = echoed;
    Ok(report)
}

fn times(single: &SingleResponse) -> Result<(Timestamp, Option<Timestamp>), String> {
    let next_update = single.next_update.as_ref().map(|next| time(&next.0)).transpose()?;
    Ok((time(&single.this_update.0)?, next_update))
}

fn time(value: &der::asn1::GeneralizedTime) -> Result<Timestamp, String> {
    let seconds = i64::try_from(value.to_unix_duration().as_secs()).map_err(|e| e.to_string())?;
    Timestamp::from_second(seconds).map_err(|e| e.to_string())
}

fn status(status: &CertStatus) -> Result<RevocationStatus, String> {
    Ok(match status {
        CertStatus::Good(_) => RevocationStatus::Good,
        CertStatus::Unknown(_) => RevocationStatus::Unknown,
        CertStatus::Revoked(info) => RevocationStatus::Revoked {
            at: time(&info.revocation_time.0)?,
            reason: info.revocation_reason.map(|reason| revoke::reason_name(reason as u8)),
        },
    })
}

/// Tells whether two identifiers are the same; parameters of the digest may be absent or NULL.
fn is_same(one: &CertId, other: &CertId) -> bool {
    one.hash_algorithm.oid == other.hash_algorithm.oid
        && one.issuer_name_hash == other.issuer_name_hash
        && one.issuer_key_hash == other.issuer_key_hash
        && one.serial_number == other.serial_number
}

/// Refuses critical extensions that are not understood (RFC 6960 section 4.4).
fn require_known_extensions(extensions: Option<&[Extension]>) -> Result<(), String> {
    let known = [ID_PKIX_OCSP_NONCE];
    let mut unknown = extensions
        .into_iter()
        .flatten()
        .filter(|e| e.critical && !known.contains(&e.extn_id));
    match unknown.next() {
        Some(extension) => Err(format!(
            "the answer has an unknown critical extension {}",
            extension.extn_id
        )),
        None => Ok(()),
    }
}

/// Finds who signed, checks that they may, and verifies (RFC 6960 section 4.2.2.2).
///
/// Those are a configured responder, the CA itself, or one to whom this very CA has delegated it.
fn verify_signer(
    question: &Question<'_>,
    basic: &BasicOcspResponse,
    raw: &[u8],
    now: Timestamp,
) -> Result<String, String> {
    let responder = &basic.tbs_response_data.responder_id;
    let (_, issuer) = X509Certificate::from_der(question.issuer).map_err(|e| e.to_string())?;
    for configured in question.responders {
        let (_, configured) = X509Certificate::from_der(configured).map_err(|e| e.to_string())?;
        if is_responder(responder, &configured) {
            verify_answer(raw, &configured)?;
            return Ok(format!("the configured responder {}", configured.subject()));
        }
    }
    if is_responder(responder, &issuer) {
        verify_answer(raw, &issuer)?;
        return Ok("the CA itself".to_owned());
    }
    for certificate in basic.certs.iter().flatten() {
        let der = certificate.to_der().map_err(|e| e.to_string())?;
        let Ok((_, delegated)) = X509Certificate::from_der(&der) else {
            continue;
        };
        if !is_responder(responder, &delegated) {
            continue;
        }
        require_delegated(&delegated, &issuer, now)?;
        verify_answer(raw, &delegated)?;
        return Ok(format!("the delegated responder {}", delegated.subject()));
    }
    Err("the answer is not signed by the CA, nor by one to whom it has delegated that".into())
}

fn is_responder(responder: &ResponderId, certificate: &X509Certificate<'_>) -> bool {
    match responder {
        ResponderId::ByName(name) => name.to_der().is_ok_and(|name| name == certificate.subject().as_raw()),
        ResponderId::ByKey(hash) => {
            let key = &certificate.public_key().subject_public_key.data;
            // The digest only names the key; nothing rests on its strength.
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, key);
            digest.as_ref() == hash.as_bytes()
        }
    }
}

fn require_delegated(
    delegated: &X509Certificate<'_>,
    issuer: &X509Certificate<'_>,
    now: Timestamp,
) -> Result<(), String> {
    if !signature::is_signed_by(delegated, issuer) {
        return Err("the responder's certificate is not issued by the certificate's own CA".into());
    }
    let seconds = now.as_second();
    let validity = delegated.validity();
    if seconds < validity.not_before.timestamp() || seconds > validity.not_after.timestamp() {
        return Err("the responder's certificate is not valid now".into());
    }
    let may_sign = delegated
        .extended_key_usage()
        .ok()
        .flatten()
        .is_some_and(|usage| usage.value.ocsp_signing);
    if !may_sign {
        return Err("the responder's certificate is not for signing OCSP answers (id-kp-OCSPSigning)".into());
    }
    Ok(())
}

/// Verifies the signature over the answer's own octets, not over a new encoding of them.
fn verify_answer(raw: &[u8], signer: &X509Certificate<'_>) -> Result<(), String> {
    let cannot = |e: der::Error| format!("the answer cannot be read: {e}");
    let mut outer = SliceReader::new(raw).map_err(cannot)?;
    let signed = outer
        .sequence(|inner| {
            let signed = inner.tlv_bytes()?;
            let rest = inner.read_slice(inner.remaining_len())?;
            Ok((signed, rest))
        })
        .map_err(cannot)?;
    let (signed, rest) = signed;
    let (rest, algorithm) = x509_parser::x509::AlgorithmIdentifier::from_der(rest).map_err(|e| e.to_string())?;
    let (_, value) = x509_parser::asn1_rs::BitString::from_der(rest).map_err(|e| e.to_string())?;
    signature::verify(signer.public_key(), &algorithm, &value, signed)
        .map_err(|why| format!("the answer does not count: {why}"))
}
