//! DNS questions of the validator: addresses, TXT and CAA, asked anew each time.
//!
//! It sits on the resolver library's pool of name servers rather than on its cached lookups: a
//! validation has to see today's records, and CAA has to tell "there is none" from "the alias chain
//! went nowhere", which the cached lookups answer alike.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::net::dnssec::DnssecDnsHandle;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer, RetryDnsHandle};
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::op::{DnsRequestOptions, DnsResponse, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{Hosts, NameServerPool, PoolContext, TlsConfig};
use sigillo_protocol::acme::caa::CaaRecord;

use super::anchors;
use super::settings::{Dnssec, SettingsError};

/// How long one query to one name server may take before it is sent again.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a query that was lost, or failed at the server, is sent again.
const QUERY_RETRIES: usize = 1;

/// How long a question may take in all. Validating DNSSEC asks for every link of the chain, so this
/// is more than the retries alone need.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(6);

/// How many aliases are followed from one name; recursive resolvers draw the line near here too.
const ALIASES_MAX: usize = 10;

/// How many name servers are kept: what the system's stub resolver keeps.
const NAME_SERVERS_MAX: usize = 3;

type Pool = RetryDnsHandle<NameServerPool<TokioRuntimeProvider>>;

/// Asks the configured name servers.
pub(super) struct Resolver {
    servers: Option<Servers>,
    use_hosts_file: bool,
}

enum Servers {
    /// DNSSEC is the name server's business.
    Trusted(Pool),
    /// Signatures are checked here.
    Validated(DnssecDnsHandle<Pool>),
}

/// What the servers know about a name and a type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// The records, aliases followed.
    Records(Vec<Record>),
    /// The name exists, the type does not.
    NoData,
    /// The name does not exist.
    NoName,
}

/// A question without a usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LookupError {
    /// No name server is configured.
    #[error("no name server is configured")]
    NoServer,
    /// No name server answered.
    #[error("no answer from the name server ({0})")]
    Silence(String),
    /// A name server answered that it failed, or does not want to answer.
    #[error("the name server answered {0}")]
    Refusal(ResponseCode),
    /// The answer's signatures do not hold.
    #[error("DNSSEC validation failed")]
    Bogus,
    /// The aliases do not end.
    #[error("more than {ALIASES_MAX} aliases, or a loop of them")]
    Aliases,
    /// The answer could not be read, or the name could not be asked for.
    #[error("the answer could not be used ({0})")]
    Unusable(String),
}

impl LookupError {
    /// Whether no name server was heard at all.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::NoServer | Self::Silence(_))
    }
}

impl Resolver {
    /// Sets up the configured name server, or the system's.
    ///
    /// A system without name servers is no error: names from the hosts file and `localhost` work.
    pub(super) fn new(
        server: Option<&str>,
        dnssec: Dnssec,
        trust_anchors: Option<&Path>,
    ) -> Result<Self, SettingsError> {
        let anchors = trust_anchors.map(anchors::read).transpose()?;
        let (servers, use_hosts_file) = match server {
            Some(text) => (name_servers_of(text)?, false),
            None => (system_name_servers(), true),
        };
        if servers.is_empty() {
            return Ok(Self {
                servers: None,
                use_hosts_file,
            });
        }
        let mut options = ResolverOpts::default();
        options.timeout = QUERY_TIMEOUT;
        options.attempts = QUERY_RETRIES;
        options.validate = dnssec == Dnssec::Validate;
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        let tls = TlsConfig::new().map_err(|error| SettingsError::Tls(error.to_string()))?;
        let context = Arc::new(PoolContext::new(options, tls));
        let pool = NameServerPool::from_config(servers, context, TokioRuntimeProvider::default());
        let pool = RetryDnsHandle::new(pool, QUERY_RETRIES);
        let servers = match dnssec {
            Dnssec::Resolver => Servers::Trusted(pool),
            Dnssec::Validate => Servers::Validated(DnssecDnsHandle::with_trust_anchor(
                pool,
                Arc::new(anchors.unwrap_or_default()),
            )),
        };
        Ok(Self {
            servers: Some(servers),
            use_hosts_file,
        })
    }

    /// Returns the addresses of a host, IPv6 and IPv4 in turn, IPv6 first.
    ///
    /// `localhost` and the names below it are loopback without a question (RFC 6761 section 6.3).
    /// With the system's resolver the hosts file decides before DNS.
    pub(super) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        if is_localhost(host) {
            return Ok(vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]);
        }
        let name = absolute(host)?;
        if self.use_hosts_file {
            let listed = from_hosts_file(name.clone()).await;
            if !listed.is_empty() {
                return Ok(listed);
            }
        }
        let (six, four) = tokio::join!(
            self.records(&name, RecordType::AAAA),
            self.records(&name, RecordType::A)
        );
        let found = |answer: &Result<Answer, LookupError>| match answer {
            Ok(Answer::Records(records)) => records.iter().filter_map(address_of).collect(),
            _ => Vec::new(),
        };
        let addresses = in_turn(found(&six), found(&four));
        // One family that fails is no reason to leave the other one out; no address at all is.
        if addresses.is_empty() {
            six?;
            four?;
        }
        Ok(addresses)
    }

    /// Returns the TXT records of a name, the strings of each record joined.
    pub(super) async fn txt(&self, name: &str) -> Result<Option<Vec<Vec<u8>>>, LookupError> {
        match self.records(&absolute(name)?, RecordType::TXT).await? {
            Answer::Records(records) => Ok(Some(
                records
                    .into_iter()
                    .filter_map(|record| match record.data {
                        RData::TXT(txt) => Some(txt.txt_data.concat()),
                        _ => None,
                    })
                    .collect(),
            )),
            Answer::NoData => Ok(Some(Vec::new())),
            Answer::NoName => Ok(None),
        }
    }

    /// Returns the CAA records of exactly this name (aliases followed); empty if there are none.
    pub(super) async fn caa(&self, name: &str) -> Result<Vec<CaaRecord>, LookupError> {
        let Answer::Records(records) = self.records(&absolute(name)?, RecordType::CAA).await? else {
            return Ok(Vec::new());
        };
        records
            .into_iter()
            .map(|record| match record.data {
                RData::CAA(caa) => Ok(CaaRecord {
                    flags: caa.flags(),
                    tag: caa.tag,
                    value: caa.value,
                }),
                // A CAA record that cannot be read may be the one that forbids.
                _ => Err(LookupError::Unusable("an unreadable CAA record".into())),
            })
            .collect()
    }

    /// Whether a name server answers anything at all: asks for the root, which any of them knows.
    pub(super) async fn is_alive(&self) -> bool {
        match self.ask(&Name::root(), RecordType::NS).await {
            Ok(_) => true,
            Err(error) => !error.is_silence(),
        }
    }

    /// Asks for records and follows aliases to them.
    async fn records(&self, name: &Name, kind: RecordType) -> Result<Answer, LookupError> {
        let mut owner = name.clone();
        for _ in 0..=ALIASES_MAX {
            let (records, absent) = self.ask(&owner, kind).await?;
            match follow(&owner, kind, records)? {
                Followed::Records(records) => return Ok(Answer::Records(records)),
                Followed::Alias(target) => owner = target,
                Followed::Nothing => return Ok(absent),
            }
        }
        Err(LookupError::Aliases)
    }

    /// Sends one question; gives the answer section and what its emptiness would mean.
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<(Vec<Record>, Answer), LookupError> {
        let query = Query::query(name.clone(), kind);
        let mut options = DnsRequestOptions::default();
        options.use_edns = true;
        let response = async {
            match self.servers.as_ref() {
                None => None,
                Some(Servers::Trusted(pool)) => Some(pool.lookup(query, options).first_answer().await),
                Some(Servers::Validated(pool)) => {
                    options.edns_set_dnssec_ok = true;
                    Some(pool.lookup(query, options).first_answer().await)
                }
            }
        };
        match tokio::time::timeout(QUESTION_TIMEOUT, response).await {
            Ok(Some(response)) => read(response),
            Ok(None) => Err(LookupError::NoServer),
            Err(_) => Err(LookupError::Silence("timed out".into())),
        }
    }
}

/// Sorts a response, or the library's error for one, into records, absence and failure.
fn read(response: Result<DnsResponse, NetError>) -> Result<(Vec<Record>, Answer), LookupError> {
    match response {
        Ok(response) => {
            let absent = absence(response.response_code)?;
            if response.answers.iter().any(|record| record.proof == Proof::Bogus) {
                return Err(LookupError::Bogus);
            }
            Ok((response.into_message().answers, absent))
        }
        Err(NetError::Dns(error)) => match error {
            DnsError::NoRecordsFound(NoRecords { response_code, .. }) => Ok((Vec::new(), absence(response_code)?)),
            DnsError::ResponseCode(code) => Err(LookupError::Refusal(code)),
            // A denial that is proven to need no proof: the zone is unsigned.
            DnsError::Nsec {
                response,
                proof: Proof::Insecure,
                ..
            } => Ok((Vec::new(), absence(response.response_code)?)),
            DnsError::Nsec { .. } | DnsError::DnssecBogus => Err(LookupError::Bogus),
            other => Err(LookupError::Unusable(super::failure::reason(other))),
        },
        Err(error @ (NetError::Timeout | NetError::NoConnections | NetError::Busy | NetError::Io(_))) => {
            Err(LookupError::Silence(super::failure::reason(error)))
        }
        Err(error) => Err(LookupError::Unusable(super::failure::reason(error))),
    }
}

/// What an answer without records says, by its code. Every other code is a failure.
fn absence(code: ResponseCode) -> Result<Answer, LookupError> {
    match code {
        ResponseCode::NoError => Ok(Answer::NoData),
        ResponseCode::NXDomain => Ok(Answer::NoName),
        other => Err(LookupError::Refusal(other)),
    }
}

#[derive(Debug, PartialEq)]
enum Followed {
    Records(Vec<Record>),
    Alias(Name),
    Nothing,
}

/// Follows the aliases inside one answer section, as far as they go there.
///
/// Records of names that the chain does not pass are left out: they answer another question.
fn follow(name: &Name, kind: RecordType, answers: Vec<Record>) -> Result<Followed, LookupError> {
    let mut owner = name;
    let mut hops = 0;
    while let Some(target) = answers.iter().find_map(|record| match &record.data {
        RData::CNAME(target) if &record.name == owner => Some(&target.0),
        _ => None,
    }) {
        owner = target;
        hops += 1;
        if hops > ALIASES_MAX {
            return Err(LookupError::Aliases);
        }
    }
    let owner = owner.clone();
    let records: Vec<Record> = answers
        .into_iter()
        .filter(|record| record.record_type() == kind && record.name == owner)
        .collect();
    Ok(match records.is_empty() {
        false => Followed::Records(records),
        true if hops > 0 => Followed::Alias(owner),
        true => Followed::Nothing,
    })
}

/// Whether a name is `localhost` or below it.
pub(super) fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.rsplit('.')
        .next()
        .is_some_and(|label| label.eq_ignore_ascii_case("localhost"))
}

fn address_of(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(a) => Some(a.0.into()),
        RData::AAAA(aaaa) => Some(aaaa.0.into()),
        _ => None,
    }
}

/// Takes from both lists in turn, so that a dead family does not use up the time for the other.
fn in_turn(first: Vec<IpAddr>, second: Vec<IpAddr>) -> Vec<IpAddr> {
    let longest = first.len().max(second.len());
    (0..longest)
        .flat_map(|i| [first.get(i).copied(), second.get(i).copied()])
        .flatten()
        .collect()
}

fn absolute(name: &str) -> Result<Name, LookupError> {
    let mut name = Name::from_ascii(name).map_err(|error| LookupError::Unusable(error.to_string()))?;
    name.set_fqdn(true);
    Ok(name)
}

/// Reads the hosts file anew, so that an operator's edit counts at once.
async fn from_hosts_file(name: Name) -> Vec<IpAddr> {
    let read = move || {
        let hosts = Hosts::from_system().unwrap_or_default();
        let listed = |kind| {
            hosts
                .lookup_static_host(&Query::query(name.clone(), kind))
                .map(|lookup| lookup.answers().iter().filter_map(address_of).collect())
                .unwrap_or_default()
        };
        in_turn(listed(RecordType::AAAA), listed(RecordType::A))
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

/// Reads `host:port`, `[address]:port` or an address; a host name is looked up now, at the start.
fn name_servers_of(text: &str) -> Result<Vec<NameServerConfig>, SettingsError> {
    let bad = |reason: &str| SettingsError::Resolver {
        text: text.into(),
        reason: reason.into(),
    };
    let addresses: Vec<SocketAddr> = if let Ok(address) = text.parse::<IpAddr>() {
        vec![SocketAddr::new(address, 53)]
    } else {
        match text.to_socket_addrs() {
            Ok(addresses) => addresses.collect(),
            Err(error) => return Err(bad(&error.to_string())),
        }
    };
    if addresses.is_empty() {
        return Err(bad("the name has no address"));
    }
    Ok(addresses.into_iter().take(NAME_SERVERS_MAX).map(name_server).collect())
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connection = |protocol| {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = address.port();
        connection
    };
    NameServerConfig::new(
        address.ip(),
        true,
        vec![connection(ProtocolConfig::Udp), connection(ProtocolConfig::Tcp)],
    )
}

fn system_name_servers() -> Vec<NameServerConfig> {
    match hickory_resolver::system_conf::read_system_conf() {
        Ok((config, _)) => config.name_servers().iter().take(NAME_SERVERS_MAX).cloned().collect(),
        Err(error) => {
            tracing::warn!(%error, "the system names no DNS server: only the hosts file is used");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::rr::rdata::{A, CNAME};

    fn name(text: &str) -> Name {
        absolute(text).unwrap()
    }

    fn a(owner: &str, last: u8) -> Record {
        Record::from_rdata(name(owner), 60, RData::A(A::new(127, 0, 0, last)))
    }

    fn alias(owner: &str, target: &str) -> Record {
        Record::from_rdata(name(owner), 60, RData::CNAME(CNAME(name(target))))
    }

    #[test]
    fn localhost_is_known_without_asking() {
        for (text, is) in [
            ("localhost", true),
            ("a.b.LOCALHOST.", true),
            ("localhost.example.org", false),
            ("notlocalhost", false),
            ("", false),
        ] {
            assert_eq!(is_localhost(text), is, "{text}");
        }
    }

    #[test]
    fn aliases_are_followed_inside_an_answer_and_beyond_it() {
        let owner = name("www.example.org");
        let whole = vec![alias("www.example.org", "h.example.net"), a("h.example.net", 1)];
        assert_eq!(
            follow(&owner, RecordType::A, whole),
            Ok(Followed::Records(vec![a("h.example.net", 1)]))
        );
        let open = vec![alias("www.example.org", "h.example.net")];
        assert_eq!(
            follow(&owner, RecordType::A, open),
            Ok(Followed::Alias(name("h.example.net")))
        );
        assert_eq!(follow(&owner, RecordType::A, vec![]), Ok(Followed::Nothing));
    }

    #[test]
    fn records_of_other_names_answer_nothing() {
        let owner = name("www.example.org");
        assert_eq!(
            follow(&owner, RecordType::A, vec![a("example.org", 1)]),
            Ok(Followed::Nothing)
        );
        let both = vec![a("www.example.org", 2), a("example.org", 1)];
        assert_eq!(
            follow(&owner, RecordType::A, both),
            Ok(Followed::Records(vec![a("www.example.org", 2)]))
        );
    }

    #[test]
    fn a_loop_of_aliases_ends() {
        let turning = vec![alias("a.test", "b.test"), alias("b.test", "a.test")];
        assert_eq!(
            follow(&name("a.test"), RecordType::A, turning),
            Err(LookupError::Aliases)
        );
    }

    #[test]
    fn only_two_codes_mean_that_there_is_nothing() {
        assert_eq!(absence(ResponseCode::NoError), Ok(Answer::NoData));
        assert_eq!(absence(ResponseCode::NXDomain), Ok(Answer::NoName));
        for code in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::Unknown(99)] {
            assert_eq!(absence(code), Err(LookupError::Refusal(code)));
        }
    }

    #[test]
    fn resolver_settings_are_read() {
        for (text, port) in [
            ("127.0.0.1:5353", 5353),
            ("[::1]:54", 54),
            ("127.0.0.1", 53),
            ("::1", 53),
        ] {
            let servers = name_servers_of(text).unwrap();
            assert!(servers[0].connections.iter().all(|c| c.port == port), "{text}");
            assert_eq!(servers[0].connections.len(), 2, "{text}");
        }
        for text in ["", "127.0.0.1:", "127.0.0.1:99999", "name-without-port"] {
            assert!(name_servers_of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn families_take_turns() {
        let [six, four_a, four_b]: [IpAddr; 3] = ["::1", "127.0.0.1", "127.0.0.2"].map(|a| a.parse().unwrap());
        assert_eq!(in_turn(vec![six], vec![four_a, four_b]), [six, four_a, four_b]);
    }
}
