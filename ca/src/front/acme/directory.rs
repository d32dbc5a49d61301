//! The directory and the nonces (RFC 8555 sections 7.1.1 and 7.2).

use axum::{
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use sigillo_protocol::acme::{
    auto_renewal::AutoRenewalMeta,
    directory::{Directory, Meta},
};

use super::{AcmeFront, Answer, REPLAY_NONCE, Shared, json_response};
use crate::front::links::path;

pub(super) async fn show(State(front): Shared) -> Response {
    let mut response = json_response(StatusCode::OK, &front.directory());
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        axum::http::HeaderValue::from_static("public, max-age=0, no-cache"),
    );
    response
}

pub(super) async fn show_signed(State(front): Shared, request: Request) -> Answer {
    front.open_by_account(request).await?.require_post_as_get()?;
    Ok(json_response(StatusCode::OK, &front.directory()))
}

pub(super) async fn nonce(State(front): Shared, method: Method) -> Response {
    let status = if method == Method::HEAD {
        StatusCode::OK
    } else {
        StatusCode::NO_CONTENT
    };
    (
        status,
        [
            (REPLAY_NONCE, front.nonces.mint()),
            (header::CACHE_CONTROL, "no-store".to_owned()),
        ],
    )
        .into_response()
}

pub(super) async fn nonce_signed(State(front): Shared, request: Request) -> Answer {
    front.open_by_account(request).await?.require_post_as_get()?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl AcmeFront {
    /// Describes what is offered, all of it and nothing else.
    fn directory(&self) -> Directory {
        let settings = self.registrar.settings();
        let link = |path| self.links.to(path);
        Directory {
            new_nonce: link(path::NEW_NONCE),
            new_account: link(path::NEW_ACCOUNT),
            new_order: link(path::NEW_ORDER),
            // Without reuse no order would ever rest on one.
            new_authz: settings.reuse_authorizations.then(|| link(path::NEW_AUTHZ)),
            revoke_cert: link(path::REVOKE_CERT),
            key_change: link(path::KEY_CHANGE),
            renewal_info: Some(link(path::RENEWAL_INFO)),
            meta: Meta {
                terms_of_service: settings.terms.clone(),
                website: settings.website.clone(),
                caa_identities: settings.caa_identities.clone(),
                external_account_required: settings.eab_required,
                profiles: self
                    .registrar
                    .profiles()
                    .iter()
                    .map(|p| (p.name.clone(), p.description.clone()))
                    .collect(),
                auto_renewal: settings.auto_renewal.map(|rule| AutoRenewalMeta {
                    min_lifetime: rule.min_lifetime_seconds.unsigned_abs(),
                    max_duration: rule.max_duration_seconds.unsigned_abs(),
                    allow_certificate_get: rule.allow_get,
                }),
            },
        }
    }
}
