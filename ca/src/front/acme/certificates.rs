//! Certificates: download (RFC 8555 section 7.4.2), revocation (7.6), renewal information (RFC 9773).

use axum::{
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use sigillo_protocol::{
    acme::{problem::Problem, revocation::RevokeCertificate},
    base64url,
    x509::cert_id::CertificateId,
};

use super::{AcmeFront, Answer, Shared, append_link, id, insert, json_response};
use crate::{
    front::{envelope::Signed, problem::Trouble},
    model::{AccountId, Serial},
    registrar::{RevocationProof, RevocationRequest},
};

const PEM_CHAIN: HeaderValue = HeaderValue::from_static("application/pem-certificate-chain");
const PKIX_CERT: HeaderValue = HeaderValue::from_static("application/pkix-cert");

pub(super) async fn show(State(front): Shared, Path(text): Path<String>, request: Request) -> Answer {
    chain(&front, &text, 0, request).await
}

pub(super) async fn show_alternate(
    State(front): Shared,
    Path((text, position)): Path<(String, String)>,
    request: Request,
) -> Answer {
    let position = id(&position)?;
    if position == 0 {
        return Err(no_certificate());
    }
    chain(&front, &text, position, request).await
}

async fn chain(front: &AcmeFront, text: &str, position: usize, request: Request) -> Answer {
    let wants_der = prefers_der(request.headers());
    let signed = front.open_by_account(request).await?;
    signed.require_post_as_get()?;
    let serial: Serial = id(text)?;
    // Only in the form in which it was handed out: one resource, one URL.
    if serial.to_string() != text {
        return Err(no_certificate());
    }
    let leaf = leaf(front, signed.account.id, serial).await?;
    chain_response(front, leaf, position, wants_der, |position| match position {
        0 => front.links.certificate(serial),
        other => front.links.alternate(serial, other),
    })
}

/// Shows a certificate with the chain at a position; `link` gives the URL of each.
pub(super) fn chain_response(
    front: &AcmeFront,
    leaf: Vec<u8>,
    position: usize,
    wants_der: bool,
    link: impl Fn(usize) -> String,
) -> Answer {
    let issuer = front.registrar.issuer();
    let pem = issuer.chain_pem(&leaf, position).ok_or_else(no_certificate)?;
    let mut response = if wants_der {
        let mut response = Response::new(Body::from(leaf));
        response.headers_mut().insert(header::CONTENT_TYPE, PKIX_CERT);
        append_link(response.headers_mut(), &issuer.urls().certificate, "up");
        response
    } else {
        let mut response = Response::new(Body::from(pem));
        response.headers_mut().insert(header::CONTENT_TYPE, PEM_CHAIN);
        response
    };
    insert(response.headers_mut(), header::VARY, "Accept");
    for other in (1..issuer.chain_count()).filter(|other| *other != position) {
        append_link(response.headers_mut(), &link(other), "alternate");
    }
    if position != 0 {
        append_link(response.headers_mut(), &link(0), "alternate");
    }
    Ok(response)
}

async fn leaf(front: &AcmeFront, account: AccountId, serial: Serial) -> Result<Vec<u8>, Trouble> {
    let found = front
        .registrar
        .certificate(account, serial)
        .await
        .map_err(|r| front.trouble(r))?;
    found.der().map(<[u8]>::to_vec).ok_or_else(no_certificate)
}

pub(super) fn no_certificate() -> Trouble {
    Problem::malformed("There is no such certificate for this account.")
        .with_status(404)
        .into()
}

/// Whether a client asks for a single certificate and not for the chain.
pub(super) fn prefers_der(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let kinds = || {
        accept
            .split(',')
            .map(|part| part.split(';').next().unwrap_or_default().trim())
    };
    kinds().any(|kind| kind.eq_ignore_ascii_case("application/pkix-cert"))
        && !kinds().any(|kind| kind.eq_ignore_ascii_case("application/pem-certificate-chain") || kind == "*/*")
}

pub(super) async fn revoke(State(front): Shared, request: Request) -> Answer {
    let signed = front.open(request).await?;
    let wish: RevokeCertificate = signed.payload()?;
    let der = base64url::decode(&wish.certificate)
        .map_err(|error| Problem::malformed(format!("certificate is not base64url of a DER certificate: {error}")))?;
    let proof = match &signed {
        Signed::Account(signed) => RevocationProof::Account(&signed.account),
        Signed::Key(signed) => RevocationProof::CertificateKey(&signed.jwk),
    };
    front
        .registrar
        .revoke(RevocationRequest {
            der: &der,
            reason: wish.reason,
            proof,
        })
        .await
        .map_err(|refusal| front.trouble(refusal))?;
    Ok(StatusCode::OK.into_response())
}

pub(super) async fn renewal_info(State(front): Shared, Path(text): Path<String>) -> Answer {
    let id: CertificateId = text
        .parse()
        .map_err(|error| Problem::malformed(format!("This is no certificate identifier of RFC 9773: {error}")))?;
    let advice = front.registrar.renewal_info(&id).await.map_err(|r| front.trouble(r))?;
    let advice =
        advice.ok_or_else(|| Problem::malformed("This CA has not issued this certificate.").with_status(404))?;
    let mut response = json_response(StatusCode::OK, &advice.info);
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from(advice.retry_after_seconds));
    // A revocation moves the window, so caches may keep it for a minute only.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
    Ok(response)
}
