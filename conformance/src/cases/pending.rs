//! Requirements without a case: those that wait for one, and those that will never have one, each with its reason.

/// Requirements that wait for a case.
pub(crate) const NOT_YET: &[(&str, &str)] = &[];

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
