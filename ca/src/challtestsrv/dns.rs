//! The name server: what the book says about a name, a default address for all others, over UDP and TCP.

use std::{sync::Arc, time::Duration};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, AAAA, CAA, CNAME, SOA, TXT},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Semaphore, watch},
    task::JoinSet,
};

use super::{
    Shared,
    book::{Kind, Value},
    history::{Event, Question},
};

/// The longest question that is read over UDP; a question is one name.
const UDP_QUESTION_OCTETS_MAX: usize = 4096;

/// The longest answer over UDP to somebody who did not say that more can be taken (RFC 1035 section 4.2.1).
const UDP_ANSWER_OCTETS: usize = 512;

/// The longest answer over UDP to anybody.
const UDP_ANSWER_OCTETS_MAX: usize = 4096;

/// How many questions of one message are answered.
const QUESTIONS_MAX: usize = 8;

/// How many TCP connections are served at a time.
const CONNECTIONS_MAX: usize = 256;

/// How long a TCP connection may stay.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest string inside a TXT record.
const TXT_STRING_OCTETS_MAX: usize = 255;

/// Records change while a test runs: nobody may keep them.
const TTL_SECONDS: u32 = 0;

/// The owner of the zone that all answers say they are of; names below `invalid` are nobody's.
const ZONE: &str = "challtestsrv.invalid.";

/// Answers over UDP until it is told to stop.
pub(super) async fn serve_udp(socket: UdpSocket, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut buffer = vec![0; UDP_QUESTION_OCTETS_MAX];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        // An error here is about an answer that could not be delivered before.
        let Ok((length, peer)) = received else { continue };
        if let Some(answer) = respond(&shared, &buffer[..length], Transport::Udp) {
            let _ = socket.send_to(&answer, peer).await;
        }
    }
}

/// Answers over TCP until it is told to stop.
pub(super) async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, super::accept(&listener).await)
        };
        let (permit, stream) = tokio::select! {
            next = next => next,
            Some(_) = connections.join_next() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let shared = shared.clone();
        connections.spawn(async move {
            let _permit = permit;
            // Whoever leaves in the middle of a question wants no answer.
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, converse(stream, &shared)).await;
        });
    }
    connections.shutdown().await;
}

async fn converse(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await?;
        let Some(answer) = respond(shared, &question, Transport::Stream) else {
            return Ok(());
        };
        let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
        stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).await?;
    }
}

/// How an answer travels, which bounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    /// TCP or HTTPS.
    Stream,
}

/// Makes the answer to a message; `None` to what is not a question at all.
pub(super) fn respond(shared: &Shared, octets: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let Ok(question) = Message::from_vec(octets) else {
        return unreadable(octets);
    };
    if question.metadata.message_type != MessageType::Query {
        return None;
    }
    let answer = answer(shared, &question);
    let room = match transport {
        Transport::Udp => usize::from(question.max_payload()).clamp(UDP_ANSWER_OCTETS, UDP_ANSWER_OCTETS_MAX),
        Transport::Stream => usize::from(u16::MAX),
    };
    match answer.to_vec() {
        Ok(whole) if whole.len() <= room && !is_truncated(&whole) => Some(whole),
        Ok(_) if transport == Transport::Udp => answer.truncate().to_vec().ok(),
        _ => failure(&question).to_vec().ok(),
    }
}

/// Says whether the encoder has left something out by itself, since no message is longer than 65,535 octets.
fn is_truncated(answer: &[u8]) -> bool {
    const TRUNCATION_BIT: u8 = 0x02;
    answer.get(2).is_some_and(|flags| flags & TRUNCATION_BIT != 0)
}

/// Answers what has a header and nothing readable behind it.
fn unreadable(octets: &[u8]) -> Option<Vec<u8>> {
    const HEADER_OCTETS: usize = 12;
    const RESPONSE_BIT: u8 = 0x80;
    let header = octets.get(..HEADER_OCTETS)?;
    if header[2] & RESPONSE_BIT != 0 {
        return None;
    }
    let id = u16::from_be_bytes([header[0], header[1]]);
    let answer = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
    answer.to_vec().ok()
}

/// Answers what has no answer that fits a message: somebody has told too many values for one name.
fn failure(question: &Message) -> Message {
    Message::error_msg(question.id, question.op_code, ResponseCode::ServFail)
}

fn answer(shared: &Shared, question: &Message) -> Message {
    let mut answer = Message::response(question.id, question.op_code);
    answer.metadata.recursion_desired = question.recursion_desired;
    if question.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_ANSWER_OCTETS_MAX as u16);
        answer.set_edns(edns);
    }
    answer.add_queries(question.queries.iter().take(QUESTIONS_MAX).cloned());
    if question.op_code != OpCode::Query {
        answer.metadata.response_code = ResponseCode::NotImp;
        return answer;
    }
    for query in question.queries.iter().take(QUESTIONS_MAX) {
        match records(shared, query) {
            Ok(records) => {
                answer.add_answers(records);
            }
            Err(code) => answer.metadata.response_code = code,
        }
    }
    answer.add_authority(start_of_authority());
    answer
}

/// Looks a question up and follows one alias, as pebble-challtestsrv does.
fn records(shared: &Shared, query: &Query) -> Result<Vec<Record>, ResponseCode> {
    shared.history.add(Event::Dns {
        question: Question {
            name: query.name().to_ascii(),
            qtype: query.query_type().into(),
            qclass: query.query_class().into(),
        },
    });
    let mut owner = query.name().clone();
    let mut key = canonical(&owner.to_ascii());
    if !shared.book.values(Kind::ServFail, &key).is_empty() {
        return Err(ResponseCode::ServFail);
    }
    if query.query_class() != DNSClass::IN {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    if let Some(target) = shared.book.value(Kind::Cname, &key)
        && let Ok(target) = Name::from_ascii(format!("{}.", canonical(&target)))
    {
        key = canonical(&target.to_ascii());
        found.push(record(&owner, RData::CNAME(CNAME(target.clone()))));
        owner = target;
    }
    let data: Vec<RData> = match query.query_type() {
        RecordType::CNAME => Vec::new(),
        RecordType::A => addresses(shared, Kind::A, &key, &shared.book.default_ipv4()),
        RecordType::AAAA => addresses(shared, Kind::Aaaa, &key, &shared.book.default_ipv6()),
        RecordType::TXT => shared.book.values(Kind::Txt, &key).iter().map(text).collect(),
        RecordType::CAA => shared.book.values(Kind::Caa, &key).iter().map(policy).collect(),
        _ => return Err(ResponseCode::NotImp),
    };
    found.extend(data.into_iter().map(|data| record(&owner, data)));
    Ok(found)
}

/// Returns a name's addresses; a name that has none of its own has the default.
fn addresses(shared: &Shared, kind: Kind, key: &str, default: &str) -> Vec<RData> {
    let told = shared.book.values(kind, key);
    let told: Vec<&str> = if told.is_empty() {
        vec![default]
    } else {
        told.iter().map(|value| value.text.as_str()).collect()
    };
    // What is no address of this family is left out: an empty text says that a name has none.
    let read = told.into_iter().filter_map(|text| match kind {
        Kind::A => text.parse().ok().map(|address| RData::A(A(address))),
        _ => text.parse().ok().map(|address| RData::AAAA(AAAA(address))),
    });
    read.collect()
}

fn text(value: &Value) -> RData {
    let strings = match value.text.as_bytes() {
        [] => vec![&[][..]],
        octets => octets.chunks(TXT_STRING_OCTETS_MAX).collect(),
    };
    RData::TXT(TXT::from_bytes(strings))
}

fn policy(value: &Value) -> RData {
    const CRITICAL: u8 = 128;
    let mut caa = CAA::new_issue(value.flags & CRITICAL != 0, None, Vec::new());
    caa.reserved_flags = value.flags & !CRITICAL;
    caa.tag.clone_from(&value.tag);
    caa.value = value.text.clone().into_bytes();
    RData::CAA(caa)
}

fn record(owner: &Name, data: RData) -> Record {
    Record::from_rdata(owner.clone(), TTL_SECONDS, data)
}

fn start_of_authority() -> Record {
    let name = |text: String| Name::from_ascii(text).unwrap_or_default();
    let soa = SOA::new(
        name(format!("ns.{ZONE}")),
        name(format!("master.{ZONE}")),
        1,
        1,
        1,
        1,
        1,
    );
    record(&name(ZONE.to_owned()), RData::SOA(soa))
}

/// Returns the form in which names are compared.
pub(super) fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(shared: &Shared, name: &str, kind: RecordType) -> Message {
        let mut question = Message::query();
        question.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        let answer = respond(shared, &question.to_vec().unwrap(), Transport::Stream).unwrap();
        Message::from_vec(&answer).unwrap()
    }

    fn shown(answer: &Message) -> Vec<String> {
        let records = answer.answers.iter();
        records
            .map(|record| format!("{} {} {}", record.name, record.record_type(), record.data))
            .collect()
    }

    #[test]
    fn answers_what_it_was_told() {
        let shared = Shared::default();
        shared.book.set_default_ipv4("127.0.0.1");
        let add = |kind, key: &str, text: &str| shared.book.append(kind, key, vec![Value::text(text)]).unwrap();
        add(Kind::A, "a.test", "10.0.0.1");
        add(Kind::A, "a.test", "nonsense");
        add(Kind::A, "without.test", "");
        add(Kind::Cname, "alias.test", "A.test.");
        add(Kind::Txt, "a.test", &"v".repeat(300));
        add(Kind::ServFail, "broken.test", "");
        for (name, kind, records) in [
            ("a.test.", RecordType::A, vec!["a.test. A 10.0.0.1"]),
            ("A.TEST.", RecordType::A, vec!["A.TEST. A 10.0.0.1"]),
            ("other.test.", RecordType::A, vec!["other.test. A 127.0.0.1"]),
            ("other.test.", RecordType::AAAA, vec![]),
            ("without.test.", RecordType::A, vec![]),
            (
                "alias.test.",
                RecordType::A,
                vec!["alias.test. CNAME a.test.", "a.test. A 10.0.0.1"],
            ),
            ("alias.test.", RecordType::CNAME, vec!["alias.test. CNAME a.test."]),
            ("alias.test.", RecordType::CAA, vec!["alias.test. CNAME a.test."]),
        ] {
            let answer = ask(&shared, name, kind);
            assert_eq!(shown(&answer), records, "{name} {kind}");
            assert_eq!(answer.response_code, ResponseCode::NoError);
            assert_eq!(answer.authorities.len(), 1);
        }
        let RData::TXT(long) = &ask(&shared, "a.test.", RecordType::TXT).answers[0].data else {
            panic!("a TXT record");
        };
        assert_eq!(
            long.txt_data.iter().map(|part| part.len()).collect::<Vec<_>>(),
            [255, 45]
        );
        let code = |name, kind| ask(&shared, name, kind).response_code;
        assert_eq!(code("broken.test.", RecordType::TXT), ResponseCode::ServFail);
        assert_eq!(code("a.test.", RecordType::MX), ResponseCode::NotImp);
    }

    #[test]
    fn hands_out_any_property_of_caa() {
        let shared = Shared::default();
        let told = Value {
            text: "ca.test; accounturi=x".into(),
            tag: "issuemail".into(),
            flags: 129,
        };
        shared.book.append(Kind::Caa, "a.test", vec![told]).unwrap();
        let answer = ask(&shared, "a.test.", RecordType::CAA);
        let RData::CAA(caa) = &answer.answers[0].data else {
            panic!("a CAA record");
        };
        assert_eq!(
            (caa.flags(), caa.tag.as_str(), caa.value.as_slice()),
            (129, "issuemail", &b"ca.test; accounturi=x"[..])
        );
    }

    #[test]
    fn truncates_over_udp_what_is_whole_over_tcp() {
        let shared = Shared::default();
        for number in 0..40 {
            let value = Value::text(&format!("{number:043}"));
            shared.book.append(Kind::Txt, "a.test", vec![value]).unwrap();
        }
        let mut question = Message::query();
        question.add_query(Query::query(Name::from_ascii("a.test.").unwrap(), RecordType::TXT));
        let octets = question.to_vec().unwrap();
        let over = |transport| Message::from_vec(&respond(&shared, &octets, transport).unwrap()).unwrap();
        assert!(over(Transport::Udp).truncation);
        assert!(over(Transport::Udp).answers.is_empty());
        assert_eq!(over(Transport::Stream).answers.len(), 40);
        question
            .set_edns(Edns::new())
            .edns
            .as_mut()
            .unwrap()
            .set_max_payload(4096);
        let octets = question.to_vec().unwrap();
        let answer = Message::from_vec(&respond(&shared, &octets, Transport::Udp).unwrap()).unwrap();
        assert_eq!((answer.truncation, answer.answers.len()), (false, 40));
        assert!(answer.edns.is_some(), "whoever asks with EDNS is answered with it");
    }

    #[test]
    fn survives_what_is_no_question() {
        let shared = Shared::default();
        assert_eq!(respond(&shared, &[], Transport::Udp), None);
        assert_eq!(respond(&shared, &[0; 11], Transport::Udp), None);
        let header_alone = respond(&shared, &[7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], Transport::Udp).unwrap();
        let answer = Message::from_vec(&header_alone).unwrap();
        assert_eq!((answer.id, answer.response_code), (0x0709, ResponseCode::FormErr));
        let mut echo = Message::response(1, OpCode::Query);
        echo.add_query(Query::query(Name::root(), RecordType::A));
        assert_eq!(respond(&shared, &echo.to_vec().unwrap(), Transport::Udp), None);
        assert!(shared.history.of(super::super::history::EventKind::Dns, "").is_empty());
    }

    #[test]
    fn an_answer_that_fits_no_message_is_a_failure() {
        let shared = Shared::default();
        let values = (0..400).map(|_| Value::text(&"v".repeat(255))).collect();
        shared.book.append(Kind::Txt, "a.test", values).unwrap();
        assert_eq!(
            ask(&shared, "a.test.", RecordType::TXT).response_code,
            ResponseCode::ServFail
        );
    }
}
