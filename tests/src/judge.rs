//! Outsiders' verdicts on what the CA gives out: OpenSSL, GnuTLS, Python's cryptography.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use x509_parser::prelude::{
    CertificateRevocationList, DistributionPointName, FromDer as _, GeneralName, ParsedExtension,
};

use crate::http::Http;
use crate::process::{Output, eventually, run};
use crate::programs;

/// How long a judge may think.
const JUDGE_WITHIN: Duration = Duration::from_secs(30);
/// How long a revocation may take to be in the published CRL.
pub const CRL_WITHIN: Duration = Duration::from_secs(30);

/// The certificates a relying party holds: files in PEM.
#[derive(Debug, Clone)]
pub struct Papers {
    /// The certificate in question, alone.
    pub leaf: PathBuf,
    /// The issuing CA, alone.
    pub issuer: PathBuf,
    /// The root, alone.
    pub root: PathBuf,
    /// Issuer and root in one file.
    pub bundle: PathBuf,
    folder: PathBuf,
}

impl Papers {
    /// Sorts a chain as a client stored it (leaf first) into files of `folder`.
    ///
    /// # Panics
    ///
    /// If the chain does not hold a leaf and its issuer.
    #[track_caller]
    pub fn sort(chain_pem: &str, root: &Path, folder: &Path) -> Self {
        let blocks: Vec<_> = pem::parse_many(chain_pem)
            .expect("a chain in PEM")
            .into_iter()
            .filter(|block| block.tag() == "CERTIFICATE")
            .collect();
        assert!(blocks.len() >= 2, "the chain must bring the issuer:\n{chain_pem}");
        std::fs::create_dir_all(folder).expect("a folder for the papers");
        let papers = Self {
            leaf: folder.join("leaf.pem"),
            issuer: folder.join("issuer.pem"),
            root: root.to_owned(),
            bundle: folder.join("bundle.pem"),
            folder: folder.to_owned(),
        };
        let root_pem = std::fs::read_to_string(root).expect("the root");
        std::fs::write(&papers.leaf, pem::encode(&blocks[0])).expect("the leaf");
        std::fs::write(&papers.issuer, pem::encode(&blocks[1])).expect("the issuer");
        std::fs::write(&papers.bundle, pem::encode(&blocks[1]) + &root_pem).expect("the bundle");
        papers
    }

    /// Returns the serial number of the leaf, as OpenSSL prints it.
    pub fn serial(&self) -> String {
        let output = openssl(&["x509", "-noout", "-serial", "-in"], &[&self.leaf]).succeeded();
        output.stdout.trim().trim_start_matches("serial=").to_owned()
    }

    /// Returns where the leaf says that its status is answered.
    ///
    /// # Panics
    ///
    /// If it says nothing.
    #[track_caller]
    pub fn ocsp_url(&self) -> String {
        responder(&self.leaf)
    }

    /// Asks OpenSSL to build the path from the leaf to the root.
    ///
    /// # Panics
    ///
    /// If it finds a fault.
    #[track_caller]
    pub fn openssl_accepts_the_chain(&self) {
        openssl(
            &["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile"],
            &[&self.root, Path::new("-untrusted"), &self.issuer, &self.leaf],
        )
        .succeeded();
    }

    /// Asks OpenSSL for the leaf's status over HTTP POST.
    ///
    /// # Panics
    ///
    /// If the answer is missing, not signed rightly or not fresh.
    #[track_caller]
    pub fn ocsp(&self) -> OcspAnswer {
        self.ask(Path::new("-cert"), &self.leaf)
    }

    /// Asks OpenSSL for the status of a serial number (`0x...`) of the same issuer.
    ///
    /// # Panics
    ///
    /// As [`Papers::ocsp`].
    #[track_caller]
    pub fn ocsp_of_serial(&self, serial: &str) -> OcspAnswer {
        self.ask(Path::new("-serial"), Path::new(serial))
    }

    #[track_caller]
    fn ask(&self, how: &Path, what: &Path) -> OcspAnswer {
        let url = self.ocsp_url();
        let output = openssl(
            &["ocsp", "-url", &url, "-CAfile"],
            &[&self.bundle, Path::new("-issuer"), &self.issuer, how, what],
        )
        .succeeded();
        OcspAnswer::read(&output)
    }

    /// Fetches the CRL that the leaf names and lets OpenSSL check its signature.
    ///
    /// # Panics
    ///
    /// If it is missing or not signed by the issuer.
    #[track_caller]
    pub fn crl(&self, http: &Http) -> Crl {
        let url = distribution_point(&self.leaf);
        let answer = http.get(&url).unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(answer.status, 200, "{url}: {}", answer.text());
        let file = self.folder.join("issuer.crl");
        std::fs::write(&file, &answer.body).expect("the CRL");
        let output = openssl(
            &["crl", "-inform", "DER", "-noout", "-CAfile"],
            &[&self.bundle, Path::new("-in"), &file],
        )
        .succeeded();
        assert!(output.text().contains("verify OK"), "{output}");
        Crl {
            der: answer.body,
            file,
            url,
        }
    }

    /// Lets every outsider that is there agree that the certificate is good.
    ///
    /// # Panics
    ///
    /// If one does not.
    #[track_caller]
    pub fn all_find_it_good(&self, http: &Http) {
        self.openssl_accepts_the_chain();
        let answer = self.ocsp();
        assert_eq!(answer.status, "good", "{}", answer.text);
        assert_eq!(
            self.crl(http).reason_of(&self.serial()),
            None,
            "a good certificate is listed"
        );
        self.python_judges("good", "");
        self.gnutls_judges("good");
    }

    /// Lets every outsider that is there agree that the certificate is revoked for this reason.
    ///
    /// # Panics
    ///
    /// If one does not, or the CRL does not list it in time.
    #[track_caller]
    pub fn all_find_it_revoked(&self, http: &Http, reason: &str) {
        let answer = self.ocsp();
        assert_eq!(answer.status, "revoked", "{}", answer.text);
        // OpenSSL has no names for the last two reasons; Python, below, has.
        if answer.reason_or_unspecified() != "(UNKNOWN)" {
            assert_eq!(answer.reason_or_unspecified(), reason, "OCSP: {}", answer.text);
        }
        let serial = self.serial();
        let listed = eventually("the revocation is in the CRL", CRL_WITHIN, || {
            self.crl(http).reason_of(&serial)
        });
        assert_eq!(listed, reason, "CRL");
        self.python_judges("revoked", reason);
        self.gnutls_judges("revoked");
    }

    /// Lets Python's cryptography read certificate, OCSP answer and CRL.
    ///
    /// # Panics
    ///
    /// If it finds a fault or another status.
    #[track_caller]
    pub fn python_judges(&self, status: &str, reason: &str) {
        let Some(mut python) = programs::python_with("cryptography") else {
            return;
        };
        let script = programs::workspace().join("tests/python/judge.py");
        python
            .arg(script)
            .args([&self.leaf, &self.issuer, &self.root])
            .args([status, reason]);
        run(&mut python, JUDGE_WITHIN).succeeded();
    }

    /// Lets GnuTLS's `ocsptool` ask.
    ///
    /// # Panics
    ///
    /// If the answer does not verify or says something else.
    #[track_caller]
    pub fn gnutls_judges(&self, status: &str) {
        if !programs::available(&["ocsptool"]) {
            return;
        }
        let mut tool = programs::third_party("ocsptool");
        tool.arg(format!("--ask={}", self.ocsp_url()))
            .arg(format!("--load-cert={}", self.leaf.display()))
            .arg(format!("--load-issuer={}", self.issuer.display()))
            .arg(format!("--load-trust={}", self.bundle.display()));
        let output = run(&mut tool, JUDGE_WITHIN).succeeded();
        let text = output.text();
        assert!(text.contains("Success"), "the signature does not verify: {output}");
        assert!(text.contains(&format!("Certificate Status: {status}")), "{output}");
    }
}

/// What an OCSP responder said of one certificate.
#[derive(Debug, Clone)]
pub struct OcspAnswer {
    /// `good`, `revoked` or `unknown`.
    pub status: String,
    /// The reason, if the answer holds one, as RFC 5280 names it.
    pub reason: Option<String>,
    /// Everything OpenSSL printed.
    pub text: String,
}

impl OcspAnswer {
    fn read(output: &Output) -> Self {
        let text = output.text();
        assert!(text.contains("Response verify OK"), "{output}");
        assert!(!text.contains("Status times invalid"), "{output}");
        let status = ["good", "revoked", "unknown"]
            .into_iter()
            .find(|status| text.lines().any(|line| line.ends_with(&format!(": {status}"))))
            .unwrap_or_else(|| panic!("no status: {output}"));
        let reason = text.lines().find_map(|line| line.trim().strip_prefix("Reason: "));
        Self {
            status: status.to_owned(),
            reason: reason.map(str::to_owned),
            text: text.clone(),
        }
    }

    /// Returns the reason; an absent one means `unspecified` (RFC 5280 section 5.3.1).
    pub fn reason_or_unspecified(&self) -> &str {
        self.reason.as_deref().unwrap_or("unspecified")
    }
}

/// A certificate revocation list.
#[derive(Debug, Clone)]
pub struct Crl {
    /// Its DER.
    pub der: Vec<u8>,
    /// The file that holds it.
    pub file: PathBuf,
    /// Where it was found.
    pub url: String,
}

impl Crl {
    /// Reads a CRL.
    ///
    /// # Panics
    ///
    /// If it is not one in DER, with nothing behind.
    pub fn parsed(&self) -> CertificateRevocationList<'_> {
        let (rest, list) = CertificateRevocationList::from_der(&self.der).expect("a CRL");
        assert!(rest.is_empty(), "{} bytes behind the CRL", rest.len());
        list
    }

    /// Returns the CRL number, left-padded so that text order is number order.
    ///
    /// # Panics
    ///
    /// If it has none (RFC 5280 section 5.2.3 wants one).
    pub fn number(&self) -> String {
        let list = self.parsed();
        let number = list.crl_number().expect("a CRL number");
        format!("{:0>40}", number.to_str_radix(16))
    }

    /// Returns why a serial number (in hexadecimal) is listed; `None` if it is not.
    pub fn reason_of(&self, serial: &str) -> Option<String> {
        let wanted = serial.trim_start_matches('0').to_ascii_lowercase();
        let list = self.parsed();
        let entry = list
            .iter_revoked_certificates()
            .find(|entry| entry.user_certificate.to_str_radix(16) == wanted)?;
        let code = entry.reason_code().map_or(0, |(_, reason)| reason.0);
        Some(reason_name(code).to_owned())
    }
}

/// The name that RFC 5280 section 5.3.1 gives a reason code.
pub fn reason_name(code: u8) -> &'static str {
    match code {
        0 => "unspecified",
        1 => "keyCompromise",
        2 => "cACompromise",
        3 => "affiliationChanged",
        4 => "superseded",
        5 => "cessationOfOperation",
        6 => "certificateHold",
        8 => "removeFromCRL",
        9 => "privilegeWithdrawn",
        10 => "aACompromise",
        _ => "not assigned",
    }
}

/// Returns the URL of a certificate's OCSP responder (RFC 5280 section 4.2.2.1).
///
/// # Panics
///
/// If the certificate names none.
#[track_caller]
fn responder(certificate: &Path) -> String {
    let text = std::fs::read(certificate).expect("a certificate");
    let block = pem::parse(&text).expect("PEM");
    let (_, parsed) = x509_parser::parse_x509_certificate(block.contents()).expect("a certificate");
    let access = parsed
        .extensions()
        .iter()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityInfoAccess(access) => Some(access),
            _ => None,
        });
    let descriptions = access.expect("authority information access").iter();
    descriptions
        .filter(|description| description.access_method.to_id_string() == "1.3.6.1.5.5.7.48.1")
        .find_map(|description| match &description.access_location {
            GeneralName::URI(url) if url.starts_with("http://") => Some((*url).to_owned()),
            _ => None,
        })
        .expect("an OCSP address")
}

/// Returns the first URL of a certificate's CRL distribution points.
///
/// # Panics
///
/// If the certificate names none.
#[track_caller]
pub fn distribution_point(certificate: &Path) -> String {
    let text = std::fs::read(certificate).expect("a certificate");
    let block = pem::parse(&text).expect("PEM");
    let (_, parsed) = x509_parser::parse_x509_certificate(block.contents()).expect("a certificate");
    parsed
        .extensions()
        .iter()
        .filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::CRLDistributionPoints(points) => Some(points),
            _ => None,
        })
        .flat_map(|points| points.iter())
        .filter_map(|point| match point.distribution_point.as_ref()? {
            DistributionPointName::FullName(names) => names.iter().find_map(|name| match name {
                GeneralName::URI(url) => Some((*url).to_owned()),
                _ => None,
            }),
            DistributionPointName::NameRelativeToCRLIssuer(_) => None,
        })
        .next()
        .expect("a CRL distribution point with a URL")
}

/// Runs OpenSSL with fixed arguments and then paths or values.
///
/// # Panics
///
/// If it is missing or hangs.
#[track_caller]
pub fn openssl(arguments: &[&str], paths: &[&Path]) -> Output {
    let mut command: Command = programs::third_party("openssl");
    run(command.args(arguments).args(paths), JUDGE_WITHIN)
}
