//! RFC 5280 sections 5.2.3 to 5.3.3: delta, sharded and indirect CRLs, where a target publishes them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::case::{Case, Complaint, Finding, Judgement, ensure, must, must_read};
use crate::delta;
use crate::issue::Issued;
use crate::read::certificate::{FRESHEST_CRL, distribution_uris};
use crate::read::crl::{Crl, ISSUING_DISTRIBUTION_POINT};
use crate::read::ocsp::Status;
use crate::suite::Run;

pub(super) const CASES: &[Case] = &[
    must!(c5280_5_2_3_02, "Complete and delta CRLs share one numbering and agree."),
    must!(c5280_5_2_4_01, "A delta CRL names a published base, critically."),
    must!(c5280_5_2_4_02, "Delta and base have one scope and one key."),
    must!(c5280_5_2_4_03, "Base and delta add up to the present status."),
    must!(c5280_5_2_4_04, "A release from hold is in the delta as removeFromCRL."),
    must!(
        c5280_5_2_4_05,
        "What a delta shows stays until it was on a complete CRL."
    ),
    must_read!(
        c5280_5_2_5_04,
        "Each revoked certificate is on its own shard and no other."
    ),
    must!(c5280_5_2_6_01, "Freshest CRL leads to a delta of the same scope."),
    must!(c5280_5_3_3_01, "certificateIssuer is critical and for indirect CRLs."),
];

/// A revocation may take this long to show, as for complete CRLs.
const SHOWN_WITHIN: std::time::Duration = std::time::Duration::from_secs(20);

/// How often a sharding target may put fresh certificates on one shard before the suite takes it to be the only one.
const SHARD_TRIES: usize = 6;

/// Where the deltas of a certificate's CRL are: by the certificate or by the complete CRL.
fn addresses(run: &Run, issued: &Issued) -> Judgement<Vec<String>> {
    let by_certificate = issued
        .leaf()
        .extension(FRESHEST_CRL)
        .map(|extension| distribution_uris(&extension.value));
    let complete = run.crl_of(issued)?;
    let by_list = delta::freshest(&complete).read_as("the complete CRL")?;
    let all: BTreeSet<String> = by_certificate.into_iter().flatten().chain(by_list).collect();
    if all.is_empty() {
        return Err(Finding::NotOffered("no freshest CRL is named".into()));
    }
    Ok(all.into_iter().collect())
}

/// The complete CRL of a certificate and one of its deltas, as they are now.
fn pair(run: &Run, issued: &Issued) -> Judgement<(Crl, Crl)> {
    let addresses = addresses(run, issued)?;
    let complete = run.crl_of(issued)?;
    let delta = run.crl(&addresses[0])?;
    ensure!(
        delta.is_delta(),
        "{} is named as freshest CRL and is no delta",
        addresses[0]
    );
    Ok((complete, delta))
}

/// All lists of the run for the scope of a certificate, in the order in which they came.
fn history(run: &Run, issued: &Issued) -> Judgement<Vec<Crl>> {
    let mut uris = addresses(run, issued)?;
    uris.extend(issued.leaf().crl_uris());
    let mut lists = Vec::new();
    for exchange in run.evidence.exchanges() {
        let (request, answer) = (&exchange.request, &exchange.answer);
        if uris.contains(&request.url) && answer.status == 200 && request.method == "GET" {
            lists.push(Crl::read(&answer.body).read_as(&request.url)?);
        }
    }
    Ok(lists)
}

/// A freshly revoked certificate that base and delta together show.
fn shown(run: &Run) -> Judgement<(Arc<Issued>, Crl, Crl)> {
    addresses(run, run.certificate()?)?;
    let issued = run.revoked("delta", None)?;
    let began = Instant::now();
    loop {
        let (complete, delta) = pair(run, &issued)?;
        let serial = &issued.leaf().serial;
        if complete.entry(serial).is_some() || delta.entry(serial).is_some() {
            return Ok((issued, complete, delta));
        }
        if began.elapsed() > SHOWN_WITHIN {
            return Err(Finding::Blocked(
                "neither CRL nor delta shows a revocation within the run".into(),
            ));
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
}

fn c5280_5_2_3_02(run: &Run) -> Judgement {
    let (issued, ..) = shown(run)?;
    delta::share_one_numbering(&history(run, &issued)?).read_as("the CRLs of the run")
}

fn c5280_5_2_4_01(run: &Run) -> Judgement {
    let (issued, _, found) = shown(run)?;
    let complete: Vec<Crl> = history(run, &issued)?
        .into_iter()
        .filter(|crl| !crl.is_delta())
        .collect();
    delta::names_a_base(&found, &complete).read_as("the delta")
}

fn c5280_5_2_4_02(run: &Run) -> Judgement {
    let issued = run.certificate()?;
    let (complete, found) = pair(run, issued)?;
    delta::has_the_scope_of(&found, &complete, issued.issuer()?).read_as("the delta")
}

fn c5280_5_2_4_03(run: &Run) -> Judgement {
    let (issued, complete, found) = shown(run)?;
    let mut now = BTreeMap::new();
    for one in run.evidence.certificates() {
        if one.leaf().crl_uris() != issued.leaf().crl_uris() {
            continue;
        }
        if let Status::Revoked { at, reason } = run.status_of(&one)?.status
            && at <= found.this_update
        {
            now.insert(one.leaf().serial.clone(), reason);
        }
    }
    delta::tells_every_change(&complete, &found, &now).read_as("base and delta")
}

fn c5280_5_2_4_04(run: &Run) -> Judgement {
    addresses(run, run.certificate()?)?;
    let issued = run.issue(run.account()?, &[run.name("held")])?;
    let serial = issued.leaf().serial.clone();
    let text: String = serial.iter().map(|octet| format!("{octet:02x}")).collect();
    run.hook("hold", &[&text])?;
    let base = run.crl_listing(&issued)?;
    run.hook("release", &[&text])?;
    let began = Instant::now();
    loop {
        let (_, found) = pair(run, &issued)?;
        let told = delta::tells_the_release(&base, &found, &serial);
        if told.is_ok() || began.elapsed() > SHOWN_WITHIN {
            return told.read_as("the delta");
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
}

fn c5280_5_2_4_05(run: &Run) -> Judgement {
    let (issued, ..) = shown(run)?;
    // Another revocation makes more lists, on which the first one has to be still.
    shown(run)?;
    delta::keeps_until_complete(&history(run, &issued)?).read_as("the CRLs of the run")
}

fn c5280_5_2_5_04(run: &Run) -> Judgement {
    let first = run.certificate()?;
    if run.crl_of(first)?.extension(ISSUING_DISTRIBUTION_POINT).is_none() {
        return Err(Finding::NotOffered(
            "the CRL is no shard: it has no distribution point".into(),
        ));
    }
    let mut revoked = Vec::new();
    let mut uris = BTreeSet::new();
    for _ in 0..SHARD_TRIES {
        let issued = run.revoked("shard", None)?;
        run.crl_listing(&issued)?;
        uris.extend(issued.leaf().crl_uris());
        revoked.push(issued);
        if uris.len() > 1 {
            break;
        }
    }
    uris.extend(run.evidence.certificates().iter().flat_map(|one| one.leaf().crl_uris()));
    let shards = uris
        .into_iter()
        .map(|uri| run.crl(&uri).map(|crl| (uri, crl)))
        .collect::<Judgement<Vec<_>>>()?;
    for issued in revoked {
        let leaf = issued.leaf();
        delta::is_on_its_shard_alone(&leaf.serial, &leaf.crl_uris(), &shards).read_as("the shards")?;
    }
    Ok(())
}

fn c5280_5_2_6_01(run: &Run) -> Judgement {
    let issued = run.certificate()?;
    for uri in addresses(run, issued)? {
        let (complete, found) = (run.crl_of(issued)?, run.crl(&uri)?);
        ensure!(found.is_delta(), "{uri} is named as freshest CRL and is no delta");
        delta::freshest(&found).read_as(&uri)?;
        delta::has_the_scope_of(&found, &complete, issued.issuer()?).read_as(&uri)?;
    }
    Ok(())
}

fn c5280_5_3_3_01(run: &Run) -> Judgement {
    let mut indirect = false;
    let certificates = run.evidence.certificates();
    let uris: BTreeSet<String> = certificates.iter().flat_map(|one| one.leaf().crl_uris()).collect();
    for uri in uris {
        let crl = run.crl(&uri)?;
        let issuers = delta::issuers(&crl).read_as(&uri)?;
        indirect |= delta::is_indirect(&crl).read_as(&uri)?;
        for one in certificates.iter().filter(|one| one.leaf().crl_uris().contains(&uri)) {
            let leaf = one.leaf();
            let foreign = issuers
                .iter()
                .find(|(issuer, serial)| *serial == leaf.serial && *issuer != leaf.issuer);
            ensure!(foreign.is_none(), "{uri} lists {} for another issuer", leaf.label());
        }
    }
    if indirect {
        Ok(())
    } else {
        Err(Finding::NotOffered("no indirect CRL".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der;
    use crate::http::Answer;
    use crate::issue::Order;
    use crate::keys::Key;
    use crate::mock::acme;
    use crate::mock::authority::Authority;
    use crate::mock::list::List;
    use crate::mock::server::{Mock, Said};
    use crate::read::certificate::CRL_DISTRIBUTION_POINTS;
    use crate::read::ocsp::extension;
    use crate::suite::Account;
    use crate::target::Options;

    /// A CRLDistributionPoints or FreshestCRL extension that leads to one address.
    fn points(oid: &str, uri: &str) -> Vec<u8> {
        let uri = der::tlv(der::context(6), uri);
        let name = der::tlv(der::constructed(0), der::tlv(der::constructed(0), uri));
        extension(oid, false, &der::sequence(&[der::sequence(&[name])]))
    }

    /// A publisher of a complete CRL and a delta, made for its own origin by a CA that is told.
    struct Publisher {
        run: Run,
        _mock: Mock,
    }

    impl Publisher {
        fn start(
            complete: impl Fn(&str) -> List + Send + 'static,
            delta: impl Fn(&str) -> List + Send + 'static,
        ) -> Self {
            let ca = Arc::new(Authority::new("ca"));
            let signer = ca.clone();
            let mock = Mock::start(move |origin, request| {
                let list = match request.path.as_str() {
                    "/complete.crl" => complete(origin),
                    "/delta.crl" => delta(origin),
                    _ => {
                        return acme::common(origin, request, String::new)
                            .unwrap_or_else(|| Said::problem(404, "malformed"));
                    }
                };
                Said::new(200, "application/pkix-crl", list.sign(&signer).der)
            })
            .expect("a port");
            let run = Run::start(Options::new(mock.url(acme::DIRECTORY))).expect("a directory");
            let key = Key::p256();
            let named = points(CRL_DISTRIBUTION_POINTS, &mock.url("/complete.crl"));
            let leaf = ca.certify(&key, "leaf", &[named]);
            run.assume(Issued {
                account: Account {
                    key: Arc::new(Key::p256()),
                    url: String::new(),
                    object: serde_json::Value::Null,
                },
                names: Vec::new(),
                key,
                order: Order {
                    url: String::new(),
                    object: serde_json::Value::Null,
                },
                url: String::new(),
                answer: Answer {
                    status: 200,
                    headers: Vec::new(),
                    body: Vec::new(),
                },
                chain: vec![leaf, ca.certificate.clone()],
            });
            Self { run, _mock: mock }
        }

        fn judge(&self, judge: fn(&Run) -> Judgement) -> &'static str {
            match judge(&self.run) {
                Ok(()) => "pass",
                Err(Finding::Fail(_)) => "fail",
                Err(Finding::NotOffered(_)) => "not offered",
                Err(Finding::Blocked(_)) => "blocked",
            }
        }
    }

    fn complete(origin: &str) -> List {
        List::new(5).extended(points(FRESHEST_CRL, &format!("{origin}/delta.crl")))
    }

    #[test]
    fn finds_and_judges_the_deltas_of_a_publisher() {
        let sound = Publisher::start(complete, |_| List::delta(6, 5));
        assert_eq!(sound.judge(c5280_5_2_4_02), "pass");
        assert_eq!(sound.judge(c5280_5_2_6_01), "pass");
        let no_delta = Publisher::start(complete, |_| List::new(6));
        assert_eq!(no_delta.judge(c5280_5_2_4_02), "fail");
        assert_eq!(no_delta.judge(c5280_5_2_6_01), "fail");
        let nested = Publisher::start(complete, |origin| {
            List::delta(6, 5).extended(points(FRESHEST_CRL, &format!("{origin}/delta.crl")))
        });
        assert_eq!(nested.judge(c5280_5_2_6_01), "fail");
    }

    #[test]
    fn does_not_judge_what_is_not_published() {
        let plain = Publisher::start(|_| List::new(5), |_| List::delta(6, 5));
        for case in CASES {
            assert_eq!(plain.judge(case.judge), "not offered", "{}", case.id());
        }
    }
}
