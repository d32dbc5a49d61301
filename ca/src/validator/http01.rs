//! http-01 (RFC 8555 section 8.3): a file over plain HTTP, and the redirects on the way to it.

use std::net::IpAddr;
use std::sync::Arc;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use sigillo_protocol::acme::identifier::DnsName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use url::{Position, Url};

use super::address::Via;
use super::dial::{Deadline, Dialer, Host};
use super::failure::{Failure, excerpt, reason};

/// How many redirects are followed.
const REDIRECTS_MAX: usize = 10;

/// How long a URL in a redirect may be: what browsers and servers agree on.
const URL_OCTETS_MAX: usize = 2048;

/// How much whitespace may stand behind the key authorization. RFC 8555 wants it ignored; an editor
/// adds a line end, a template some more.
const WHITESPACE_OCTETS_MAX: usize = 256;

/// How large the head of a response may be, and how many fields it may have.
const HEAD_OCTETS_MAX: usize = 32 * 1024;
const HEAD_FIELDS_MAX: usize = 100;

const USER_AGENT: &str = concat!("sigillo-ca/", env!("CARGO_PKG_VERSION"), " (ACME validation)");

/// The ports that validation may reach.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    /// What `http` URLs without a port mean, 80 unless configured.
    pub(super) http: u16,
    /// What `https` URLs without a port mean, 443 unless configured.
    pub(super) https: u16,
}

/// Asks for files.
pub(super) struct Http01 {
    pub(super) dialer: Arc<Dialer>,
    pub(super) ports: Ports,
    pub(super) tls: TlsConnector,
}

/// What one response says about the next step.
enum Step {
    Done,
    Redirect(Url),
}

/// One request, ready to be sent.
struct Hop {
    url: Url,
    host: Host,
    port: u16,
    via: Via,
}

impl Http01 {
    /// Looks for the key authorization at the host.
    pub(super) async fn attempt(
        &self,
        host: Host,
        token: &str,
        key_authorization: &str,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let addresses_allowed = matches!(host, Host::Ip(_));
        let mut hop = self.first(host, token)?;
        let mut seen = vec![hop.url.clone()];
        loop {
            let (step, peer) = self.fetch(&hop, key_authorization, seen.len() > 1, deadline).await?;
            let Step::Redirect(url) = step else {
                return Ok(());
            };
            if seen.contains(&url) {
                return Err(Failure::incorrect(format!(
                    "the redirects run in a circle, back to {}",
                    shown(&url)
                )));
            }
            if seen.len() > REDIRECTS_MAX {
                return Err(Failure::incorrect(format!("more than {REDIRECTS_MAX} redirects")));
            }
            let via = if peer.is_loopback() { hop.via } else { Via::Redirect };
            hop = self.next(url.clone(), addresses_allowed, via)?;
            seen.push(url);
        }
    }

    /// Builds the first request.
    fn first(&self, host: Host, token: &str) -> Result<Hop, Failure> {
        let authority = match &host {
            Host::Ip(IpAddr::V6(ip)) => format!("[{ip}]"),
            other => other.to_string(),
        };
        let port = self.ports.http;
        // The port is left out where it is the scheme's own, and with it from the Host field.
        let text = format!("http://{authority}:{port}/.well-known/acme-challenge/{token}");
        let url =
            Url::parse(&text).map_err(|error| Failure::incorrect(format!("{authority} makes no URL: {error}")))?;
        Ok(Hop {
            url,
            host,
            port,
            via: Via::Target,
        })
    }

    /// Checks where a redirect leads.
    fn next(&self, url: Url, addresses_allowed: bool, via: Via) -> Result<Hop, Failure> {
        let refused = |why: &str| Failure::incorrect(format!("the redirect to {} is not followed: {why}", shown(&url)));
        let configured = match url.scheme() {
            "http" => self.ports.http,
            "https" => self.ports.https,
            _ => return Err(refused("only http and https are")),
        };
        let port = url.port().unwrap_or(configured);
        if ![80, 443, self.ports.http, self.ports.https].contains(&port) {
            return Err(refused("only the ports for http and https are"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("it holds credentials"));
        }
        let host = match url.host() {
            Some(url::Host::Domain(name)) => {
                let name: DnsName = name
                    .trim_end_matches('.')
                    .parse()
                    .map_err(|_| refused("its host is no DNS name"))?;
                Host::Name(name.as_str().to_owned())
            }
            Some(url::Host::Ipv4(ip)) if addresses_allowed => Host::Ip(ip.into()),
            Some(url::Host::Ipv6(ip)) if addresses_allowed => Host::Ip(ip.into()),
            _ => {
                return Err(refused("its host is an address, and the order is for a name"));
            }
        };
        Ok(Hop { url, host, port, via })
    }

    /// Sends one request and reads the response; also tells who answered.
    async fn fetch(
        &self,
        hop: &Hop,
        key_authorization: &str,
        redirected: bool,
        deadline: Deadline,
    ) -> Result<(Step, IpAddr), Failure> {
        let connected = self.dialer.dial(&hop.host, hop.port, hop.via, deadline).await?;
        let peer = connected.peer;
        let asked = format!("GET {} at {peer}", shown(&hop.url));
        let exchange = async {
            if hop.url.scheme() == "https" {
                let name = server_name(&hop.host, &asked)?;
                let stream = self
                    .tls
                    .connect(name, connected.stream)
                    .await
                    .map_err(|error| Failure::tls(format!("{asked}: {}", reason(error))))?;
                exchange(stream, hop, key_authorization, redirected, &asked).await
            } else {
                exchange(connected.stream, hop, key_authorization, redirected, &asked).await
            }
        };
        let step = deadline.bound(&asked, exchange).await??;
        Ok((step, peer.ip().to_canonical()))
    }
}

/// Speaks HTTP/1.1 over an open connection: one request, one response, and no more.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    hop: &Hop,
    key_authorization: &str,
    redirected: bool,
    asked: &str,
) -> Result<Step, Failure> {
    let failed = |error: hyper::Error| Failure::connection(format!("{asked}: {}", http_reason(&error)));
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(HEAD_OCTETS_MAX)
        .max_headers(HEAD_FIELDS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let request = request(hop).map_err(|error| Failure::incorrect(format!("{asked}: not a valid request: {error}")))?;
    let talk = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        judge(response, hop, key_authorization, redirected, asked).await
    };
    // The connection is driven beside the talk and dropped with it, so nothing outlives the try.
    let drive = async {
        if let Err(error) = connection.await {
            tracing::debug!(%error, asked, "the connection ended early");
        }
        std::future::pending::<std::convert::Infallible>().await
    };
    tokio::select! {
        step = talk => step,
        never = drive => match never {},
    }
}

fn request(hop: &Hop) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
    let authority = &hop.url[Position::BeforeHost..Position::AfterPort];
    Request::get(&hop.url[Position::BeforePath..Position::AfterQuery])
        .header(header::HOST, authority)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "*/*")
        // What is not asked for need not be decompressed; nothing here could.
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
}

/// Decides what a response means.
async fn judge(
    response: Response<Incoming>,
    hop: &Hop,
    key_authorization: &str,
    redirected: bool,
    asked: &str,
) -> Result<Step, Failure> {
    let status = response.status();
    if is_redirect(status) {
        return location(&response, &hop.url)
            .map(Step::Redirect)
            .map_err(|why| Failure::incorrect(format!("{asked}: answered {} {why}", status.as_u16())));
    }
    if !status.is_success() {
        return Err(Failure::incorrect(format!(
            "{asked}: answered {} instead of 200",
            status.as_u16()
        )));
    }
    let limit = key_authorization.len() + WHITESPACE_OCTETS_MAX;
    let body = read(response.into_body(), limit)
        .await
        .map_err(|error| Failure::connection(format!("{asked}: {}", http_reason(&error))))?;
    if body.trim_ascii_end() == key_authorization.as_bytes() && body.len() <= limit {
        return Ok(Step::Done);
    }
    let length = match body.len() {
        long if long > limit => format!("more than {limit} octets"),
        length => format!("{length} octets"),
    };
    // What a redirect leads to may be a page that only this host can read.
    let found = if redirected {
        String::new()
    } else {
        format!(", beginning {}", excerpt(&body))
    };
    Err(Failure::incorrect(format!(
        "{asked}: the body is not the key authorization: {length}{found}"
    )))
}

/// The redirects that keep their meaning for a validation (CA/Browser Forum BR 3.2.2.4.19).
fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 307 | 308)
}

fn location(response: &Response<Incoming>, base: &Url) -> Result<Url, &'static str> {
    let mut values = response.headers().get_all(header::LOCATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err("without exactly one Location");
    };
    if value.len() > URL_OCTETS_MAX {
        return Err("with a Location that is too long");
    }
    let text = value.to_str().map_err(|_| "with a Location that is not ASCII")?;
    let mut url = base.join(text).map_err(|_| "with a Location that is no URL")?;
    url.set_fragment(None);
    Ok(url)
}

/// Reads a body up to a limit; one octet more tells that there was more.
async fn read(mut body: Incoming, limit: usize) -> Result<Vec<u8>, hyper::Error> {
    let mut octets = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            let room = (limit + 1).saturating_sub(octets.len());
            octets.extend_from_slice(&data[..data.len().min(room)]);
        }
        if octets.len() > limit {
            break;
        }
    }
    Ok(octets)
}

fn server_name(host: &Host, asked: &str) -> Result<ServerName<'static>, Failure> {
    match host {
        Host::Ip(ip) => Ok(ServerName::IpAddress((*ip).into())),
        Host::Name(name) => ServerName::try_from(name.clone())
            .map_err(|_| Failure::tls(format!("{asked}: {name} cannot be sent as a server name"))),
    }
}

/// Shows a URL that came from a redirect, without room for a story.
fn shown(url: &Url) -> String {
    const SHOWN_OCTETS_MAX: usize = 200;
    match url.as_str() {
        text if text.len() > SHOWN_OCTETS_MAX => {
            format!("{}...", text.chars().take(SHOWN_OCTETS_MAX).collect::<String>())
        }
        text => text.to_owned(),
    }
}

/// Says what went wrong in HTTP, with the cause behind the library's summary.
fn http_reason(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => reason(format!("{error}: {cause}")),
        None => reason(error),
    }
}

#[cfg(test)]
#[path = "http01_tests.rs"]
mod tests;
