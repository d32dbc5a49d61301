//! Responders on loopback for the tests of this room: a name server, a web server and a TLS server
//! that misbehave on demand and remember what they were asked.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CAA, CNAME, TXT};
use hickory_proto::rr::{Name as DnsRecordName, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use jiff::Timestamp;
use sigillo_protocol::acme::challenge::ChallengeType;
use sigillo_protocol::acme::identifier::Name;
use sigillo_protocol::jose::Thumbprint;

use super::{Applicant, Target, ValidationSettings, Validator};

/// What the name server does about a name and a type.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Records(Vec<RData>),
    Code(ResponseCode),
    Silence,
}

type Zone = HashMap<(String, RecordType), Reply>;

/// A name server for UDP and TCP on one port. Names without an entry do not exist.
#[derive(Clone)]
pub(super) struct NameServer {
    pub(super) address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    asked: Arc<Mutex<Vec<(String, RecordType)>>>,
}

/// The longest answer that goes over UDP.
const UDP_OCTETS_MAX: usize = 1232;

impl NameServer {
    pub(super) async fn start() -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let server = Self {
            address: udp.local_addr().unwrap(),
            zone: Arc::default(),
            asked: Arc::default(),
        };
        tokio::spawn(server.clone().serve_udp(udp));
        tokio::spawn(server.clone().serve_tcp(tcp));
        server
    }

    pub(super) fn set(&self, name: &str, kind: RecordType, reply: Reply) -> &Self {
        self.zone
            .lock()
            .unwrap()
            .insert((name.to_ascii_lowercase(), kind), reply);
        self
    }

    pub(super) fn address(&self, name: &str, addresses: &[IpAddr]) -> &Self {
        let four = addresses.iter().filter_map(|ip| match ip {
            IpAddr::V4(ip) => Some(RData::A(A(*ip))),
            IpAddr::V6(_) => None,
        });
        let six = addresses.iter().filter_map(|ip| match ip {
            IpAddr::V6(ip) => Some(RData::AAAA(AAAA(*ip))),
            IpAddr::V4(_) => None,
        });
        self.set(name, RecordType::A, Reply::Records(four.collect()));
        self.set(name, RecordType::AAAA, Reply::Records(six.collect()))
    }

    /// Gives a name the loopback address.
    pub(super) fn here(&self, name: &str) -> &Self {
        self.address(name, &[Ipv4Addr::LOCALHOST.into()])
    }

    pub(super) fn txt(&self, name: &str, records: &[&[&str]]) -> &Self {
        let records = records
            .iter()
            .map(|strings| RData::TXT(TXT::new(strings.iter().map(|string| (*string).to_owned()).collect())));
        self.set(name, RecordType::TXT, Reply::Records(records.collect()))
    }

    pub(super) fn caa(&self, name: &str, records: &[(u8, &str, &str)]) -> &Self {
        let records = records.iter().map(|(flags, tag, value)| {
            let mut caa = CAA::new_issue(flags & 128 != 0, None, Vec::new());
            caa.reserved_flags = flags & 127;
            caa.tag = (*tag).to_owned();
            caa.value = value.as_bytes().to_vec();
            RData::CAA(caa)
        });
        self.set(name, RecordType::CAA, Reply::Records(records.collect()))
    }

    pub(super) fn alias(&self, name: &str, target: &str) -> &Self {
        let target = DnsRecordName::from_ascii(format!("{target}.")).unwrap();
        self.set(
            name,
            RecordType::CNAME,
            Reply::Records(vec![RData::CNAME(CNAME(target))]),
        )
    }

    /// Returns which names were asked for a type, in order, repetitions of one question left out.
    pub(super) fn asked(&self, kind: RecordType) -> Vec<String> {
        let mut names: Vec<String> = self
            .asked
            .lock()
            .unwrap()
            .iter()
            .filter(|(_, asked)| *asked == kind)
            .map(|(name, _)| name.clone())
            .collect();
        names.dedup();
        names
    }

    async fn serve_udp(self, socket: UdpSocket) {
        let mut buffer = [0; 4096];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let Some(answer) = self.answer(&buffer[..length]) else {
                continue;
            };
            let mut octets = answer.to_vec().unwrap();
            if octets.len() > UDP_OCTETS_MAX {
                octets = answer.truncate().to_vec().unwrap();
            }
            let _ = socket.send_to(&octets, peer).await;
        }
    }

    async fn serve_tcp(self, listener: TcpListener) {
        while let Ok((mut stream, _)) = listener.accept().await {
            let server = self.clone();
            tokio::spawn(async move {
                while let Ok(length) = stream.read_u16().await {
                    let mut question = vec![0; usize::from(length)];
                    stream.read_exact(&mut question).await.unwrap();
                    let Some(answer) = server.answer(&question) else {
                        continue;
                    };
                    let octets = answer.to_vec().unwrap();
                    stream.write_u16(u16::try_from(octets.len()).unwrap()).await.unwrap();
                    stream.write_all(&octets).await.unwrap();
                }
            });
        }
    }

    fn answer(&self, question: &[u8]) -> Option<Message> {
        let question = Message::from_vec(question).ok()?;
        let query = question.queries.first()?.clone();
        let mut owner = query.name().clone();
        let key = |name: &DnsRecordName, kind| (name.to_ascii().trim_end_matches('.').to_ascii_lowercase(), kind);
        self.asked.lock().unwrap().push(key(&owner, query.query_type()));
        let zone = self.zone.lock().unwrap();
        let mut answer = Message::response(question.id, OpCode::Query);
        answer.metadata.recursion_desired = question.recursion_desired;
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        // One alias, as an authoritative server would: the rest is the asker's business.
        if let Some(Reply::Records(alias)) = zone.get(&key(&owner, RecordType::CNAME)) {
            let RData::CNAME(target) = &alias[0] else {
                return None;
            };
            answer.add_answer(Record::from_rdata(owner.clone(), 60, alias[0].clone()));
            owner = target.0.clone();
        }
        match zone.get(&key(&owner, query.query_type())) {
            Some(Reply::Records(records)) => {
                for record in records {
                    answer.add_answer(Record::from_rdata(owner.clone(), 60, record.clone()));
                }
            }
            Some(Reply::Code(code)) => answer.metadata.response_code = *code,
            Some(Reply::Silence) => return None,
            None => {
                let name = key(&owner, RecordType::A).0;
                let below = format!(".{name}");
                let exists = zone.keys().any(|(known, _)| *known == name || known.ends_with(&below));
                if !exists && !name.is_empty() {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                }
            }
        }
        Some(answer)
    }
}

/// What a web server does once it has read a request.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Send(Vec<u8>),
    /// Sends the first part, then the second one octet at a time.
    Drip(Vec<u8>, Vec<u8>),
    /// Sends the part again and again.
    Endless(Vec<u8>, Vec<u8>),
    Wait,
}

impl Act {
    pub(super) fn ok(body: &str) -> Self {
        Self::status(200, body)
    }

    pub(super) fn status(status: u16, body: &str) -> Self {
        Self::Send(format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into())
    }

    pub(super) fn redirect(status: u16, to: &str) -> Self {
        Self::Send(format!("HTTP/1.1 {status} X\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into())
    }

    async fn perform(self, stream: &mut (impl tokio::io::AsyncWrite + Unpin)) {
        let slowly = async {
            match self {
                Self::Send(octets) => stream.write_all(&octets).await?,
                Self::Drip(head, body) => {
                    stream.write_all(&head).await?;
                    for octet in body {
                        stream.write_all(&[octet]).await?;
                        stream.flush().await?;
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
                Self::Endless(head, part) => {
                    stream.write_all(&head).await?;
                    loop {
                        stream.write_all(&part).await?;
                    }
                }
                Self::Wait => std::future::pending().await,
            }
            stream.shutdown().await
        };
        let _: std::io::Result<()> = slowly.await;
    }
}

/// A web server that acts by the request's target, and keeps each request's head.
#[derive(Clone)]
pub(super) struct WebServer {
    pub(super) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl WebServer {
    pub(super) async fn start(act: impl Fn(&str) -> Act + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", None, act).await
    }

    pub(super) async fn start_at(
        address: &str,
        tls: Option<tokio_rustls::TlsAcceptor>,
        act: impl Fn(&str) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
        };
        let requests = server.requests.clone();
        let act = Arc::new(act);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (requests, act, tls) = (requests.clone(), act.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => converse(stream, &requests, &*act).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                converse(stream, &requests, &*act).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn converse(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    requests: &Mutex<Vec<String>>,
    act: &(impl Fn(&str) -> Act + Send + Sync + ?Sized),
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(octet) => head.push(octet),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    requests.lock().unwrap().push(head);
    act(&target).perform(&mut stream).await;
}

/// A certificate with its key, as a server wants them.
pub(super) fn server_config(
    params: rcgen::CertificateParams,
    protocols: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<rustls::ServerConfig> {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = provider.key_provider.load_private_key(key).unwrap();
    // Not `with_single_cert`: it refuses certificates with a critical extension it does not know.
    let certified = rustls::sign::CertifiedKey::new(vec![certificate.der().clone()], key);
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

/// Accepts connections and leaves them alone.
pub(super) async fn mute() -> (SocketAddr, Arc<Mutex<Vec<TcpStream>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let kept: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let streams = kept.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            streams.lock().unwrap().push(stream);
        }
    });
    (address, kept)
}

/// Makes a validator that asks this name server.
pub(super) fn validator(names: &NameServer, change: impl FnOnce(&mut ValidationSettings)) -> Validator {
    let mut settings = ValidationSettings {
        resolver: Some(names.address.to_string()),
        attempt_timeout: Duration::from_secs(3),
        ..ValidationSettings::default()
    };
    change(&mut settings);
    Validator::new(settings).unwrap()
}

/// Makes a target for the account of the draft that dns-account-01 is in.
pub(super) fn target(name: Name, challenge: ChallengeType, key_authorization: &str) -> Target {
    Target {
        name,
        subdomains: false,
        challenge,
        token: "token".into(),
        key_authorization: key_authorization.into(),
        applicant: Applicant {
            account_url: "https://example.com/acme/acct/ExampleAccount".into(),
            hash_prefix: "https://example.com/acme/hash/".into(),
            thumbprints: vec![Thumbprint([7; 32])],
        },
        now: Timestamp::UNIX_EPOCH,
    }
}
