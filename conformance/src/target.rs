//! Who is judged, and what the run was given to do it.

use std::net::IpAddr;
use std::path::PathBuf;

/// What a run needs to know; everything but the directory has a default or may be missing.
#[derive(Debug, Clone)]
pub struct Options {
    /// The ACME directory's URL.
    pub directory: String,
    /// Trust anchors of the target's HTTPS in PEM; the platform's otherwise.
    pub ca_root: Option<Vec<u8>>,
    /// The anchor of the issued certificates in PEM, for path validation.
    pub issuer_root: Option<Vec<u8>>,
    /// Where the target asks http-01.
    pub http01_port: Option<u16>,
    /// Where the target asks tls-alpn-01.
    pub tls_alpn01_port: Option<u16>,
    /// Where the suite serves DNS for the zone.
    pub dns_port: Option<u16>,
    /// The P-256 key in PKCS#8 that signs the DNS; a target that validates was told its trust anchor, see
    /// [`trust_anchor`](crate::trust_anchor).
    pub dnssec_key: Option<Vec<u8>>,
    /// The address the answerers listen at, and to which names of the zone resolve.
    pub address: IpAddr,
    /// The zone under which the suite makes names.
    pub zone: String,
    /// The OCSP responder, if not the one that certificates name.
    pub ocsp: Option<String>,
    /// Key identifiers for external account binding, with their MAC keys: each new account takes the next one, and the last
    /// one serves all that follow, since some servers take a key once and others always.
    pub external_accounts: Vec<(String, Vec<u8>)>,
    /// Judges only requirements whose id begins with one of these; all where there are none.
    pub only: Vec<String>,
    /// Judges no requirement whose id begins with one of these.
    pub skip: Vec<String>,
    /// How long a validation or an issue may take before the suite gives up.
    pub patience_seconds: u64,
    /// How long a case may wait for real time to pass; one that needs longer is blocked.
    pub wait_max_seconds: u64,
    /// Whether the target's rate limits are off for this run.
    pub limits_off: bool,
    /// The operator's command that does to the target what cannot be done from outside.
    pub hook: Option<PathBuf>,
    /// Whether the target claims public trust, so that the Baseline Requirements apply.
    pub public_trust: bool,
}

impl Options {
    /// Options for a target, with nothing else given.
    pub fn new(directory: impl Into<String>) -> Self {
        Self {
            directory: directory.into(),
            ca_root: None,
            issuer_root: None,
            http01_port: None,
            tls_alpn01_port: None,
            dns_port: None,
            dnssec_key: None,
            address: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            zone: "conformance.test".into(),
            ocsp: None,
            external_accounts: Vec::new(),
            only: Vec::new(),
            skip: Vec::new(),
            patience_seconds: 60,
            wait_max_seconds: 60,
            limits_off: false,
            hook: None,
            public_trust: false,
        }
    }
}
