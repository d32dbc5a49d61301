//! Issuing: from a judged request to a signed certificate, and the ceremony that makes the CA itself.
//!
//! ```text
//! prepare -> Prepared --lint--> Linted --record--> Recorded --sign--> Signed
//! ```
//!
//! Each arrow consumes what stands before it. The key is used by the last one only, so that nothing
//! is ever signed that was not linted and made durable first (`resume` deals with what a crash left
//! between the last two).

mod authority;
mod ceremony;
mod certificate;
mod encode;
pub mod folder;
mod issue;
mod lineage;
mod lint;
mod prepare;
mod resume;
#[cfg(test)]
pub(crate) mod testing;

pub use authority::root_crl;
pub use ceremony::{CeremonyError, CeremonyOptions, Made, init, issue_ocsp_responder};
pub use certificate::{Issuer, IssuerCertificate, IssuerError, IssuerUrls};
pub use encode::key_identifier;
pub use issue::{Linted, Recorded, SignFailure, Signed};
pub use lineage::{Lineage, make_lineages};
pub use lint::LintError;
pub use prepare::{IssueRequest, PrepareError, Prepared, prepare};
pub use resume::{ResumeError, Resumed, resume, resume_before};
