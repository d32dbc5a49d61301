//! What a fault makes of an answer in JSON.

use serde_json::{Map, Value, json};

use super::{dice::Dice, rule::Shown};

/// A member that stands for the ones to come: RFC 8555 section 7.1.1 and others have clients ignore what they do not know.
const UNKNOWN_MEMBER: &str = "sigilloUnknownMember";

/// A challenge type that nobody knows.
const UNKNOWN_CHALLENGE: &str = "sigillo-unknown-01";

/// Brings the lists whose order means nothing into another order.
pub(super) fn shuffle(object: &mut Map<String, Value>, dice: &mut Dice) {
    for list in ["authorizations", "challenges", "identifiers", "orders"] {
        if let Some(Value::Array(list)) = object.get_mut(list) {
            dice.shuffle(list);
        }
    }
}

/// Adds members, here and one floor down.
pub(super) fn add_unknown(object: &mut Map<String, Value>) {
    for inner in object.values_mut() {
        match inner {
            Value::Object(inner) => add_member(inner),
            Value::Array(list) => list.iter_mut().filter_map(Value::as_object_mut).for_each(add_member),
            _ => {}
        }
    }
    add_member(object);
}

fn add_member(object: &mut Map<String, Value>) {
    // Maps from names to texts have a text here, so that only those stumble who do not ignore it.
    object.insert(UNKNOWN_MEMBER.to_owned(), json!("ignore me"));
}

/// Offers a challenge of an unknown type, first.
pub(super) fn add_unknown_challenge(object: &mut Map<String, Value>) {
    if let Some(Value::Array(challenges)) = object.get_mut("challenges") {
        let like = challenges.first().and_then(|challenge| challenge.get("url")).cloned();
        challenges.insert(
            0,
            json!({ "type": UNKNOWN_CHALLENGE, "url": like, "status": "pending", "token": "" }),
        );
    }
}

/// Whether a resource in this state would be shown differently.
pub(super) fn changes(object: &Map<String, Value>, shown: Shown) -> bool {
    let status = object.get("status").and_then(Value::as_str).unwrap_or_default();
    match shown {
        Shown::Processing => status == "valid",
        Shown::Pending => status == "valid" || status == "ready",
        Shown::Invalid => !status.is_empty(),
    }
}

/// Shows a resource in another state, with what belongs to that state.
pub(super) fn show(object: &mut Map<String, Value>, shown: Shown) {
    let status = match shown {
        Shown::Processing => "processing",
        Shown::Pending => "pending",
        Shown::Invalid => "invalid",
    };
    object.insert("status".to_owned(), json!(status));
    object.remove("certificate");
    object.remove("validated");
    if let Some(Value::Array(challenges)) = object.get_mut("challenges") {
        for challenge in challenges.iter_mut().filter_map(Value::as_object_mut) {
            let status = if shown == Shown::Invalid {
                "invalid"
            } else {
                "processing"
            };
            challenge.insert("status".to_owned(), json!(status));
            challenge.remove("validated");
            if shown == Shown::Invalid {
                challenge.insert("error".to_owned(), problem());
            }
        }
    } else if shown == Shown::Invalid {
        object.insert("error".to_owned(), problem());
    }
}

fn problem() -> Value {
    json!({
        "type": "urn:ietf:params:acme:error:serverInternal",
        "detail": "Shown as invalid by a rule of this test server.",
        "status": 500,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_valid_order_is_shown_as_processing_without_its_certificate() {
        let mut order = object(json!({ "status": "valid", "certificate": "u", "finalize": "f" }));
        assert!(changes(&order, Shown::Processing));
        show(&mut order, Shown::Processing);
        assert_eq!(
            Value::Object(order.clone()),
            json!({ "status": "processing", "finalize": "f" })
        );
        assert!(!changes(&order, Shown::Processing));
    }

    #[test]
    fn an_authorization_is_shown_with_challenges_that_fit() {
        let mut authz = object(json!({ "status": "valid", "challenges": [{ "status": "valid", "validated": "t" }] }));
        show(&mut authz, Shown::Pending);
        let wanted = json!({ "status": "pending", "challenges": [{ "status": "processing" }] });
        assert_eq!(Value::Object(authz.clone()), wanted);
        show(&mut authz, Shown::Invalid);
        assert_eq!(authz["challenges"][0]["status"], "invalid");
        assert!(authz["challenges"][0]["error"]["type"].is_string());
    }

    #[test]
    fn members_are_added_here_and_below() {
        let mut order = object(json!({ "identifiers": [{ "type": "dns" }], "meta": {}, "finalize": "f" }));
        add_unknown(&mut order);
        for place in [
            "/sigilloUnknownMember",
            "/identifiers/0/sigilloUnknownMember",
            "/meta/sigilloUnknownMember",
        ] {
            assert!(Value::Object(order.clone()).pointer(place).is_some(), "{place}");
        }
        assert_eq!(order["finalize"], "f");
        let mut authz = object(json!({ "challenges": [{ "type": "http-01", "url": "u" }] }));
        add_unknown_challenge(&mut authz);
        assert_eq!(authz["challenges"][0]["type"], UNKNOWN_CHALLENGE);
        assert_eq!(authz["challenges"][1]["type"], "http-01");
    }
}
