//! Signed requests to one ACME server: its directory, its nonces, its refusals.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::Method;
use jiff::Timestamp;
use sigillo_protocol::acme::directory::Directory;
use sigillo_protocol::acme::problem::{ErrorType, Problem};
use sigillo_protocol::jose::jws::{self, JwsSigner, SignWith};
use sigillo_protocol::json;

use crate::error::{Error, Result};
use crate::transport::{Request, Response, Transport};

/// The type of a signed request (RFC 8555 section 6.2).
const JOSE_JSON: &str = "application/jose+json";
/// How often one request is tried again after `badNonce`: a server that says it four times in a
/// row has another trouble.
const NONCE_RETRIES_MAX: u32 = 3;
/// How many unused nonces are kept; each answer brings one and each request takes one.
const NONCES_MAX: usize = 8;
/// The longest nonce that is taken.
const NONCE_LENGTH_MAX: usize = 512;

/// One ACME server, as seen by this client.
#[derive(Debug)]
pub struct Session {
    transport: Transport,
    directory_url: String,
    directory: Directory,
    nonces: Mutex<Vec<String>>,
}

impl Session {
    /// Reads the directory.
    ///
    /// # Errors
    /// When the server cannot be reached, is not trusted, or shows no ACME directory.
    pub async fn connect(transport: Transport, directory_url: &str) -> Result<Self> {
        let what = format!("cannot read the directory {directory_url}");
        let mut request = Request::get(directory_url);
        request.accept = Some("application/json");
        let response = transport.send(request).await?;
        let response = accept(&what, response)?;
        let directory = json::from_slice(&response.body).map_err(|e| Error::server(&what, e))?;
        let directory_url = directory_url.to_owned();
        Ok(Self {
            transport,
            directory_url,
            directory,
            nonces: Mutex::default(),
        })
    }

    /// Returns what the directory says.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Returns the directory's URL.
    pub fn directory_url(&self) -> &str {
        &self.directory_url
    }

    /// Returns what carries the requests.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Sends a signed request; an empty payload makes it a POST-as-GET.
    ///
    /// `what` begins the error message, for example `cannot order a.example`.
    ///
    /// # Errors
    /// When the server refuses, cannot be reached, or answers no problem document with an error.
    pub async fn post(
        &self,
        what: &str,
        key: &dyn JwsSigner,
        with: SignWith<'_>,
        url: &str,
        payload: &[u8],
    ) -> Result<Response> {
        let mut nonce = self.nonce().await?;
        for retry in 0.. {
            let body = jws::sign(key, Some(&nonce), url, with, payload)
                .map_err(|e| Error::local(format!("{what}: cannot sign"), e))?;
            let mut request = Request::post(url, JOSE_JSON, body.into_bytes());
            request.accept =
                Some("application/json, application/pem-certificate-chain;q=0.9, */*;q=0.5");
            let response = self.transport.send(request).await?;
            let fresh = nonce_of(&response);
            let refused = match accept(what, response) {
                Ok(response) => {
                    self.keep(fresh);
                    return Ok(response);
                }
                Err(refused) => refused,
            };
            let bad_nonce = refused
                .problem()
                .is_some_and(|p| p.kind == ErrorType::BadNonce);
            match fresh {
                // The nonce of this very response, and no other (RFC 8555 section 6.5).
                Some(fresh) if bad_nonce && retry < NONCE_RETRIES_MAX => nonce = fresh,
                fresh => {
                    self.keep(fresh);
                    return Err(refused);
                }
            }
        }
        unreachable!("invariant: the loop ends by returning, at the latest after the last retry")
    }

    /// Fetches an object by POST-as-GET.
    ///
    /// # Errors
    /// As [`Session::post`], and when the body is not the object.
    pub async fn fetch<T: serde::de::DeserializeOwned>(
        &self,
        what: &str,
        key: &dyn JwsSigner,
        kid: &str,
        url: &str,
    ) -> Result<(T, Option<Duration>)> {
        let response = self.post(what, key, SignWith::Kid(kid), url, b"").await?;
        Ok((parse(what, &response)?, retry_after(&response)))
    }

    async fn nonce(&self) -> Result<String> {
        if let Some(nonce) = self.lock().pop() {
            return Ok(nonce);
        }
        let what = "cannot get a nonce";
        let url = &self.directory.new_nonce;
        let response = self.transport.send(Request::new(Method::HEAD, url)).await?;
        let response = accept(what, response)?;
        nonce_of(&response).ok_or_else(|| Error::server(what, "the server sent no Replay-Nonce"))
    }

    fn keep(&self, nonce: Option<String>) {
        let mut nonces = self.lock();
        if nonces.len() < NONCES_MAX {
            nonces.extend(nonce);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a body as JSON.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(what: &str, response: &Response) -> Result<T> {
    json::from_slice(&response.body).map_err(|e| Error::server(what, e))
}

/// Returns the nonce of an answer, if it has one that may be sent back.
fn nonce_of(response: &Response) -> Option<String> {
    let nonce = response.header("replay-nonce")?;
    let base64url = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let good = !nonce.is_empty() && nonce.len() <= NONCE_LENGTH_MAX && nonce.chars().all(base64url);
    good.then(|| nonce.to_owned())
}

/// Lets a success through and makes an error of anything else.
pub(crate) fn accept(what: &str, response: Response) -> Result<Response> {
    if (200..300).contains(&response.status) {
        return Ok(response);
    }
    let status = response.status;
    let problem = json::from_slice::<Problem>(&response.body).ok();
    match problem {
        Some(mut problem) if status >= 400 => {
            problem.status.get_or_insert(status);
            let retry_after = retry_after(&response);
            Err(Error::Refused {
                what: what.to_owned(),
                problem: Box::new(problem),
                retry_after,
            })
        }
        _ if status == 429 || status >= 500 => Err(Error::network(
            what,
            format!("the server answered with status {status}"),
        )),
        _ => Err(Error::server(
            what,
            format!("the server answered with status {status}"),
        )),
    }
}

/// Returns how long an answer asks to wait: whole seconds or a date (RFC 9110 section 10.2.3).
pub(crate) fn retry_after(response: &Response) -> Option<Duration> {
    retry_after_at(response.header("retry-after")?, Timestamp::now())
}

fn retry_after_at(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(value)
        .ok()?;
    Some(Duration::from_secs(
        u64::try_from(date.as_second() - now.as_second()).unwrap_or(0),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "1994-11-06T08:49:07Z".parse().unwrap();
        let cases = [
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
        ];
        for (value, seconds) in cases {
            assert_eq!(
                retry_after_at(value, now),
                seconds.map(Duration::from_secs),
                "{value}"
            );
        }
    }
}
