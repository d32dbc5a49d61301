//! `sigillo revoke`

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sigillo_client::error::{Error, Result};
use sigillo_client::keystore::CertificateName;
use sigillo_client::progress::Progress;
use sigillo_client::{check, key, revoke};

use crate::config::Config;

/// Options of `revoke`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A kept certificate's name, or a file with a certificate.
    #[arg(value_name = "NAME|FILE")]
    certificate: String,
    /// Why: keyCompromise, affiliationChanged, superseded, cessationOfOperation, ...
    #[arg(long, value_name = "REASON", value_parser = revoke::reason_code)]
    reason: Option<i64>,
    /// Sign with the certificate's own key (PEM, PKCS#8) instead of the account's.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// Revokes a certificate.
pub async fn run(config: &Config, args: Args, progress: &dyn Progress) -> Result<()> {
    let kept = match args.certificate.parse::<CertificateName>() {
        Ok(name) => config.store().certificate(&name)?,
        Err(_) => None,
    };
    let Some(stored) = kept else {
        let path = Path::new(&args.certificate);
        if !path.is_file() {
            return Err(Error::usage(format!(
                "{} is neither a kept certificate nor a file",
                args.certificate
            )));
        }
        let certificates = check::certificates_from_file(path)?;
        let key = args.key.as_deref().map(read_key).transpose()?;
        let client = config.connect().await?;
        return client
            .revoke_certificate(&certificates[0], key, args.reason, progress)
            .await;
    };
    let client = config.connect_for(stored.renewal.clone()).await?;
    match args.key.as_deref().map(read_key).transpose()? {
        Some(key) => {
            client
                .revoke_certificate(&stored.leaf, Some(key), args.reason, progress)
                .await?
        }
        None => client.revoke(&stored.name, args.reason, progress).await?,
    }
    Ok(())
}

fn read_key(path: &Path) -> Result<Arc<dyn sigillo_protocol::jose::jws::JwsSigner>> {
    let pem = std::fs::read(path).map_err(|e| Error::file("read", path, e))?;
    let key = key::account_key_from_pem(&pem).map_err(|e| Error::file("use", path, e))?;
    Ok(Arc::new(key))
}
