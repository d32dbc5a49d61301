//! Requirements without a case: those that wait for one, and those that will never have one, each with its reason.

const CLIENT: &str = "a client's duty: needs the mock server, and is judged on the suite's own client";
const HOOK: &str = "needs an operator hook: a clock, a short lifetime or a forced state";
const WAIT: &str = "needs real time to pass, beyond what a run waits";
const DELTA: &str = "delta, sharded or indirect CRLs: written when a target publishes them";
const OLD_TLS: &str = "needs a peer that speaks TLS 1.1 or older, which the suite's library does not";
const KEYS: &str = "needs the published lists of weak keys";

/// Requirements that wait for a case.
pub(crate) const NOT_YET: &[(&str, &str)] = &[
    ("8555-6.1-02", OLD_TLS),
    ("8555-6.5-08", CLIENT),
    ("8555-6.6-01", HOOK),
    ("8555-6.6-02", HOOK),
    ("8555-6.6-03", HOOK),
    ("8555-7.1.6-04", HOOK),
    ("8555-7.3.3-01", HOOK),
    ("8555-11.4-01", CLIENT),
    ("8737-4-01", OLD_TLS),
    ("9773-4.3.3-01", CLIENT),
    ("prof-4-05", HOOK),
    ("5280-3.3-01", HOOK),
    ("5280-5.2.3-02", DELTA),
    ("5280-5.2.4-01", DELTA),
    ("5280-5.2.4-02", DELTA),
    ("5280-5.2.4-03", DELTA),
    ("5280-5.2.4-04", DELTA),
    ("5280-5.2.4-05", DELTA),
    ("5280-5.2.5-04", DELTA),
    ("5280-5.2.6-01", DELTA),
    ("5280-5.3.3-01", DELTA),
    ("br-3.2.2.8-01", HOOK),
    ("br-4.9.9-04", WAIT),
    ("br-6.1.1.3-01", KEYS),
    ("6960-2.3-03", HOOK),
    ("6960-4.2.2.2-02", CLIENT),
    ("6960-4.4.4-01", HOOK),
    ("9654-2.1-06", CLIENT),
    ("9919-3.1.1-01", CLIENT),
    ("9919-5-01", CLIENT),
    ("9919-7.1-01", WAIT),
];

/// Requirements that cannot be seen from outside.
pub(crate) const EXCLUDED: &[(&str, &str)] = &[
    (
        "8555-10.2-01",
        "a target on one machine has one network point; whether there are more is a matter of its operation",
    ),
    (
        "8657-5.3-01",
        "how other enrolment systems under one CAA name behave is seen only from inside",
    ),
    (
        "7518-3.2-01",
        "MAC keys are made by the operator's side; a short one cannot be offered from outside",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const REQUIREMENTS: &str = include_str!("../../requirements.txt");

    /// Id and level of each committed requirement.
    fn requirements() -> BTreeMap<&'static str, &'static str> {
        let lines = REQUIREMENTS.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| {
                let fields: Vec<&str> = line.split('\t').collect();
                let [id, _who, level] = fields.as_slice() else {
                    panic!("three fields in {line:?}")
                };
                (*id, *level)
            })
            .collect()
    }

    #[test]
    fn every_requirement_has_a_case_or_a_reason() {
        let mut seen = BTreeSet::new();
        for case in crate::cases::all() {
            assert!(seen.insert(case.id()), "{} has two cases", case.id());
        }
        for (id, reason) in NOT_YET.iter().chain(EXCLUDED) {
            assert!(seen.insert((*id).to_owned()), "{id} is there twice");
            assert!(!reason.is_empty());
        }
        let wanted: BTreeSet<String> = requirements().keys().map(|id| (*id).to_owned()).collect();
        let missing: Vec<_> = wanted.difference(&seen).collect();
        let unknown: Vec<_> = seen.difference(&wanted).collect();
        assert!(
            missing.is_empty() && unknown.is_empty(),
            "without case or reason: {missing:?}; unknown: {unknown:?}"
        );
    }

    #[test]
    fn every_case_has_the_level_of_its_requirement() {
        let requirements = requirements();
        for case in crate::cases::all() {
            let level = format!("{}{}", case.level, if case.starred { "*" } else { "" });
            assert_eq!(
                requirements.get(case.id().as_str()),
                Some(&level.as_str()),
                "{}",
                case.id()
            );
        }
    }
}
