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
use crate::read::certificate::{
    BASIC_CONSTRAINTS, Certificate, KEY_USAGE, SERVER_AUTH, SUBJECT_ALTERNATIVE_NAME, algorithm,
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
    must!(c5280_4_2_1_6_01, "The SAN holds exactly the verified names."),
    must!(c5280_4_2_1_6_02, "dNSNames are in preferred name syntax."),
    must!(c5280_4_2_1_6_03, "iPAddresses have 4 or 16 octets."),
    should!(c5280_4_2_1_6_04, "The SAN is not critical beside a subject."),
    must_read!(c5280_6_1_01, "Every chain leads to an anchor."),
    must!(c5480_2_1_01, "EC keys are on named curves, uncompressed or compressed."),
    must!(c5758_3_2_01, "Algorithm parameters are as defined."),
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

pub(super) fn leaves(run: &Run) -> Judgement<Vec<std::sync::Arc<Issued>>> {
    run.certificate()?;
    Ok(run.evidence.certificates())
}

pub(super) fn authorities(run: &Run) -> Judgement<Vec<Certificate>> {
    Ok(all(run)?.into_iter().filter(Certificate::is_ca).collect())
}

/// Every chain of the run could be read; one that could not is what the cases about its form are there for.
pub(super) fn readable(run: &Run) -> Judgement {
    // Whether there is a certificate at all is another question.
    let shared = run.certificate().map(|_| ());
    if let Some(why) = run.evidence.unreadable_chains().into_iter().next() {
        return Err(Finding::Fail(why));
    }
    shared
}

/// Applies a check to each certificate; those that fail alike count as one deviation.
pub(super) fn each(run: &Run, check: impl Fn(&Certificate) -> Result<(), String>) -> Judgement {
    run.alike(&all(run)?, check);
    Ok(())
}

pub(super) fn when(condition: bool, message: &str) -> Result<(), String> {
    if condition { Err(message.to_owned()) } else { Ok(()) }
}

/// Pairs of certificate and issuer along the chains.
pub(super) fn pairs(run: &Run) -> Judgement<Vec<(Certificate, Certificate)>> {
    let issued = leaves(run)?;
    let pairs = issued.iter().flat_map(|one| one.chain.windows(2));
    Ok(pairs.map(|pair| (pair[0].clone(), pair[1].clone())).collect())
}

/// The anchors the run knows: the one it was given for issued certificates, that of HTTPS if chains lead to it, and
/// self-signed certificates in chains.
fn anchors(run: &Run) -> Judgement<Vec<Certificate>> {
    let every = all(run)?;
    let read = |pem: Option<&[u8]>| -> Vec<Certificate> {
        let certificates = CertificateDer::pem_slice_iter(pem.unwrap_or_default()).flatten();
        certificates
            .filter_map(|der| Certificate::read(&der).ok())
            .filter(Certificate::is_ca)
            .collect()
    };
    let mut anchors = read(run.options.issuer_root.as_deref());
    let of_https = read(run.options.ca_root.as_deref());
    anchors.extend(
        of_https
            .into_iter()
            .filter(|anchor| every.iter().any(|one| one.is_signed_by(anchor).is_ok())),
    );
    anchors.extend(every.into_iter().filter(|one| one.issuer == one.subject && one.is_ca()));
    Ok(anchors)
}

fn c5280_3_2_01(run: &Run) -> Judgement {
    let anchors = anchors(run)?;
    if anchors.is_empty() {
        return Err(Finding::Blocked("the run knows no anchor".into()));
    }
    run.each(anchors, |anchor| {
        ensure!(anchor.issuer == anchor.subject, "the anchor's issuer is another");
        anchor.is_signed_by(&anchor).read_as("the anchor")?;
        ensure!(
            anchor.is_ca() && anchor.has_usage(5),
            "the anchor may not sign certificates"
        );
        Ok(())
    });
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
    run.each(all(run)?, |one| {
        let key = (one.issuer.clone(), one.serial.clone());
        let label = one.label();
        if let Some(other) = seen.insert(key, one.der.clone()) {
            ensure!(other == one.der, "{label}: two certificates have this serial");
        }
        Ok(())
    });
    Ok(())
}

fn c5280_4_1_2_4_01(run: &Run) -> Judgement {
    run.each(pairs(run)?, |(certificate, issuer)| {
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
        Ok(())
    });
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
    readable(run)?;
    each(run, |one| {
        when(one.not_before >= one.not_after, "notAfter is not after notBefore")
    })
}

fn c5280_4_1_2_5_02(run: &Run) -> Judgement {
    run.each(pairs(run)?, |(certificate, issuer)| {
        let inside = certificate.not_before >= issuer.not_before && certificate.not_after <= issuer.not_after;
        ensure!(inside, "{}: outlives its issuer", certificate.label());
        Ok(())
    });
    let now = Timestamp::now();
    run.each(&run.certificate()?.chain, |one| {
        ensure!(
            one.not_before <= now && now <= one.not_after,
            "{}: not valid now",
            one.label()
        );
        Ok(())
    });
    Ok(())
}

fn c5280_4_1_2_6_01(run: &Run) -> Judgement {
    run.each(leaves(run)?, |one| {
        let leaf = one.leaf();
        if der::single(&leaf.subject, der::SEQUENCE).is_ok_and(|subject| subject.content.is_empty()) {
            let critical = leaf
                .extension(SUBJECT_ALTERNATIVE_NAME)
                .is_some_and(|extension| extension.critical);
            ensure!(critical, "{}: empty subject, SAN not critical", leaf.label());
        }
        Ok(())
    });
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
    readable(run)?;
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

fn c5280_4_2_1_6_01(run: &Run) -> Judgement {
    run.each(leaves(run)?, |one| {
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
        Ok(())
    });
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
    run.each(leaves(run)?, |one| {
        let leaf = one.leaf();
        let empty = der::single(&leaf.subject, der::SEQUENCE).is_ok_and(|subject| subject.content.is_empty());
        let critical = leaf
            .extension(SUBJECT_ALTERNATIVE_NAME)
            .is_some_and(|extension| extension.critical);
        ensure!(empty || !critical, "{}: a subject, and the SAN critical", leaf.label());
        Ok(())
    });
    Ok(())
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
    run.each(leaves(run)?, |one| {
        let last = &one.chain[one.chain.len() - 1];
        let led = anchors
            .iter()
            .any(|anchor| anchor.der == last.der || last.is_signed_by(anchor).is_ok());
        // An intermediate below an anchor the run was not given cannot be judged.
        if !led && run.options.issuer_root.is_none() {
            return Ok(());
        }
        ensure!(led, "{}: the chain leads to no anchor", one.leaf().label());
        let Some(name) = one
            .names
            .iter()
            .find_map(|name| ServerName::try_from(name.trim_start_matches("*.").to_owned()).ok())
        else {
            return Ok(());
        };
        // The second library is asked about TLS servers, and knows wildcards only by the names they cover.
        let serves = one.leaf().extended_usages().iter().any(|usage| usage == SERVER_AUTH);
        if !serves || one.names.iter().any(|name| name.starts_with("*.")) {
            return Ok(());
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
        Ok(())
    });
    if checked == 0 {
        return Err(Finding::Blocked(
            "no chain ends below an anchor the run knows; give --issuer-root".into(),
        ));
    }
    Ok(())
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
    run.each(pairs(run)?, |(certificate, issuer)| {
        // Verification takes only the parameters that the algorithm has.
        certificate.is_signed_by(&issuer).read_as(&certificate.label())?;
        Ok(())
    });
    Ok(())
}
