//! RFC 5280 section 4.2 and RFC 9608: the extensions of every certificate of the run, names apart.

use std::collections::{HashMap, HashSet};

use super::certificates::{authorities, each, leaves, pairs, when};
use crate::case::{Case, Complaint, Finding, Judgement, ensure, must, must_read, should, should_read};
use crate::der;
use crate::keys::Key;
use crate::read::certificate::{
    ACCESS_CA_ISSUERS, ACCESS_OCSP, AUTHORITY_INFORMATION_ACCESS, AUTHORITY_KEY_IDENTIFIER, BASIC_CONSTRAINTS,
    CERTIFICATE_POLICIES, CRL_DISTRIBUTION_POINTS, Certificate, EXTENDED_KEY_USAGE, FRESHEST_CRL, KEY_USAGE,
    NAME_CONSTRAINTS, NO_REVOCATION_AVAILABLE, SERVER_AUTH, SUBJECT_KEY_IDENTIFIER,
};
use crate::suite::Run;

pub(super) const CASES: &[Case] = &[
    must!(c5280_4_2_1_1_01, "The AKI is the issuer's SKI."),
    must!(c5280_4_2_1_2_01, "CA certificates have an SKI."),
    should!(c5280_4_2_1_2_02, "Leaves have an SKI made from the key."),
    must!(c5280_4_2_1_3_01, "CA certificates have a key usage."),
    must!(c5280_4_2_1_3_02, "keyCertSign is for CAs; who signs CRLs has cRLSign."),
    must_read!(c5280_4_2_1_3_03, "Key usage fits the kind of key."),
    must!(c5280_4_2_1_4_01, "No policy appears twice."),
    must!(c5280_4_2_1_9_01, "CA certificates have critical basic constraints."),
    must!(c5280_4_2_1_9_02, "Path lengths are only for CAs and are kept."),
    must_read!(c5280_4_2_1_9_03, "Leaves are no CAs."),
    must!(c5280_4_2_1_10_01, "Name constraints are only in CAs, and critical."),
    should_read!(
        c5280_4_2_1_12_01,
        "Leaves have serverAuth and stay inside the CA's usages."
    ),
    should!(c5280_4_2_1_13_01, "CRLDP is not critical."),
    must!(c5280_4_2_1_13_02, "A distribution point has a name and no cRLIssuer."),
    must!(
        c5280_4_2_1_13_03,
        "A distribution point leads to a CRL for all reasons."
    ),
    must!(c5280_4_2_1_15_01, "Freshest CRL is not critical."),
    must!(
        c5280_4_2_2_1_01,
        "AIA is not critical and caIssuers leads to the issuer."
    ),
    must_read!(c5280_4_2_2_1_02, "The responder named in AIA answers."),
    should!(c5280_8_01, "CRLDP and AIA have no https URIs."),
    must!(c9608_3_01, "noRevAvail is alone where it is, and only in leaves."),
];

fn c5280_4_2_1_1_01(run: &Run) -> Judgement {
    run.each(pairs(run)?, |(certificate, issuer)| {
        let label = certificate.label();
        let identifier = certificate.authority_key_identifier();
        ensure!(identifier.is_some(), "{label}: no keyIdentifier in the AKI");
        ensure!(
            identifier == issuer.subject_key_identifier(),
            "{label}: the AKI is not the issuer's SKI"
        );
        let critical = certificate
            .extension(AUTHORITY_KEY_IDENTIFIER)
            .is_some_and(|extension| extension.critical);
        ensure!(!critical, "{label}: the AKI is critical");
        Ok(())
    });
    Ok(())
}

fn c5280_4_2_1_2_01(run: &Run) -> Judgement {
    run.each(authorities(run)?, |one| {
        let sound = one
            .extension(SUBJECT_KEY_IDENTIFIER)
            .is_some_and(|extension| !extension.critical);
        ensure!(
            sound && one.subject_key_identifier().is_some(),
            "{}: no sound SKI",
            one.label()
        );
        Ok(())
    });
    Ok(())
}

fn c5280_4_2_1_2_02(run: &Run) -> Judgement {
    let mut by_key: HashMap<Vec<u8>, Option<Vec<u8>>> = HashMap::new();
    run.each(leaves(run)?, |one| {
        let identifier = one.leaf().subject_key_identifier();
        ensure!(identifier.is_some(), "{}: no SKI", one.leaf().label());
        if let Some(other) = by_key.insert(one.leaf().spki.clone(), identifier.clone()) {
            ensure!(other == identifier, "one key has two SKIs");
        }
        Ok(())
    });
    Ok(())
}

fn c5280_4_2_1_3_01(run: &Run) -> Judgement {
    run.each(authorities(run)?, |one| {
        let Some(usage) = one.extension(KEY_USAGE) else {
            return Err(Finding::Fail(format!("{}: no key usage", one.label())));
        };
        run.expect(usage.critical, || format!("{}: key usage is not critical", one.label()));
        Ok(())
    });
    Ok(())
}

fn c5280_4_2_1_3_02(run: &Run) -> Judgement {
    each(run, |one| {
        when(one.has_usage(5) && !one.is_ca(), "keyCertSign without cA")?;
        let empty = one.extension(KEY_USAGE).is_some() && !(0..9).any(|bit| one.has_usage(bit));
        when(empty, "a key usage without any bit")
    })?;
    let issued = run.certificate()?;
    if !issued.leaf().crl_uris().is_empty() {
        ensure!(issued.issuer()?.has_usage(6), "the CA signs CRLs and lacks cRLSign");
    }
    Ok(())
}

fn c5280_4_2_1_3_03(run: &Run) -> Judgement {
    run.each(
        [("P-256", Key::p256()), ("RSA", Key::rsa()), ("Ed25519", Key::ed25519())],
        |(kind, key)| {
            let issued = match run.issue_for(run.account()?, &[run.name("usage")], key) {
                // A CA need not take every kind of key.
                Err(Finding::Blocked(why)) if why.contains("badCSR") || why.contains("badPublicKey") => return Ok(()),
                other => other?,
            };
            let leaf = issued.leaf();
            if leaf.extension(KEY_USAGE).is_none() {
                return Ok(());
            }
            match kind {
                "RSA" => ensure!(
                    leaf.has_usage(0) || leaf.has_usage(2),
                    "RSA: neither digitalSignature nor keyEncipherment"
                ),
                _ => {
                    ensure!(
                        leaf.has_usage(0) || leaf.has_usage(1),
                        "{kind}: neither digitalSignature nor nonRepudiation"
                    );
                    ensure!(!leaf.has_usage(2) && !leaf.has_usage(3), "{kind}: encipherment");
                }
            }
            Ok(())
        },
    );
    Ok(())
}

fn c5280_4_2_1_4_01(run: &Run) -> Judgement {
    each(run, |one| {
        let Some(extension) = one.extension(CERTIFICATE_POLICIES) else {
            return Ok(());
        };
        let mut seen = HashSet::new();
        for policy in der::single(&extension.value, der::SEQUENCE)?.inside().all()? {
            let oid = der::dotted(policy.inside().expect(der::OID)?.content);
            when(!seen.insert(oid), "a policy appears twice")?;
        }
        Ok(())
    })
}

fn c5280_4_2_1_9_01(run: &Run) -> Judgement {
    run.each(pairs(run)?, |(_, issuer)| {
        let critical = issuer
            .extension(BASIC_CONSTRAINTS)
            .is_some_and(|extension| extension.critical);
        ensure!(issuer.is_ca() && critical, "{}: no critical cA TRUE", issuer.label());
        Ok(())
    });
    Ok(())
}

fn path_length(certificate: &Certificate) -> Result<Option<usize>, String> {
    let Some(extension) = certificate.extension(BASIC_CONSTRAINTS) else {
        return Ok(None);
    };
    let mut parts = der::single(&extension.value, der::SEQUENCE)?.inside();
    parts.optional(der::BOOLEAN)?;
    let Some(length) = parts.optional(der::INTEGER)? else {
        return Ok(None);
    };
    match length.content {
        &[length] if length < 0x80 => Ok(Some(usize::from(length))),
        content if content[0] & 0x80 != 0 => Err("a negative path length".into()),
        _ => Ok(Some(usize::MAX)),
    }
}

fn c5280_4_2_1_9_02(run: &Run) -> Judgement {
    each(run, |one| {
        let length = path_length(one)?;
        when(
            length.is_some() && !(one.is_ca() && one.has_usage(5)),
            "a path length without cA and keyCertSign",
        )
    })?;
    run.each(leaves(run)?, |one| {
        run.each(one.chain.iter().skip(1).enumerate(), |(below, authority)| {
            let length = path_length(authority).read_as(&authority.label())?;
            ensure!(
                length.is_none_or(|length| below <= length),
                "{}: the path is too long",
                authority.label()
            );
            Ok(())
        });
        Ok(())
    });
    Ok(())
}

fn c5280_4_2_1_9_03(run: &Run) -> Judgement {
    run.each(leaves(run)?, |one| {
        ensure!(!one.leaf().is_ca(), "{}: a leaf is a CA", one.leaf().label());
        if let Some(extension) = one.leaf().extension(BASIC_CONSTRAINTS) {
            ensure!(
                extension.value == [0x30, 0],
                "{}: basic constraints are {:02x?}",
                one.leaf().label(),
                extension.value
            );
        }
        Ok(())
    });
    Ok(())
}

fn c5280_4_2_1_10_01(run: &Run) -> Judgement {
    each(run, |one| {
        let Some(extension) = one.extension(NAME_CONSTRAINTS) else {
            return Ok(());
        };
        when(
            !one.is_ca() || !extension.critical,
            "name constraints outside a CA, or not critical",
        )?;
        let trees = der::single(&extension.value, der::SEQUENCE)?.inside().all()?;
        when(trees.is_empty(), "empty name constraints")?;
        for subtree in trees
            .iter()
            .map(|tree| tree.inside().all())
            .collect::<Result<Vec<_>, _>>()?
            .concat()
        {
            let mut parts = subtree.inside();
            let base = parts.any()?;
            when(!parts.is_empty(), "a minimum or maximum in name constraints")?;
            when(
                base.tag == der::context(7) && ![8, 32].contains(&base.content.len()),
                "an address base of another length",
            )?;
        }
        Ok(())
    })
}

fn c5280_4_2_1_12_01(run: &Run) -> Judgement {
    run.each(leaves(run)?, |one| {
        let usages = one.leaf().extended_usages();
        // An order that asked for another profile may have asked for another purpose.
        let usual = one.order.object["profile"] == run.certificate()?.order.object["profile"];
        let label = one.leaf().label();
        ensure!(
            !usual || usages.iter().any(|usage| usage == SERVER_AUTH),
            "{label}: usages {usages:?}"
        );
        let allowed = one.chain.get(1).map(Certificate::extended_usages).unwrap_or_default();
        let inside = allowed.is_empty() || usages.iter().all(|usage| allowed.contains(usage));
        ensure!(
            inside,
            "{}: usages {usages:?}, the CA has {allowed:?}",
            one.leaf().label()
        );
        let critical = one
            .leaf()
            .extension(EXTENDED_KEY_USAGE)
            .is_some_and(|extension| extension.critical);
        ensure!(
            !critical || !usages.iter().any(|usage| usage == "2.5.29.37.0"),
            "anyExtendedKeyUsage is critical"
        );
        Ok(())
    });
    Ok(())
}

fn c5280_4_2_1_13_01(run: &Run) -> Judgement {
    each(run, |one| {
        let Some(extension) = one.extension(CRL_DISTRIBUTION_POINTS) else {
            return Ok(());
        };
        when(extension.critical, "CRLDP is critical")?;
        for point in der::single(&extension.value, der::SEQUENCE)?.inside().all()? {
            if let Some(name) = point.inside().optional(der::constructed(0))? {
                when(
                    name.inside().peek() == Some(der::constructed(1)),
                    "nameRelativeToCRLIssuer is used",
                )?;
            }
        }
        Ok(())
    })
}

fn c5280_4_2_1_13_02(run: &Run) -> Judgement {
    each(run, |one| {
        let Some(extension) = one.extension(CRL_DISTRIBUTION_POINTS) else {
            return Ok(());
        };
        for point in der::single(&extension.value, der::SEQUENCE)?.inside().all()? {
            let tags: Vec<u8> = point.inside().all()?.iter().map(|part| part.tag).collect();
            when(
                !tags.contains(&der::constructed(0)),
                "a distribution point without a name",
            )?;
            when(
                tags.contains(&der::constructed(2)),
                "a distribution point with cRLIssuer",
            )?;
        }
        Ok(())
    })
}

fn c5280_4_2_1_13_03(run: &Run) -> Judgement {
    let issued = run.certificate()?;
    let crl = run.crl_of(issued)?;
    ensure!(crl.issuer == issued.leaf().issuer, "the CRL is of another issuer");
    let points = &issued
        .leaf()
        .extension(CRL_DISTRIBUTION_POINTS)
        .map(|extension| extension.value.clone())
        .unwrap_or_default();
    let points = der::single(points, der::SEQUENCE)
        .and_then(|list| list.inside().all())
        .read_as("CRLDP")?;
    let whole = points.iter().any(|point| {
        point
            .inside()
            .all()
            .is_ok_and(|parts| parts.iter().all(|part| part.tag != der::context(1)))
    });
    ensure!(whole, "every distribution point is only for some reasons");
    Ok(())
}

fn c5280_4_2_1_15_01(run: &Run) -> Judgement {
    each(run, |one| {
        when(
            one.extension(FRESHEST_CRL).is_some_and(|extension| extension.critical),
            "freshest CRL is critical",
        )
    })
}

fn c5280_4_2_2_1_01(run: &Run) -> Judgement {
    each(run, |one| {
        when(
            one.extension(AUTHORITY_INFORMATION_ACCESS)
                .is_some_and(|one| one.critical),
            "AIA is critical",
        )
    })?;
    let issued = run.certificate()?;
    let uris = issued.leaf().access(ACCESS_CA_ISSUERS);
    let Some(url) = uris.first() else {
        return Err(Finding::NotOffered("no caIssuers".into()));
    };
    let answer = run.get(url)?;
    ensure!(answer.status == 200, "{url}: {}", answer.summary());
    let certificate = Certificate::read(&answer.body).read_as(url)?;
    ensure!(certificate.subject == issued.leaf().issuer, "{url} is not the issuer");
    issued.leaf().is_signed_by(&certificate).read_as(url)
}

fn c5280_4_2_2_1_02(run: &Run) -> Judgement {
    let issued = run.certificate()?;
    if issued.leaf().access(ACCESS_OCSP).is_empty() {
        return Err(Finding::NotOffered("no responder in the certificate".into()));
    }
    run.status_of(issued).map(|_| ())
}

fn c5280_8_01(run: &Run) -> Judgement {
    each(run, |one| {
        let uris = [one.crl_uris(), one.access(ACCESS_OCSP), one.access(ACCESS_CA_ISSUERS)].concat();
        when(
            uris.iter()
                .any(|uri| uri.starts_with("https:") || uri.starts_with("ldaps:")),
            "an https URI",
        )
    })
}

fn c9608_3_01(run: &Run) -> Judgement {
    let mut found = false;
    each(run, |one| {
        let Some(extension) = one.extension(NO_REVOCATION_AVAILABLE) else {
            return Ok(());
        };
        when(one.is_ca(), "noRevAvail in a CA")?;
        when(
            extension.critical || extension.value != der::null(),
            "noRevAvail is critical or not NULL",
        )?;
        let status = one.crl_uris().len() + one.access(ACCESS_OCSP).len();
        when(
            status > 0 || one.extension(FRESHEST_CRL).is_some(),
            "noRevAvail beside a way to check",
        )
    })?;
    for one in leaves(run)? {
        found |= one.leaf().extension(NO_REVOCATION_AVAILABLE).is_some();
    }
    if found {
        Ok(())
    } else {
        Err(Finding::NotOffered("no noRevAvail in the run".into()))
    }
}
