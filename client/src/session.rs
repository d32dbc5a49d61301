//! One ACME server: its directory, and signed requests to it one at a time.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sigillo_protocol::acme::directory::Directory;
use sigillo_protocol::acme::problem::Problem;
use sigillo_protocol::jose::jws::JwsSigner;
use sigillo_protocol::json;
use sigillo_protocol::ordering::{self, ExchangeStep, Link, OrderingError, Post};

use crate::error::{Error, Result};
use crate::transport::{Request, Response, Transport};

/// What a step of the protocol's machines asks for: the answer, as they read it.
type Answer = ordering::Response;

/// One ACME server, as seen by this client.
#[derive(Debug)]
pub struct Session {
    transport: Transport,
    directory_url: String,
    directory: Directory,
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

    /// Sends a signed request; without an account's URL the header shows the key itself.
    ///
    /// `what` begins the error message, for example `cannot revoke the certificate`.
    ///
    /// # Errors
    /// When the server refuses, cannot be reached, or answers no problem document with an error.
    pub async fn post(
        &self,
        what: &str,
        key: &Arc<dyn JwsSigner>,
        account: Option<&str>,
        url: &str,
        payload: Vec<u8>,
    ) -> Result<Answer> {
        let mut session = ordering::Session::new(key.clone(), self.directory.clone());
        let mut post = Post::new("the request", url, payload);
        match account {
            Some(account) => session = session.with_account(account),
            None => post = post.showing_key(),
        }
        let mut step = session.send(post);
        loop {
            step = match step {
                ExchangeStep::Send(exchange) => {
                    let response = self.carry(exchange.request()).await?;
                    exchange.receive(response)
                }
                ExchangeStep::Wait(pause, paused) => {
                    tokio::time::sleep(pause).await;
                    paused.resume()
                }
                ExchangeStep::Done(_, response) => return Ok(response),
                ExchangeStep::Refused(_, problem, response) => {
                    return Err(refusal(what, problem, response.status, response.retry_after));
                }
                ExchangeStep::Failed(_, error) => return Err(failure(what, error)),
            }
        }
    }

    /// Carries a request of the protocol's machines to the server and its answer back.
    ///
    /// # Errors
    /// When no whole answer comes back.
    pub async fn carry(&self, request: &ordering::Request) -> Result<Answer> {
        let method = match request.method {
            ordering::Method::Get => hyper::Method::GET,
            ordering::Method::Head => hyper::Method::HEAD,
            ordering::Method::Post => hyper::Method::POST,
        };
        let mut message = Request::new(method, &request.url);
        message.content_type = request.content_type;
        message.accept = request.accept;
        message.body = request.body.clone().unwrap_or_default().into_bytes();
        let response = self.transport.send(message).await?;
        let text = |name: &str| response.header(name).map(str::to_owned);
        Ok(Answer {
            status: response.status,
            nonce: text("replay-nonce"),
            location: text("location").map(|location| absolute(&request.url, location)),
            retry_after: retry_after(&response),
            links: response
                .header_all("link")
                .iter()
                .flat_map(|v| Link::parse_all(v))
                .collect(),
            content_type: text("content-type"),
            body: response.body.to_vec(),
        })
    }
}

/// Makes a Location absolute where a server sends only a path.
fn absolute(request: &str, location: String) -> String {
    let origin_end = request.find("://").map(|at| {
        let host = at + 3;
        host + request[host..].find('/').unwrap_or(request.len() - host)
    });
    match origin_end {
        Some(end) if location.starts_with('/') && !location.starts_with("//") => {
            format!("{}{location}", &request[..end])
        }
        _ => location,
    }
}

/// Reads a body as JSON.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(what: &str, response: &Answer) -> Result<T> {
    json::from_slice(&response.body).map_err(|e| Error::server(what, e))
}

/// Makes the error for a refused request.
fn refusal(what: &str, mut problem: Problem, status: u16, retry_after: Option<Duration>) -> Error {
    problem.status.get_or_insert(status);
    Error::Refused {
        what: what.to_owned(),
        problem: Box::new(problem),
        retry_after,
    }
}

/// Makes the error for a machine that has come to an end without success.
pub(crate) fn failure(what: &str, error: OrderingError) -> Error {
    let refused = |problem: Problem, retry_after| Error::Refused {
        what: what.to_owned(),
        problem: Box::new(problem),
        retry_after,
    };
    match error {
        OrderingError::Refused {
            problem, retry_after, ..
        } => refused(*problem, retry_after),
        OrderingError::Validation {
            identifier,
            problem: Some(mut problem),
        } => {
            problem.detail = format!("control of {} is not proven: {}", identifier.value, problem.detail);
            refused(*problem, None)
        }
        OrderingError::Invalid { problem: Some(problem) } => refused(*problem, None),
        OrderingError::NoChallenge { .. } | OrderingError::NoAccount | OrderingError::ExternalAccountRequired => {
            Error::usage(format!("{what}: {error}"))
        }
        OrderingError::NotYet { .. } => Error::network(what, error),
        OrderingError::Sign(_) => Error::local(what, error),
        other => Error::server(what, other),
    }
}

/// Lets a success through and makes an error of anything else.
pub(crate) fn accept(what: &str, response: Response) -> Result<Response> {
    if (200..300).contains(&response.status) {
        return Ok(response);
    }
    let status = response.status;
    match json::from_slice::<Problem>(&response.body) {
        Ok(problem) if status >= 400 => Err(refusal(what, problem, status, retry_after(&response))),
        _ if status == 429 || status >= 500 => Err(Error::network(
            what,
            format!("the server answered with status {status}"),
        )),
        _ => Err(Error::server(what, format!("the server answered with status {status}"))),
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
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
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
            assert_eq!(retry_after_at(value, now), seconds.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn a_location_that_is_only_a_path_belongs_to_the_same_server() {
        let made = |location: &str| absolute("https://a.example:14000/new-order", location.to_owned());
        assert_eq!(made("/order/1"), "https://a.example:14000/order/1");
        assert_eq!(made("https://a.example/order/1"), "https://a.example/order/1");
        assert_eq!(made("//b.example/order/1"), "//b.example/order/1");
    }
}
