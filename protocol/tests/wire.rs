//! The resources of ACME read from, and written like, the examples of the RFCs.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sigillo_protocol::{
    acme::{
        account::{Account, AccountStatus, AccountUpdate, KeyChange, NewAccount, OrdersPage},
        authorization::{Authorization, AuthorizationStatus, AuthorizationUpdate, NewAuthorization},
        challenge::{Challenge, ChallengeStatus, ChallengeType, dns01_value, key_authorization},
        directory::Directory,
        identifier::Identifier,
        order::{Finalize, NewOrder, Order, OrderStatus, OrderUpdate},
        problem::{ErrorType, Problem},
        renewal_info::RenewalInfo,
        revocation::RevokeCertificate,
    },
    json,
};

/// Reads a value, with a member that nobody knows thrown in, and expects it back without.
#[track_caller]
fn round_trips<T: DeserializeOwned + Serialize>(value: &Value) -> T {
    let mut more = value.clone();
    more.as_object_mut()
        .unwrap()
        .insert("x-unknown".to_owned(), json!({"a": [1]}));
    let read: T = json::from_slice(more.to_string().as_bytes()).unwrap();
    assert_eq!(&serde_json::to_value(&read).unwrap(), value);
    read
}

#[track_caller]
fn refused<T: DeserializeOwned>(value: &Value) {
    assert!(json::from_slice::<T>(value.to_string().as_bytes()).is_err(), "{value}");
}

#[test]
fn the_directory_of_rfc_8555_section_7_1_1() {
    let directory: Directory = round_trips(&json!({
        "newNonce": "https://example.com/acme/new-nonce",
        "newAccount": "https://example.com/acme/new-account",
        "newOrder": "https://example.com/acme/new-order",
        "newAuthz": "https://example.com/acme/new-authz",
        "revokeCert": "https://example.com/acme/revoke-cert",
        "keyChange": "https://example.com/acme/key-change",
        "renewalInfo": "https://example.com/acme/renewal-info",
        "meta": {
            "termsOfService": "https://example.com/acme/terms/2017-5-30",
            "website": "https://www.example.com/",
            "caaIdentities": ["example.com"],
            "externalAccountRequired": true,
            "profiles": {"tls": "https://example.com/docs/tls"},
            "auto-renewal": {"min-lifetime": 86400, "max-duration": 31536000, "allow-certificate-get": true},
        },
    }));
    assert!(directory.meta.external_account_required);
    let without_meta = json!({
        "newNonce": "n", "newAccount": "a", "newOrder": "o", "revokeCert": "r", "keyChange": "k",
    });
    let read: Directory = serde_json::from_value(without_meta).unwrap();
    assert_eq!(
        (read.new_authz, read.renewal_info, read.meta.external_account_required),
        (None, None, false)
    );
    refused::<Directory>(&json!({"newNonce": "n"}));
}

#[test]
fn the_account_of_rfc_8555_section_7_1_2() {
    let account: Account = round_trips(&json!({
        "status": "valid",
        "contact": ["mailto:cert-admin@example.org", "mailto:admin@example.org"],
        "termsOfServiceAgreed": true,
        "externalAccountBinding": {"protected": "e30", "payload": "e30", "signature": "AA"},
        "orders": "https://example.com/acme/orders/rzGoeA",
    }));
    assert_eq!(account.status, AccountStatus::Valid);
    round_trips::<Account>(&json!({"status": "deactivated"}));
    round_trips::<NewAccount>(&json!({"onlyReturnExisting": true}));
    round_trips::<NewAccount>(&json!({}));
    round_trips::<AccountUpdate>(&json!({"contact": [], "status": "deactivated"}));
    round_trips::<OrdersPage>(&json!({"orders": ["https://example.com/acme/order/1"]}));
    let change: KeyChange =
        round_trips(&json!({"account": "https://example.com/acme/acct/1", "oldKey": {"kty": "EC"}}));
    assert_eq!(change.old_key.get(), r#"{"kty":"EC"}"#);
    refused::<NewAccount>(&json!({"contact": "mailto:a@example.org"}));
    refused::<NewAccount>(&json!({"termsOfServiceAgreed": "yes"}));
    refused::<Account>(&json!({"status": "VALID"}));
    refused::<OrdersPage>(&json!(["https://example.com/acme/order/1"]));
}

#[test]
fn a_binding_is_kept_as_it_was_received() {
    let text = br#"{"externalAccountBinding": { "payload":"e30",  "protected":"\u006530" }}"#;
    let account: NewAccount = json::from_slice(text).unwrap();
    let kept = account.external_account_binding.unwrap();
    assert_eq!(kept.get(), r#"{ "payload":"e30",  "protected":"\u006530" }"#);
}

#[test]
fn the_order_of_rfc_8555_section_7_1_3() {
    let order: Order = round_trips(&json!({
        "status": "valid",
        "expires": "2016-01-20T14:09:07.99Z",
        "identifiers": [{"type": "dns", "value": "www.example.org"}, {"type": "dns", "value": "example.org"}],
        "notBefore": "2016-01-01T00:00:00Z",
        "notAfter": "2016-01-08T00:00:00Z",
        "authorizations": ["https://example.com/acme/authz/PAniVnsZcis"],
        "finalize": "https://example.com/acme/order/TOlocE8rfgo/finalize",
        "certificate": "https://example.com/acme/cert/mAt3xBGaobw",
        "replaces": "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE",
        "profile": "tls",
    }));
    assert_eq!(order.status, OrderStatus::Valid);
    assert_eq!(order.identifiers[1], Identifier::dns("example.org"));
    for status in ["pending", "ready", "processing", "valid", "invalid", "canceled"] {
        round_trips::<Order>(&json!({"status": status, "identifiers": [], "authorizations": [], "finalize": "f"}));
    }
    refused::<Order>(&json!({"status": "done", "identifiers": [], "authorizations": [], "finalize": "f"}));
}

#[test]
fn the_order_of_rfc_8739_section_3_1_1() {
    let order: Order = round_trips(&json!({
        "status": "valid",
        "expires": "2016-01-20T00:00:00Z",
        "identifiers": [{"type": "dns", "value": "www.example.org"}],
        "authorizations": ["https://example.com/acme/authz/PAniVnsZcis"],
        "finalize": "https://example.com/acme/order/TOlocE8rfgo/finalize",
        "auto-renewal": {
            "start-date": "2016-01-10T00:00:00Z", "end-date": "2016-01-20T00:00:00Z",
            "lifetime": 345600, "lifetime-adjust": 259200, "allow-certificate-get": true,
        },
        "star-certificate": "https://example.com/acme/cert/mAt3xBGaobw",
    }));
    assert_eq!(order.auto_renewal.map(|renewal| renewal.lifetime), Some(345_600));
    round_trips::<NewOrder>(&json!({
        "identifiers": [], "auto-renewal": {"end-date": "2016-01-20T00:00:00Z", "lifetime": 345600},
    }));
    round_trips::<OrderUpdate>(&json!({"status": "canceled"}));
    for bad in [
        json!([]),
        json!({}),
        json!({"lifetime": 1}),
        json!({"endDate": "2016-01-20T00:00:00Z", "lifetime": 1}),
    ] {
        refused::<NewOrder>(&json!({"identifiers": [], "auto-renewal": bad}));
    }
}

#[test]
fn c8555_7_4_04_a_new_order_without_proper_identifiers_is_refused() {
    round_trips::<NewOrder>(&json!({
        "identifiers": [{"type": "ip", "value": "192.0.2.1"}], "notAfter": "2016-01-08T04:00:00Z",
    }));
    for bad in [
        json!({}),
        json!({"identifiers": null}),
        json!({"identifiers": "example.org"}),
        json!({"identifiers": ["example.org"]}),
        json!({"identifiers": [{"type": "dns"}]}),
        json!({"identifiers": [{"type": 1, "value": "a"}]}),
        json!({"identifiers": [{"type": "dns", "value": null}]}),
        json!({"identifiers": [], "notBefore": "yesterday"}),
        json!({"identifiers": [], "notBefore": 1}),
        json!({"identifiers": [], "replaces": 1}),
        json!([]),
    ] {
        refused::<NewOrder>(&bad);
    }
    round_trips::<Finalize>(&json!({"csr": "MIIBPTCBxAIBADBFMQ"}));
    refused::<Finalize>(&json!({"csr": ["MIIB"]}));
}

#[test]
fn the_authorization_of_rfc_8555_section_7_1_4() {
    let plain = json!({
        "status": "valid",
        "expires": "2018-09-09T14:09:01.13Z",
        "identifier": {"type": "dns", "value": "www.example.org"},
        "challenges": [{
            "url": "https://example.com/acme/chall/prV_B7yEyA4",
            "type": "http-01",
            "status": "valid",
            "validated": "2014-12-01T12:05:13.72Z",
            "token": "IlirfxKKXAsHtmzK29Pj8A",
        }],
    });
    let authorization: Authorization = round_trips(&plain);
    assert_eq!(
        (authorization.status, authorization.wildcard),
        (AuthorizationStatus::Valid, false)
    );
    let mut wildcard = plain.clone();
    wildcard["wildcard"] = json!(true);
    assert!(round_trips::<Authorization>(&wildcard).wildcard);
    wildcard["wildcard"] = json!(false);
    let read: Authorization = serde_json::from_value(wildcard).unwrap();
    assert_eq!(
        serde_json::to_value(read).unwrap(),
        plain,
        "8555-7.1.4-03: false is not written"
    );
    for status in ["pending", "valid", "invalid", "deactivated", "expired", "revoked"] {
        let mut other = plain.clone();
        other["status"] = json!(status);
        round_trips::<Authorization>(&other);
    }
    round_trips::<NewAuthorization>(&json!({"identifier": {"type": "dns", "value": "example.org"}}));
    round_trips::<AuthorizationUpdate>(&json!({"status": "deactivated"}));
}

#[test]
fn a_challenge_that_is_not_known_is_kept() {
    let challenge: Challenge = round_trips(&json!({
        "type": "dns-unheard-of-01",
        "url": "https://example.com/chall/1",
        "status": "invalid",
        "error": {"type": "urn:ietf:params:acme:error:dns", "detail": "no record"},
    }));
    assert!(challenge.kind.parse::<ChallengeType>().is_err());
    assert_eq!((challenge.status, challenge.token), (ChallengeStatus::Invalid, None));
    assert_eq!(challenge.error.unwrap().kind, ErrorType::Dns);
    for kind in ChallengeType::ALL {
        assert_eq!(kind.as_str().parse(), Ok(kind));
        assert_eq!(serde_json::to_value(kind).unwrap(), json!(kind.as_str()));
    }
}

#[test]
fn a_key_authorization_is_the_one_of_rfc_8555_section_8() {
    let authorization = key_authorization(
        "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA",
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
    );
    assert_eq!(
        authorization,
        "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA.NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
    let value = dns01_value(&authorization);
    assert_eq!((value.len(), value.contains('=')), (43, false));
}

#[test]
fn the_problem_of_rfc_8555_section_6_7_1() {
    let problem: Problem = round_trips(&json!({
        "type": "urn:ietf:params:acme:error:malformed",
        "detail": "Some of the identifiers requested were rejected",
        "subproblems": [
            {
                "type": "urn:ietf:params:acme:error:malformed",
                "detail": "Invalid underscore in DNS name \"_example.org\"",
                "identifier": {"type": "dns", "value": "_example.org"},
            },
            {
                "type": "urn:ietf:params:acme:error:rejectedIdentifier",
                "detail": "This CA will not issue for \"example.net\"",
                "identifier": {"type": "dns", "value": "example.net"},
            },
        ],
    }));
    assert_eq!(problem.kind, ErrorType::Malformed);
    assert!(problem.to_string().contains("dns:example.net"));
    let algorithms: Problem = round_trips(&json!({
        "type": "urn:ietf:params:acme:error:badSignatureAlgorithm", "detail": "no", "status": 400, "algorithms": ["ES256"],
    }));
    assert_eq!(algorithms.algorithms, Some(vec!["ES256".to_owned()]));
    let foreign: Problem = serde_json::from_str(r#"{"status":500}"#).unwrap();
    assert_eq!(foreign.kind, ErrorType::Other("about:blank".to_owned()));
}

#[test]
fn the_renewal_information_of_rfc_9773_section_4_2() {
    let info: RenewalInfo = round_trips(&json!({
        "suggestedWindow": {"start": "2025-01-02T04:00:00Z", "end": "2025-01-03T04:00:00Z"},
        "explanationURL": "https://acme.example.com/docs/ari",
    }));
    assert!(info.suggested_window.start < info.suggested_window.end);
}

#[test]
fn a_revocation_reads_any_number_as_a_reason() {
    for reason in [0, 1, 7, 11, -1, 4_294_967_296_i64] {
        let read: RevokeCertificate = round_trips(&json!({"certificate": "MIIE", "reason": reason}));
        assert_eq!(read.reason, Some(reason));
    }
    round_trips::<RevokeCertificate>(&json!({"certificate": "MIIE"}));
    for reason in [json!("1"), json!(1.5), json!([1])] {
        refused::<RevokeCertificate>(&json!({"certificate": "MIIE", "reason": reason}));
    }
}

#[test]
fn what_rfc_9444_adds_is_where_it_says() {
    let order: NewOrder = round_trips(&json!({
        "identifiers": [{"type": "dns", "value": "a.b.example.org", "ancestorDomain": "example.org"}],
    }));
    assert_eq!(order.identifiers[0].ancestor_domain.as_deref(), Some("example.org"));
    let wish: NewAuthorization = round_trips(&json!({
        "identifier": {"type": "dns", "value": "example.org", "subdomainAuthAllowed": true},
    }));
    assert!(wish.identifier.subdomain_auth_allowed);
    let authorization: Authorization = round_trips(&json!({
        "status": "pending", "identifier": {"type": "dns", "value": "example.org"}, "challenges": [],
        "subdomainAuthAllowed": true,
    }));
    assert!(authorization.subdomain_auth_allowed);
    refused::<NewOrder>(&json!({"identifiers": [{"type": "dns", "value": "a.example", "ancestorDomain": 1}]}));
    refused::<NewAuthorization>(&json!({
        "identifier": {"type": "dns", "value": "a.example", "subdomainAuthAllowed": "yes"},
    }));
}

#[test]
fn a_challenge_of_dns_persist_01_has_names_and_no_token() {
    let challenge: Challenge = round_trips(&json!({
        "type": "dns-persist-01", "url": "https://ca.example/chall/1", "status": "pending",
        "issuerDomainNames": ["authority.example", "ca.example.net"],
    }));
    assert_eq!((challenge.token, challenge.issuer_domain_names.len()), (None, 2));
    let kind: ChallengeType = challenge.kind.parse().unwrap();
    assert!(kind.is_in_dns() && !kind.has_token());
}
