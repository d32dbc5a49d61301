//! Certificates for operators: list, show, sign, revoke, ask to renew.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sigillo_protocol::{acme::identifier::Name, x509::reason::RevocationReason};

use super::{
    Shared,
    answers::{AdminError, ListPage, PageQuery},
};
use crate::{
    model::{Certificate, Serial},
    store::{CertificateFilter, Page},
};

/// A certificate as an operator sees it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShownCertificate {
    /// Its serial number in hexadecimal.
    pub serial: Serial,
    /// `issued`, `revoked`, `expired`, `intended` or `void`.
    pub state: String,
    /// Who signed it.
    pub issuer: String,
    /// Its profile.
    pub profile: String,
    /// Its names.
    pub names: Vec<String>,
    /// Its subject.
    pub subject: String,
    /// The ACME account that has it.
    pub account: Option<String>,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity.
    pub not_after: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Why it was revoked.
    pub reason: Option<RevocationReason>,
    /// SHA-256 of its public key, in hexadecimal.
    pub spki_sha256: String,
    /// The certificate as PEM, where one is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pem: Option<String>,
}

impl ShownCertificate {
    pub(super) fn new(certificate: Certificate, now: Timestamp, with_pem: bool) -> Self {
        let revocation = certificate.revocation();
        let state = match certificate.state.as_str() {
            "issued" if certificate.not_after < now => "expired",
            other => other,
        };
        Self {
            state: state.to_owned(),
            pem: with_pem
                .then(|| certificate.der().map(crate::pem::certificate))
                .flatten(),
            serial: certificate.serial,
            issuer: certificate.issuer.to_string(),
            profile: certificate.profile,
            names: certificate.names.iter().map(ToString::to_string).collect(),
            subject: certificate.subject,
            account: certificate.account.map(|id| id.to_string()),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            revoked_at: revocation.map(|r| r.at),
            reason: revocation.and_then(|r| r.reason),
            spki_sha256: certificate
                .spki_sha256
                .iter()
                .map(|octet| format!("{octet:02x}"))
                .collect(),
        }
    }
}

/// Which certificates to list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct CertificateQuery {
    after: Option<String>,
    limit: Option<usize>,
    state: Option<String>,
    account: Option<String>,
    profile: Option<String>,
    name: Option<String>,
    expires_before: Option<Timestamp>,
}

pub(super) async fn list(
    State(admin): Shared,
    Query(query): Query<CertificateQuery>,
) -> Result<Json<ListPage<ShownCertificate>>, AdminError> {
    const STATES: [&str; 4] = ["issued", "revoked", "intended", "void"];
    if let Some(state) = query.state.as_deref().filter(|state| !STATES.contains(state)) {
        return Err(AdminError::refused(format!(
            "{state:?} is no state: choose {}",
            STATES.join(", ")
        )));
    }
    let page = PageQuery {
        after: query.after,
        limit: query.limit,
    };
    let filter = CertificateFilter {
        state: query.state,
        account: query
            .account
            .map(|text| {
                text.parse()
                    .map_err(|_| AdminError::refused("the account is no account id"))
            })
            .transpose()?,
        profile: query.profile,
        name: query.name.map(|text| name(&text)).transpose()?,
        not_after_before: query.expires_before,
        ..CertificateFilter::default()
    };
    let limit = page.limit();
    let found = admin
        .registrar
        .store()
        .certificates(
            &filter,
            Page {
                after: page.after()?,
                limit,
            },
        )
        .await?;
    let now = admin.registrar.now();
    Ok(Json(ListPage::new(
        found,
        limit,
        |c| c.serial.to_string(),
        |c| ShownCertificate::new(c, now, false),
    )))
}

pub(super) fn name(text: &str) -> Result<Name, AdminError> {
    match text.parse() {
        Ok(address) => Ok(Name::Ip(address)),
        Err(_) => Name::from_dns_value(text).map_err(|error| AdminError::refused(error.to_string())),
    }
}

pub(super) async fn show(
    State(admin): Shared,
    Path(serial): Path<String>,
) -> Result<Json<ShownCertificate>, AdminError> {
    let found = admin.registrar.store().certificate(parse(&serial)?).await?;
    let certificate = found.ok_or_else(|| AdminError::not_found("certificate"))?;
    Ok(Json(ShownCertificate::new(certificate, admin.registrar.now(), true)))
}

fn parse(serial: &str) -> Result<Serial, AdminError> {
    serial
        .parse()
        .map_err(|_| AdminError::refused(format!("{serial:?} is no serial number in hexadecimal")))
}

/// A wish to revoke.
#[derive(Debug, Serialize, Deserialize)]
pub struct RevokeWish {
    /// Why; nothing is published where it is missing.
    pub reason: Option<RevocationReason>,
}

pub(super) async fn revoke(
    State(admin): Shared,
    Path(serial): Path<String>,
    Json(wish): Json<RevokeWish>,
) -> Result<Json<ShownCertificate>, AdminError> {
    let serial = parse(&serial)?;
    admin.registrar.revoke_by_operator(serial, wish.reason).await?;
    show(State(admin), Path(serial.to_string())).await
}

pub(super) async fn renew_now(
    State(admin): Shared,
    Path(serial): Path<String>,
) -> Result<Json<ShownCertificate>, AdminError> {
    let serial = parse(&serial)?;
    admin.registrar.renew_now(serial).await?;
    show(State(admin), Path(serial.to_string())).await
}

/// A wish to have a request signed.
#[derive(Debug, Serialize, Deserialize)]
pub struct SignWish {
    /// The PKCS#10 request, PEM or base64 of its DER.
    pub csr: String,
    /// The profile; the default one if none is given.
    pub profile: Option<String>,
}

/// What was signed.
#[derive(Debug, Serialize, Deserialize)]
pub struct SignedAnswer {
    /// The certificate.
    pub certificate: ShownCertificate,
    /// The certificate with its chain, as PEM.
    pub chain: String,
}

pub(super) async fn sign(State(admin): Shared, Json(wish): Json<SignWish>) -> Result<Json<SignedAnswer>, AdminError> {
    let csr = if wish.csr.contains("-----BEGIN") {
        wish.csr.into_bytes()
    } else {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD
            .decode(wish.csr.trim())
            .map_err(|_| AdminError::refused("the request is neither PEM nor base64 of DER"))?
    };
    let certificate = admin.registrar.sign_for_operator(&csr, wish.profile.as_deref()).await?;
    let chain = certificate
        .der()
        .and_then(|der| admin.registrar.issuer().chain_pem(der, 0))
        .unwrap_or_default();
    let shown = ShownCertificate::new(certificate, admin.registrar.now(), true);
    Ok(Json(SignedAnswer {
        certificate: shown,
        chain,
    }))
}
