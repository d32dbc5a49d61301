//! Certificates by name, each with its chain, its key and how it is renewed.

use std::fs;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::renewal::Renewal;
use super::{Keystore, Lock, atomic};
use crate::error::{Error, Result};

/// How many sets of one name are kept: the one in use, and one to go back to.
const VERSIONS_KEPT: usize = 2;
/// The longest name of a set: a DNS name is at most 253 characters.
const NAME_LENGTH_MAX: usize = 253;

/// The name that a certificate is kept under: also the name of a folder, so its alphabet is small.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateName(String);

impl CertificateName {
    /// Makes the name that fits an identifier: `*.a.example` becomes `_wildcard.a.example`.
    ///
    /// # Errors
    /// When nothing sensible is left.
    pub fn for_identifier(identifier: &str) -> Result<Self> {
        let text = match identifier.strip_prefix("*.") {
            Some(base) => format!("_wildcard.{base}"),
            None => identifier.replace(':', "-"),
        };
        // An address such as ::1 becomes --1, which must not be taken for an option.
        let text = if text.starts_with('-') {
            format!("ip{text}")
        } else {
            text
        };
        text.parse()
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for CertificateName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for CertificateName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let good = !text.is_empty()
            && text.len() <= NAME_LENGTH_MAX
            && text.chars().all(allowed)
            && !text.starts_with(['.', '-']);
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::usage(format!(
                "{text:?} cannot name a certificate: use letters, digits, dots, hyphens and \
                 underscores, beginning with a letter, a digit or an underscore"
            )))
        }
    }
}

/// A certificate with all that belongs to it, ready to be written.
#[derive(Debug, Clone)]
pub struct CertificateSet {
    /// The certificates as PEM, the leaf first.
    pub certificates: Vec<String>,
    /// The private key as PEM, unless it is the user's own.
    pub key: Option<Zeroizing<String>>,
    /// How it is renewed.
    pub renewal: Renewal,
}

/// A certificate that is on the disk.
#[derive(Debug, Clone)]
pub struct StoredCertificate {
    /// Its name.
    pub name: CertificateName,
    /// Its folder; the files in it are those of one version.
    pub dir: PathBuf,
    /// The leaf, DER.
    pub leaf: Vec<u8>,
    /// The leaf and its chain, PEM.
    pub fullchain: String,
    /// How it is renewed.
    pub renewal: Renewal,
}

impl StoredCertificate {
    /// Returns the private key as PEM, if it is kept here.
    ///
    /// # Errors
    /// When the file is there but cannot be read.
    pub fn key(&self) -> Result<Option<Zeroizing<String>>> {
        let path = self.dir.join("key.pem");
        let Some(content) = atomic::read_optional(&path)? else {
            return Ok(None);
        };
        let text = String::from_utf8(content).map_err(|e| Error::file("understand", &path, e.utf8_error()))?;
        Ok(Some(Zeroizing::new(text)))
    }
}

impl Keystore {
    /// Returns the path under which a certificate can always be found.
    pub fn certificate_dir(&self, name: &CertificateName) -> PathBuf {
        self.home().join("certs").join(name.as_str())
    }

    /// Returns the names of all certificates, sorted.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn certificate_names(&self) -> Result<Vec<CertificateName>> {
        let dir = self.home().join("certs");
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::file("read", &dir, e)),
        };
        let mut names: Vec<CertificateName> = entries
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// Returns a certificate, if there is one of this name.
    ///
    /// # Errors
    /// When a file of it is missing or cannot be understood.
    pub fn certificate(&self, name: &CertificateName) -> Result<Option<StoredCertificate>> {
        let link = self.certificate_dir(name);
        // Follow the link once, so that all files come from one version.
        let dir = match fs::canonicalize(&link) {
            Ok(dir) => dir,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::file("read", &link, e)),
        };
        let need = |file: &str| {
            let path = dir.join(file);
            atomic::read_optional(&path)?.ok_or_else(|| Error::file("read", &path, "it is missing"))
        };
        let fullchain = String::from_utf8(need("fullchain.pem")?)
            .map_err(|e| Error::file("understand", &dir.join("fullchain.pem"), e))?;
        let leaf = pem::parse(need("cert.pem")?)
            .map_err(|e| Error::file("understand", &dir.join("cert.pem"), e))?
            .into_contents();
        let renewal = serde_json::from_slice(&need("renewal.json")?)
            .map_err(|e| Error::file("understand", &dir.join("renewal.json"), e))?;
        Ok(Some(StoredCertificate {
            name: name.clone(),
            dir,
            leaf,
            fullchain,
            renewal,
        }))
    }

    /// Returns the certificate of this name.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn require_certificate(&self, name: &CertificateName) -> Result<StoredCertificate> {
        self.certificate(name)?.ok_or_else(|| {
            Error::usage(format!(
                "there is no certificate named {name} in {}",
                self.home().display()
            ))
        })
    }

    /// Makes a set the current one of its name, in one step.
    ///
    /// # Errors
    /// When it cannot be written; the set that was there is then still whole.
    pub fn store_certificate(&self, lock: &Lock, name: &CertificateName, set: &CertificateSet) -> Result<PathBuf> {
        let version = self.stage_certificate(lock, name, set)?;
        self.commit_certificate(lock, name, &version)?;
        self.prune_versions(name, &version);
        Ok(self.certificate_dir(name))
    }

    /// Writes a set to a folder of its own, which nothing points to yet.
    fn stage_certificate(&self, _lock: &Lock, name: &CertificateName, set: &CertificateSet) -> Result<PathBuf> {
        let [leaf, chain @ ..] = set.certificates.as_slice() else {
            return Err(Error::local("cannot keep a certificate", "there is none"));
        };
        let versions = self.versions_dir(name);
        atomic::create_private_dir(&versions)?;
        let number = version_numbers(&versions)?.last().map_or(1, |last| last + 1);
        let dir = versions.join(number.to_string());
        atomic::create_private_dir(&dir)?;
        let renewal =
            serde_json::to_vec_pretty(&set.renewal).map_err(|e| Error::local("cannot write renewal.json", e))?;
        if let Some(key) = &set.key {
            atomic::write_new(&dir.join("key.pem"), key.as_bytes())?;
        }
        atomic::write_new(&dir.join("cert.pem"), leaf.as_bytes())?;
        atomic::write_new(&dir.join("chain.pem"), chain.concat().as_bytes())?;
        atomic::write_new(&dir.join("fullchain.pem"), set.certificates.concat().as_bytes())?;
        atomic::write_new(&dir.join("renewal.json"), &renewal)?;
        atomic::sync_dir(&dir)?;
        Ok(dir)
    }

    /// Points the name at a staged folder.
    fn commit_certificate(&self, _lock: &Lock, name: &CertificateName, dir: &Path) -> Result<()> {
        let link = self.certificate_dir(name);
        let certs = self.home().join("certs");
        atomic::create_private_dir(&certs)?;
        atomic::remove_leftovers(&certs);
        let number = dir.file_name().unwrap_or_default();
        // Relative, so that the whole folder can be moved or restored elsewhere.
        let target = Path::new("..").join("versions").join(name.as_str()).join(number);
        atomic::swap_link(&link, &target)
    }

    /// Removes versions beyond those worth keeping, unfinished ones included.
    fn prune_versions(&self, name: &CertificateName, current: &Path) {
        let versions = self.versions_dir(name);
        let Ok(numbers) = version_numbers(&versions) else {
            return;
        };
        let complete = |n: &u64| versions.join(n.to_string()).join("renewal.json").is_file();
        let (whole, half): (Vec<u64>, Vec<u64>) = numbers.into_iter().partition(complete);
        let old = whole.iter().rev().skip(VERSIONS_KEPT);
        for number in old.chain(&half) {
            let dir = versions.join(number.to_string());
            if dir != current {
                // Best effort: what stays is removed next time.
                let _ = fs::remove_dir_all(dir);
            }
        }
    }

    /// Replaces how and when a certificate is renewed, leaving its files alone.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn update_renewal(&self, stored: &StoredCertificate) -> Result<()> {
        let json =
            serde_json::to_vec_pretty(&stored.renewal).map_err(|e| Error::local("cannot write renewal.json", e))?;
        atomic::replace(&stored.dir.join("renewal.json"), &json)
    }

    fn versions_dir(&self, name: &CertificateName) -> PathBuf {
        self.home().join("versions").join(name.as_str())
    }
}

/// Returns the numbers of the versions in a folder, ascending.
fn version_numbers(versions: &Path) -> Result<Vec<u64>> {
    let entries = fs::read_dir(versions).map_err(|e| Error::file("read", versions, e))?;
    let mut numbers: Vec<u64> = entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keystore::{ChallengeSettings, RenewalState};
    use std::os::unix::fs::PermissionsExt;

    fn set(mark: &str) -> CertificateSet {
        let leaf = pem::encode(&pem::Pem::new("CERTIFICATE", mark.as_bytes()));
        CertificateSet {
            certificates: vec![leaf, "issuer\n".into()],
            key: Some(Zeroizing::new(format!("key of {mark}"))),
            renewal: Renewal {
                directory: "https://a.example/dir".into(),
                ca_root: None,
                names: vec![mark.into()],
                challenges: ChallengeSettings::default(),
                key_type: Default::default(),
                reuse_key: false,
                profile: None,
                csr: None,
                deploy_hook: None,
                state: RenewalState::default(),
            },
        }
    }

    /// What a reader finds must belong together, whichever version it is.
    fn read_whole(store: &Keystore, name: &CertificateName) -> String {
        let stored = store.require_certificate(name).unwrap();
        let mark = String::from_utf8(stored.leaf.clone()).unwrap();
        assert_eq!(*stored.key().unwrap().unwrap(), format!("key of {mark}"));
        assert_eq!(stored.renewal.names, [mark.as_str()]);
        assert!(stored.fullchain.ends_with("issuer\n"));
        mark
    }

    #[test]
    fn a_crash_before_the_swap_leaves_the_old_set_whole() {
        let home = tempfile::tempdir().unwrap();
        let store = Keystore::new(home.path());
        let lock = store.lock().unwrap();
        let name: CertificateName = "a.example".parse().unwrap();
        store.store_certificate(&lock, &name, &set("one")).unwrap();
        // Crash with everything written but the link not swapped.
        store.stage_certificate(&lock, &name, &set("two")).unwrap();
        assert_eq!(read_whole(&store, &name), "one");
        // Crash in the middle of writing: a folder with a key alone.
        let half = home.path().join("versions/a.example/3");
        fs::create_dir(&half).unwrap();
        fs::write(half.join("key.pem"), "half").unwrap();
        assert_eq!(read_whole(&store, &name), "one");
        // The next run is not in the way of what was left, and clears it up.
        store.store_certificate(&lock, &name, &set("four")).unwrap();
        assert_eq!(read_whole(&store, &name), "four");
        assert!(!half.exists());
        let kept = version_numbers(&home.path().join("versions/a.example")).unwrap();
        assert_eq!(kept, [2, 4]);
    }

    #[test]
    fn everything_is_private() {
        let home = tempfile::tempdir().unwrap();
        let store = Keystore::new(home.path().join("deep/home"));
        let lock = store.lock().unwrap();
        let name: CertificateName = "a.example".parse().unwrap();
        let dir = store.store_certificate(&lock, &name, &set("one")).unwrap();
        for file in ["key.pem", "cert.pem", "chain.pem", "fullchain.pem", "renewal.json"] {
            let mode = fs::metadata(dir.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{file}");
        }
        assert_eq!(fs::metadata(store.home()).unwrap().permissions().mode() & 0o077, 0);
    }

    #[test]
    fn one_process_at_a_time_changes_the_folder() {
        let home = tempfile::tempdir().unwrap();
        let store = Keystore::new(home.path());
        let held = store.lock().unwrap();
        assert!(store.lock().is_err());
        drop(held);
        assert!(store.lock().is_ok());
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        for bad in ["", ".", "..", "../a", "a/b", "a\0b", "-a", ".hidden", "ä"] {
            assert!(bad.parse::<CertificateName>().is_err(), "{bad:?}");
        }
        for (identifier, name) in [
            ("*.a.example", "_wildcard.a.example"),
            ("::1", "ip--1"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(CertificateName::for_identifier(identifier).unwrap().as_str(), name);
        }
    }

    #[test]
    fn a_kill_at_any_moment_leaves_one_whole_set() {
        let home = tempfile::tempdir().unwrap();
        let store = Keystore::new(home.path());
        let name: CertificateName = "a.example".parse().unwrap();
        store
            .store_certificate(&store.lock().unwrap(), &name, &set("0"))
            .unwrap();
        for round in 0..8_u64 {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "keystore::certificates::tests::stores_until_killed"])
                .args(["--ignored", "--nocapture"])
                .env("SIGILLO_TEST_STORE", home.path())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(std::time::Duration::from_millis(60 + 37 * round));
            child.kill().unwrap();
            child.wait().unwrap();
            read_whole(&store, &name);
        }
        // The lock of a killed process is free again.
        store
            .store_certificate(&store.lock().unwrap(), &name, &set("last"))
            .unwrap();
        assert_eq!(read_whole(&store, &name), "last");
    }

    #[test]
    #[ignore = "run, and killed, by a_kill_at_any_moment_leaves_one_whole_set"]
    fn stores_until_killed() {
        let home = std::env::var_os("SIGILLO_TEST_STORE").expect("set by the parent test");
        let store = Keystore::new(home);
        let lock = store.lock().unwrap();
        let name: CertificateName = "a.example".parse().unwrap();
        for n in 0_u64.. {
            store.store_certificate(&lock, &name, &set(&n.to_string())).unwrap();
        }
    }
}
