//! What CAA records allow: the decision of RFC 8659 section 4 with the parameters of RFC 8657.
//!
//! The lookup (climbing to the first non-empty set, RFC 8659 section 3) is not done here, only the
//! decision over the set that was found. Whatever cannot be understood forbids.

use super::challenge::ChallengeType;

/// The flag that makes an unknown property forbid issuance (RFC 8659 section 4.1). Other bits mean nothing.
const CRITICAL: u8 = 128;

/// How much of a foreign text a refusal shows.
const MAX_SHOWN: usize = 64;

/// A CAA record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaaRecord {
    /// The flags octet.
    pub flags: u8,
    /// The property's tag.
    pub tag: String,
    /// The property's value.
    pub value: Vec<u8>,
}

/// What is to be issued, by whom, to whom.
#[derive(Debug, Clone, Copy)]
pub struct CaaQuestion<'a> {
    /// Whether the name is a wildcard.
    pub wildcard: bool,
    /// The issuer names that are ours; any one is enough.
    pub issuer_names: &'a [String],
    /// The URL of the ACME account; without one no `accounturi` is satisfied.
    pub account_uri: Option<&'a str>,
    /// How control was or is to be proven; without one no `validationmethods` is satisfied.
    pub method: Option<ChallengeType>,
}

/// Why issuance is forbidden; fit for the detail of a `caa` problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaaRefusal {
    /// A critical property is not understood.
    #[error("a critical CAA property is not understood: {tag:?}")]
    UnknownCritical {
        /// Its tag.
        tag: String,
    },
    /// No property names this issuer.
    #[error("no CAA {property} property allows this issuer (found: {found})")]
    OtherIssuer {
        /// `issue` or `issuewild`.
        property: &'static str,
        /// The issuers that are named.
        found: String,
    },
    /// This issuer is named, but only for another account or another method.
    #[error("the CAA {property} property for this issuer is limited by {parameter}, which is not met")]
    NotMet {
        /// `issue` or `issuewild`.
        property: &'static str,
        /// The parameter of RFC 8657.
        parameter: &'static str,
    },
}

/// Decides over the relevant record set: the first non-empty one, or nothing.
///
/// # Errors
///
/// [`CaaRefusal`] when the set forbids issuance.
pub fn permits(records: &[CaaRecord], question: &CaaQuestion<'_>) -> Result<(), CaaRefusal> {
    let is = |record: &CaaRecord, tag: &str| record.tag.eq_ignore_ascii_case(tag);
    let known = |record: &CaaRecord| ["issue", "issuewild", "iodef"].iter().any(|tag| is(record, tag));
    if let Some(unknown) = records.iter().find(|r| r.flags & CRITICAL != 0 && !known(r)) {
        return Err(CaaRefusal::UnknownCritical {
            tag: shown(&unknown.tag),
        });
    }
    // A wildcard is governed by issuewild wherever there is one; a plain name never is.
    let wild = question.wildcard && records.iter().any(|record| is(record, "issuewild"));
    let property = if wild { "issuewild" } else { "issue" };
    let values: Vec<_> = records
        .iter()
        .filter(|r| is(r, property))
        .map(|r| IssueValue::parse(&r.value))
        .collect();
    if values.is_empty() {
        return Ok(());
    }
    let mut refusal = None;
    for value in values.iter().filter(|value| value.names(question.issuer_names)) {
        match value.unmet(question) {
            None => return Ok(()),
            Some(parameter) => refusal = Some(CaaRefusal::NotMet { property, parameter }),
        }
    }
    Err(refusal.unwrap_or_else(|| CaaRefusal::OtherIssuer {
        property,
        found: found(&values),
    }))
}

fn found(values: &[IssueValue<'_>]) -> String {
    let names = values.iter().map(|value| {
        if value.issuer.is_empty() {
            "nobody"
        } else {
            value.issuer
        }
    });
    shown(&names.collect::<Vec<_>>().join(", "))
}

fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

/// The value of an `issue` or `issuewild` property (RFC 8659 section 4.2). A value off the grammar
/// is one with an empty issuer: it allows nobody.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct IssueValue<'a> {
    issuer: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> IssueValue<'a> {
    fn parse(value: &'a [u8]) -> Self {
        Self::read(value).unwrap_or_default()
    }

    fn read(value: &'a [u8]) -> Option<Self> {
        let (issuer, parameters) = Self::halves(str::from_utf8(value).ok()?);
        if !issuer.is_empty() && !Self::is_issuer(issuer) {
            return None;
        }
        let parameters = Self::parameters(parameters)?;
        Some(Self { issuer, parameters })
    }

    /// Parts the issuer from the parameters.
    pub(super) fn halves(text: &'a str) -> (&'a str, &'a str) {
        match text.split_once(';') {
            Some((issuer, parameters)) => (trim(issuer), trim(parameters)),
            None => (trim(text), ""),
        }
    }

    /// Tells whether a text can be an issuer's name.
    pub(super) fn is_issuer(text: &str) -> bool {
        text.split('.').all(is_label)
    }

    /// Reads the parameters, if all of them are of the grammar.
    pub(super) fn parameters(text: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
        match text {
            "" => Some(Vec::new()),
            // The grammar has no parameter between or behind semicolons that is not there.
            text => text.split(';').map(parameter).collect(),
        }
    }

    fn names(&self, issuers: &[String]) -> bool {
        !self.issuer.is_empty() && issuers.iter().any(|ours| ours.eq_ignore_ascii_case(self.issuer))
    }

    /// Returns the parameter of RFC 8657 that is not met.
    fn unmet(&self, question: &CaaQuestion<'_>) -> Option<&'static str> {
        let account = |value: &str| question.account_uri == Some(value);
        let method = |value: &str| question.method.is_some_and(|method| lists(value, method.as_str()));
        if !self.satisfies("accounturi", account) {
            Some("accounturi")
        } else if !self.satisfies("validationmethods", method) {
            Some("validationmethods")
        } else {
            None
        }
    }

    /// Tells whether a parameter is absent, or is there once with a value that fits.
    fn satisfies(&self, tag: &str, fits: impl Fn(&str) -> bool) -> bool {
        let mut values = self
            .parameters
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(tag));
        match (values.next(), values.next()) {
            (None, _) => true,
            (Some((_, value)), None) => fits(value),
            (Some(_), Some(_)) => false,
        }
    }
}

/// Tells whether a `validationmethods` list is well-formed and has the method (RFC 8657 section 4).
fn lists(value: &str, method: &str) -> bool {
    let is_method = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    value.split(',').all(is_method) && value.split(',').any(|label| label == method)
}

fn parameter(text: &str) -> Option<(&str, &str)> {
    let (tag, value) = text.split_once('=')?;
    let (tag, value) = (trim(tag), trim(value));
    // The semicolon, which the grammar excludes too, was taken by the split.
    (is_label(tag) && value.bytes().all(|b| b.is_ascii_graphic())).then_some((tag, value))
}

/// WSP of RFC 5234: spaces and tabs.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

#[cfg(test)]
mod tests;
