//! Authorizations and challenges (RFC 8555 sections 7.4.1 and 7.5).

use axum::{
    extract::{Path, Request, State},
    http::StatusCode,
    response::Response,
};
use sigillo_protocol::acme::{
    authorization::{Authorization as WireAuthorization, AuthorizationStatus, AuthorizationUpdate, NewAuthorization},
    challenge::{Challenge as WireChallenge, ChallengeStatus, ChallengeType},
    problem::Problem,
};

use super::{AcmeFront, Answer, Shared, append_link, id, json_response, with_location, with_retry_after};
use crate::{
    model::{Authorization, AuthorizationId},
    registrar::standing,
};

pub(super) async fn create(State(front): Shared, request: Request) -> Answer {
    if !front.registrar.settings().reuse_authorizations {
        return Err(Problem::malformed("There is no such resource.").with_status(404).into());
    }
    let signed = front.open_by_account(request).await?;
    let wish: NewAuthorization = signed.payload()?;
    front.limits.new_order(signed.account.id)?;
    let authorization = front
        .registrar
        .new_authorization(signed.account.id, &wish.identifier)
        .await
        .map_err(|refusal| front.trouble(refusal))?;
    let response = json_response(StatusCode::CREATED, &front.wire_authorization(&authorization));
    Ok(with_location(response, &front.links.authorization(authorization.id)))
}

pub(super) async fn update(State(front): Shared, Path(text): Path<String>, request: Request) -> Answer {
    let signed = front.open_by_account(request).await?;
    let account = signed.account.id;
    let id: AuthorizationId = id(&text)?;
    let authorization = if signed.is_post_as_get() {
        front.registrar.authorization(account, id).await
    } else {
        let update: AuthorizationUpdate = signed.payload()?;
        front.registrar.update_authorization(account, id, &update).await
    };
    let authorization = authorization.map_err(|refusal| front.trouble(refusal))?;
    let wire = front.wire_authorization(&authorization);
    let waiting = wire.status == AuthorizationStatus::Pending;
    let response = json_response(StatusCode::OK, &wire);
    Ok(if waiting { with_retry_after(response) } else { response })
}

pub(super) async fn respond(
    State(front): Shared,
    Path((text, position)): Path<(String, String)>,
    request: Request,
) -> Answer {
    let signed = front.open_by_account(request).await?;
    let id: AuthorizationId = id(&text)?;
    let position: usize = super::id(&position)?;
    let authorization = if signed.is_post_as_get() {
        front.registrar.authorization(signed.account.id, id).await
    } else {
        // A response is an object; its members are not defined for these types and are ignored.
        let _: serde_json::Map<String, serde_json::Value> = signed.payload()?;
        front.registrar.respond(&signed.account, id, position).await
    };
    let authorization = authorization.map_err(|refusal| front.trouble(refusal))?;
    front.challenge_response(&authorization, position)
}

impl AcmeFront {
    fn challenge_response(&self, authorization: &Authorization, position: usize) -> Answer {
        let challenge = self
            .wire_challenge(authorization, position)
            .ok_or_else(|| Problem::malformed("There is no such resource for this account.").with_status(404))?;
        let waiting = challenge.status == ChallengeStatus::Processing;
        let mut response: Response = json_response(StatusCode::OK, &challenge);
        append_link(
            response.headers_mut(),
            &self.links.authorization(authorization.id),
            "up",
        );
        Ok(if waiting { with_retry_after(response) } else { response })
    }

    fn wire_authorization(&self, authorization: &Authorization) -> WireAuthorization {
        let positions = 0..authorization.challenges.len();
        let challenges = positions.filter_map(|position| self.wire_challenge(authorization, position));
        WireAuthorization {
            identifier: authorization.name.authorization_identifier(),
            status: standing(authorization, self.registrar.now()),
            expires: Some(authorization.expires),
            // A valid authorization shows what was validated (RFC 8555 section 7.1.4).
            challenges: match authorization.status {
                AuthorizationStatus::Valid => challenges.filter(|c| c.status == ChallengeStatus::Valid).collect(),
                AuthorizationStatus::Invalid => challenges.filter(|c| c.status == ChallengeStatus::Invalid).collect(),
                _ => challenges.collect(),
            },
            wildcard: authorization.name.is_wildcard(),
            subdomain_auth_allowed: authorization.subdomains,
        }
    }

    fn wire_challenge(&self, authorization: &Authorization, position: usize) -> Option<WireChallenge> {
        let challenge = authorization.challenges.get(position)?;
        let issuer_domain_names = match challenge.kind {
            ChallengeType::DnsPersist01 => self.registrar.settings().dns_persist_names.clone(),
            _ => Vec::new(),
        };
        // A challenge from a time when it was offered is shown no more, but for what became of it.
        if challenge.kind == ChallengeType::DnsPersist01
            && issuer_domain_names.is_empty()
            && challenge.status == ChallengeStatus::Pending
        {
            return None;
        }
        Some(WireChallenge {
            kind: challenge.kind.as_str().to_owned(),
            url: self.links.challenge(authorization.id, position),
            status: shown_status(authorization, challenge.status),
            validated: challenge.validated,
            error: challenge.error.clone(),
            token: challenge.kind.has_token().then(|| challenge.token.clone()),
            issuer_domain_names,
        })
    }
}

/// What is still being tried when its authorization ends is tried no more: it shows as invalid instead of waiting for ever.
fn shown_status(authorization: &Authorization, status: ChallengeStatus) -> ChallengeStatus {
    match (authorization.status, status) {
        (AuthorizationStatus::Pending, status) => status,
        (_, ChallengeStatus::Processing) => ChallengeStatus::Invalid,
        (_, status) => status,
    }
}
