//! The ring of keys in the state folder: which file holds which issuer's key.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{KeyMaterialError, PrivateKey, SharedSigner, SoftwareSigner};
use crate::model::IssuerId;

/// The words that open encrypted keys; wiped when dropped, never printed.
#[derive(Clone)]
pub struct Passphrase(SecretString);

impl Passphrase {
    /// A file that is longer is not one that a person meant as a passphrase.
    pub const LENGTH_MAX: usize = 4096;

    /// Takes a passphrase.
    pub fn new(text: String) -> Self {
        Self(SecretString::from(text))
    }

    /// Reads a passphrase from a file: its first line.
    ///
    /// # Errors
    /// When the file cannot be read, is empty, or too long.
    pub fn from_file(path: &Path) -> io::Result<Self> {
        let text = Zeroizing::new(fs::read_to_string(path)?);
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() || line.len() > Self::LENGTH_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the first line must be the passphrase",
            ));
        }
        Ok(Self::new(line.to_owned()))
    }

    pub(super) fn expose(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// A key that the ring cannot give or take.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there already.
    #[error("{}: there is a key already", .0.display())]
    Exists(PathBuf),
    /// Others on the machine can read it.
    #[error("{}: other users can read this key; run chmod 600 on it, and consider it compromised", .0.display())]
    Exposed(PathBuf),
    /// What is in the file does not sign.
    #[error("{}: {source}", path.display())]
    Material {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: KeyMaterialError,
    },
}

/// A folder with one file for each key.
#[derive(Debug, Clone)]
pub struct Keyring {
    folder: PathBuf,
    passphrase: Option<Passphrase>,
}

impl Keyring {
    /// Names the folder; it need not be there until a key is stored.
    pub fn new(folder: impl Into<PathBuf>, passphrase: Option<Passphrase>) -> Self {
        Self {
            folder: folder.into(),
            passphrase,
        }
    }

    /// Returns what the keys are encrypted with, for another key that belongs to the same folder.
    pub fn passphrase(&self) -> Option<&Passphrase> {
        self.passphrase.as_ref()
    }

    /// Returns the file of an issuer's key.
    pub fn path(&self, issuer: &IssuerId) -> PathBuf {
        self.folder.join(format!("{issuer}.pem"))
    }

    /// Tells whether the issuer's key is here; a root's key may be kept elsewhere.
    pub fn holds(&self, issuer: &IssuerId) -> bool {
        self.path(issuer).is_file()
    }

    /// Loads an issuer's key.
    ///
    /// # Errors
    /// When the file is missing, readable for others, or does not open.
    pub fn load(&self, issuer: &IssuerId) -> Result<SharedSigner, KeyringError> {
        let path = self.path(issuer);
        let file = |source| KeyringError::File {
            path: path.clone(),
            source,
        };
        let mode = fs::metadata(&path).map_err(file)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(KeyringError::Exposed(path));
        }
        let text = Zeroizing::new(fs::read_to_string(&path).map_err(file)?);
        let signer = PrivateKey::from_pem(&text, self.passphrase.as_ref()).and_then(|key| SoftwareSigner::new(&key));
        match signer {
            Ok(signer) => Ok(Arc::new(signer)),
            Err(source) => Err(KeyringError::Material { path, source }),
        }
    }

    /// Stores a new issuer's key, whole or not at all, and never over another one.
    ///
    /// # Errors
    /// When there is a key of that name, or the file system refuses.
    pub fn store(&self, issuer: &IssuerId, key: &PrivateKey) -> Result<(), KeyringError> {
        let path = self.path(issuer);
        let text = key
            .to_pem(self.passphrase.as_ref())
            .map_err(|source| KeyringError::Material {
                path: path.clone(),
                source,
            })?;
        let file = |source| KeyringError::File {
            path: path.clone(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(file)?;
        let draft = self.folder.join(format!(".{issuer}.pem.new"));
        let written = write_private(&draft, text.as_bytes());
        // A link fails where a rename would overwrite.
        let linked = written.and_then(|()| fs::hard_link(&draft, &path));
        let removed = fs::remove_file(&draft);
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(KeyringError::Exists(path)),
            Err(error) => Err(file(error)),
            Ok(()) => removed
                .and_then(|()| fs::File::open(&self.folder)?.sync_all())
                .map_err(file),
        }
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    // A draft that was left over keeps its old mode.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use sigillo_protocol::x509::key::KeyKind;

    use super::*;

    #[test]
    fn stores_privately_once_and_loads() {
        let folder = tempfile::tempdir().unwrap();
        let ring = Keyring::new(folder.path().join("keys"), None);
        let id: IssuerId = "issuing-1".parse().unwrap();
        assert!(matches!(ring.load(&id), Err(KeyringError::File { .. })));
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        ring.store(&id, &key).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&ring.path(&id)), 0o600);
        assert_eq!(mode(&ring.folder), 0o700);
        assert_eq!(fs::read_dir(&ring.folder).unwrap().count(), 1, "no draft is left");
        let signer = ring.load(&id).unwrap();
        assert_eq!(
            signer.spki_der(),
            super::super::Signer::spki_der(&SoftwareSigner::new(&key).unwrap())
        );

        let other = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        assert!(matches!(ring.store(&id, &other), Err(KeyringError::Exists(_))));
        assert_eq!(ring.load(&id).unwrap().spki_der(), signer.spki_der());

        fs::set_permissions(ring.path(&id), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(ring.load(&id), Err(KeyringError::Exposed(_))));
    }

    #[test]
    fn says_which_file_wants_a_passphrase() {
        let folder = tempfile::tempdir().unwrap();
        let id: IssuerId = "issuing-1".parse().unwrap();
        let locked = Keyring::new(folder.path(), Some(Passphrase::new("secret".into())));
        locked
            .store(&id, &PrivateKey::generate(KeyKind::Ed25519).unwrap())
            .unwrap();
        let error = Keyring::new(folder.path(), None).load(&id).err().unwrap().to_string();
        assert!(
            error.contains("issuing-1.pem") && error.contains("passphrase"),
            "{error}"
        );
        let wrong = Keyring::new(folder.path(), Some(Passphrase::new("other".into()))).load(&id);
        assert!(wrong.err().unwrap().to_string().contains("does not open"));
        assert!(locked.load(&id).is_ok());
    }

    #[test]
    fn a_passphrase_is_the_first_line_and_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pass");
        fs::write(&path, "secret words\nrest").unwrap();
        let passphrase = Passphrase::from_file(&path).unwrap();
        assert_eq!(passphrase.expose(), b"secret words");
        assert!(!format!("{passphrase:?}").contains("secret"));
        fs::write(&path, "\n").unwrap();
        assert!(Passphrase::from_file(&path).is_err());
    }
}
