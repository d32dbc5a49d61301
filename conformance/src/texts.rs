//! The texts that requirements are drawn from.

/// What is printed above the requirements of each text, by the first part of their ids.
const TEXTS: &[(&str, &str)] = &[
    ("2585", "RFC 2585, certificates and CRLs over HTTP"),
    ("2986", "RFC 2986, certification requests"),
    ("5280", "RFC 5280, certificates and CRLs"),
    ("5480", "RFC 5480, elliptic curve keys"),
    ("5758", "RFC 5758, signature algorithms"),
    ("6960", "RFC 6960, OCSP"),
    ("7468", "RFC 7468, PEM"),
    ("7515", "RFC 7515, JWS"),
    ("7517", "RFC 7517, JWK"),
    ("7518", "RFC 7518, JWA"),
    ("7638", "RFC 7638, thumbprints"),
    ("8037", "RFC 8037, Ed25519 in JOSE"),
    ("8288", "RFC 8288, Link headers"),
    ("8555", "RFC 8555, ACME"),
    ("8657", "RFC 8657, CAA for ACME"),
    ("8659", "RFC 8659, CAA"),
    ("8737", "RFC 8737, tls-alpn-01"),
    ("8738", "RFC 8738, IP identifiers"),
    ("8739", "RFC 8739, short-term certificates"),
    ("9110", "RFC 9110, HTTP"),
    ("9111", "RFC 9111, HTTP caching"),
    ("9444", "RFC 9444, subdomains"),
    ("9608", "RFC 9608, no revocation available"),
    ("9654", "RFC 9654, OCSP nonces"),
    ("9773", "RFC 9773, renewal information"),
    ("9864", "RFC 9864, fully specified JOSE algorithms"),
    ("9919", "RFC 9919, lightweight OCSP"),
    ("acct", "dns-account-01"),
    ("br", "Baseline Requirements of the CA/Browser Forum"),
    ("persist", "dns-persist-01"),
    ("prof", "ACME profiles"),
];

/// The part of an id that names its text.
pub(crate) fn text_of(id: &str) -> &str {
    id.split('-').next().unwrap_or_default()
}

/// The name of a text in full.
pub(crate) fn heading(text: &str) -> &str {
    TEXTS
        .iter()
        .find(|(known, _)| *known == text)
        .map_or(text, |(_, heading)| heading)
}
