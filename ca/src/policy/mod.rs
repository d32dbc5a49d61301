//! What the CA issues, and what it renews by itself: profiles, keys, names and terms. Decisions only; nothing here acts.

pub mod auto_renewal;
pub mod keys;
pub mod known_keys;
pub mod names;
pub mod profile;

pub use auto_renewal::AutoRenewalRule;
pub use keys::RawKeys;
pub use known_keys::{KnownKeys, KnownKeysError};
pub use names::{NameConstraints, NameRules, Network};
pub use profile::{Profile, Profiles, RawProfile};
