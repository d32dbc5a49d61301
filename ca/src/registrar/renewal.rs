//! Renewal information (RFC 9773): when the CA would like a certificate to be renewed.

use jiff::{SignedDuration, Timestamp};
use sigillo_protocol::{
    acme::renewal_info::{RenewalInfo, Window},
    x509::cert_id::CertificateId,
};

use super::{Refusal, Registrar};
use crate::model::Certificate;

/// The shortest and longest time after which clients are asked to look again.
const RETRY_AFTER_MIN_SECONDS: i64 = 60;
const RETRY_AFTER_MAX_SECONDS: i64 = 6 * 3600;

/// How wide a window in the past is: its place says "now", its width only has to be more than nothing.
const PAST_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// What a question for renewal information is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalAdvice {
    /// The resource.
    pub info: RenewalInfo,
    /// After how many seconds to look again.
    pub retry_after_seconds: i64,
}

impl Registrar {
    /// Answers for a certificate; `None` if this CA has issued no such one.
    ///
    /// # Errors
    /// Only internal ones.
    pub async fn renewal_info(&self, id: &CertificateId) -> Result<Option<RenewalAdvice>, Refusal> {
        let certificate = self.certificate_by_ari(id).await?;
        Ok(certificate.map(|certificate| advice(&certificate)))
    }
}

/// Decides the window.
///
/// It is centred on the moment at which a third of the life is left and a thirtieth of the life wide, so
/// that many certificates of one day do not all come back in one minute. What is revoked or wished to be
/// renewed has its window in the past, which means now (RFC 9773 section 4.2).
fn advice(certificate: &Certificate) -> RenewalAdvice {
    let lifetime = (certificate.not_after.as_second() - certificate.not_before.as_second()).max(60);
    let retry_after_seconds = (lifetime / 60).clamp(RETRY_AFTER_MIN_SECONDS, RETRY_AFTER_MAX_SECONDS);
    let now_wished = certificate.revocation().map(|r| r.at).or(certificate.renew_from);
    let window = match now_wished {
        Some(since) => past(since),
        None => {
            let ideal = certificate.not_after.as_second() - lifetime / 3;
            let half = (lifetime / 60).max(1);
            Window {
                start: second(ideal - half),
                end: second(ideal + half),
            }
        }
    };
    RenewalAdvice {
        info: RenewalInfo {
            suggested_window: window,
            explanation_url: None,
        },
        retry_after_seconds,
    }
}

fn past(since: Timestamp) -> Window {
    let end = second(since.as_second() - 1);
    Window {
        start: end.saturating_sub(PAST_WINDOW).unwrap_or(Timestamp::MIN),
        end,
    }
}

fn second(at: i64) -> Timestamp {
    Timestamp::from_second(at).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CertificateState, Revocation, Serial, Version};

    fn certificate(lifetime_seconds: i64) -> Certificate {
        Certificate {
            serial: Serial::random(),
            version: Version(1),
            issuer: "issuing-1".parse().unwrap(),
            account: None,
            order: None,
            profile: "default".into(),
            names: vec![],
            subject: String::new(),
            not_before: second(1_000_000),
            not_after: second(1_000_000 + lifetime_seconds),
            spki_sha256: [0; 32],
            tbs: vec![],
            state: CertificateState::Issued { der: vec![] },
            created: second(1_000_000),
            replaced_by: None,
            renew_from: None,
        }
    }

    #[test]
    fn window_lies_inside_the_life_and_ends_after_it_starts() {
        for lifetime in [1, 60, 3600, 90 * 86400, 3 * 365 * 86400] {
            let certificate = certificate(lifetime);
            let Window { start, end } = advice(&certificate).info.suggested_window;
            assert!(start < end, "{lifetime}");
            if lifetime >= 60 {
                assert!(
                    certificate.not_before < start && end < certificate.not_after,
                    "{lifetime}"
                );
            }
        }
    }

    #[test]
    fn window_is_in_the_past_once_revoked_or_wished() {
        let at = second(1_500_000);
        let revoked = Certificate {
            state: CertificateState::Revoked {
                der: vec![],
                revocation: Revocation {
                    at,
                    reason: None,
                    invalid_since: None,
                },
            },
            ..certificate(86400)
        };
        let wished = Certificate {
            renew_from: Some(at),
            ..certificate(86400)
        };
        for certificate in [revoked, wished] {
            let Window { start, end } = advice(&certificate).info.suggested_window;
            assert!(start < end && end < at);
        }
    }
}
