//! RFC 5280 section 5: certificate revocation lists.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::case::{Case, Complaint, Finding, Judgement, ensure, must, must_read, should};
use crate::der;
use crate::read::certificate::{
    AUTHORITY_INFORMATION_ACCESS, AUTHORITY_KEY_IDENTIFIER, FRESHEST_CRL, full_name_uris, key_identifier,
};
use crate::read::crl::{CRL_NUMBER, Crl, DELTA_INDICATOR, INVALIDITY_DATE, ISSUING_DISTRIBUTION_POINT, REASON_CODE};
use crate::read::ocsp::Status;
use crate::suite::Run;

pub(super) const CASES: &[Case] = &[
    must!(c5280_5_01, "A CRL is version 2, with nextUpdate, number and AKI."),
    must_read!(c5280_5_02, "CRL and OCSP agree."),
    must!(
        c5280_5_1_1_2_01,
        "Both signature algorithms are the same and the signature verifies."
    ),
    must!(
        c5280_5_1_2_3_01,
        "The CRL's issuer is the CA's subject, octet for octet."
    ),
    must!(c5280_5_1_2_4_01, "Times have the form that fits their year."),
    must_read!(c5280_5_1_2_4_02, "thisUpdate is past and before nextUpdate."),
    must!(c5280_5_1_2_5_01, "nextUpdate is present and does not go back."),
    must!(c5280_5_1_2_6_01, "A list without entries is absent."),
    must!(c5280_5_1_2_6_02, "Every revoked certificate is listed."),
    must_read!(c5280_5_1_2_6_03, "No serial is listed twice."),
    must_read!(c5280_5_1_2_6_04, "revocationDate is when it was revoked, and stays."),
    must!(
        c5280_5_2_01,
        "AKI is the signer's SKI; each extension has its criticality."
    ),
    must!(c5280_5_2_3_01, "CRL numbers rise and have at most 20 octets."),
    must!(c5280_5_2_5_01, "A partition names itself as its certificates do."),
    must!(c5280_5_2_5_02, "IDP states the scope and is never empty."),
    must!(c5280_5_2_5_03, "The CRL covers all reasons."),
    must!(c5280_5_2_7_01, "AIA in a CRL has only caIssuers."),
    should!(c5280_5_3_01, "A known reason is given."),
    should!(c5280_5_3_1_01, "reasonCode is absent instead of unspecified."),
    must_read!(
        c5280_5_3_1_02,
        "reasonCode is a not critical ENUMERATED of known codes."
    ),
    must_read!(c5280_5_3_1_03, "Entries do not vanish."),
    must!(c5280_5_3_2_01, "invalidityDate is a not critical GeneralizedTime."),
];

fn current(run: &Run) -> Judgement<Crl> {
    run.crl_of(run.certificate()?)
}

fn c5280_5_01(run: &Run) -> Judgement {
    let crl = current(run)?;
    ensure!(crl.version == Some(1), "the version is {:?}", crl.version);
    ensure!(crl.next_update.is_some(), "no nextUpdate");
    ensure!(crl.number().is_some(), "no CRL number");
    ensure!(
        crl.extension(AUTHORITY_KEY_IDENTIFIER).is_some(),
        "no authority key identifier"
    );
    Ok(())
}

fn c5280_5_02(run: &Run) -> Judgement {
    let revoked = run.revoked("agree", Some(4))?;
    run.crl_listing(&revoked)?;
    run.each(run.evidence.certificates(), |issued| {
        let single = run.status_of(&issued)?;
        let crl = run.crl_of(&issued)?;
        let label = issued.leaf().label();
        match (crl.entry(&issued.leaf().serial), single.status) {
            (None, Status::Good) => {}
            (Some(entry), Status::Revoked { at, reason }) => {
                let listed = entry.reason().read_as("an entry")?;
                ensure!(
                    entry.revoked == at,
                    "{label}: revoked at {} by CRL, {at} by OCSP",
                    entry.revoked
                );
                ensure!(
                    listed == reason,
                    "{label}: reason {listed:?} by CRL, {reason:?} by OCSP"
                );
            }
            (entry, status) => {
                return Err(Finding::Fail(format!(
                    "{label}: listed {}, OCSP says {status:?}",
                    entry.is_some()
                )));
            }
        }
        Ok(())
    });
    Ok(())
}

fn c5280_5_1_1_2_01(run: &Run) -> Judgement {
    let crl = current(run)?;
    ensure!(crl.inner_algorithm == crl.outer_algorithm, "the algorithms differ");
    crl.is_signed_by(run.certificate()?.issuer()?).read_as("the CRL")
}

fn c5280_5_1_2_3_01(run: &Run) -> Judgement {
    let issuer = run.certificate()?.issuer()?;
    let crl = current(run)?;
    ensure!(
        crl.issuer == issuer.subject && crl.issuer.len() > 2,
        "the CRL's issuer is another name"
    );
    Ok(())
}

fn c5280_5_1_2_4_01(run: &Run) -> Judgement {
    // The reader takes no other form of time.
    current(run).map(|_| ())
}

fn c5280_5_1_2_4_02(run: &Run) -> Judgement {
    let crl = current(run)?;
    ensure!(
        crl.this_update.as_second() <= Timestamp::now().as_second() + 2,
        "thisUpdate {} is in the future",
        crl.this_update
    );
    ensure!(
        crl.next_update.is_none_or(|next| next > crl.this_update),
        "nextUpdate is not after thisUpdate"
    );
    Ok(())
}

/// All CRLs of the run for one URL, as they came.
fn collected(run: &Run) -> Judgement<Vec<Crl>> {
    let uris: HashSet<String> = run
        .evidence
        .certificates()
        .iter()
        .flat_map(|one| one.leaf().crl_uris())
        .collect();
    let mut lists = Vec::new();
    for exchange in run.evidence.exchanges() {
        if uris.contains(&exchange.request.url) && exchange.answer.status == 200 && exchange.request.method == "GET" {
            lists.push(Crl::read(&exchange.answer.body).read_as(&exchange.request.url)?);
        }
    }
    Ok(lists)
}

fn c5280_5_1_2_5_01(run: &Run) -> Judgement {
    let crl = current(run)?;
    let Some(next) = crl.next_update else {
        return Err(Finding::Fail("no nextUpdate".into()));
    };
    ensure!(next > Timestamp::now(), "the CRL is past its nextUpdate {next}");
    run.each(collected(run)?.windows(2), |pair| {
        run.expect(pair[1].next_update >= pair[0].next_update, || {
            "nextUpdate went back".into()
        });
        Ok(())
    });
    Ok(())
}

fn c5280_5_1_2_6_01(run: &Run) -> Judgement {
    run.each(collected(run)?, |crl| {
        ensure!(
            crl.entries.is_none_or(|entries| !entries.is_empty()),
            "an empty list is written out"
        );
        Ok(())
    });
    Ok(())
}

fn c5280_5_1_2_6_02(run: &Run) -> Judgement {
    current(run)?;
    let issued = run.revoked("listed", None)?;
    run.crl_listing(&issued).map(|_| ())
}

fn c5280_5_1_2_6_03(run: &Run) -> Judgement {
    run.each(collected(run)?, |crl| {
        let entries = crl.entries.unwrap_or_default();
        let serials: HashSet<&Vec<u8>> = entries.iter().map(|entry| &entry.serial).collect();
        ensure!(serials.len() == entries.len(), "a serial is listed twice");
        Ok(())
    });
    Ok(())
}

fn c5280_5_1_2_6_04(run: &Run) -> Judgement {
    current(run)?;
    let before = Timestamp::now().as_second();
    let first = run.revoked("when", None)?;
    let at = run
        .crl_listing(&first)?
        .entry(&first.leaf().serial)
        .map(|entry| entry.revoked);
    let Some(at) = at else {
        return Err(Finding::Fail("the entry is gone".into()));
    };
    ensure!(
        (before - 2..=Timestamp::now().as_second() + 1).contains(&at.as_second()),
        "revocationDate is {at}"
    );
    let second = run.revoked("when", None)?;
    let later = run
        .crl_listing(&second)?
        .entry(&first.leaf().serial)
        .map(|entry| entry.revoked);
    ensure!(
        later == Some(at),
        "in the next CRL revocationDate is {later:?}, not {at}"
    );
    Ok(())
}

fn c5280_5_2_01(run: &Run) -> Judgement {
    let crl = current(run)?;
    let issuer = run.certificate()?.issuer()?;
    let identifier = crl
        .extension(AUTHORITY_KEY_IDENTIFIER)
        .and_then(|extension| key_identifier(&extension.value));
    ensure!(
        identifier == issuer.subject_key_identifier(),
        "the AKI is {identifier:02x?}"
    );
    run.each(&crl.extensions, |extension| {
        let wanted = match extension.oid.as_str() {
            ISSUING_DISTRIBUTION_POINT | DELTA_INDICATOR => true,
            AUTHORITY_KEY_IDENTIFIER | CRL_NUMBER | FRESHEST_CRL | AUTHORITY_INFORMATION_ACCESS => false,
            _ => return Ok(()),
        };
        ensure!(
            extension.critical == wanted,
            "extension {} is critical {}",
            extension.oid,
            extension.critical
        );
        Ok(())
    });
    Ok(())
}

fn c5280_5_2_3_01(run: &Run) -> Judgement {
    current(run)?;
    let issued = run.revoked("number", None)?;
    run.crl_listing(&issued)?;
    let lists: Vec<Crl> = collected(run)?.into_iter().filter(|crl| !crl.is_delta()).collect();
    let value = |number: &[u8]| {
        let significant = &number[number.iter().position(|&octet| octet != 0).unwrap_or(number.len())..];
        (significant.len(), significant.to_vec())
    };
    run.each(lists.windows(2), |pair| {
        let (Some(before), Some(after)) = (pair[0].number(), pair[1].number()) else {
            return Err(Finding::Fail("a CRL without number".into()));
        };
        ensure!(
            after.len() <= 20 && after.first().is_some_and(|&first| first < 0x80),
            "the number is {after:02x?}"
        );
        let (low, high) = (value(&before), value(&after));
        ensure!(low <= high, "the number went from {before:02x?} to {after:02x?}");
        ensure!(
            pair[0].this_update == pair[1].this_update || low != high,
            "two thisUpdates share a number"
        );
        ensure!(
            pair[0].der == pair[1].der || low != high,
            "two CRLs share the number {after:02x?}"
        );
        Ok(())
    });
    Ok(())
}

fn distribution_point(crl: &Crl) -> Judgement<Vec<der::Element<'_>>> {
    let Some(extension) = crl.extension(ISSUING_DISTRIBUTION_POINT) else {
        return Err(Finding::NotOffered("the CRL has no issuing distribution point".into()));
    };
    let list = der::single(&extension.value, der::SEQUENCE).and_then(|list| list.inside().all());
    list.read_as("the issuing distribution point")
}

fn c5280_5_2_5_01(run: &Run) -> Judgement {
    run.each(run.evidence.certificates(), |issued| {
        let crl = run.crl_of(&issued)?;
        let parts = distribution_point(&crl)?;
        let Some(name) = parts.iter().find(|part| part.tag == der::constructed(0)) else {
            return Ok(());
        };
        let uris = full_name_uris(name).read_as("the issuing distribution point")?;
        let named = issued.leaf().crl_uris();
        ensure!(
            named.iter().any(|uri| uris.contains(uri)),
            "the CRL calls itself {uris:?}, certificates call it {named:?}"
        );
        Ok(())
    });
    Ok(())
}

fn c5280_5_2_5_02(run: &Run) -> Judgement {
    let crl = current(run)?;
    let parts = distribution_point(&crl)?;
    ensure!(!parts.is_empty(), "the issuing distribution point is empty");
    let flag = |number| {
        parts
            .iter()
            .find(|part| part.tag == der::context(number))
            .map(|part| part.content == [0xff])
    };
    ensure!(flag(5).is_none(), "onlyContainsAttributeCerts is written out");
    ensure!(flag(2) != Some(true), "a CRL for leaves says that it has only CAs");
    run.each([1, 2, 4], |number| {
        ensure!(
            flag(number) != Some(false),
            "the default of flag {number} is written out"
        );
        Ok(())
    });
    Ok(())
}

fn c5280_5_2_5_03(run: &Run) -> Judgement {
    let crl = current(run)?;
    if let Ok(parts) = distribution_point(&crl) {
        ensure!(
            parts.iter().all(|part| part.tag != der::context(3)),
            "the CRL covers only some reasons"
        );
    }
    Ok(())
}

fn c5280_5_2_7_01(run: &Run) -> Judgement {
    let crl = current(run)?;
    let Some(extension) = crl.extension(AUTHORITY_INFORMATION_ACCESS) else {
        return Err(Finding::NotOffered("no AIA in the CRL".into()));
    };
    let all = der::single(&extension.value, der::SEQUENCE)
        .and_then(|list| list.inside().all())
        .read_as("AIA")?;
    run.each(all, |description| {
        let method = description.inside().expect(der::OID).read_as("AIA")?;
        ensure!(
            der::dotted(method.content) == "1.3.6.1.5.5.7.48.2",
            "AIA has {}",
            der::dotted(method.content)
        );
        Ok(())
    });
    Ok(())
}

fn reason_of(run: &Run, given: Option<i64>) -> Judgement<Option<u8>> {
    current(run)?;
    let issued = run.revoked("reason", given)?;
    let crl = run.crl_listing(&issued)?;
    let entry = crl
        .entry(&issued.leaf().serial)
        .ok_or_else(|| Finding::Fail("the entry is gone".into()))?;
    entry.reason().read_as("the entry")
}

fn c5280_5_3_01(run: &Run) -> Judgement {
    let listed = reason_of(run, Some(4))?;
    ensure!(listed == Some(4), "the reason superseded is listed as {listed:?}");
    Ok(())
}

fn c5280_5_3_1_01(run: &Run) -> Judgement {
    run.each([None, Some(0)], |given| {
        let listed = reason_of(run, given)?;
        ensure!(listed.is_none(), "the reason {given:?} is listed as {listed:?}");
        Ok(())
    });
    Ok(())
}

fn c5280_5_3_1_02(run: &Run) -> Judgement {
    for crl in collected(run)? {
        run.each(crl.entries.iter().flatten(), |entry| {
            let Some(code) = entry.reason().read_as("an entry")? else {
                return Ok(());
            };
            let known = matches!(code, 1..=6 | 9 | 10) || (code == 8 && crl.is_delta());
            run.expect(code != 0, || "unspecified is written out".into());
            ensure!(known || code == 0, "reason code {code}");
            let critical = entry
                .extensions
                .iter()
                .any(|extension| extension.oid == REASON_CODE && extension.critical);
            ensure!(!critical, "a reason code is critical");
            Ok(())
        });
    }
    Ok(())
}

fn c5280_5_3_1_03(run: &Run) -> Judgement {
    let lists: Vec<Crl> = collected(run)?.into_iter().filter(|crl| !crl.is_delta()).collect();
    run.each(lists.windows(2), |pair| {
        run.each(pair[0].entries.iter().flatten(), |entry| {
            if entry.reason().read_as("an entry")? != Some(6) {
                ensure!(
                    pair[1].entry(&entry.serial).is_some(),
                    "the entry {:02x?} vanished",
                    entry.serial
                );
            }
            Ok(())
        });
        Ok(())
    });
    Ok(())
}

fn c5280_5_3_2_01(run: &Run) -> Judgement {
    let mut found = false;
    run.each(collected(run)?, |crl| {
        run.each(
            crl.entries.iter().flatten().flat_map(|entry| &entry.extensions),
            |extension| {
                if extension.oid == INVALIDITY_DATE {
                    found = true;
                    ensure!(!extension.critical, "an invalidityDate is critical");
                    let time = der::single(&extension.value, der::GENERALIZED_TIME).read_as("invalidityDate")?;
                    crate::read::time::generalized(&time).read_as("invalidityDate")?;
                }
                Ok(())
            },
        );
        Ok(())
    });
    if found {
        Ok(())
    } else {
        Err(Finding::NotOffered("no invalidityDate in the run".into()))
    }
}
