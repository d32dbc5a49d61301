//! http-01 from a file under a web server that is already there (RFC 8555 section 8.3).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sigillo_protocol::acme::challenge::ChallengeType;

use super::{Proof, Solver, SolverFuture};
use crate::error::{Error, Result};

/// Writes proofs under a folder that a web server shows.
#[derive(Debug)]
pub struct Webroot {
    folder: PathBuf,
}

impl Webroot {
    /// Names the folder that the web server shows as `/`.
    ///
    /// # Errors
    /// When it is no folder.
    pub fn new(root: &Path) -> Result<Self> {
        if !root.is_dir() {
            return Err(Error::usage(format!("there is no folder {}", root.display())));
        }
        Ok(Self {
            folder: root.join(".well-known").join("acme-challenge"),
        })
    }

    fn path(&self, proof: &Proof) -> PathBuf {
        self.folder.join(proof.token.as_str())
    }

    fn write(&self, proof: &Proof) -> Result<()> {
        // The web server, often another user, has to read these: no private modes here.
        std::fs::create_dir_all(&self.folder).map_err(|e| Error::file("make the folder", &self.folder, e))?;
        let path = self.path(proof);
        std::fs::write(&path, &proof.key_authorization).map_err(|e| Error::file("write", &path, e))
    }

    fn erase(&self, proof: &Proof) -> Result<()> {
        let path = self.path(proof);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::file("remove", &path, e)),
            _ => Ok(()),
        }
    }
}

impl Solver for Webroot {
    fn kind(&self) -> ChallengeType {
        ChallengeType::Http01
    }

    fn present<'a>(&'a self, proof: &'a Proof) -> SolverFuture<'a> {
        Box::pin(async move { self.write(proof) })
    }

    fn remove<'a>(&'a self, proof: &'a Proof) -> SolverFuture<'a> {
        Box::pin(async move { self.erase(proof) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solver::{Subject, Token};

    #[tokio::test]
    async fn writes_and_removes_one_file() {
        let root = tempfile::tempdir().unwrap();
        let solver = Webroot::new(root.path()).unwrap();
        let proof = Proof {
            subject: Subject::Dns("a.example".into()),
            token: Token::parse("tok").unwrap(),
            key_authorization: "tok.thumb".into(),
        };
        solver.present(&proof).await.unwrap();
        let path = root.path().join(".well-known/acme-challenge/tok");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "tok.thumb");
        solver.remove(&proof).await.unwrap();
        assert!(!path.exists());
        solver.remove(&proof).await.unwrap();
        assert!(Webroot::new(&root.path().join("missing")).is_err());
    }
}
