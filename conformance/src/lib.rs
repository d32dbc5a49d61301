//! Judges any ACME server, OCSP responder and CRL publisher against the standards, case by case.
//!
//! Every requirement of RFC 8555 and its relatives that can be seen from outside has a case named after its id; what the
//! suite expects comes from the texts and their vectors, and nothing of it from the server that lives in this repository.
//!
//! ```no_run
//! let mut options = sigillo_conformance::Options::new("https://localhost:9443/acme/directory");
//! options.http01_port = Some(5002);
//! let report = sigillo_conformance::judge(options).expect("the target can be reached");
//! println!("{}", report.render(sigillo_conformance::Format::Text));
//! assert!(report.is_conforming());
//! ```

mod base64;
mod case;
mod cases;
mod coverage;
mod delta;
mod der;
mod deviation;
mod evidence;
mod hook;
mod http;
mod issue;
mod keys;
mod mock;
mod old_tls;
mod read;
mod relying;
mod renewing;
mod report;
mod request;
mod responder;
mod shown;
mod status;
mod suite;
mod target;
mod texts;
mod weak;
mod wire;

pub use case::Level;
pub use coverage::page as coverage;
pub use deviation::Deviation;
pub use hook::VERBS as HOOK_VERBS;
pub use report::{Format, Outcome, Report, Verdict};
pub use shown::Shown;
pub use suite::{Event, Requirement, judge, judge_telling, judge_watching, requirements};
pub use target::Options;

/// Makes a key that signs the suite's DNS, in PKCS#8.
pub fn new_dnssec_key() -> Vec<u8> {
    responder::dnssec::new_key()
}

/// Returns the trust anchors of such a key: DNSKEY records of the root and of the zone, one a line.
///
/// # Errors
/// When it is no P-256 key in PKCS#8.
pub fn trust_anchor(dnssec_key: &[u8], zone: &str) -> Result<String, String> {
    Ok(responder::dnssec::ZoneKey::read(dnssec_key)?.anchors(zone))
}

/// Reads a MAC key from unpadded base64url, as operators are given it.
pub fn mac_key(text: &str) -> Option<Vec<u8>> {
    base64::from_url(text)
}
