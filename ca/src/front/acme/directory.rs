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
        let paths = self.links.paths();
        Directory {
            new_nonce: link(paths.new_nonce),
            new_account: link(paths.new_account),
            new_order: link(paths.new_order),
            // Without reuse no order would ever rest on one.
            new_authz: settings.reuse_authorizations.then(|| link(paths.new_authz)),
            revoke_cert: link(paths.revoke_cert),
            key_change: link(paths.key_change),
            renewal_info: Some(link(paths.renewal_info)),
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
                issuer_domain_names: settings.dns_persist_names.clone(),
                account_hash_prefix: (!settings.dns_persist_names.is_empty()).then(|| self.links.account_hash_prefix()),
                subdomain_auth_allowed: settings.subdomain_authorizations,
                audit_log: self.log.clone(),
                auto_renewal: settings.auto_renewal.map(|rule| AutoRenewalMeta {
                    min_lifetime: rule.min_lifetime_seconds.unsigned_abs(),
                    max_duration: rule.max_duration_seconds.unsigned_abs(),
                    allow_certificate_get: rule.allow_get,
                }),
            },
        }
    }
}
