//! Putting a root among those that the whole system trusts, and taking it out again.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::hook::Hook;

/// Where Debian and its relatives keep the administrator's roots.
const DEBIAN_FOLDER: &str = "/usr/local/share/ca-certificates";
/// What makes them effective.
const DEBIAN_UPDATE: &str = "/usr/sbin/update-ca-certificates";

/// The system's store of trusted roots.
#[derive(Debug, Clone)]
pub struct SystemTrust {
    folder: PathBuf,
    update: PathBuf,
}

impl SystemTrust {
    /// Finds the store of this system.
    ///
    /// # Errors
    /// Where it is not one that this program knows; the message says what to do by hand.
    pub fn find() -> Result<Self> {
        Self::at(Path::new(DEBIAN_FOLDER), Path::new(DEBIAN_UPDATE))
    }

    /// Uses a folder and a program that makes the folder's content effective.
    ///
    /// # Errors
    /// When one of them is missing.
    pub fn at(folder: &Path, update: &Path) -> Result<Self> {
        if !folder.is_dir() || !update.is_file() {
            return Err(Error::local(
                "cannot change the system's trusted roots",
                format!(
                    "{} or {} is missing: this works on Debian and its relatives with \
                     ca-certificates installed; elsewhere add the root by hand, or name it with \
                     --ca-root",
                    folder.display(),
                    update.display()
                ),
            ));
        }
        Ok(Self {
            folder: folder.to_owned(),
            update: update.to_owned(),
        })
    }

    /// Adds a root (DER). Returns the file that now holds it.
    ///
    /// # Errors
    /// When it is no CA's certificate, or the store cannot be written.
    pub async fn install(&self, root: &[u8]) -> Result<PathBuf> {
        require_authority(root)?;
        let path = self.path(root);
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        let text = pem::encode_config(&pem::Pem::new("CERTIFICATE", root), config);
        // The system's programs read it: no private mode here.
        std::fs::write(&path, text).map_err(|e| Error::file("write", &path, e))?;
        self.refresh(&[]).await?;
        Ok(path)
    }

    /// Removes a root (DER). Returns the file that held it.
    ///
    /// # Errors
    /// When it was not installed by this program, or the store cannot be written.
    pub async fn remove(&self, root: &[u8]) -> Result<PathBuf> {
        let path = self.path(root);
        std::fs::remove_file(&path).map_err(|e| Error::file("remove", &path, e))?;
        self.refresh(&["--fresh"]).await?;
        Ok(path)
    }

    async fn refresh(&self, args: &[&str]) -> Result<()> {
        Hook::new(&self.update)?.run(args, &[]).await
    }

    /// Names the file after the certificate's digest, so that it can be found again.
    fn path(&self, root: &[u8]) -> PathBuf {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, root);
        let name: String = digest.as_ref()[..8].iter().map(|b| format!("{b:02x}")).collect();
        self.folder.join(format!("sigillo-{name}.crt"))
    }
}

/// Lets only a CA's certificate pass: anything else in the store is a mistake.
fn require_authority(root: &[u8]) -> Result<()> {
    use x509_parser::prelude::*;
    let what = "cannot trust the certificate";
    let (_, parsed) = X509Certificate::from_der(root).map_err(|e| Error::local(what, e))?;
    if parsed.is_ca() {
        Ok(())
    } else {
        Err(Error::local(what, "it is not a CA's"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn installs_and_removes_a_root_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let update = dir.path().join("update");
        let log = dir.path().join("log");
        std::fs::write(&update, format!("#!/bin/sh\necho \"ran $1\" >> {}\n", log.display())).unwrap();
        std::fs::set_permissions(&update, std::fs::Permissions::from_mode(0o755)).unwrap();
        let folder = dir.path().join("roots");
        std::fs::create_dir(&folder).unwrap();
        let trust = SystemTrust::at(&folder, &update).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        let leaf = params.self_signed(&key).unwrap();
        assert!(trust.install(leaf.der()).await.is_err());
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap();
        let path = trust.install(root.der()).await.unwrap();
        let block = pem::parse(std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(block.contents(), &root.der()[..]);
        trust.remove(root.der()).await.unwrap();
        assert!(!path.exists());
        assert!(trust.remove(root.der()).await.is_err());
        assert_eq!(std::fs::read_to_string(log).unwrap(), "ran \nran --fresh\n");
    }

    #[test]
    fn elsewhere_it_says_what_to_do() {
        let missing = Path::new("/nonexistent/folder");
        let error = SystemTrust::at(missing, missing).unwrap_err().to_string();
        assert!(error.contains("--ca-root"), "{error}");
    }
}
