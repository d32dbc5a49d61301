//! What the journeys expect of an answer.

use sigillo_tests::acme::problem;
use sigillo_tests::http::Response;

/// Requires an ACME problem with a status and a short name.
#[track_caller]
pub fn refused(answer: &Response, status: u16, kind: &str) {
    let found = (answer.status, problem(answer));
    assert_eq!(found, (status, kind.to_owned()), "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
}

/// Requires a status.
#[track_caller]
pub fn status(answer: &Response, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text());
}

/// Returns the URL of the link with a relation.
pub fn link(answer: &Response, relation: &str) -> Option<String> {
    let wanted = format!("rel=\"{relation}\"");
    answer
        .headers
        .iter()
        .filter(|(name, _)| name == "link")
        .find(|(_, value)| value.contains(&wanted))
        .and_then(|(_, value)| value.strip_prefix('<')?.split_once('>'))
        .map(|(url, _)| url.to_owned())
}
