//! Requirements without a case.
pub(crate) const NOT_YET: &[(&str, &str)] = &[];
pub(crate) const EXCLUDED: &[(&str, &str)] = &[];
