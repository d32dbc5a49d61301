//! `sigillo-ca challtestsrv` obeys its management interface, and answers as pebble-challtestsrv does.

use std::io::Write as _;
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::Duration;

use sigillo_tests::ports;
use sigillo_tests::process::{Background, run};
use sigillo_tests::programs::{available, own, third_party};
use tempfile::TempDir;

/// How long a server may take to start.
const START_WITHIN: Duration = Duration::from_secs(20);
/// How long one question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

const A: u16 = 1;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const MX: u16 = 15;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const CAA: u16 = 257;

/// A running challenge test server, ours or Pebble's.
struct Server {
    _running: Background,
    _folder: TempDir,
    management: u16,
    http: u16,
    https: u16,
    tls_alpn: u16,
    dns: u16,
}

impl Server {
    #[track_caller]
    fn ours() -> Self {
        let mut command = Command::new(own("sigillo-ca"));
        command.arg("challtestsrv");
        Self::start(command)
    }

    #[track_caller]
    fn pebbles() -> Self {
        Self::start(third_party("pebble-challtestsrv"))
    }

    #[track_caller]
    fn start(mut command: Command) -> Self {
        let [management, http, https, tls_alpn, dns] = [(); 5].map(|()| ports::free());
        for (flag, port) in [
            ("-management", management),
            ("-http01", http),
            ("-https01", https),
            ("-tlsalpn01", tls_alpn),
            ("-dns01", dns),
        ] {
            command.arg(flag).arg(format!("127.0.0.1:{port}"));
        }
        let folder = tempfile::tempdir().expect("a folder");
        let mut running = Background::start(&mut command, &folder.path().join("log"));
        running.wait_for(START_WITHIN, |_| {
            let all = [management, http, https, tls_alpn, dns];
            let open = |port: &u16| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok();
            all.iter().all(open).then_some(())
        });
        Self {
            _running: running,
            _folder: folder,
            management,
            http,
            https,
            tls_alpn,
            dns,
        }
    }

    /// Posts to the management interface; returns the status and, where it succeeded, the JSON without its layout.
    #[track_caller]
    fn post(&self, command: &str, body: &str) -> String {
        let url = format!("http://127.0.0.1:{}/{command}", self.management);
        let answer = curl(&["-w", "\n%{http_code}", "-X", "POST", "--data-binary", body, &url]);
        let (text, status) = answer.rsplit_once('\n').expect("a status");
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(json) if status == "200" => format!("200 {json}"),
            _ => status.to_owned(),
        }
    }

    /// Gets a path over HTTP; returns the status, where it leads, and the body of a 200.
    #[track_caller]
    fn get(&self, host: &str, path: &str) -> String {
        let header = format!("Host: {host}");
        let url = format!("http://127.0.0.1:{}{path}", self.http);
        shown(&curl(&["-i", "-H", &header, &url]))
    }

    #[track_caller]
    fn get_secretly(&self, host: &str, path: &str) -> String {
        let resolve = format!("{host}:{}:127.0.0.1", self.https);
        let url = format!("https://{host}:{}{path}", self.https);
        shown(&curl(&["-i", "-k", "--http1.1", "--resolve", &resolve, &url]))
    }

    /// Makes a handshake; returns the certificate's names and identifier as openssl writes them, or that there is none.
    #[track_caller]
    fn handshake(&self, name: &str, protocols: &str) -> String {
        let address = format!("127.0.0.1:{}", self.tls_alpn);
        let mut client = Command::new("openssl");
        client.args([
            "s_client",
            "-connect",
            &address,
            "-servername",
            name,
            "-alpn",
            protocols,
        ]);
        let shaken = run(&mut client, ANSWER_WITHIN);
        let mut reader = Command::new("openssl")
            .args(["x509", "-noout", "-ext", "subjectAltName,1.3.6.1.5.5.7.1.31"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        let mut stdin = reader.stdin.take().expect("a pipe");
        // A reader that finds no certificate may have left already.
        let _ = stdin.write_all(shaken.stdout.as_bytes());
        drop(stdin);
        let output = reader.wait_with_output().expect("openssl");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let agreed = shaken.stdout.contains("ALPN protocol: acme-tls/1");
        match output.status.success() {
            // Pebble's marks the names critical too, since its certificate has no subject.
            true => format!(
                "{agreed} {}",
                text.replace("Subject Alternative Name: critical", "Subject Alternative Name:")
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
            ),
            false => "no certificate".to_owned(),
        }
    }

    /// Asks over UDP; returns the response code and the records.
    #[track_caller]
    fn ask(&self, name: &str, kind: u16) -> String {
        let mut question = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            question.push(u8::try_from(label.len()).expect("a short label"));
            question.extend_from_slice(label.as_bytes());
        }
        question.push(0);
        question.extend_from_slice(&kind.to_be_bytes());
        question.extend_from_slice(&[0, 1]);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(ANSWER_WITHIN)).expect("a timeout");
        socket.send_to(&question, ("127.0.0.1", self.dns)).expect("sent");
        let mut buffer = [0; 4096];
        let (length, _) = socket.recv_from(&mut buffer).expect("an answer");
        Wire(&buffer[..length]).shown()
    }
}

#[track_caller]
fn curl(arguments: &[&str]) -> String {
    let mut command = third_party("curl");
    command.args(["-sS", "--max-time", "10"]).args(arguments);
    run(&mut command, ANSWER_WITHIN * 2).succeeded().stdout
}

fn shown(answer: &str) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let location = lines
        .find(|line| line.to_ascii_lowercase().starts_with("location:"))
        .unwrap_or_default();
    match status {
        "200" => format!("200 {body}"),
        _ => format!("{status} {}", location.split_once(' ').map_or("", |(_, value)| value)),
    }
}

/// A DNS message to be read.
struct Wire<'a>(&'a [u8]);

impl Wire<'_> {
    fn number(&self, at: usize) -> usize {
        usize::from(u16::from_be_bytes([self.0[at], self.0[at + 1]]))
    }

    /// Reads a name, compressed or not; returns it and where it ends.
    fn name(&self, mut at: usize) -> (String, usize) {
        let mut name = String::new();
        let mut end = None;
        for _ in 0..64 {
            let length = usize::from(self.0[at]);
            if length >= 0xc0 {
                end.get_or_insert(at + 2);
                at = self.number(at) & 0x3fff;
                continue;
            }
            at += 1;
            if length == 0 {
                break;
            }
            name.push_str(&String::from_utf8_lossy(&self.0[at..at + length]));
            name.push('.');
            at += length;
        }
        (name, end.unwrap_or(at))
    }

    /// Writes down what counts: the code, whether it is a whole response, and all records.
    fn shown(&self) -> String {
        let flags = self.number(2);
        let mut shown = format!("code {} response {} cut {}", flags & 15, flags >> 15, flags >> 9 & 1);
        let mut at = self.name(12).1 + 4;
        for (section, count) in [("answer", self.number(6)), ("authority", self.number(8))] {
            for _ in 0..count {
                let (owner, end) = self.name(at);
                let (kind, length) = (self.number(end), self.number(end + 8));
                let ttl = &self.0[end + 4..end + 8];
                let data = end + 10;
                at = data + length;
                let value = match u16::try_from(kind) {
                    Ok(CNAME) => self.name(data).0,
                    Ok(SOA) => {
                        let (server, end) = self.name(data);
                        let (mailbox, end) = self.name(end);
                        format!("{server} {mailbox} {:?}", &self.0[end..at])
                    }
                    _ => format!("{:?}", &self.0[data..at]),
                };
                shown.push_str(&format!("; {section} {owner} {kind} {ttl:?} {value}"));
            }
        }
        shown
    }
}

/// Tells a server everything that there is to tell, asks it everything, and writes the answers down.
fn conversation(server: &Server) -> Vec<String> {
    let mut said = Vec::new();
    let mut note = |what: String, answer: String| said.push(format!("{what} -> {answer}"));
    for (command, body) in [
        ("set-txt", r#"{"host":"_acme-challenge.a.test.","value":"first"}"#),
        ("set-txt", r#"{"host":"_acme-challenge.a.test.","value":"second"}"#),
        ("set-txt", r#"{"HOST":"upper.test.","Value":"x","more":1}"#),
        ("set-txt", r#"{"host":"gone.test.","value":"x"}"#),
        ("clear-txt", r#"{"host":"gone.test."}"#),
        ("add-a", r#"{"host":"a.test","addresses":["10.0.0.1","10.0.0.2"]}"#),
        ("add-a", r#"{"host":"a.test.","addresses":["10.0.0.3"]}"#),
        ("add-a", r#"{"host":"none.test","addresses":["nonsense"]}"#),
        ("add-aaaa", r#"{"host":"a.test","addresses":["2001:db8::1"]}"#),
        ("add-aaaa", r#"{"host":"none.test","addresses":[""]}"#),
        ("add-a", r#"{"host":"gone.test","addresses":["10.0.0.9"]}"#),
        ("clear-a", r#"{"host":"gone.test"}"#),
        ("add-aaaa", r#"{"host":"gone.test","addresses":["2001:db8::9"]}"#),
        ("clear-aaaa", r#"{"host":"gone.test"}"#),
        (
            "add-caa",
            r#"{"host":"a.test","policies":[{"tag":"issue","value":"ca.test"},{"tag":"iodef","value":"mailto:a@b.test"}]}"#,
        ),
        (
            "add-caa",
            r#"{"host":"gone.test","policies":[{"tag":"issue","value":"ca.test"}]}"#,
        ),
        ("clear-caa", r#"{"host":"gone.test"}"#),
        ("set-cname", r#"{"host":"c.test","target":"a.test"}"#),
        ("set-cname", r#"{"host":"gone.test","target":"a.test"}"#),
        ("clear-cname", r#"{"host":"gone.test"}"#),
        ("set-servfail", r#"{"host":"s.test"}"#),
        ("set-servfail", r#"{"host":"gone.test"}"#),
        ("clear-servfail", r#"{"host":"gone.test"}"#),
        ("add-http01", r#"{"token":"token","content":"token.key"}"#),
        ("add-http01", r#"{"token":"gone","content":"gone.key"}"#),
        ("del-http01", r#"{"token":"gone"}"#),
        ("del-http01", r#"{"token":"never"}"#),
        (
            "add-redirect",
            r#"{"path":"/r","targetURL":"https://localhost:5003/ok?x=1"}"#,
        ),
        ("add-redirect", r#"{"path":"/x/r","targetURL":"other"}"#),
        ("add-redirect", r#"{"path":"/gone","targetURL":"/x"}"#),
        ("del-redirect", r#"{"path":"/gone"}"#),
        ("add-tlsalpn01", r#"{"host":"alpn.test","content":"token.key"}"#),
        (
            "add-tlsalpn01",
            r#"{"host":"1.2.0.192.in-addr.arpa","content":"token.key"}"#,
        ),
        ("add-tlsalpn01", r#"{"host":"gone.test","content":"token.key"}"#),
        ("del-tlsalpn01", r#"{"host":"gone.test"}"#),
        ("set-default-ipv4", r#"{"ip":"127.0.0.9"}"#),
        ("set-default-ipv6", r#"{"ip":""}"#),
        // What is not understood.
        ("nonsense", "{}"),
        ("clear-tlsalpn01", r#"{"host":"a.test"}"#),
        ("set-txt", ""),
        ("set-txt", "{bad"),
        ("set-txt", "[]"),
        ("set-txt", r#"{"host":5}"#),
        ("set-txt", r#"{"host":"","value":"x"}"#),
        ("set-txt", r#"{"host":"a.test","value":""}"#),
        ("add-a", r#"{"host":"a.test","addresses":[]}"#),
        ("add-caa", r#"{"host":"a.test"}"#),
        ("set-cname", r#"{"host":"a.test"}"#),
        ("set-servfail", r#"{"host":null}"#),
        ("add-http01", r#"{"token":"a","content":""}"#),
        ("add-redirect", r#"{"path":"/a"}"#),
        ("add-tlsalpn01", r#"{"host":"a.test"}"#),
        ("http-request-history", "{}"),
        ("clear-request-history", r#"{"host":"a.test","type":"smtp"}"#),
    ] {
        note(format!("{command} {body}"), server.post(command, body));
    }
    for (name, kind) in [
        ("_acme-challenge.a.test", TXT),
        ("upper.test", TXT),
        ("a.test", A),
        ("a.test", AAAA),
        ("a.test", CAA),
        ("a.test", TXT),
        ("none.test", A),
        ("none.test", AAAA),
        ("other.test", A),
        ("other.test", AAAA),
        ("other.test", MX),
        ("other.test", SOA),
        ("c.test", A),
        ("c.test", CNAME),
        ("c.test", TXT),
        ("s.test", A),
        ("s.test", CAA),
        ("gone.test", A),
        ("gone.test", AAAA),
        ("gone.test", CAA),
        ("gone.test", TXT),
        ("gone.test", CNAME),
    ] {
        note(format!("{name} {kind}"), server.ask(name, kind));
    }
    for path in [
        "/.well-known/acme-challenge/token",
        "/.well-known/acme-challenge/gone",
        "/r",
        "/x/r",
        "/gone",
        "/?q=1",
    ] {
        note(format!("http {path}"), server.get("web.test:80", path));
    }
    for path in ["/.well-known/acme-challenge/token", "/r"] {
        note(format!("https {path}"), server.get_secretly("web.test", path));
    }
    for (name, protocols) in [
        ("alpn.test", "acme-tls/1"),
        ("alpn.test", "h2,acme-tls/1"),
        ("alpn.test", "h2"),
        ("gone.test", "acme-tls/1"),
    ] {
        note(format!("alpn {name} {protocols}"), server.handshake(name, protocols));
    }
    for (command, host) in [
        ("http-request-history", "web.test"),
        ("dns-request-history", "a.test"),
        ("tlsalpn01-request-history", "alpn.test"),
        ("http-request-history", "never.test"),
    ] {
        // The ports are each server's own.
        let answer = server.post(command, &format!(r#"{{"host":"{host}"}}"#));
        note(
            format!("{command} {host}"),
            answer.replace(&server.https.to_string(), "HTTPS"),
        );
    }
    for (host, kind) in [
        ("web.test", "http"),
        ("a.test", "dns"),
        ("alpn.test", "tlsalpn"),
        ("never.test", "dns"),
    ] {
        let body = format!(r#"{{"host":"{host}","type":"{kind}"}}"#);
        note(format!("clear {kind}"), server.post("clear-request-history", &body));
    }
    for command in [
        "http-request-history",
        "dns-request-history",
        "tlsalpn01-request-history",
    ] {
        for host in ["web.test", "a.test", "alpn.test"] {
            note(
                format!("{command} {host}"),
                server.post(command, &format!(r#"{{"host":"{host}"}}"#)),
            );
        }
    }
    said
}

#[test]
fn answers_as_pebbles_own_does() {
    if !available(&["pebble-challtestsrv", "curl"]) {
        return;
    }
    let (ours, theirs) = (Server::ours(), Server::pebbles());
    let (ours, theirs) = (conversation(&ours), conversation(&theirs));
    let differing: Vec<_> = ours.iter().zip(&theirs).filter(|(our, their)| our != their).collect();
    assert!(differing.is_empty(), "ours and Pebble's: {differing:#?}");
    assert_eq!(ours.len(), theirs.len());
}

#[test]
fn answers_what_it_is_told() {
    if !available(&["curl"]) {
        return;
    }
    let server = Server::ours();
    let tell = |command: &str, body: &str| assert_eq!(server.post(command, body), "200", "{command} {body}");
    tell("add-http01", r#"{"token":"t","content":"t.key"}"#);
    assert_eq!(server.get("a.test", "/.well-known/acme-challenge/t"), "200 t.key");
    assert_eq!(
        server.get_secretly("a.test", "/.well-known/acme-challenge/t"),
        "200 t.key"
    );
    // An address is told as what it is; the handshake asks for its name in the reverse tree.
    tell("add-tlsalpn01", r#"{"host":"192.0.2.1","content":"t.key"}"#);
    let shaken = server.handshake("1.2.0.192.in-addr.arpa", "acme-tls/1");
    assert!(
        shaken.starts_with("true ") && shaken.contains("IP Address:192.0.2.1"),
        "{shaken}"
    );
    // Names are compared as DNS does, with or without the dot at the end.
    tell("set-txt", r#"{"host":"Text.test","value":"v"}"#);
    assert!(server.ask("tEXT.test", TXT).contains("[1, 118]"));
    tell(
        "add-caa",
        r#"{"host":"a.test","policies":[{"tag":"future","value":"x","flags":128}]}"#,
    );
    let critical = format!("{:?}", [&[128, 6][..], b"futurex"].concat());
    assert!(server.ask("a.test", CAA).contains(&critical));
    assert!(
        server
            .post("dns-request-history", r#"{"host":"text.TEST"}"#)
            .contains(r#""Name":"tEXT.test.""#)
    );
}

#[test]
fn answers_dns_over_https() {
    if !available(&["curl"]) {
        return;
    }
    let [management, doh, dns] = [(); 3].map(|()| ports::free());
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(own("sigillo-ca"));
    command.args(["challtestsrv", "-http01=", "-https01=", "-tlsalpn01=", "-management"]);
    command
        .arg(format!("localhost:{management}"))
        .arg("-dnsserver")
        .arg(format!(":{dns}"));
    command.arg("-doh").arg(format!(":{doh}"));
    let mut running = Background::start(&mut command, &folder.path().join("log"));
    running.wait_for(START_WITHIN, |server| {
        server.log().contains("ready management=").then_some(())
    });
    // A question for the A record of a.test, in base64url.
    let question = "q80BAAABAAAAAAAAAWEEdGVzdAAAAQAB";
    let url = format!("https://localhost:{doh}/dns-query?dns={question}");
    let file = folder.path().join("answer");
    let file = file.to_str().expect("a plain path");
    let media_type = curl(&["-k", "-o", file, "-w", "%{content_type}", &url]);
    assert_eq!(media_type, "application/dns-message");
    let answer = std::fs::read(file).expect("the answer");
    assert!(
        Wire(&answer)
            .shown()
            .contains("answer a.test. 1 [0, 0, 0, 0] [127, 0, 0, 1]")
    );
    let add_http = format!("http://localhost:{management}/add-http01");
    assert_eq!(
        curl(&["-w", "%{http_code}", "-o", file, "-d", "{}", &add_http]),
        "404",
        "no such responder"
    );
    assert!(running.terminate().success());
}

#[test]
fn stays_on_loopback_and_says_what_it_cannot_have() {
    let call = |arguments: &[&str]| {
        let mut command = Command::new(own("sigillo-ca"));
        run(command.arg("challtestsrv").args(arguments), START_WITHIN)
    };
    let output = call(&["-management", "192.0.2.1:8055"]).ended_with(1);
    assert!(output.stderr.contains("192.0.2.1:8055 is not on loopback"), "{output}");
    let output = call(&["-management", "8055"]).ended_with(1);
    assert!(output.stderr.contains("\"8055\" is no address"), "{output}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = call(&["-management", &address]).ended_with(1);
    assert!(output.stderr.contains(&address), "{output}");
    call(&["-nonsense"]).ended_with(2);
}
