//! Profiles: what a certificate of each kind holds, how long it lasts, and who may have it.
//!
//! [`RawProfile`] is what the configuration says, [`Profile`] what was found sound. One snapshot of
//! a profile is used from the order's check to the certificate's last lint.

use std::collections::BTreeMap;

use const_oid::ObjectIdentifier;
use jiff::{SignedDuration, Span, Timestamp, ToSpan, tz::TimeZone};
use serde::{Deserialize, Serialize};
use sigillo_protocol::{
    acme::{
        identifier::Name,
        problem::{ErrorType, Subproblem},
    },
    x509::{csr::CheckedCsr, key::KeyPolicy},
};

use super::{NameRules, RawKeys, keys::KeysError, names::PatternError};

/// A profile as it is written in the configuration. What is left out has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawProfile {
    /// What it is for, for people; the directory shows it.
    pub description: Option<String>,
    /// How long a certificate lasts, such as `90d`, `3y`, `1y6mo2d` or `47d12h`.
    pub validity: Option<String>,
    /// The longest validity that an order may ask for; the same as `validity` by default.
    pub validity_max: Option<String>,
    /// How far notBefore lies back, so that clocks that are slow accept the certificate.
    pub backdate: Option<String>,
    /// Whether an order may ask for notBefore and notAfter.
    pub dates: Option<bool>,
    /// The extended key usages: `serverAuth`, `clientAuth`.
    pub extended_key_usage: Option<Vec<String>>,
    /// The key usages; by default what fits the kind of key.
    pub key_usage: Option<Vec<String>>,
    /// The kinds of identifier: `dns`, `ip`.
    pub identifiers: Option<Vec<String>>,
    /// Whether wildcard names are issued.
    pub wildcard: Option<bool>,
    /// The most names in one certificate.
    pub names_max: Option<usize>,
    /// The only names that are issued, if any are listed.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Names that are not issued.
    #[serde(default)]
    pub deny: Vec<String>,
    /// Which keys are taken.
    pub keys: Option<RawKeys>,
    /// What happens to the wish for must-staple.
    pub must_staple: Option<MustStaple>,
    /// What the common name is.
    pub common_name: Option<CommonName>,
    /// Whether the certificate names its CRL.
    pub crl: Option<bool>,
    /// Whether the certificate names its OCSP responder.
    pub ocsp: Option<bool>,
    /// Whether the certificate says where its issuer's certificate is.
    pub issuer: Option<bool>,
    /// Certificate policies, as dotted object identifiers.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Whether an operator must approve each order.
    pub approval: Option<bool>,
}

/// What happens to the wish for must-staple (RFC 7633).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MustStaple {
    /// A request with it is refused.
    Refuse,
    /// A request with it gets it.
    #[default]
    Allow,
    /// Every certificate has it.
    Require,
}

/// What the subject's common name is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommonName {
    /// None: the subject is empty, and the names stand in a critical subjectAltName.
    #[default]
    None,
    /// The order's first DNS name that fits into 64 characters, if there is one.
    First,
    /// What the CA itself gives to its own certificates; not for the configuration.
    #[serde(skip)]
    Given,
}

/// An extended key usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtendedUsage {
    /// A TLS server.
    ServerAuth,
    /// A TLS client.
    ClientAuth,
    /// An OCSP responder; not for the configuration.
    OcspSigning,
}

/// A key usage that a leaf may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Signing, as TLS does.
    DigitalSignature,
    /// Encrypting keys: RSA only.
    KeyEncipherment,
    /// Agreeing on keys: ECDSA curves only.
    KeyAgreement,
}

/// A profile that was found sound.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// What it is for, for people.
    pub description: String,
    /// The validity and what an order may ask of it.
    pub validity: ValidityRule,
    /// The extended key usages; never empty.
    pub extended_key_usage: Vec<ExtendedUsage>,
    /// The key usages; `None` for what fits the kind of key.
    pub key_usage: Option<Vec<Usage>>,
    /// Whether DNS names are issued.
    pub dns: bool,
    /// Whether addresses are issued.
    pub ip: bool,
    /// Whether wildcard names are issued.
    pub wildcard: bool,
    /// The most names in one certificate; 0 for the CA's own certificates without names.
    pub names_max: usize,
    /// Which names are issued.
    pub names: NameRules,
    /// Which keys are taken.
    pub keys: KeyPolicy,
    /// What happens to the wish for must-staple.
    pub must_staple: MustStaple,
    /// What the common name is.
    pub common_name: CommonName,
    /// Whether the certificate names its CRL.
    pub crl: bool,
    /// Whether the certificate names its OCSP responder.
    pub ocsp: bool,
    /// Whether the certificate says where its issuer's certificate is.
    pub issuer: bool,
    /// Whether relying parties need no status for it (id-pkix-ocsp-nocheck).
    pub ocsp_no_check: bool,
    /// Certificate policies.
    pub policies: Vec<ObjectIdentifier>,
    /// Whether an operator must approve each order.
    pub approval: bool,
}

/// How long certificates last.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidityRule {
    /// The usual length.
    pub usual: CalendarSpan,
    /// The longest that may be asked for.
    pub longest: CalendarSpan,
    /// How far notBefore lies back.
    pub backdate: SignedDuration,
    /// Whether an order may ask for dates.
    pub dates: bool,
}

/// A length of time in calendar units, as people write it.
#[derive(Debug, Clone, Copy)]
pub struct CalendarSpan(Span);

impl PartialEq for CalendarSpan {
    fn eq(&self, other: &Self) -> bool {
        self.0.fieldwise() == other.0.fieldwise()
    }
}

/// First and last second of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: Timestamp,
    /// The last second: it counts (RFC 5280 section 4.1.2.5).
    pub not_after: Timestamp,
}

/// Dates that an order may not ask for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatesError {
    /// The profile takes none.
    #[error("this profile takes no notBefore and notAfter")]
    NotTaken,
    /// A certificate holds whole seconds.
    #[error("notBefore and notAfter must be whole seconds")]
    Fraction,
    /// The first moment is too far from now.
    #[error("notBefore must lie within {} hours of now", ValidityRule::NOT_BEFORE_DISTANCE_MAX.as_hours())]
    NotBefore,
    /// The last moment has passed or is before the first.
    #[error("notAfter must lie after notBefore and after now")]
    NotAfter,
    /// It would last longer than the profile allows.
    #[error("a certificate of this profile may last until {0} at most")]
    TooLong(Timestamp),
    /// The calendar ends.
    #[error("the dates are out of range")]
    Range,
}

impl CalendarSpan {
    /// Reads a length such as `90d`.
    ///
    /// # Errors
    /// When it is no length, not positive, or finer than a second.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let refused = || ProfileError::Span(text.to_owned());
        let span: Span = text.parse().map_err(|_| refused())?;
        let fine = span.get_milliseconds() != 0 || span.get_microseconds() != 0 || span.get_nanoseconds() != 0;
        if fine || !span.is_positive() {
            Err(refused())
        } else {
            Ok(Self(span))
        }
    }

    /// Returns the last second of something that starts at a moment and lasts this long.
    ///
    /// The calendar is UTC's: a month ends on the same day or the month's last; leap days count.
    pub fn last_second(&self, first: Timestamp) -> Option<Timestamp> {
        let end = first.to_zoned(TimeZone::UTC).checked_add(self.0).ok()?;
        end.timestamp().checked_sub(1.second()).ok()
    }
}

impl std::fmt::Display for CalendarSpan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl ValidityRule {
    /// How far from now an order may ask a certificate to begin: a clock's mistake of two days, not a
    /// certificate for another time.
    pub const NOT_BEFORE_DISTANCE_MAX: SignedDuration = SignedDuration::from_hours(48);
    /// The longest that notBefore may lie back.
    pub const BACKDATE_MAX: SignedDuration = SignedDuration::from_hours(24);

    /// Decides first and last second of a certificate that is made now.
    ///
    /// What an order asks for is met exactly or refused (RFC 8555 section 7.4).
    ///
    /// # Errors
    /// Why the dates cannot be met.
    pub fn decide(
        &self,
        not_before: Option<Timestamp>,
        not_after: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Validity, DatesError> {
        let asked = [not_before, not_after];
        if !self.dates && asked.iter().any(Option::is_some) {
            return Err(DatesError::NotTaken);
        }
        if asked.iter().flatten().any(|date| date.subsec_nanosecond() != 0) {
            return Err(DatesError::Fraction);
        }
        let first = match not_before {
            Some(date) if now.duration_until(date).abs() > Self::NOT_BEFORE_DISTANCE_MAX => {
                return Err(DatesError::NotBefore);
            }
            Some(date) => date,
            None => self.usual_first(not_after, now)?,
        };
        let Some(last) = not_after else {
            let not_after = self.usual.last_second(first).ok_or(DatesError::Range)?;
            return Ok(Validity {
                not_before: first,
                not_after,
            });
        };
        if last <= first || last <= now {
            return Err(DatesError::NotAfter);
        }
        let longest = self.longest.last_second(first).ok_or(DatesError::Range)?;
        if last > longest {
            return Err(DatesError::TooLong(longest));
        }
        Ok(Validity {
            not_before: first,
            not_after: last,
        })
    }

    /// Returns the first second where the order leaves it open: now and a bit back. Where an asked
    /// last second would then be too far, the bit is given up, so that "from now on, for the
    /// longest time" can be had.
    fn usual_first(&self, not_after: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, DatesError> {
        let now = Timestamp::from_second(now.as_second()).map_err(|_| DatesError::Range)?;
        let back = now.checked_sub(self.backdate).map_err(|_| DatesError::Range)?;
        let reaches = |first| self.longest.last_second(first) >= not_after;
        Ok(if reaches(back) { back } else { now })
    }
}

/// A profile that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// A name that cannot stand in a directory.
    #[error("a profile's name has 1 to 64 letters, digits, hyphens, dots and underscores")]
    Name,
    /// The name of one of the CA's own profiles.
    #[error("the name {0} belongs to the CA's own certificates")]
    Reserved(String),
    /// A length of time that is none.
    #[error("{0:?} is no length of time: write 90d, 3y, 1y6mo or 47d12h")]
    Span(String),
    /// `validity_max` is shorter than `validity`.
    #[error("validity_max is shorter than validity")]
    LongestTooShort,
    /// Too far back.
    #[error("backdate may be 24h at most, in hours, minutes and seconds")]
    Backdate,
    /// An unknown extended key usage.
    #[error("{0:?} is no extended key usage: use serverAuth, clientAuth")]
    ExtendedUsage(String),
    /// An unknown key usage.
    #[error("{0:?} is no key usage of a leaf: use digitalSignature, keyEncipherment, keyAgreement")]
    Usage(String),
    /// An unknown kind of identifier.
    #[error("{0:?} is no kind of identifier: use dns, ip")]
    Identifier(String),
    /// A list that must not be empty.
    #[error("{0} must not be empty")]
    Empty(&'static str),
    /// An entry that stands in a list twice.
    #[error("{0} holds an entry twice")]
    Repeated(&'static str),
    /// Out of bounds.
    #[error("names_max must lie between 1 and {}", CheckedCsr::NAMES_MAX)]
    NamesMax,
    /// A policy that is no object identifier.
    #[error("{0:?} is no object identifier")]
    Policy(String),
    /// Must-staple for certificates that name no OCSP responder.
    #[error("must_staple needs ocsp: a server could not get the answer that it has to staple")]
    StapleWithoutOcsp,
    /// A name pattern that is none.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// Keys that cannot be meant.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

const DEFAULT_VALIDITY: &str = "90d";
const DEFAULT_BACKDATE: &str = "1h";

impl RawProfile {
    /// Checks what was written.
    ///
    /// # Errors
    /// The first thing that cannot be meant.
    pub fn check(&self, name: &str) -> Result<Profile, ProfileError> {
        check_name(name)?;
        let identifiers = self
            .identifiers
            .clone()
            .unwrap_or_else(|| vec!["dns".into(), "ip".into()]);
        let identifiers = checked_list("identifiers", &identifiers, |kind| match kind {
            "dns" | "ip" => Ok(kind.to_owned()),
            other => Err(ProfileError::Identifier(other.to_owned())),
        })?;
        let holds = |kind: &str| identifiers.iter().any(|own| own == kind);
        let names_max = self.names_max.unwrap_or(CheckedCsr::NAMES_MAX);
        if !(1..=CheckedCsr::NAMES_MAX).contains(&names_max) {
            return Err(ProfileError::NamesMax);
        }
        Ok(Profile {
            name: name.to_owned(),
            description: self.description.clone().unwrap_or_default(),
            validity: self.validity_rule()?,
            extended_key_usage: match &self.extended_key_usage {
                None => vec![ExtendedUsage::ServerAuth, ExtendedUsage::ClientAuth],
                Some(list) => checked_list("extended_key_usage", list, extended_usage)?,
            },
            key_usage: match &self.key_usage {
                None => None,
                Some(list) => Some(checked_list("key_usage", list, usage)?),
            },
            dns: holds("dns"),
            ip: holds("ip"),
            wildcard: self.wildcard.unwrap_or(true),
            names_max,
            names: NameRules::parse(&self.allow, &self.deny)?,
            keys: self.keys.clone().unwrap_or_default().check()?,
            must_staple: self.must_staple_rule()?,
            common_name: self.common_name.unwrap_or_default(),
            crl: self.crl.unwrap_or(true),
            ocsp: self.ocsp.unwrap_or(true),
            issuer: self.issuer.unwrap_or(true),
            ocsp_no_check: false,
            policies: self.checked_policies()?,
            approval: self.approval.unwrap_or(false),
        })
    }

    /// Where no responder is named, a request for must-staple is refused rather than met with a certificate that
    /// nobody can use.
    fn must_staple_rule(&self) -> Result<MustStaple, ProfileError> {
        match (self.must_staple, self.ocsp.unwrap_or(true)) {
            (Some(MustStaple::Allow | MustStaple::Require), false) => Err(ProfileError::StapleWithoutOcsp),
            (None, false) => Ok(MustStaple::Refuse),
            (wish, _) => Ok(wish.unwrap_or_default()),
        }
    }

    fn validity_rule(&self) -> Result<ValidityRule, ProfileError> {
        let usual = CalendarSpan::parse(self.validity.as_deref().unwrap_or(DEFAULT_VALIDITY))?;
        let longest = match &self.validity_max {
            None => usual,
            Some(text) => CalendarSpan::parse(text)?,
        };
        // Compared from a fixed day; a month is not always as long as 30 days, but nobody cuts it that fine.
        if longest.last_second(Timestamp::UNIX_EPOCH) < usual.last_second(Timestamp::UNIX_EPOCH) {
            return Err(ProfileError::LongestTooShort);
        }
        let backdate = backdate(self.backdate.as_deref().unwrap_or(DEFAULT_BACKDATE))?;
        Ok(ValidityRule {
            usual,
            longest,
            backdate,
            dates: self.dates.unwrap_or(true),
        })
    }

    fn checked_policies(&self) -> Result<Vec<ObjectIdentifier>, ProfileError> {
        if self.policies.is_empty() {
            return Ok(Vec::new());
        }
        checked_list("policies", &self.policies, |text| {
            ObjectIdentifier::new(text).map_err(|_| ProfileError::Policy(text.to_owned()))
        })
    }
}

fn check_name(name: &str) -> Result<(), ProfileError> {
    const LENGTH_MAX: usize = 64;
    let fits = (1..=LENGTH_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !fits {
        return Err(ProfileError::Name);
    }
    if [Profile::OCSP_RESPONDER, Profile::CA_SERVER].contains(&name) {
        return Err(ProfileError::Reserved(name.to_owned()));
    }
    Ok(())
}

fn checked_list<T: PartialEq>(
    what: &'static str,
    texts: &[String],
    read: impl Fn(&str) -> Result<T, ProfileError>,
) -> Result<Vec<T>, ProfileError> {
    let mut list = Vec::with_capacity(texts.len());
    for text in texts {
        let item = read(text)?;
        if list.contains(&item) {
            return Err(ProfileError::Repeated(what));
        }
        list.push(item);
    }
    if list.is_empty() {
        Err(ProfileError::Empty(what))
    } else {
        Ok(list)
    }
}

fn extended_usage(text: &str) -> Result<ExtendedUsage, ProfileError> {
    match text {
        "serverAuth" => Ok(ExtendedUsage::ServerAuth),
        "clientAuth" => Ok(ExtendedUsage::ClientAuth),
        other => Err(ProfileError::ExtendedUsage(other.to_owned())),
    }
}

fn usage(text: &str) -> Result<Usage, ProfileError> {
    match text {
        "digitalSignature" => Ok(Usage::DigitalSignature),
        "keyEncipherment" => Ok(Usage::KeyEncipherment),
        "keyAgreement" => Ok(Usage::KeyAgreement),
        other => Err(ProfileError::Usage(other.to_owned())),
    }
}

fn backdate(text: &str) -> Result<SignedDuration, ProfileError> {
    let duration: SignedDuration = text.parse().map_err(|_| ProfileError::Backdate)?;
    let whole = duration.subsec_nanos() == 0;
    if !whole || duration.is_negative() || duration > ValidityRule::BACKDATE_MAX {
        return Err(ProfileError::Backdate);
    }
    Ok(duration)
}

impl Profile {
    /// The CA's own profile for its OCSP responder.
    pub const OCSP_RESPONDER: &str = "ocsp-responder";
    /// The CA's own profile for its own HTTPS.
    pub const CA_SERVER: &str = "ca-server";

    /// Makes the profile of the delegated OCSP responder (RFC 6960 section 4.2.2.2).
    ///
    /// Nobody asks for the status of who answers for status; so it is short-lived instead.
    pub fn ocsp_responder() -> Self {
        Self {
            extended_key_usage: vec![ExtendedUsage::OcspSigning],
            key_usage: Some(vec![Usage::DigitalSignature]),
            names_max: 0,
            common_name: CommonName::Given,
            crl: false,
            ocsp: false,
            issuer: false,
            ocsp_no_check: true,
            must_staple: MustStaple::Refuse,
            ..Self::own(Self::OCSP_RESPONDER, 30.days(), "the OCSP responder of this CA")
        }
    }

    /// Makes the profile of the certificate that the daemon itself serves with.
    pub fn ca_server() -> Self {
        Self {
            extended_key_usage: vec![ExtendedUsage::ServerAuth],
            wildcard: false,
            must_staple: MustStaple::Refuse,
            ..Self::own(Self::CA_SERVER, 30.days(), "the HTTPS front of this CA")
        }
    }

    fn own(name: &str, validity: Span, description: &str) -> Self {
        let validity = CalendarSpan(validity);
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            validity: ValidityRule {
                usual: validity,
                longest: validity,
                backdate: SignedDuration::from_hours(1),
                dates: false,
            },
            extended_key_usage: Vec::new(),
            key_usage: None,
            dns: true,
            ip: true,
            wildcard: true,
            names_max: CheckedCsr::NAMES_MAX,
            names: NameRules::default(),
            keys: KeyPolicy::default(),
            must_staple: MustStaple::default(),
            common_name: CommonName::default(),
            crl: true,
            ocsp: true,
            issuer: true,
            ocsp_no_check: false,
            policies: Vec::new(),
            approval: false,
        }
    }

    /// Judges the names of an order.
    ///
    /// # Errors
    /// One subproblem for each name that is not issued under this profile; the list's length is
    /// judged by [`Profile::names_max`].
    pub fn permits(&self, names: &[Name]) -> Result<(), Vec<Subproblem>> {
        let refusals: Vec<_> = names.iter().filter_map(|name| self.permits_one(name).err()).collect();
        if refusals.is_empty() { Ok(()) } else { Err(refusals) }
    }

    fn permits_one(&self, name: &Name) -> Result<(), Subproblem> {
        let refused = |detail: &str| {
            Err(Subproblem {
                kind: ErrorType::RejectedIdentifier,
                detail: detail.to_owned(),
                identifier: Some(name.identifier()),
            })
        };
        match name {
            Name::Ip(_) if !self.ip => refused("this profile issues no addresses"),
            Name::Dns(_) | Name::Wildcard(_) if !self.dns => refused("this profile issues no DNS names"),
            Name::Wildcard(_) if !self.wildcard => refused("this profile issues no wildcard names"),
            name => self.names.permits(name),
        }
    }
}

/// The profiles that the CA offers.
#[derive(Debug, Clone, PartialEq)]
pub struct Profiles {
    profiles: BTreeMap<String, Profile>,
}

impl Profiles {
    /// The profile of orders that name none.
    pub const DEFAULT: &str = "default";

    /// Checks what was written. What is there without configuration: `default` (TLS servers and
    /// clients, 90 days), `server`, `client` and `shortlived` (6 days); each can be written anew.
    ///
    /// # Errors
    /// The name of the profile that cannot be used, and why.
    pub fn check(written: &BTreeMap<String, RawProfile>) -> Result<Self, (String, ProfileError)> {
        let mut all = built_in();
        all.extend(written.iter().map(|(name, raw)| (name.clone(), raw.clone())));
        let mut profiles = BTreeMap::new();
        for (name, raw) in all {
            let profile = raw.check(&name).map_err(|error| (name.clone(), error))?;
            profiles.insert(name, profile);
        }
        Ok(Self { profiles })
    }

    /// Finds a profile, the CA's own not among them.
    pub fn get(&self, name: &str) -> Option<&Profile> {
        self.profiles.get(name)
    }

    /// Returns the profile of orders that name none.
    pub fn default_profile(&self) -> &Profile {
        self.profiles
            .get(Self::DEFAULT)
            .expect("invariant: `check` puts the default profile in")
    }

    /// Lists them, the default one first.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        let others = self.profiles.values().filter(|profile| profile.name != Self::DEFAULT);
        std::iter::once(self.default_profile()).chain(others)
    }
}

fn built_in() -> BTreeMap<String, RawProfile> {
    let profile = |description: &str, validity: &str, usages: &[&str]| RawProfile {
        description: Some(description.to_owned()),
        validity: Some(validity.to_owned()),
        extended_key_usage: Some(usages.iter().map(|usage| (*usage).to_owned()).collect()),
        ..RawProfile::default()
    };
    let both: &[&str] = &["serverAuth", "clientAuth"];
    BTreeMap::from([
        (
            Profiles::DEFAULT.to_owned(),
            profile("TLS servers and clients, 90 days", "90d", both),
        ),
        (
            "server".to_owned(),
            profile("TLS servers, 90 days", "90d", &["serverAuth"]),
        ),
        (
            "client".to_owned(),
            profile("TLS clients, 90 days", "90d", &["clientAuth"]),
        ),
        (
            "shortlived".to_owned(),
            profile("TLS servers and clients, 6 days", "6d", both),
        ),
    ])
}

#[cfg(test)]
mod tests;
