//! `challtestsrv`: the challenge responders for tests, until SIGTERM.

use std::{io::Write, path::PathBuf};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::sync::watch;

use super::{CliError, CliResult, serve::Signals};
use crate::{
    challtestsrv::{Place, Reach, Responders, Settings, TlsIdentity, places},
    telemetry,
};

/// Where DNS over HTTPS listens once it is given a certificate.
const DOH_DEFAULT: &str = ":8443";

/// The flags of pebble-challtestsrv.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the management interface listens
    #[arg(long, value_name = "ADDRESSES", default_value = ":8055")]
    management: String,
    /// Where http-01 is answered over HTTP; empty for nowhere
    #[arg(long, value_name = "ADDRESSES", default_value = ":5002")]
    http01: String,
    /// Where http-01 is answered over HTTPS, as the target of redirects; empty for nowhere
    #[arg(long, value_name = "ADDRESSES", default_value = ":5003")]
    https01: String,
    /// Where tls-alpn-01 is answered; empty for nowhere
    #[arg(long, value_name = "ADDRESSES", default_value = ":5001")]
    tlsalpn01: String,
    /// Where DNS is answered, over UDP and TCP; empty for nowhere
    #[arg(long, alias = "dns01", value_name = "ADDRESSES", default_value = ":8053")]
    dnsserver: String,
    /// Where DNS is answered over HTTPS; empty for nowhere [default: :8443 with --doh-cert, else nowhere]
    #[arg(long, value_name = "ADDRESSES")]
    doh: Option<String>,
    /// The certificate of DNS over HTTPS, PEM; one is made where none is given
    #[arg(long, value_name = "FILE", requires = "doh_cert_key")]
    doh_cert: Option<PathBuf>,
    /// The key of that certificate, PEM
    #[arg(long, value_name = "FILE", requires = "doh_cert")]
    doh_cert_key: Option<PathBuf>,
    /// The IPv4 address of names that have none of their own; empty for none
    #[arg(long = "defaultIPv4", value_name = "ADDRESS", default_value = "127.0.0.1")]
    default_ipv4: String,
    /// The IPv6 address of names that have none of their own; empty for none
    #[arg(long = "defaultIPv6", value_name = "ADDRESS", default_value = "::1")]
    default_ipv6: String,
    /// Listens where the addresses say, even off loopback: anybody who reaches it can command it
    #[arg(long)]
    public: bool,
}

pub(super) async fn run(args: Args) -> CliResult {
    telemetry::start_logging("info", false);
    let mut signals = Signals::new()?;
    let responders = Responders::bind(args.settings()?).await?;
    println!("FOR TESTS ONLY: these responders answer whatever anybody who reaches them says.");
    let places: Vec<String> = responders
        .answering()
        .iter()
        .map(|(name, address)| format!("{name}={address}"))
        .collect();
    println!("ready {}", places.join(" "));
    // A closed standard output is no reason not to serve.
    let _ = std::io::stdout().flush();
    let (stop, stopped) = watch::channel(false);
    let serving = responders.run(stopped);
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        () = signals.stop() => {}
    }
    let _ = stop.send(true);
    Ok(serving.await?)
}

impl Args {
    fn settings(self) -> CliResult<Settings> {
        let reach = if self.public { Reach::Public } else { Reach::Loopback };
        let read = |list: &str| -> CliResult<Vec<Place>> { Ok(places(list, reach)?) };
        let doh_default = if self.doh_cert.is_some() { DOH_DEFAULT } else { "" };
        let management = read(&self.management)?;
        if management.is_empty() {
            return Err(CliError::new("the management interface has no address to listen at"));
        }
        Ok(Settings {
            management,
            http01: read(&self.http01)?,
            https01: read(&self.https01)?,
            tls_alpn01: read(&self.tlsalpn01)?,
            dns: read(&self.dnsserver)?,
            doh: read(self.doh.as_deref().unwrap_or(doh_default))?,
            doh_identity: identity(self.doh_cert.zip(self.doh_cert_key))?,
            default_ipv4: self.default_ipv4,
            default_ipv6: self.default_ipv6,
        })
    }
}

fn identity(files: Option<(PathBuf, PathBuf)>) -> CliResult<Option<TlsIdentity>> {
    let Some((certificate, key)) = files else {
        return Ok(None);
    };
    let unusable = |path: PathBuf| {
        move |error: rustls_pki_types::pem::Error| {
            CliError::new(format!("{} cannot be used", path.display())).with_detail(error)
        }
    };
    let chain = CertificateDer::pem_file_iter(&certificate).and_then(Iterator::collect);
    let chain: Vec<CertificateDer<'static>> = chain.map_err(unusable(certificate))?;
    let key = PrivateKeyDer::from_pem_file(&key).map_err(unusable(key))?;
    Ok(Some((chain, key)))
}
