//! What a check has found, for people and for programs.

use jiff::Timestamp;
use serde::Serialize;

use super::certificate::Subject;
use crate::client::days_left;

/// Whether one thing is in order, with what there is to say about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether it is.
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

impl Finding {
    /// It is in order.
    pub(super) fn ok(detail: impl Into<String>) -> Self {
        Self {
            ok: true,
            detail: detail.into(),
        }
    }

    /// It is not.
    pub(super) fn failed(detail: impl Into<String>) -> Self {
        Self {
            ok: false,
            detail: detail.into(),
        }
    }
}

/// What a source says about a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "status")]
pub enum RevocationStatus {
    /// It is not revoked.
    Good,
    /// It is revoked.
    Revoked {
        /// Since when.
        at: Timestamp,
        /// Why, by its name in RFC 5280; `None` when the source does not say.
        reason: Option<String>,
    },
    /// The source does not know it.
    Unknown,
    /// The source gives no answer that counts.
    Error {
        /// Why not.
        why: String,
    },
}

/// What a source of revocation information said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatusReport {
    /// Where it was asked.
    pub url: String,
    /// What it said.
    #[serde(flatten)]
    pub status: RevocationStatus,
    /// Since when the answer holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub this_update: Option<Timestamp>,
    /// When the next one comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_update: Option<Timestamp>,
    /// Who signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// For OCSP, whether the answer carried our nonce.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<bool>,
    /// For a CRL, its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
}

impl StatusReport {
    /// Makes a report of a source that gave nothing that counts.
    pub(super) fn error(url: &str, why: impl Into<String>) -> Self {
        Self::new(url, RevocationStatus::Error { why: why.into() })
    }

    pub(super) fn new(url: &str, status: RevocationStatus) -> Self {
        Self {
            url: url.to_owned(),
            status,
            this_update: None,
            next_update: None,
            signed_by: None,
            nonce: None,
            number: None,
        }
    }

    fn line(&self) -> String {
        let mut line = match &self.status {
            RevocationStatus::Good => "good".to_owned(),
            RevocationStatus::Revoked { at, reason } => {
                format!("revoked at {at}, {}", reason.as_deref().unwrap_or("no reason given"))
            }
            RevocationStatus::Unknown => "unknown to the source".to_owned(),
            RevocationStatus::Error { why } => format!("no answer that counts: {why}"),
        };
        if let Some(next) = self.next_update {
            line.push_str(&format!(", next answer by {next}"));
        }
        if let Some(signer) = &self.signed_by {
            line.push_str(&format!(", signed by {signer}"));
        }
        if self.nonce == Some(false) {
            line.push_str(", without our nonce: judged by its times");
        }
        format!("{line} ({})", self.url)
    }
}

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether everything is in order.
    pub passed: bool,
    /// The certificate's subject.
    pub subject: String,
    /// Its issuer.
    pub issuer: String,
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// The names that it is for.
    pub names: Vec<String>,
    /// Its first moment.
    pub not_before: Timestamp,
    /// Its last moment.
    pub not_after: Timestamp,
    /// How many whole days are left.
    pub days_left: i64,
    /// Whether it is valid now.
    pub validity: Finding,
    /// Whether it leads to a trusted root.
    pub chain: Finding,
    /// What its OCSP responder says; absent when it names none.
    pub ocsp: Option<StatusReport>,
    /// What its CRL says; absent when it names none.
    pub crl: Option<StatusReport>,
    /// Whether the CA's log holds it; absent when that was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Finding>,
    /// What else there is to say.
    pub notes: Vec<String>,
}

impl Report {
    pub(super) fn new(subject: &Subject, now: Timestamp, chain: Finding) -> Self {
        let validity = if now < subject.not_before {
            Finding::failed(format!("not valid before {}", subject.not_before))
        } else if now > subject.not_after {
            Finding::failed(format!("expired at {}", subject.not_after))
        } else {
            Finding::ok(format!("until {}", subject.not_after))
        };
        Self {
            passed: false,
            subject: subject.subject.clone(),
            issuer: subject.issuer.clone(),
            serial: subject.serial.clone(),
            names: subject.names.clone(),
            not_before: subject.not_before,
            not_after: subject.not_after,
            days_left: days_left(subject.not_after, now),
            validity,
            chain,
            ocsp: None,
            crl: None,
            log: None,
            notes: Vec::new(),
        }
    }

    /// Draws the conclusion: every source that is named has to say good.
    pub(super) fn conclude(&mut self) {
        let sources: Vec<&StatusReport> = self.ocsp.iter().chain(&self.crl).collect();
        let good = sources.iter().all(|source| source.status == RevocationStatus::Good);
        let unchecked = sources.is_empty() && !self.notes.is_empty();
        self.passed = self.validity.ok && self.chain.ok && good && !unchecked;
        if sources.is_empty() && !unchecked {
            self.notes
                .push("the certificate names no source of revocation information".into());
        }
        if let [a, b] = sources.as_slice()
            && let (RevocationStatus::Revoked { reason: one, .. }, RevocationStatus::Revoked { reason: other, .. }) =
                (&a.status, &b.status)
            && one != other
        {
            self.notes.push("OCSP and CRL give different reasons".into());
        }
    }

    /// Adds what the CA's log shows, which has to be in order too.
    pub fn add_log(&mut self, finding: Finding) {
        self.passed &= finding.ok;
        self.log = Some(finding);
    }

    /// Returns the first thing that is not in order.
    pub fn trouble(&self) -> Option<String> {
        if self.passed {
            return None;
        }
        let about = |name: &str, source: &StatusReport| format!("{name}: {}", source.line());
        let bad = |source: &&StatusReport| source.status != RevocationStatus::Good;
        let revoked = |source: &&StatusReport| matches!(source.status, RevocationStatus::Revoked { .. });
        let ocsp = self.ocsp.as_ref();
        let crl = self.crl.as_ref();
        ocsp.filter(revoked)
            .map(|s| about("OCSP", s))
            .or_else(|| crl.filter(revoked).map(|s| about("CRL", s)))
            .or_else(|| (!self.validity.ok).then(|| self.validity.detail.clone()))
            .or_else(|| (!self.chain.ok).then(|| self.chain.detail.clone()))
            .or_else(|| ocsp.filter(bad).map(|s| about("OCSP", s)))
            .or_else(|| crl.filter(bad).map(|s| about("CRL", s)))
            .or_else(|| {
                self.log
                    .as_ref()
                    .filter(|log| !log.ok)
                    .map(|log| format!("log: {}", log.detail))
            })
            .or_else(|| self.notes.first().cloned())
    }

    /// Returns the report for a person.
    pub fn lines(&self) -> Vec<String> {
        let mark = |finding: &Finding| if finding.ok { "ok" } else { "NOT OK" };
        let source = |name: &str, source: &Option<StatusReport>| {
            source.as_ref().map(|source| format!("{name}: {}", source.line()))
        };
        let mut lines = vec![
            format!(
                "subject:  {}",
                if self.subject.is_empty() {
                    "(empty)"
                } else {
                    &self.subject
                }
            ),
            format!("names:    {}", self.names.join(", ")),
            format!("issuer:   {}", self.issuer),
            format!("serial:   {}", self.serial),
            format!(
                "validity: {}, {} ({} days left)",
                mark(&self.validity),
                self.validity.detail,
                self.days_left
            ),
            format!("chain:    {}, {}", mark(&self.chain), self.chain.detail),
        ];
        lines.extend(source("OCSP", &self.ocsp).map(|line| line.replacen("OCSP: ", "OCSP:     ", 1)));
        lines.extend(source("CRL", &self.crl).map(|line| line.replacen("CRL: ", "CRL:      ", 1)));
        lines.extend(
            self.log
                .as_ref()
                .map(|log| format!("log:      {}, {}", mark(log), log.detail)),
        );
        lines.extend(self.notes.iter().map(|note| format!("note:     {note}")));
        lines.iter().map(|line| crate::error::printable(line)).collect()
    }
}
