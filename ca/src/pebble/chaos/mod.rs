//! Chaos by rule: faults that a server, a network or a proxy may show, so that client authors meet them in a test first.
//!
//! `rule` is what a rule says, `grammar` how it is written, `engine` draws which rules strike a request, `layer` carries them out in front of the
//! ACME resources, `rewrite` changes what JSON answers say, `broken` makes bodies that break off.

mod broken;
mod dice;
mod engine;
mod grammar;
mod layer;
mod rewrite;
mod rule;

pub use engine::{Chaos, Rules, RulesError};
pub(super) use layer::router;
pub use rule::{Fault, Rule, RuleError, Target};
