//! RFC 5280 and its relatives: every certificate of the run, leaves and issuers.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::case::{Case, Complaint, Finding, Judgement, ensure, must, must_read, should, should_read};
use crate::der;
use crate::issue::Issued;
use crate::keys::Key;
use crate::read::certificate::{
    ACCESS_CA_ISSUERS, ACCESS_OCSP, AUTHORITY_INFORMATION_ACCESS, AUTHORITY_KEY_IDENTIFIER, BASIC_CONSTRAINTS,
    CERTIFICATE_POLICIES, CRL_DISTRIBUTION_POINTS, Certificate, EXTENDED_KEY_USAGE, FRESHEST_CRL, KEY_USAGE,
    NAME_CONSTRAINTS, NO_REVOCATION_AVAILABLE, SERVER_AUTH, SUBJECT_ALTERNATIVE_NAME, SUBJECT_KEY_IDENTIFIER,
    algorithm,
};
use crate::suite::Run;

pub(super) const CASES: &[Case] = &[
    must_read!(c5280_3_2_01, "A root signs itself and is a CA."),
    must!(c5280_4_1_1_2_01, "Inner and outer signature algorithm are the same."),
    must!(c5280_4_1_2_1_01, "The version is 3."),
    must!(c5280_4_1_2_2_01, "Serials are positive, short enough and unique."),
    must!(c5280_4_1_2_4_01, "The issuer is the CA's subject, octet for octet."),
    must!(c5280_4_1_2_4_02, "Names are PrintableString or UTF8String."),
    must!(c5280_4_1_2_5_01, "Dates have the form that fits their year."),
    should_read!(c5280_4_1_2_5_02, "A certificate does not outlive its issuer."),
    must!(c5280_4_1_2_6_01, "With an empty subject the SAN is critical."),
    must!(c5280_4_1_2_8_01, "There are no unique identifiers."),
    must!(c5280_4_2_01, "No extension appears twice."),
    must!(c5280_4_2_02, "Certificates and extensions are DER."),
    must!(c5280_4_2_1_1_01, "The AKI is the issuer's SKI."),
    must!(c5280_4_2_1_2_01, "CA certificates have an SKI."),
    should!(c5280_4_2_1_2_02, "Leaves have an SKI made from the key."),
    must!(c5280_4_2_1_3_01, "CA certificates have a key usage."),
    must!(c5280_4_2_1_3_02, "keyCertSign is for CAs; who signs CRLs has cRLSign."),
    must_read!(c5280_4_2_1_3_03, "Key usage fits the kind of key."),
    must!(c5280_4_2_1_4_01, "No policy appears twice."),
    must!(c5280_4_2_1_6_01, "The SAN holds exactly the verified names."),
    must!(c5280_4_2_1_6_02, "dNSNames are in preferred name syntax."),
    must!(c5280_4_2_1_6_03, "iPAddresses have 4 or 16 octets."),
    should!(c5280_4_2_1_6_04, "The SAN is not critical beside a subject."),
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
    must_read!(c5280_6_1_01, "Every chain leads to an anchor."),
    should!(c5280_8_01, "CRLDP and AIA have no https URIs."),
    must!(c5480_2_1_01, "EC keys are on named curves, uncompressed or compressed."),
    must!(c5758_3_2_01, "Algorithm parameters are as defined."),
    must!(c9608_3_01, "noRevAvail is alone where it is, and only in leaves."),
];

/// All leaves, and all chain certificates but once each.
fn all(run: &Run) -> Judgement<Vec<Certificate>> {
    run.certificate()?;
    let mut seen = HashSet::new();
    let issued = run.evidence.certificates();
    let every = issued.iter().flat_map(|one| one.chain.iter());
    Ok(every
        .filter(|certificate| seen.insert(certificate.der.clone()))
        .cloned()
        .collect())
}

fn leaves(run: &Run) -> Judgement<Vec<std::sync::Arc<Issued>>> {
    run.certificate()?;
    Ok(run.evidence.certificates())
}

fn authorities(run: &Run) -> Judgement<Vec<Certificate>> {
    Ok(all(run)?.into_iter().filter(Certificate::is_ca).collect())
}

/// Applies a check to each certificate.
fn each(run: &Run, check: impl Fn(&Certificate) -> Result<(), String>) -> Judgement {
    all(run)?
        .iter()
        .try_for_each(|certificate| check(certificate).read_as(&certificate.label()))
}

fn when(condition: bool, message: &str) -> Result<(), String> {
    if condition { Err(message.to_owned()) } else { Ok(()) }
}

/// Pairs of certificate and issuer along the chains.
fn pairs(run: &Run) -> Judgement<Vec<(Certificate, Certificate)>> {
    let issued = leaves(run)?;
    let pairs = issued.iter().flat_map(|one| one.chain.windows(2));
    Ok(pairs.map(|pair| (pair[0].clone(), pair[1].clone())).collect())
}

/// The anchors the run knows: those it was given, and self-signed certificates in chains.
fn anchors(run: &Run) -> Judgement<Vec<Certificate>> {
    let given = run
        .options
        .issuer_root
        .as_deref()
        .or(run.options.ca_root.as_deref())
        .unwrap_or_default();
    let given = CertificateDer::pem_slice_iter(given)
        .flatten()
        .filter_map(|der| Certificate::read(&der).ok());
    let mut anchors: Vec<Certificate> = given.filter(Certificate::is_ca).collect();
    anchors.extend(
        all(run)?
            .into_iter()
            .filter(|one| one.issuer == one.subject && one.is_ca()),
    );
    Ok(anchors)
}

fn c5280_3_2_01(run: &Run) -> Judgement {
    let anchors = anchors(run)?;
    if anchors.is_empty() {
        return Err(Finding::Blocked("the run knows no anchor".into()));
    }
    for anchor in anchors {
        ensure!(anchor.issuer == anchor.subject, "the anchor's issuer is another");
        anchor.is_signed_by(&anchor).read_as("the anchor")?;
        ensure!(
            anchor.is_ca() && anchor.has_usage(5),
            "the anchor may not sign certificates"
        );
    }
    Ok(())
}

fn c5280_4_1_1_2_01(run: &Run) -> Judgement {
    each(run, |one| {
        when(
            one.inner_algorithm != one.outer_algorithm,
            "the signature algorithms differ",
        )
    })
}

fn c5280_4_1_2_1_01(run: &Run) -> Judgement {
    each(run, |one| when(one.version != 2, "the version is not 3"))
}

fn c5280_4_1_2_2_01(run: &Run) -> Judgement {
    each(run, |one| {
        let positive =
            one.serial.first().is_some_and(|&first| first < 0x80) && one.serial.iter().any(|&octet| octet != 0);
        when(
            !positive || one.serial.len() > 20,
            "the serial is not a positive number of at most 20 octets",
        )
    })?;
    let mut seen: HashMap<(Vec<u8>, Vec<u8>), Vec<u8>> = HashMap::new();
    for one in all(run)? {
        let key = (one.issuer.clone(), one.serial.clone());
        let label = one.label();
        if let Some(other) = seen.insert(key, one.der.clone()) {
            ensure!(other == one.der, "{label}: two certificates have this serial");
        }
    }
    Ok(())
}

fn c5280_4_1_2_4_01(run: &Run) -> Judgement {
    for (certificate, issuer) in pairs(run)? {
        ensure!(
            certificate.issuer == issuer.subject,
            "{}: the issuer is another name",
            certificate.label()
        );
        ensure!(
            certificate.issuer.len() > 2,
            "{}: the issuer is empty",
            certificate.label()
        );
    }
    Ok(())
}

/// Type and value of each attribute of a Name.
fn attributes(name: &[u8]) -> Result<Vec<(String, u8)>, String> {
    let mut all = Vec::new();
    for rdn in der::single(name, der::SEQUENCE)?.inside().all()? {
        for attribute in rdn.inside().all()? {
            let mut parts = attribute.inside();
            let oid = der::dotted(parts.expect(der::OID)?.content);
            all.push((oid, parts.any()?.tag));
        }
    }
    Ok(all)
}

fn c5280_4_1_2_4_02(run: &Run) -> Judgement {
    each(run, |one| {
        for name in [&one.issuer, &one.subject] {
            for (oid, tag) in attributes(name)? {
                // domainComponent and emailAddress are IA5String by definition.
                let ia5 = ["0.9.2342.19200300.100.1.25", "1.2.840.113549.1.9.1"].contains(&oid.as_str());
                let right = if ia5 {
                    tag == der::IA5_STRING
                } else {
                    [der::UTF8_STRING, der::PRINTABLE_STRING].contains(&tag)
                };
                when(!right, &format!("attribute {oid} has tag {tag:02x}"))?;
            }
        }
        Ok(())
    })
}

fn c5280_4_1_2_5_01(run: &Run) -> Judgement {
    // The reader takes no other form of date.
    each(run, |one| {
        when(one.not_before >= one.not_after, "notAfter is not after notBefore")
    })
}

fn c5280_4_1_2_5_02(run: &Run) -> Judgement {
    for (certificate, issuer) in pairs(run)? {
        let inside = certificate.not_before >= issuer.not_before && certificate.not_after <= issuer.not_after;
        ensure!(inside, "{}: outlives its issuer", certificate.label());
    }
    let now = Timestamp::now();
    for one in &run.certificate()?.chain {
        ensure!(
            one.not_before <= now && now <= one.not_after,
            "{}: not valid now",
            one.label()
        );
    }
    Ok(())
}

fn c5280_4_1_2_6_01(run: &Run) -> Judgement {
    for one in leaves(run)? {
        let leaf = one.leaf();
        if der::single(&leaf.subject, der::SEQUENCE).is_ok_and(|subject| subject.content.is_empty()) {
            let critical = leaf
                .extension(SUBJECT_ALTERNATIVE_NAME)
                .is_some_and(|extension| extension.critical);
            ensure!(critical, "{}: empty subject, SAN not critical", leaf.label());
        }
    }
    Ok(())
}

fn c5280_4_1_2_8_01(run: &Run) -> Judgement {
    each(run, |one| when(one.unique_identifiers, "a unique identifier"))
}

fn c5280_4_2_01(run: &Run) -> Judgement {
    each(run, |one| {
        let distinct: HashSet<&String> = one.extensions.iter().map(|extension| &extension.oid).collect();
        when(distinct.len() != one.extensions.len(), "an extension appears twice")
    })
}

/// Every element, down to the leaves, is read as DER.
fn descend(element: &der::Element<'_>) -> Result<(), String> {
    match element.tag {
        der::BOOLEAN => when(!matches!(element.content, [0 | 0xff]), "a BOOLEAN that is not DER"),
        der::INTEGER | der::ENUMERATED => {
            let padded = matches!(element.content, [0, next, ..] if next & 0x80 == 0)
                || matches!(element.content, [0xff, next, ..] if next & 0x80 != 0);
            when(
                padded || element.content.is_empty(),
                "an INTEGER that is not the shortest",
            )
        }
        tag if tag & 0x20 != 0 => element.inside().all()?.iter().try_for_each(descend),
        _ => Ok(()),
    }
}

fn c5280_4_2_02(run: &Run) -> Judgement {
    each(run, |one| {
        descend(&der::single(&one.der, der::SEQUENCE)?)?;
        for extension in &one.extensions {
            let mut reader = der::Reader::new(&extension.value);
            descend(&reader.any()?)?;
            reader.end()?;
            if extension.oid == KEY_USAGE {
                let bits = der::single(&extension.value, der::BIT_STRING)?;
                let (unused, octets) = bits.content.split_first().ok_or("an empty key usage")?;
                let trimmed = octets
                    .last()
                    .is_some_and(|last| u32::from(*unused) == last.trailing_zeros());
                when(!trimmed, "key usage bits are not trimmed")?;
            }
            if extension.oid == BASIC_CONSTRAINTS {
                let flag = der::single(&extension.value, der::SEQUENCE)?
                    .inside()
                    .optional(der::BOOLEAN)?;
                when(flag.is_some_and(|flag| flag.content == [0]), "cA FALSE is written out")?;
            }
        }
        Ok(())
    })
}

fn c5280_4_2_1_1_01(run: &Run) -> Judgement {
    for (certificate, issuer) in pairs(run)? {
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
    }
    Ok(())
}

fn c5280_4_2_1_2_01(run: &Run) -> Judgement {
    for one in authorities(run)? {
        let sound = one
            .extension(SUBJECT_KEY_IDENTIFIER)
            .is_some_and(|extension| !extension.critical);
        ensure!(
            sound && one.subject_key_identifier().is_some(),
            "{}: no sound SKI",
            one.label()
        );
    }
    Ok(())
}

fn c5280_4_2_1_2_02(run: &Run) -> Judgement {
    let mut by_key: HashMap<Vec<u8>, Option<Vec<u8>>> = HashMap::new();
    for one in leaves(run)? {
        let identifier = one.leaf().subject_key_identifier();
        ensure!(identifier.is_some(), "{}: no SKI", one.leaf().label());
        if let Some(other) = by_key.insert(one.leaf().spki.clone(), identifier.clone()) {
            ensure!(other == identifier, "one key has two SKIs");
        }
    }
    Ok(())
}

fn c5280_4_2_1_3_01(run: &Run) -> Judgement {
    for one in authorities(run)? {
        let Some(usage) = one.extension(KEY_USAGE) else {
            return Err(Finding::Fail(format!("{}: no key usage", one.label())));
        };
        run.expect(usage.critical, || format!("{}: key usage is not critical", one.label()));
    }
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
    for (kind, key) in [("P-256", Key::p256()), ("RSA", Key::rsa()), ("Ed25519", Key::ed25519())] {
        let issued = match run.issue_for(run.account()?, &[run.name("usage")], key) {
            // A CA need not take every kind of key.
            Err(Finding::Blocked(why)) if why.contains("badCSR") || why.contains("badPublicKey") => continue,
            other => other?,
        };
        let leaf = issued.leaf();
        if leaf.extension(KEY_USAGE).is_none() {
            continue;
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
    }
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

fn c5280_4_2_1_6_01(run: &Run) -> Judgement {
    for one in leaves(run)? {
        let mut wanted: Vec<String> = one
            .names
            .iter()
            .filter(|name| name.parse::<std::net::IpAddr>().is_err())
            .cloned()
            .collect();
        wanted.sort();
        wanted.dedup();
        ensure!(
            one.leaf().dns_names() == wanted,
            "{}: ordered {wanted:?}, got {:?}",
            one.leaf().label(),
            one.leaf().dns_names()
        );
        let count = one.leaf().names().read_as("the SAN")?.len();
        let distinct: HashSet<&String> = one.names.iter().collect();
        ensure!(
            count == distinct.len(),
            "{}: {count} names in the SAN",
            one.leaf().label()
        );
    }
    Ok(())
}

fn c5280_4_2_1_6_02(run: &Run) -> Judgement {
    each(run, |one| {
        for (tag, name) in one.names()? {
            if tag == der::context(2) {
                let name = name.strip_prefix(b"*.").unwrap_or(&name);
                let label = |label: &[u8]| {
                    (1..=63).contains(&label.len())
                        && label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
                        && label.first() != Some(&b'-')
                        && label.last() != Some(&b'-')
                };
                let sound = name.len() <= 253 && name.split(|&byte| byte == b'.').all(label);
                when(!sound, &format!("the dNSName {:?}", String::from_utf8_lossy(name)))?;
            }
        }
        Ok(())
    })
}

fn c5280_4_2_1_6_03(run: &Run) -> Judgement {
    each(run, |one| {
        for (tag, name) in one.names()? {
            when(
                tag == der::context(7) && ![4, 16].contains(&name.len()),
                "an iPAddress of another length",
            )?;
        }
        Ok(())
    })
}

fn c5280_4_2_1_6_04(run: &Run) -> Judgement {
    for one in leaves(run)? {
        let leaf = one.leaf();
        let empty = der::single(&leaf.subject, der::SEQUENCE).is_ok_and(|subject| subject.content.is_empty());
        let critical = leaf
            .extension(SUBJECT_ALTERNATIVE_NAME)
            .is_some_and(|extension| extension.critical);
        ensure!(empty || !critical, "{}: a subject, and the SAN critical", leaf.label());
    }
    Ok(())
}

fn c5280_4_2_1_9_01(run: &Run) -> Judgement {
    for (_, issuer) in pairs(run)? {
        let critical = issuer
            .extension(BASIC_CONSTRAINTS)
            .is_some_and(|extension| extension.critical);
        ensure!(issuer.is_ca() && critical, "{}: no critical cA TRUE", issuer.label());
    }
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
    for one in leaves(run)? {
        for (below, authority) in one.chain.iter().skip(1).enumerate() {
            let length = path_length(authority).read_as(&authority.label())?;
            ensure!(
                length.is_none_or(|length| below <= length),
                "{}: the path is too long",
                authority.label()
            );
        }
    }
    Ok(())
}

fn c5280_4_2_1_9_03(run: &Run) -> Judgement {
    for one in leaves(run)? {
        ensure!(!one.leaf().is_ca(), "{}: a leaf is a CA", one.leaf().label());
        if let Some(extension) = one.leaf().extension(BASIC_CONSTRAINTS) {
            ensure!(
                extension.value == [0x30, 0],
                "{}: basic constraints are {:02x?}",
                one.leaf().label(),
                extension.value
            );
        }
    }
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
    for one in leaves(run)? {
        let usages = one.leaf().extended_usages();
        ensure!(
            usages.iter().any(|usage| usage == SERVER_AUTH),
            "{}: usages {usages:?}",
            one.leaf().label()
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
    }
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

fn c5280_6_1_01(run: &Run) -> Judgement {
    let anchors = anchors(run)?;
    if anchors.is_empty() {
        return Err(Finding::Blocked("the run knows no anchor; give --issuer-root".into()));
    }
    let mut roots = rustls::RootCertStore::empty();
    for anchor in &anchors {
        roots
            .add(CertificateDer::from(anchor.der.clone()))
            .map_err(|error| Finding::Fail(error.to_string()))?;
    }
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
        .build()
        .map_err(|error| Finding::Blocked(error.to_string()))?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(Timestamp::now().as_second().unsigned_abs()));
    let mut checked = 0;
    for one in leaves(run)? {
        let last = &one.chain[one.chain.len() - 1];
        let led = anchors
            .iter()
            .any(|anchor| anchor.der == last.der || last.is_signed_by(anchor).is_ok());
        // An intermediate below an anchor the run was not given cannot be judged.
        if !led && run.options.issuer_root.is_none() {
            continue;
        }
        ensure!(led, "{}: the chain leads to no anchor", one.leaf().label());
        let Some(name) = one
            .names
            .iter()
            .find_map(|name| ServerName::try_from(name.trim_start_matches("*.").to_owned()).ok())
        else {
            continue;
        };
        if one.names.iter().any(|name| name.starts_with("*.")) || one.key.alg() == "RS256" {
            continue;
        }
        let chain: Vec<CertificateDer<'_>> = one
            .chain
            .iter()
            .map(|one| CertificateDer::from(one.der.clone()))
            .collect();
        let verified = verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], now);
        ensure!(
            verified.is_ok(),
            "{}: a second library says {verified:?}",
            one.leaf().label()
        );
        checked += 1;
    }
    if checked == 0 {
        return Err(Finding::Blocked(
            "no chain ends below an anchor the run knows; give --issuer-root".into(),
        ));
    }
    Ok(())
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

fn c5480_2_1_01(run: &Run) -> Judgement {
    each(run, |one| {
        let mut parts = der::single(&one.spki, der::SEQUENCE)?.inside();
        let (oid, parameters) = algorithm(parts.expect(der::SEQUENCE)?.whole)?;
        if oid != "1.2.840.10045.2.1" {
            return Ok(());
        }
        when(
            parameters.is_none_or(|curve| curve.first() != Some(&der::OID)),
            "an EC key without a named curve",
        )?;
        when(
            !matches!(one.key_bits().first(), Some(2..=4)),
            "an EC point in hybrid form",
        )
    })
}

fn c5758_3_2_01(run: &Run) -> Judgement {
    for (certificate, issuer) in pairs(run)? {
        // Verification takes only the parameters that the algorithm has.
        certificate.is_signed_by(&issuer).read_as(&certificate.label())?;
    }
    Ok(())
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
