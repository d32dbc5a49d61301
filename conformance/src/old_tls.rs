//! TLS of the past, spoken by hand: hellos that no library of today sends, and what comes back.

use std::io::{ErrorKind, Read, Write};
use std::net::IpAddr;
use std::time::Duration;

use crate::http::{Url, connect};
use crate::keys::random;

pub(crate) const SSL_3_0: u16 = 0x0300;
pub(crate) const TLS_1_0: u16 = 0x0301;
pub(crate) const TLS_1_1: u16 = 0x0302;
pub(crate) const TLS_1_2: u16 = 0x0303;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// A record holds at most this much.
const RECORD_BYTES_MAX: usize = 16 * 1024 + 256;

/// A peer that says nothing for this long has nothing to say.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// What a peer said to a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It goes on, with this version and suite.
    Hello { version: u16, suite: u16 },
    /// It refuses, for this reason.
    Alert(u8),
    /// It closed the connection.
    End,
    /// It waits for more.
    Nothing,
}

/// A length of `size` octets in front of some content.
fn counted(size: usize, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    [&length[length.len() - size..], content].concat()
}

fn sixteen(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    [vec![kind], counted(3, body)].concat()
}

fn record(kind: u8, version: u16, content: &[u8]) -> Vec<u8> {
    [vec![kind], sixteen(&[version]), counted(2, content)].concat()
}

fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
    [sixteen(&[kind]), counted(2, value)].concat()
}

/// A ClientHello that offers nothing above `version`, and these suites alone (RFC 5246 section 7.4.1.2).
pub(crate) fn client_hello(host: &str, version: u16, suites: &[u16]) -> Vec<u8> {
    let mut extensions = Vec::new();
    // Server names are host names (RFC 6066 section 3).
    if host.trim_matches(['[', ']']).parse::<IpAddr>().is_err() {
        let name = [vec![0], counted(2, host.as_bytes())].concat();
        extensions.extend(extension(0, &counted(2, &name)));
    }
    // P-256, P-384 and X25519; uncompressed points; every signature with SHA-256, SHA-384 and SHA-1.
    extensions.extend(extension(10, &counted(2, &sixteen(&[0x0017, 0x0018, 0x001d]))));
    extensions.extend(extension(11, &counted(1, &[0])));
    if version >= TLS_1_2 {
        let schemes = [0x0403, 0x0503, 0x0804, 0x0805, 0x0401, 0x0501, 0x0203, 0x0201];
        extensions.extend(extension(13, &counted(2, &sixteen(&schemes))));
    }
    let mut body = sixteen(&[version]);
    body.extend(random::<32>());
    body.extend(counted(1, &[]));
    body.extend(counted(2, &sixteen(suites)));
    body.extend(counted(1, &[0]));
    if version > SSL_3_0 {
        body.extend(counted(2, &extensions));
    }
    record(HANDSHAKE, version.min(TLS_1_0), &handshake(CLIENT_HELLO, &body))
}

/// A ServerHello of this version and suite, without extensions (RFC 4346 section 7.4.1.3).
pub(crate) fn server_hello(version: u16, suite: u16) -> Vec<u8> {
    let mut body = sixteen(&[version]);
    body.extend(random::<32>());
    body.extend(counted(1, &[]));
    body.extend(sixteen(&[suite]));
    body.push(0);
    record(HANDSHAKE, version, &handshake(SERVER_HELLO, &body))
}

/// Sends a hello to the place of a URL and tells what came first.
pub(crate) fn say(url: &Url, hello: &[u8]) -> Result<Heard, String> {
    let mut stream = connect(url)?;
    stream
        .set_read_timeout(Some(SILENCE_MAX))
        .map_err(|error| error.to_string())?;
    stream.write_all(hello).map_err(|error| error.to_string())?;
    Ok(hear(&mut stream))
}

/// Reads one record; a peer that resets the connection has ended it.
pub(crate) fn hear(stream: &mut impl Read) -> Heard {
    let mut head = [0; 5];
    if let Err(error) = stream.read_exact(&mut head) {
        return silence(error.kind());
    }
    let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
    if length > RECORD_BYTES_MAX {
        return Heard::End;
    }
    let mut content = vec![0; length];
    if let Err(error) = stream.read_exact(&mut content) {
        return silence(error.kind());
    }
    understand(head[0], &content)
}

fn silence(kind: ErrorKind) -> Heard {
    match kind {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Heard::Nothing,
        _ => Heard::End,
    }
}

fn understand(kind: u8, content: &[u8]) -> Heard {
    match (kind, content) {
        (ALERT, [_, description, ..]) => Heard::Alert(*description),
        (HANDSHAKE, [SERVER_HELLO, _, _, _, high, low, rest @ ..]) => {
            let version = u16::from_be_bytes([*high, *low]);
            // Behind 32 octets of randomness the session's name, then the suite.
            let suite = rest.get(32).and_then(|length| {
                let at = 33 + usize::from(*length);
                Some(u16::from_be_bytes([*rest.get(at)?, *rest.get(at + 1)?]))
            });
            suite.map_or(Heard::End, |suite| Heard::Hello { version, suite })
        }
        _ => Heard::End,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hears_its_own_server_hello() {
        let hello = server_hello(TLS_1_1, 0xc013);
        let wanted = Heard::Hello {
            version: TLS_1_1,
            suite: 0xc013,
        };
        assert_eq!(hear(&mut hello.as_slice()), wanted);
        assert_eq!(hear(&mut &[21, 3, 1, 0, 2, 2, 70][..]), Heard::Alert(70));
        assert_eq!(hear(&mut &[22, 3, 1][..]), Heard::End);
    }

    #[test]
    fn its_hello_is_read_by_a_sound_library() {
        let read = |version| {
            let mut acceptor = rustls::server::Acceptor::default();
            let hello = client_hello("ca.test", version, &[0xc02b, 0xc02f]);
            acceptor.read_tls(&mut hello.as_slice()).expect("from memory");
            acceptor.accept().map(|accepted| {
                let accepted = accepted.expect("a whole hello");
                accepted.client_hello().server_name().map(str::to_owned)
            })
        };
        assert_eq!(read(TLS_1_2).ok().flatten().as_deref(), Some("ca.test"));
    }
}
