//! Accounts and their keys (RFC 8555 section 7.3).

use axum::{
    extract::{Path, Request, State},
    http::StatusCode,
};
use serde_json::value::RawValue;
use sigillo_protocol::{
    acme::{
        account::{Account as WireAccount, AccountUpdate, KeyChange, NewAccount},
        problem::Problem,
    },
    jose::{Jwk, KeyRef, UnverifiedJws},
    json,
};

use super::{AcmeFront, Answer, Shared, id, json_response, require_own, with_location};
use crate::{
    front::{listen::ClientAddress, problem::Trouble},
    model::{Account, AccountId},
};

pub(super) async fn create(State(front): Shared, request: Request) -> Answer {
    let address = request.extensions().get::<ClientAddress>().copied();
    let signed = front.open_by_key(request).await?;
    let wish: NewAccount = signed.payload()?;
    let known = front
        .registrar
        .account_with_key(signed.jwk.thumbprint())
        .await
        .map_err(|r| front.trouble(r))?;
    if let (None, Some(address)) = (known, address) {
        front.limits.new_account(address.0)?;
    }
    let found = front
        .registrar
        .new_account(&signed.jwk, &wish, signed.url())
        .await
        .map_err(|refusal| front.trouble(refusal))?;
    let status = if found.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let response = json_response(status, &front.wire_account(&found.account));
    Ok(with_location(response, &front.links.account(found.account.id)))
}

pub(super) async fn update(State(front): Shared, Path(text): Path<String>, request: Request) -> Answer {
    let signed = front.open_by_account(request).await?;
    require_own(&signed.account, id::<AccountId>(&text)?)?;
    let account = if signed.is_post_as_get() {
        signed.account
    } else {
        let update: AccountUpdate = signed.payload()?;
        front
            .registrar
            .update_account(signed.account.id, &update)
            .await
            .map_err(|r| front.trouble(r))?
    };
    Ok(json_response(StatusCode::OK, &front.wire_account(&account)))
}

/// Changes an account's key (RFC 8555 section 7.3.5): the payload is a JWS by the new key.
pub(super) async fn change_key(State(front): Shared, request: Request) -> Answer {
    let signed = front.open_by_account(request).await?;
    let (inner_key, change) = inner(signed.payload_bytes(), signed.url())?;
    if change.account != front.links.account(signed.account.id) {
        return Err(Problem::malformed("account is not the account that signs the request.").into());
    }
    let old =
        Jwk::from_json(change.old_key.get()).map_err(|e| Problem::malformed(format!("oldKey cannot be read: {e}")))?;
    let account = front
        .registrar
        .change_key(signed.account.id, &old, &inner_key)
        .await
        .map_err(|refusal| front.trouble(refusal))?;
    Ok(json_response(StatusCode::OK, &front.wire_account(&account)))
}

fn inner(payload: &[u8], url: &str) -> Result<(Jwk, KeyChange), Trouble> {
    let jws = UnverifiedJws::parse(payload)?;
    let KeyRef::Jwk(jwk) = jws.key() else {
        return Err(Problem::malformed("The inner JWS has to show the new key as jwk.").into());
    };
    let jwk = jwk.clone();
    if jws.nonce().is_some() {
        return Err(Problem::malformed("The inner JWS has no nonce.").into());
    }
    if jws.url() != url {
        return Err(Problem::malformed("The inner JWS has the same url as the outer one.").into());
    }
    let verified = jws.verify_embedded()?;
    Ok((jwk, json::from_slice(verified.payload())?))
}

impl AcmeFront {
    fn wire_account(&self, account: &Account) -> WireAccount {
        WireAccount {
            status: account.status,
            contact: account.contact.clone(),
            terms_of_service_agreed: account
                .terms_agreed
                .as_ref()
                .map(|agreed| Some(agreed) == self.registrar.settings().terms.as_ref()),
            external_account_binding: account
                .binding
                .as_ref()
                .and_then(|binding| RawValue::from_string(binding.jws.clone()).ok()),
            orders: Some(self.links.orders(account.id)),
        }
    }
}
