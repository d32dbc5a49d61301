//! More ways from the issuing CA up to a root: CAs in between, and other roots that have signed the same issuing CA.
//!
//! For a test server, which shows clients longer chains and alternate ones. All of it is real: each certificate
//! verifies under the next one, and each CA has a CRL.

use jiff::Timestamp;

use super::{
    authority,
    ceremony::{self, CeremonyError, CeremonyOptions},
    certificate::{IssuerCertificate, IssuerUrls},
    folder,
};
use crate::{
    model::IssuerId,
    policy::{NameConstraints, profile::Validity},
    signer::{Keyring, SharedSigner},
};

/// A way from the issuing CA to a root.
#[derive(Debug, Clone)]
pub struct Lineage {
    /// The issuing CA's certificate under this root, the CAs in between, the root.
    pub certificates: Vec<IssuerCertificate>,
    /// The CRLs of those above the issuing CA, in the same order; DER.
    pub crls: Vec<Vec<u8>>,
}

impl Lineage {
    /// Returns the root's name: also its key's.
    ///
    /// # Panics
    /// Never: a lineage has a root.
    pub fn root(&self) -> &IssuerCertificate {
        self.certificates
            .last()
            .expect("invariant: a lineage is made with its root")
    }
}

/// One that signs others.
struct Above {
    certificate: IssuerCertificate,
    signer: SharedSigner,
    urls: IssuerUrls,
}

/// Makes lineages for the CA in a folder that was just made with `options`: the main one under its own root, then
/// `alternates` more, each with `length` CAs below the root (the issuing CA is one of them).
///
/// # Errors
/// When a key or a certificate cannot be made, or the CA in the folder is another one.
pub fn make_lineages(
    dir: &std::path::Path,
    ring: &Keyring,
    options: &CeremonyOptions,
    (alternates, length): (u8, u8),
    now: Timestamp,
) -> Result<Vec<Lineage>, CeremonyError> {
    let maker = Maker { ring, options, now };
    let read = |file: &str| folder::certificates(&dir.join(file));
    let issuing = IssuerCertificate::from_der(folder::issuing_id(), &read(folder::CHAIN_FILE)?[0])?;
    let own_root = Above {
        certificate: IssuerCertificate::from_der(folder::root_id(), &read(folder::ROOT_FILE)?[0])?,
        signer: ring.load(&folder::root_id())?,
        urls: IssuerUrls::new(&options.public_http, &folder::root_id())?,
    };
    let mut lineages = vec![maker.lineage(&issuing, own_root, 0, length)?];
    for number in 1..=alternates {
        let root = maker.root(number)?;
        lineages.push(maker.lineage(&issuing, root, number, length)?);
    }
    Ok(lineages)
}

struct Maker<'a> {
    ring: &'a Keyring,
    options: &'a CeremonyOptions,
    now: Timestamp,
}

impl Maker<'_> {
    fn root(&self, number: u8) -> Result<Above, CeremonyError> {
        let id = ceremony::issuer_id(&format!("root-{number}"));
        let signer = ceremony::new_key(self.ring, id.as_str(), self.options.key)?;
        let subject = ceremony::subject(self.options, &format!("Root {number}"));
        let validity = ceremony::validity(&self.options.root_validity, self.now)?;
        let certificate = authority::make_root(&id, &subject, validity, &signer)?;
        self.above(id, certificate, signer)
    }

    fn above(
        &self,
        id: IssuerId,
        certificate: IssuerCertificate,
        signer: SharedSigner,
    ) -> Result<Above, CeremonyError> {
        Ok(Above {
            certificate,
            signer,
            urls: IssuerUrls::new(&self.options.public_http, &id)?,
        })
    }

    /// Builds downwards from a root: the CAs in between, then the issuing CA's certificate.
    fn lineage(
        &self,
        issuing: &IssuerCertificate,
        root: Above,
        number: u8,
        length: u8,
    ) -> Result<Lineage, CeremonyError> {
        let mut ladder = vec![root];
        for step in 1..length {
            let id = ceremony::issuer_id(&format!("between-{number}-{step}"));
            let signer = ceremony::new_key(self.ring, id.as_str(), self.options.key)?;
            let subject = ceremony::subject(self.options, &format!("CA {number}.{step}"));
            let upper = ladder.last().expect("invariant: the root stands on the ladder");
            let made = authority::make_under(
                length - step,
                &id,
                &subject,
                self.validity()?,
                signer.spki_der(),
                &NameConstraints::default(),
                (&upper.certificate, &upper.signer, &upper.urls),
            )?;
            ladder.push(self.above(id, made, signer)?);
        }
        let upper = ladder.last().expect("invariant: the root stands on the ladder");
        // What the ceremony made is the way itself where nothing is in between.
        let lowest = match (number, length) {
            (0, 0 | 1) => issuing.clone(),
            _ => authority::make_under(
                0,
                &issuing.id,
                &ceremony::subject(self.options, ceremony::ISSUING_ROLE),
                self.validity()?,
                &issuing.spki_der,
                &self.options.constraints,
                (&upper.certificate, &upper.signer, &upper.urls),
            )?,
        };
        let crls = ladder.iter().rev().map(|above| self.crl(above));
        Ok(Lineage {
            crls: crls.collect::<Result<_, _>>()?,
            certificates: std::iter::once(lowest)
                .chain(ladder.iter().rev().map(|above| above.certificate.clone()))
                .collect(),
        })
    }

    fn validity(&self) -> Result<Validity, CeremonyError> {
        ceremony::validity(&self.options.issuer_validity, self.now)
    }

    fn crl(&self, above: &Above) -> Result<Vec<u8>, CeremonyError> {
        let Validity { not_before, not_after } = self.validity()?;
        let made = authority::root_crl(&above.certificate, &above.signer, 1, not_before, not_after)?;
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        issuer::{Issuer, IssuerError, testing},
        store::embedded::SqliteStore,
    };

    async fn lineages(alternates: u8, length: u8) -> (tempfile::TempDir, Keyring, Vec<Lineage>) {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("ca");
        let options = CeremonyOptions::new("Example", "http://ca.test");
        let open = |folder: &std::path::Path| match SqliteStore::open(folder.join("sigillo.db")) {
            Ok(store) => Ok(Arc::new(store) as Arc<dyn crate::store::Store>),
            Err(error) => Err(error.to_string()),
        };
        super::super::init(&dir, &options, testing::now(), open).await.unwrap();
        let ring = Keyring::new(dir.join(folder::KEYS_FOLDER), None);
        let made = make_lineages(&dir, &ring, &options, (alternates, length), testing::now()).unwrap();
        (folder, ring, made)
    }

    fn chain(lineage: &Lineage) -> Vec<Vec<u8>> {
        lineage.certificates.iter().map(|c| c.der.clone()).collect()
    }

    fn issuer(ring: &Keyring, lineage: &Lineage) -> Issuer {
        let lowest = lineage.certificates[0].clone();
        let signer = ring.load(&lowest.id).unwrap();
        let urls = IssuerUrls::new("http://ca.test", &lowest.id).unwrap();
        Issuer::new(lowest, &chain(lineage)[1..], signer, urls).unwrap()
    }

    #[tokio::test]
    async fn one_issuing_ca_has_several_roots() {
        let (_folder, ring, made) = lineages(2, 3).await;
        assert_eq!(made.len(), 3);
        let issuer = issuer(&ring, &made[0]);
        let chains: Vec<_> = made.iter().map(chain).collect();
        assert!(chains.iter().all(|chain| chain.len() == 4));
        let issuer = issuer.with_chains(&chains).unwrap();
        assert_eq!(issuer.chain_count(), 3);
        let mut roots: Vec<_> = made.iter().map(|lineage| &lineage.root().subject_der).collect();
        roots.sort();
        roots.dedup();
        assert_eq!(roots.len(), 3, "each root has a name of its own");
        assert!(made.iter().all(|lineage| lineage.crls.len() == 3));
    }

    #[tokio::test]
    async fn the_plain_lineage_is_the_ceremonys_own() {
        let (folder, _ring, made) = lineages(0, 1).await;
        let own = folder::certificates(&folder.path().join("ca").join(folder::CHAIN_FILE)).unwrap();
        assert_eq!(chain(&made[0]), own);
    }

    #[tokio::test]
    async fn a_chain_of_somebody_else_is_refused() {
        let (_folder, ring, made) = lineages(0, 2).await;
        let (_other_folder, _, other) = lineages(0, 2).await;
        let issuer = issuer(&ring, &made[0]);
        let foreign = issuer.clone().with_chains(&[chain(&other[0])]);
        assert!(matches!(foreign, Err(IssuerError::Key(_))));
        let torn = [chain(&made[0])[0].clone(), chain(&other[0])[1].clone()];
        assert!(matches!(
            issuer.clone().with_chains(&[torn.to_vec()]),
            Err(IssuerError::Chain(_))
        ));
        assert!(matches!(issuer.with_chains(&[]), Err(IssuerError::Chain(_))));
    }
}
