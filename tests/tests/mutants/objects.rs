//! What a server may do wrongly with its directory, its answers in general, and accounts.

use serde_json::{Value, json};
use sigillo_tests::mutant::fault::{
    after, header, headerless, member, object, problems, refuse, restatus, retype, since, swap, takes, tolerate,
    without, yes,
};
use sigillo_tests::mutant::message::{Answer, Kind, Request, Resource};
use sigillo_tests::mutant::{Mutation, Stage, mutation};

pub fn mutations() -> Vec<Mutation> {
    let mut all = directory();
    all.extend(answers());
    all.extend(accounts());
    all.extend(account_refusals());
    all.extend(external_accounts());
    all.extend(key_changes());
    all
}

fn is_acme(request: &Request, _: &Answer) -> bool {
    request.secure
}

fn directory() -> Vec<Mutation> {
    vec![
        mutation(
            "newNonce is not there",
            &["8555-7.1-01"],
            restatus(Resource::NewNonce, 200, 404),
        ),
        mutation(
            "The directory names no keyChange",
            &["8555-7.1.1-01"],
            without(Kind::Directory, "keyChange"),
        ),
        mutation(
            "Two resources have one URL",
            &["8555-7.1.1-01"],
            object(Kind::Directory, |_, _, directory| {
                directory["revokeCert"] = directory["keyChange"].clone();
            }),
        ),
        mutation(
            "The directory has relative URLs",
            &["8555-7.1.1-01"],
            member(Kind::Directory, "revokeCert", json!("/acme/revoke-cert")),
        ),
        mutation(
            "The directory is text",
            &["8555-7.1.1-01"],
            header("content-type", "text/plain", |request, _| {
                request.resource() == Resource::Directory
            }),
        ),
        mutation(
            "newAuthz is named and does not work",
            &["8555-7.1.1-02"],
            refuse(|request, _| request.resource() == Resource::NewAuthorization),
        ),
        mutation(
            "The website in meta is no text",
            &["8555-7.1.1-03"],
            object(Kind::Directory, |_, _, directory| {
                directory["meta"]["website"] = json!(["x"])
            }),
        ),
        mutation(
            "A profile has no description",
            &["8555-7.1.1-03", "prof-3-01"],
            object(Kind::Directory, |_, _, directory| {
                directory["meta"]["profiles"]["default"] = Value::Bool(true);
            }),
        ),
        mutation(
            "Resources do not link to the directory",
            &["8555-7.1-02"],
            headerless("link", |request, _| request.resource() == Resource::NewNonce),
        )
        .beside(&["8555-7.2-01"]),
        mutation(
            "Resources link to another directory",
            &["8555-7.1-02"],
            header(
                "link",
                "<https://elsewhere.example/directory>;rel=\"index\"",
                |request, _| request.resource() == Resource::NewNonce,
            ),
        )
        .beside(&["8555-7.2-01"]),
        mutation(
            "Links have no angle brackets",
            &["8288-3-01"],
            header("link", "https://elsewhere.example/;rel=index", is_acme),
        )
        .beside(&["8555-7.2-01"]),
        mutation(
            "Retry-After is a word",
            &["9110-10.2.3-01"],
            header("retry-after", "soon", is_acme),
        )
        .beside(&["8555-7.2-01"]),
    ]
}

fn answers() -> Vec<Mutation> {
    vec![
        mutation(
            "Problems have types of the server's own in the ACME namespace",
            &["8555-6.7-02"],
            retype("malformed", "oops"),
        )
        .beside(&["8555-6.2-01"]),
        mutation(
            "A problem says another status",
            &["8555-6.7-03"],
            problems(|_, problem| problem["status"] = json!(418)),
        )
        .beside(&["8555-6.2-01"]),
        mutation(
            "A problem has an identifier at its top level",
            &["8555-6.7.1-01"],
            problems(|_, problem| problem["identifier"] = json!({"type": "dns", "value": "x"})),
        )
        .beside(&["8555-6.2-01"]),
        mutation(
            "compound comes without subproblems",
            &["8555-6.7.1-01", "8555-6.7.1-02"],
            after(|_, _, answer| {
                if !answer.problem().is_empty() {
                    let kind = "urn:ietf:params:acme:error:compound";
                    answer.put_json(&json!({"type": kind, "status": answer.status}));
                }
            }),
        ),
        mutation(
            "A subproblem's identifier is text",
            &["8555-6.7.1-02"],
            problems(|_, problem| {
                problem["subproblems"] = json!([{"type": problem["type"], "identifier": "x"}]);
            }),
        ),
        mutation(
            "An unknown identifier type is malformed",
            &["8555-6.7-04"],
            retype("unsupportedIdentifier", "malformed"),
        ),
        mutation(
            "Unknown identifier types are taken",
            &["8555-6.7-04"],
            takes(Resource::NewOrder, &["unsupportedIdentifier"]),
        ),
        mutation(
            "A refused name is malformed",
            &["8555-6.7-05"],
            refuse(|_, jws| jws.names().contains("localhost") || jws.names().contains("invalid")),
        ),
    ]
}

fn accounts() -> Vec<Mutation> {
    vec![
        mutation(
            "Accounts show no orders",
            &["8555-7.1.2-01", "8555-7.3-01"],
            without(Kind::Account, "orders"),
        ),
        mutation(
            "Accounts have a status of another kind",
            &["8555-7.1.2-01"],
            swap(Kind::Account, "status", "valid", "ready"),
        ),
        mutation(
            "The list of orders leaves one out",
            &["8555-7.1.2.1-01"],
            object(Kind::Orders, |_, _, list| {
                list["orders"].as_array_mut().map(Vec::pop);
            }),
        ),
        mutation(
            "The list of orders has a foreign one",
            &["8555-7.1.2.1-01"],
            object(Kind::Orders, |scene, _, list| {
                if let Some(all) = list["orders"].as_array_mut() {
                    all.push(format!("{}/acme/order/foreign", scene.origin).into());
                }
            }),
        ),
        mutation(
            "The list of orders has always another page",
            &["8555-7.1.2.1-01"],
            after(|scene, request, answer| {
                if request.resource() == Resource::Orders {
                    let list = request.target.split("?page").next().unwrap_or_default();
                    let next = format!("<{}{list}?page={}>;rel=\"next\"", scene.origin, scene.next());
                    *answer = Answer::of(200, &json!({"orders": []}));
                    answer.put("link", &next);
                }
            }),
        ),
        mutation(
            "The pages of the list of orders run in a circle",
            &["8555-7.1.2.1-01"],
            after(|scene, request, answer| {
                if request.resource() == Resource::Orders {
                    let next = format!("<{}{}>;rel=\"next\"", scene.origin, request.target);
                    answer.put("link", &next);
                }
            }),
        ),
        mutation(
            "The list of orders is a bare array",
            &["8555-7.1.2.1-01"],
            after(|_, request, answer| {
                if request.resource() == Resource::Orders {
                    let list = answer.json()["orders"].clone();
                    answer.put_json(&list);
                }
            }),
        ),
        mutation(
            "A new account is 200",
            &["8555-7.3-01", "8555-7.3-02"],
            restatus(Resource::NewAccount, 201, 200),
        ),
        mutation(
            "A new account has no Location",
            &["8555-7.3-01"],
            headerless("location", |request, _| request.resource() == Resource::NewAccount),
        ),
        mutation(
            "An account shows what the client sent",
            &["8555-7.3-02"],
            object(Kind::Account, |_, request, account| {
                account["x-unknown"] = request.jws().payload["x-unknown"].clone();
            }),
        ),
        mutation(
            "A client sets its account's orders",
            &["8555-7.3-02"],
            object(Kind::Account, |_, request, account| {
                if request.jws().payload["orders"].is_string() {
                    account["orders"] = request.jws().payload["orders"].clone();
                }
            }),
        ),
        mutation(
            "An update sets what is not the client's",
            &["8555-7.3.2-02"],
            since(
                |_, jws| jws.payload["orders"].is_string(),
                |request, answer| {
                    if answer.shows(request) == Some(Kind::Account) {
                        let mut account = answer.json();
                        account["orders"] = json!("https://elsewhere.example/");
                        answer.put_json(&account);
                    }
                },
            ),
        ),
        mutation(
            "A client sets its account's status",
            &["8555-7.3-02"],
            object(Kind::Account, |_, request, account| {
                if request.jws().payload["status"] == "revoked" {
                    account["status"] = "revoked".into();
                }
            }),
        ),
        mutation(
            "An update does not show its outcome",
            &["8555-7.3.2-01"],
            object(Kind::Account, |_, _, account| {
                if account["contact"].is_array() {
                    account["contact"] = json!(["mailto:old@conformance.test"]);
                }
            }),
        ),
        mutation(
            "An update is answered 202",
            &["8555-7.3.2-01", "8555-7.3.6-01"],
            restatus(Resource::Account, 200, 202),
        ),
        mutation(
            "Finding an account changes it",
            &["8555-7.3.1-01"],
            object(Kind::Account, |_, request, account| {
                if request.resource() == Resource::Account {
                    account["contact"] = json!(["mailto:other@conformance.test"]);
                }
            }),
        ),
        mutation(
            "A known key gets another Location",
            &["8555-7.3.1-01", "8555-7.3.1-02"],
            after(|scene, request, answer| {
                if request.resource() == Resource::NewAccount && answer.status == 200 {
                    answer.put("location", &format!("{}/acme/account/another", scene.origin));
                }
            }),
        ),
        mutation(
            "A deactivated account is shown valid",
            &["8555-7.3.6-01"],
            swap(Kind::Account, "status", "deactivated", "valid"),
        ),
    ]
}

fn account_refusals() -> Vec<Mutation> {
    let contact = |request: &Request| request.jws().payload["contact"].to_string();
    vec![
        mutation(
            "mailto contacts are refused",
            &["8555-7.3-03"],
            refuse(move |request, _| contact(request).contains("mailto:admin@")),
        ),
        mutation(
            "A contact's refusal is malformed",
            &["8555-7.3-04"],
            after(|_, _, answer| {
                if answer.problem().ends_with("Contact") {
                    answer.retype("malformed");
                }
            }),
        ),
        mutation(
            "A refusal of two addresses is an internal error",
            &["8555-7.3-03"],
            after(|_, _, answer| {
                if answer.problem().ends_with("Contact") {
                    answer.retype("serverInternal");
                }
            }),
        ),
        mutation(
            "Nobody has to agree to the terms",
            &["8555-7.3-05"],
            tolerate(|request, jws, _| {
                request.resource() == Resource::NewAccount && jws.payload["termsOfServiceAgreed"] != true
            }),
        ),
        mutation(
            "No terms are named, and agreeing is still asked for",
            &["8555-7.3-05"],
            object(Kind::Directory, |_, _, directory| {
                directory["meta"]["termsOfService"] = Value::Null;
            }),
        ),
        mutation(
            "onlyReturnExisting makes an account",
            &["8555-7.3.1-02"],
            takes(Resource::NewAccount, &["accountDoesNotExist"]),
        ),
        mutation(
            "onlyReturnExisting with a new key is 404",
            &["8555-7.3.1-02"],
            restatus(Resource::NewAccount, 400, 404),
        ),
        mutation(
            "Anybody may update an account",
            &["8555-7.3.2-02"],
            takes(Resource::Account, &["unauthorized"]),
        ),
        mutation(
            "Unknown fields of an update are kept",
            &["8555-7.3.2-02"],
            object(Kind::Account, |_, _, account| account["x-unknown"] = json!(true)),
        ),
        mutation(
            "A deactivated account is refused with 403",
            &["8555-7.3.6-02"],
            after(|_, _, answer| {
                if answer.status == 401 {
                    answer.status = 403;
                }
            }),
        ),
        mutation(
            "A deactivated account may order",
            &["8555-7.3.6-02"],
            takes(Resource::NewOrder, &["unauthorized"]),
        ),
        mutation(
            "A deactivated account may revoke",
            &["8555-7.3.6-02"],
            takes(Resource::Revocation, &["unauthorized"]),
        ),
        mutation(
            "A deactivated account is found by its key",
            &["8555-7.3.6-02"],
            takes(Resource::NewAccount, &["unauthorized"]),
        ),
    ]
}

fn external_accounts() -> Vec<Mutation> {
    let binds = |request: &Request| {
        request.resource() == Resource::NewAccount && !request.jws().payload["externalAccountBinding"].is_null()
    };
    vec![
        mutation(
            "externalAccountRequired is said and not meant",
            &["8555-7.3.4-01"],
            object(Kind::Directory, |_, _, directory| {
                directory["meta"]["externalAccountRequired"] = json!(true);
            }),
        ),
        mutation(
            "External accounts are required and the directory does not say so",
            &["8555-7.3.4-01"],
            object(Kind::Directory, |_, _, directory| {
                directory["meta"]["externalAccountRequired"] = json!(false);
            }),
        )
        .on(Stage::Bound),
        mutation(
            "Any binding is taken",
            &["8555-7.3.4-03", "8555-7.3.4-04", "8555-7.3.4-05"],
            tolerate(move |request, _, _| binds(request)),
        )
        .on(Stage::Bound),
        mutation(
            "A binding that was never verified is shown",
            &["8555-7.3.4-06"],
            after(move |scene, request, answer| {
                if binds(request) {
                    *answer = yes(scene, request);
                    let mut account = answer.json();
                    account["externalAccountBinding"] = request.jws().payload["externalAccountBinding"].clone();
                    answer.put_json(&account);
                }
            }),
        ),
        mutation(
            "A verified binding is not shown",
            &["8555-7.3.4-06"],
            without(Kind::Account, "externalAccountBinding"),
        )
        .on(Stage::Bound),
        mutation(
            "A right binding is refused",
            &["8555-7.3.4-06"],
            refuse(move |request, _| binds(request)),
        )
        .on(Stage::Bound),
    ]
}

fn key_changes() -> Vec<Mutation> {
    vec![
        mutation(
            "A right key change is refused",
            &["8555-7.3.5-01", "8555-7.3.5-06", "8555-8.3-06"],
            refuse(|request, _| request.resource() == Resource::KeyChange),
        ),
        mutation(
            "After a key change the old key works on",
            &["8555-7.3.5-01"],
            takes(Resource::Account, &[]),
        ),
        mutation(
            "The inner JWS of a key change is not looked at",
            &["8555-7.3.5-02", "8555-7.3.5-03", "8555-7.3.5-05"],
            takes(Resource::KeyChange, &[]),
        ),
        mutation(
            "A key change refused has happened all the same",
            &["8555-7.3.5-02", "8555-7.3.5-03"],
            takes(Resource::Account, &["malformed", "unauthorized"]),
        ),
        mutation(
            "A key in use is taken for a key change",
            &["8555-7.3.5-04"],
            tolerate(|request, _, answer| request.resource() == Resource::KeyChange && answer.status == 409),
        ),
        mutation(
            "A key change forgets the account's orders",
            &["8555-7.3.5-06"],
            since(
                |request, _| request.resource() == Resource::KeyChange,
                |request, answer| {
                    if matches!(request.resource(), Resource::Order | Resource::Authorization) {
                        *answer = Answer::refusal(404, "malformed");
                    }
                },
            ),
        ),
    ]
}
