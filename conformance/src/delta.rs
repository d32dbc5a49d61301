//! Delta, sharded and indirect CRLs: what RFC 5280 sections 5.2.3 to 5.3.3 ask of them, decided on the lists alone.

use std::collections::BTreeMap;

use crate::der;
use crate::read::certificate::{AUTHORITY_KEY_IDENTIFIER, Certificate, FRESHEST_CRL, distribution_uris};
use crate::read::crl::{Crl, DELTA_INDICATOR, Entry, ISSUING_DISTRIBUTION_POINT};

pub(crate) const CERTIFICATE_ISSUER: &str = "2.5.29.29";

/// The reason code that takes a certificate from a base.
const REMOVE_FROM_CRL: u8 = 8;

type Verdict = Result<(), String>;

/// The issuer and the serial of a certificate that is listed.
pub(crate) type Listed = (Vec<u8>, Vec<u8>);

/// A CRL number as it is compared: without the zeros in front.
fn significant(number: &[u8]) -> (usize, Vec<u8>) {
    let start = number.iter().position(|&octet| octet != 0).unwrap_or(number.len());
    (number.len() - start, number[start..].to_vec())
}

fn number(crl: &Crl) -> Result<(usize, Vec<u8>), String> {
    let number = crl.number().ok_or("a CRL without a number")?;
    Ok(significant(&number))
}

/// The number of the base that a delta CRL names.
pub(crate) fn base_number(delta: &Crl) -> Result<(usize, Vec<u8>), String> {
    let extension = delta.extension(DELTA_INDICATOR).ok_or("no delta CRL indicator")?;
    let number = der::single(&extension.value, der::INTEGER)?;
    Ok(significant(number.content))
}

/// Section 5.2.4: the indicator is critical and names a base that was published.
pub(crate) fn names_a_base(delta: &Crl, complete: &[Crl]) -> Verdict {
    let indicator = delta.extension(DELTA_INDICATOR).ok_or("no delta CRL indicator")?;
    if !indicator.critical {
        return Err("the delta CRL indicator is not critical".into());
    }
    let base = base_number(delta)?;
    if base > number(delta)? {
        return Err(format!("the base {:02x?} comes after the delta", base.1));
    }
    let numbers = complete.iter().map(number).collect::<Result<Vec<_>, _>>()?;
    // A base from before the first list that was seen cannot be looked for.
    let first = numbers.iter().min().ok_or("no complete CRL is published")?;
    if base >= *first && !numbers.contains(&base) {
        return Err(format!("the base {:02x?} was not published", base.1));
    }
    Ok(())
}

/// Section 5.2.4: base and delta have the same issuer, scope, reasons and key.
pub(crate) fn has_the_scope_of(delta: &Crl, base: &Crl, issuer: &Certificate) -> Verdict {
    if delta.issuer != base.issuer {
        return Err("the delta has another issuer".into());
    }
    for (oid, what) in [
        (ISSUING_DISTRIBUTION_POINT, "issuing distribution point"),
        (AUTHORITY_KEY_IDENTIFIER, "authority key identifier"),
    ] {
        let value = |crl: &Crl| crl.extension(oid).map(|extension| extension.value.clone());
        if value(delta) != value(base) {
            return Err(format!("the delta has another {what}"));
        }
    }
    base.is_signed_by(issuer).map_err(|why| format!("the base: {why}"))?;
    delta.is_signed_by(issuer).map_err(|why| format!("the delta: {why}"))
}

fn is_removal(entry: &Entry) -> Result<bool, String> {
    Ok(entry.reason()? == Some(REMOVE_FROM_CRL))
}

/// What is revoked by a base with a delta put over it: serials with their reasons.
pub(crate) fn combined(base: &Crl, delta: &Crl) -> Result<BTreeMap<Vec<u8>, Option<u8>>, String> {
    let mut revoked = BTreeMap::new();
    for entry in base.entries.iter().flatten() {
        revoked.insert(entry.serial.clone(), entry.reason()?);
    }
    for entry in delta.entries.iter().flatten() {
        if is_removal(entry)? {
            revoked.remove(&entry.serial);
        } else {
            revoked.insert(entry.serial.clone(), entry.reason()?);
        }
    }
    Ok(revoked)
}

/// Section 5.2.3: complete and delta CRLs of one scope share one numbering, and those of one number say the same.
pub(crate) fn share_one_numbering(lists: &[Crl]) -> Verdict {
    let mut numbered = lists
        .iter()
        .map(|crl| Ok((number(crl)?, crl)))
        .collect::<Result<Vec<_>, String>>()?;
    numbered.sort_by(|one, other| one.0.cmp(&other.0));
    for pair in numbered.windows(2) {
        let [(low, first), (high, second)] = pair else { continue };
        if low < high && first.this_update > second.this_update {
            return Err(format!("the number {:02x?} is later than {:02x?}", low.1, high.1));
        }
        if low == high && first.this_update != second.this_update {
            return Err(format!("the number {:02x?} is there for two times", low.1));
        }
        if low != high && first.is_delta() != second.is_delta() && first.this_update == second.this_update {
            return Err(format!(
                "issued together, they have the numbers {:02x?} and {:02x?}",
                low.1, high.1
            ));
        }
    }
    agree_where_issued_together(lists)
}

fn agree_where_issued_together(lists: &[Crl]) -> Verdict {
    for delta in lists.iter().filter(|crl| crl.is_delta()) {
        let base = base_number(delta)?;
        let of = |wanted: &(usize, Vec<u8>)| {
            lists
                .iter()
                .find(|crl| !crl.is_delta() && number(crl).as_ref() == Ok(wanted))
        };
        let (Some(base), Some(complete)) = (of(&base), of(&number(delta)?)) else {
            continue;
        };
        let wanted = complete
            .entries
            .iter()
            .flatten()
            .map(|entry| Ok((entry.serial.clone(), entry.reason()?)))
            .collect::<Result<BTreeMap<_, _>, String>>()?;
        if combined(base, delta)? != wanted {
            return Err("base and delta do not add up to the complete CRL of the same number".into());
        }
    }
    Ok(())
}

/// Section 5.2.4: every change since the base is in the delta. `now` is what is revoked at the delta's time.
pub(crate) fn tells_every_change(base: &Crl, delta: &Crl, now: &BTreeMap<Vec<u8>, Option<u8>>) -> Verdict {
    let told = combined(base, delta)?;
    for (serial, reason) in now {
        match told.get(serial) {
            None => return Err(format!("the revocation of {serial:02x?} is in neither base nor delta")),
            Some(listed) if listed != reason => {
                return Err(format!(
                    "{serial:02x?} is listed with reason {listed:?}, not {reason:?}"
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Section 5.2.4: a certificate on the base that is released from hold is in the delta as removeFromCRL.
pub(crate) fn tells_the_release(base: &Crl, delta: &Crl, serial: &[u8]) -> Verdict {
    if base.entry(serial).is_none() {
        return Err("the certificate is not on the base".into());
    }
    match delta.entry(serial).map(is_removal).transpose()? {
        Some(true) => Ok(()),
        Some(false) => Err("the delta lists a released certificate with another reason".into()),
        None => Err("the delta does not take the released certificate from the base".into()),
    }
}

/// Section 5.2.4: what is first shown on a delta stays on deltas until it was on a complete CRL. The lists are in the order
/// in which they were published.
pub(crate) fn keeps_until_complete(lists: &[Crl]) -> Verdict {
    let mut waiting: Vec<Vec<u8>> = Vec::new();
    for crl in lists {
        let listed = |serial: &Vec<u8>| crl.entry(serial).is_some();
        if crl.is_delta() {
            if let Some(lost) = waiting.iter().find(|serial| !listed(serial)) {
                return Err(format!("{lost:02x?} left the deltas before it was on a complete CRL"));
            }
            for entry in crl.entries.iter().flatten() {
                if !is_removal(entry)? && !waiting.contains(&entry.serial) {
                    waiting.push(entry.serial.clone());
                }
            }
        } else {
            // What a complete CRL shows has been shown; what it leaves out was not on one yet.
            waiting.retain(|serial| !listed(serial));
        }
    }
    Ok(())
}

/// Section 5.2.6: freshest CRL is not in a delta, and its points have nothing but their names. Where they lead.
pub(crate) fn freshest(crl: &Crl) -> Result<Vec<String>, String> {
    let Some(extension) = crl.extension(FRESHEST_CRL) else {
        return Ok(Vec::new());
    };
    if crl.is_delta() {
        return Err("a delta CRL names a freshest CRL".into());
    }
    if extension.critical {
        return Err("freshest CRL is critical".into());
    }
    let points = der::single(&extension.value, der::SEQUENCE)?.inside().all()?;
    for point in &points {
        if point.inside().all()?.iter().any(|part| part.tag != der::constructed(0)) {
            return Err("a point of freshest CRL has more than its name".into());
        }
    }
    let uris = distribution_uris(&extension.value);
    if points.is_empty() || uris.is_empty() {
        return Err("freshest CRL leads nowhere".into());
    }
    Ok(uris)
}

/// Whether the issuing distribution point says that entries may be of other issuers.
pub(crate) fn is_indirect(crl: &Crl) -> Result<bool, String> {
    let Some(extension) = crl.extension(ISSUING_DISTRIBUTION_POINT) else {
        return Ok(false);
    };
    let parts = der::single(&extension.value, der::SEQUENCE)?.inside().all()?;
    Ok(parts
        .iter()
        .any(|part| part.tag == der::context(4) && part.content == [0xff]))
}

/// Section 5.3.3: the issuer of each entry, carried over from the entry before; certificateIssuer is critical, is a
/// directory name, and stands in indirect CRLs only.
pub(crate) fn issuers(crl: &Crl) -> Result<Vec<Listed>, String> {
    let indirect = is_indirect(crl)?;
    let mut issuer = crl.issuer.clone();
    let mut all = Vec::new();
    for entry in crl.entries.iter().flatten() {
        let own = entry
            .extensions
            .iter()
            .find(|extension| extension.oid == CERTIFICATE_ISSUER);
        if let Some(extension) = own {
            if !indirect {
                return Err("certificateIssuer stands in a CRL that is not indirect".into());
            }
            if !extension.critical {
                return Err("certificateIssuer is not critical".into());
            }
            let names = der::single(&extension.value, der::SEQUENCE)?.inside().all()?;
            let name = names.iter().find(|name| name.tag == der::constructed(4));
            let name = name.ok_or("certificateIssuer has no directory name")?;
            if name.content.len() <= 2 {
                return Err("certificateIssuer is an empty name".into());
            }
            issuer = name.content.to_vec();
        }
        all.push((issuer.clone(), entry.serial.clone()));
    }
    Ok(all)
}

/// Section 5.2.5: what is revoked is on its own shard, and on no other. `shards` are all lists with their addresses.
pub(crate) fn is_on_its_shard_alone(serial: &[u8], own: &[String], shards: &[(String, Crl)]) -> Verdict {
    for (uri, crl) in shards {
        let listed = crl.entry(serial).is_some();
        if own.contains(uri) && !listed {
            return Err(format!("{serial:02x?} is revoked and not on its shard {uri}"));
        }
        if !own.contains(uri) && listed {
            return Err(format!("{serial:02x?} is on the shard {uri}, which it does not name"));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "delta_tests.rs"]
mod tests;
