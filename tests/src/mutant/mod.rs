//! A server that is broken in one place: a sound daemon behind a man in the middle who puts one fault into what passes.
//!
//! With it the conformance suite is itself tested: what each mutation breaks, some case has to see.

pub mod authority;
pub mod bench;
pub mod der;
pub mod fault;
pub mod forger;
pub mod message;
pub mod proxy;
pub mod wires;

use std::sync::Arc;

use fault::Fault;

/// Which daemon stands behind the man in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// A sound one.
    Sound,
    /// One that validates without looking and asks no CAA.
    Careless,
    /// One that asks no CAA.
    Heedless,
    /// One that wants external accounts.
    Bound,
    /// One with name constraints in its CA.
    Constrained,
}

/// One fault, and the cases that have to see it.
#[derive(Clone)]
pub struct Mutation {
    /// What is wrong, as a sentence about the server.
    pub name: &'static str,
    /// Which daemon it is tried on.
    pub stage: Stage,
    /// The fault.
    pub fault: Arc<Fault>,
    /// Requirements whose cases have to fail.
    pub catches: &'static [&'static str],
    /// Requirements judged in the same run, so that there is something to see.
    pub beside: &'static [&'static str],
    /// Whether the suite is told where the OCSP responder is.
    pub names_responder: bool,
    /// Whether the suite's name server signs.
    pub signed: bool,
    /// Whether the suite has an operator, who says yes to everything and does nothing.
    pub hooked: bool,
}

/// A mutation of a sound daemon.
pub fn mutation(name: &'static str, catches: &'static [&'static str], fault: Fault) -> Mutation {
    Mutation {
        name,
        stage: Stage::Sound,
        fault: Arc::new(fault),
        catches,
        beside: &[],
        names_responder: false,
        signed: false,
        hooked: false,
    }
}

impl Mutation {
    /// Tries it on another daemon.
    #[must_use]
    pub fn on(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }

    /// Tells the suite where the OCSP responder is, as if the operator had.
    #[must_use]
    pub fn naming_the_responder(self) -> Self {
        Self {
            names_responder: true,
            ..self
        }
    }

    /// Has the suite's name server sign what it says.
    #[must_use]
    pub fn signed(self) -> Self {
        Self { signed: true, ..self }
    }

    /// Gives the suite an operator who says yes to everything and does nothing.
    #[must_use]
    pub fn hooked(self) -> Self {
        Self { hooked: true, ..self }
    }

    /// Judges other cases too, which need not fail.
    #[must_use]
    pub fn beside(self, ids: &'static [&'static str]) -> Self {
        Self { beside: ids, ..self }
    }
}
