//! What the CA knows: plain records without behaviour of their own.
//!
//! Records are written whole and carry a [`Version`]: a change names the version that it was
//! decided on, and the store refuses it if another change came first.

mod account;
mod audit;
mod authorization;
mod auto_renewal;
mod certificate;
mod crl;
mod external_key;
mod id;
mod order;

pub use account::{Account, Binding};
pub use audit::{Action, Actor, AuditEvent, AuditRecord, LogHead, LogState};
pub use authorization::{Authorization, Challenge};
pub use auto_renewal::{AutoRenewal, Renewing};
pub use certificate::{BlockedKey, Certificate, CertificateState, Revocation, StatusRecord};
pub use crl::{CrlKind, CrlRecord, Pieces};
pub use external_key::ExternalKey;
pub use id::{AccountId, AuthorizationId, InvalidId, IssuerId, OrderId, Serial, Version};
pub use order::{Order, Progress};
