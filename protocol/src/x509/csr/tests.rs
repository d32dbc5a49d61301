//! Requests as honest clients send them, and requests with one fault each.

use rcgen::{CertificateParams, KeyPair, PublicKeyData, SanType, SigningKey};

use super::*;

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match content.len() {
        short @ 0..0x80 => bytes.push(short as u8),
        long => {
            bytes.push(0x82);
            bytes.extend((long as u16).to_be_bytes());
            if long < 0x100 {
                bytes.truncate(1);
                bytes.extend([0x81, long as u8]);
            }
        }
    }
    bytes.extend(content);
    bytes
}

fn sequence(members: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &members.concat())
}

const ECDSA_SHA256: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const EXTENSION_REQUEST: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14];
const CHALLENGE_PASSWORD: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 7];
const SAN: &[u8] = &[6, 3, 0x55, 0x1d, 17];
const KEY_USAGE: &[u8] = &[6, 3, 0x55, 0x1d, 15];
const BASIC_CONSTRAINTS: &[u8] = &[6, 3, 0x55, 0x1d, 19];
const EXTENDED_KEY_USAGE: &[u8] = &[6, 3, 0x55, 0x1d, 37];
const KEY_IDENTIFIER: &[u8] = &[6, 3, 0x55, 0x1d, 14];
const TLS_FEATURE_OID: &[u8] = &[6, 8, 0x2b, 6, 1, 5, 5, 7, 1, 24];
const UNKNOWN: &[u8] = &[6, 3, 0x2a, 3, 4];

/// A request that can be taken apart: what a test changes is one member of it.
struct Draft {
    version: Vec<u8>,
    subject: Vec<u8>,
    attributes: Vec<Vec<u8>>,
    spki: Vec<u8>,
    algorithm: Vec<u8>,
    key: KeyPair,
}

impl Draft {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        Self {
            version: vec![2, 1, 0],
            subject: vec![0x30, 0],
            attributes: Vec::new(),
            spki: key.subject_public_key_info(),
            algorithm: ECDSA_SHA256.to_vec(),
            key,
        }
    }

    fn common_name(mut self, text: &str) -> Self {
        let value = sequence(&[&[6, 3, 0x55, 4, 3], &tlv(0x0c, text.as_bytes())]);
        self.subject = sequence(&[&tlv(0x31, &value)]);
        self
    }

    fn attribute(mut self, oid: &[u8], values: &[u8]) -> Self {
        self.attributes.push(sequence(&[oid, &tlv(0x31, values)]));
        self
    }

    fn extensions(self, extensions: &[Vec<u8>]) -> Self {
        let list = tlv(0x30, &extensions.concat());
        self.attribute(EXTENSION_REQUEST, &list)
    }

    fn info(&self) -> Vec<u8> {
        sequence(&[
            &self.version,
            &self.subject,
            &self.spki,
            &tlv(0xa0, &self.attributes.concat()),
        ])
    }

    fn sign(&self) -> Vec<u8> {
        let info = self.info();
        let mut signature = vec![0];
        signature.extend(self.key.sign(&info).unwrap());
        sequence(&[&info, &self.algorithm, &tlv(3, &signature)])
    }

    fn check(&self) -> Result<CheckedCsr, CsrError> {
        read(&self.sign())
    }
}

fn read(der: &[u8]) -> Result<CheckedCsr, CsrError> {
    ParsedCsr::from_der(der)?.check(&KeyPolicy::default())
}

fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let flag: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    sequence(&[oid, flag, &tlv(4, value)])
}

fn dns(text: &str) -> Vec<u8> {
    tlv(0x82, text.as_bytes())
}

fn san(names: &[Vec<u8>]) -> Vec<u8> {
    extension(SAN, false, &tlv(0x30, &names.concat()))
}

fn with_san_and(other: Vec<u8>) -> Draft {
    Draft::new().extensions(&[san(&[dns("a.example")]), other])
}

fn names(csr: &CheckedCsr) -> Vec<String> {
    csr.names().iter().map(Name::to_string).collect()
}

#[test]
fn names_come_from_san_and_common_name_alike() {
    let both = Draft::new()
        .common_name("WWW.Example")
        .extensions(&[san(&[
            dns("a.example"),
            dns("*.b.example"),
            dns("www.example"),
            tlv(0x87, &[192, 0, 2, 1]),
        ])])
        .check()
        .unwrap();
    let mut found = names(&both);
    found.sort();
    assert_eq!(found, ["*.b.example", "192.0.2.1", "a.example", "www.example"]);
    assert_eq!(both.common_name(), Some("WWW.Example"));
    assert!(!both.must_staple());

    let alone = Draft::new().common_name("WWW.Example").check().unwrap();
    assert_eq!(names(&alone), ["www.example"]);
}

#[test]
fn an_address_is_asked_for_as_an_address() {
    let alone = Draft::new().common_name("2001:db8::1").check();
    assert_eq!(alone, Err(CsrError::AddressInCommonName));
    let octets = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let twice = Draft::new()
        .common_name("2001:db8::1")
        .extensions(&[san(&[tlv(0x87, &octets)])]);
    assert_eq!(names(&twice.check().unwrap()), ["2001:db8::1"]);
}

#[test]
fn accepts_the_marks_of_a_leaf_that_clients_ask_for() {
    let server_and_client = sequence(&[&[6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1], &[6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2]]);
    let cases = [
        extension(KEY_USAGE, true, &[3, 2, 5, 0xa0]),
        extension(EXTENDED_KEY_USAGE, false, &server_and_client),
        extension(BASIC_CONSTRAINTS, true, &[0x30, 0]),
        extension(KEY_IDENTIFIER, false, &[4, 2, 1, 2]),
    ];
    for case in cases {
        assert!(with_san_and(case.clone()).check().is_ok(), "{case:02x?}");
    }
    let staple = with_san_and(extension(TLS_FEATURE_OID, false, STATUS_REQUEST))
        .check()
        .unwrap();
    assert!(staple.must_staple());
}

#[test]
fn leaves_other_attributes_unread() {
    let draft = Draft::new()
        .attribute(CHALLENGE_PASSWORD, &tlv(0x0c, b"secret"))
        .extensions(&[san(&[dns("a.example")])])
        .attribute(UNKNOWN, &[5, 0]);
    assert_eq!(names(&draft.check().unwrap()), ["a.example"]);
}

#[test]
fn refuses_extensions_that_ask_for_more_than_a_leaf() {
    let cases = [
        extension(BASIC_CONSTRAINTS, true, &[0x30, 3, 1, 1, 0xff]),
        extension(KEY_USAGE, true, &[3, 2, 2, 4]),
        extension(KEY_USAGE, true, &[3, 2, 1, 2]),
        extension(
            EXTENDED_KEY_USAGE,
            false,
            &sequence(&[&[6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 9]]),
        ),
        extension(EXTENDED_KEY_USAGE, false, &sequence(&[&[6, 4, 0x55, 0x1d, 37, 0]])),
        extension(EXTENDED_KEY_USAGE, false, &[0x30, 0]),
        extension(TLS_FEATURE_OID, false, &[0x30, 3, 2, 1, 17]),
        extension(UNKNOWN, true, &[5, 0]),
        extension(UNKNOWN, false, &[5, 0]),
    ];
    for case in cases {
        let result = with_san_and(case.clone()).check();
        let refused = matches!(
            result,
            Err(CsrError::UnwantedExtension(_) | CsrError::MalformedExtension(_))
        );
        assert!(refused, "{case:02x?}: {result:?}");
    }
}

#[test]
fn refuses_what_is_said_twice() {
    let twice = san(&[dns("a.example")]);
    let result = Draft::new().extensions(&[twice.clone(), twice.clone()]).check();
    assert_eq!(result, Err(CsrError::RepeatedExtension("2.5.29.17".into())));

    let result = Draft::new()
        .extensions(std::slice::from_ref(&twice))
        .extensions(std::slice::from_ref(&twice))
        .check();
    assert_eq!(result, Err(CsrError::RepeatedExtensionRequest));

    let list = sequence(&[&twice]);
    let result = Draft::new()
        .attribute(EXTENSION_REQUEST, &[list.clone(), list].concat())
        .check();
    assert_eq!(result, Err(CsrError::RepeatedExtensionRequest));
}

#[test]
fn refuses_names_that_are_not_issued() {
    let cases: [Vec<u8>; 16] = [
        dns("a.example\0.evil.example"),
        dns("a.example\n"),
        dns(""),
        dns(" "),
        dns("a..example"),
        dns("a.example."),
        dns("-a.example"),
        dns("a_b.example"),
        dns("b\u{fc}cher.example"),
        dns("\u{212a}.example"),
        dns("xn--zzzzzzz99999.example"),
        dns("192.0.2.1"),
        tlv(0x81, b"who@a.example"),
        tlv(0x86, b"https://a.example"),
        tlv(0xa4, &[0x30, 0]),
        tlv(0x87, &[192, 0, 2]),
    ];
    for case in cases {
        let result = Draft::new()
            .extensions(&[san(&[dns("a.example"), case.clone()])])
            .check();
        assert!(result.is_err(), "{case:02x?}: {result:?}");
    }
    let other_name = tlv(
        0xa0,
        &[&[6, 3, 0x2a, 3, 4][..], &tlv(0xa0, &tlv(0x0c, b"upn"))].concat(),
    );
    let result = Draft::new().extensions(&[san(&[dns("a.example"), other_name])]).check();
    assert_eq!(result, Err(CsrError::NameType));
    for text in ["My Server", "a.example\0", "a.example/b"] {
        assert!(Draft::new().common_name(text).check().is_err(), "{text:?}");
    }
    assert_eq!(Draft::new().check(), Err(CsrError::NoNames));
    assert_eq!(Draft::new().common_name("").check(), Err(CsrError::NoNames));
    let many: Vec<_> = (0..=CheckedCsr::NAMES_MAX)
        .map(|n| dns(&format!("n{n}.example")))
        .collect();
    assert_eq!(
        Draft::new().extensions(&[san(&many)]).check(),
        Err(CsrError::TooManyNames)
    );
}

#[test]
fn refuses_what_does_not_prove_possession() {
    let draft = Draft::new().common_name("a.example");
    let good = draft.sign();
    assert!(read(&good).is_ok());

    let mut flipped = good.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    assert_eq!(read(&flipped), Err(CsrError::Signature));

    let mut foreign = Draft::new().common_name("a.example");
    foreign.spki = draft.spki.clone();
    assert_eq!(foreign.check(), Err(CsrError::Signature));

    let at = good.windows(9).position(|window| window == b"a.example").unwrap();
    let mut renamed = good;
    renamed[at] = b'b';
    assert_eq!(read(&renamed), Err(CsrError::Signature));

    let mut weak = Draft::new().common_name("a.example");
    // ecdsa-with-SHA1
    weak.algorithm = vec![0x30, 9, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];
    assert_eq!(weak.check(), Err(CsrError::SignatureAlgorithm));
}

#[test]
fn refuses_versions_that_nobody_writes() {
    let of = |version: u8| {
        let mut draft = Draft::new().common_name("a.example");
        draft.version = vec![2, 1, version];
        draft.check()
    };
    for version in [1, 3, 4, 127] {
        assert_eq!(of(version), Err(CsrError::Version(version.into())));
    }
    assert!(of(2).is_ok(), "Ruby's clients write it");
}

#[test]
fn refuses_what_is_not_der_to_the_last_octet() {
    let good = Draft::new().common_name("a.example").sign();
    let mut trailing = good.clone();
    trailing.push(0);
    assert_eq!(read(&trailing), Err(CsrError::Der(DerError::Trailing)));
    for length in 0..good.len() {
        assert!(read(&good[..length]).is_err(), "the first {length} octets");
    }
    assert_eq!(&good[..2], &[0x30, 0x81], "the length takes one more octet");
    let mut indefinite = vec![0x30, 0x80];
    indefinite.extend(&good[3..]);
    indefinite.extend([0, 0]);
    assert_eq!(read(&indefinite), Err(CsrError::Der(DerError::Length)));
    let mut padded = vec![0x30, 0x82, 0];
    padded.extend(&good[2..]);
    assert_eq!(read(&padded), Err(CsrError::Der(DerError::Length)));
    assert_eq!(read(&vec![0x30; ParsedCsr::LENGTH_MAX + 1]), Err(CsrError::TooLarge));
    assert_eq!(read(&[0x30, 0]), Err(CsrError::Form));
}

#[test]
fn refuses_members_that_nobody_would_read() {
    let draft = Draft::new().common_name("a.example");
    let info = draft.info();
    let signature = tlv(3, &[&[0][..], &draft.key.sign(&info).unwrap()].concat());
    let extra = sequence(&[&info, ECDSA_SHA256, &signature, &[5, 0]]);
    assert_eq!(read(&extra), Err(CsrError::Form));
    let empty_set = Draft::new().common_name("a.example").attribute(UNKNOWN, &[]);
    assert_eq!(empty_set.check(), Err(CsrError::Form));
}

#[test]
fn survives_every_mutation_of_one_octet() {
    let good = with_san_and(extension(KEY_USAGE, true, &[3, 2, 5, 0xa0]))
        .common_name("a.example")
        .sign();
    for at in 0..good.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut mutant = good.clone();
            mutant[at] ^= flip;
            // Every octet is signed, part of the signature, or its frame.
            assert!(read(&mutant).is_err(), "octet {at} with {flip:02x}: {mutant:02x?}");
        }
    }
}

#[test]
fn reads_pem_with_text_before_it_and_nothing_behind() {
    let der = Draft::new().common_name("a.example").sign();
    let pem = {
        use base64::{Engine, engine::general_purpose::STANDARD};
        format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
            STANDARD.encode(&der)
        )
    };
    let expected = ParsedCsr::from_der(&der).unwrap();
    assert_eq!(ParsedCsr::from_pem_or_der(&der), Ok(expected.clone()));
    assert_eq!(ParsedCsr::from_pem_or_der(pem.as_bytes()), Ok(expected.clone()));
    assert_eq!(
        ParsedCsr::from_pem_or_der(format!("subject: a\n{pem}\n").as_bytes()),
        Ok(expected)
    );
    for broken in [
        pem.repeat(2),
        pem.replace("REQUEST", "OTHER"),
        pem[..40].to_owned(),
        String::new(),
    ] {
        assert_eq!(
            ParsedCsr::from_pem_or_der(broken.as_bytes()),
            Err(CsrError::Pem),
            "{broken}"
        );
    }
}

#[test]
fn the_key_decides_and_not_the_digest_of_the_signature() {
    for (algorithm, kind) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, KeyKind::EcdsaP256),
        (&rcgen::PKCS_ECDSA_P384_SHA384, KeyKind::EcdsaP384),
        (&rcgen::PKCS_ED25519, KeyKind::Ed25519),
        (&rcgen::PKCS_RSA_SHA512, KeyKind::Rsa(2048)),
    ] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = vec![SanType::DnsName("a.example".try_into().unwrap())];
        let der = params.serialize_request(&key).unwrap();
        let checked = read(der.der()).unwrap();
        assert_eq!(checked.key_kind(), kind);
        assert_eq!(checked.spki_der(), key.subject_public_key_info());
        let only_rsa = KeyPolicy {
            ecdsa_p256: false,
            ecdsa_p384: false,
            ed25519: false,
            ..KeyPolicy::default()
        };
        let allowed = ParsedCsr::from_der(der.der()).unwrap().check(&only_rsa).is_ok();
        assert_eq!(allowed, matches!(kind, KeyKind::Rsa(_)));
        let no_rsa = KeyPolicy {
            rsa_bits: None,
            ..KeyPolicy::default()
        };
        let allowed = ParsedCsr::from_der(der.der()).unwrap().check(&no_rsa).is_ok();
        assert_eq!(allowed, !matches!(kind, KeyKind::Rsa(_)));
    }
}

const RSA: &[u8] = &[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
const P256: &[u8] = &[
    0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7,
];
const ED25519: &[u8] = &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70];

fn spki(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    sequence(&[algorithm, &tlv(3, &[&[0][..], key].concat())])
}

fn key_error(spki: Vec<u8>) -> KeyError {
    let mut draft = Draft::new().common_name("a.example");
    draft.spki = spki;
    match draft.check() {
        Err(CsrError::Key(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    spki(
        RSA,
        &sequence(&[&tlv(2, &[&[0][..], modulus].concat()), &tlv(2, exponent)]),
    )
}

/// The modulus of a key that was made for this test.
fn good_modulus() -> Vec<u8> {
    let key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    // SEQUENCE and INTEGER headers of four octets each, and a zero.
    key.der_bytes()[9..9 + 256].to_vec()
}

#[test]
fn refuses_weak_and_odd_rsa_keys() {
    let good = good_modulus();
    let f4: &[u8] = &[1, 0, 1];
    let mut even = good.clone();
    even[255] &= 0xfe;
    assert!(matches!(key_error(rsa(&even, f4)), KeyError::Weak(_)));
    assert_eq!(key_error(rsa(&good[..128], f4)), KeyError::ModulusSize(1024));
    let mut short = good.clone();
    short[0] = 0x3f;
    let short = sequence(&[&tlv(2, &short), &tlv(2, f4)]);
    assert_eq!(key_error(spki(RSA, &short)), KeyError::ModulusSize(2046));
    // A zero in front that DER would not write.
    let padded = [&[0x3f][..], &good[1..]].concat();
    assert_eq!(key_error(rsa(&padded, f4)), KeyError::Unsupported);
    assert_eq!(key_error(rsa(&vec![0xff; 1025], f4)), KeyError::ModulusSize(8200));
    for exponent in [
        &[1][..],
        &[3],
        &[1, 0, 0],
        &[2, 0, 0, 0, 1],
        &[1, 0, 0, 0, 0, 0, 0, 0, 1],
    ] {
        assert_eq!(key_error(rsa(&good, exponent)), KeyError::Exponent, "{exponent:02x?}");
    }
    assert_eq!(key_error(spki(RSA, &[0x30, 0])), KeyError::Unsupported);
    // Without the NULL that RFC 3279 wants.
    let bare = tlv(0x30, &RSA[2..13]);
    assert_eq!(key_error(spki(&bare, &good)), KeyError::Unsupported);
}

#[test]
fn refuses_bad_points_and_curves() {
    let good = KeyPair::generate().unwrap();
    let point = good.der_bytes();
    let mut off_curve = point.to_vec();
    off_curve[64] ^= 1;
    assert_eq!(key_error(spki(P256, &off_curve)), KeyError::Point);
    let compressed = [&[2][..], &point[1..33]].concat();
    assert_eq!(key_error(spki(P256, &compressed)), KeyError::Point);
    for hybrid in [6, 7] {
        assert_eq!(
            key_error(spki(P256, &[&[hybrid][..], &point[1..]].concat())),
            KeyError::Point
        );
    }
    assert_eq!(key_error(spki(P256, &[0])), KeyError::Point);
    // P-192 and explicit parameters.
    let p192: &[u8] = &[
        0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 1,
    ];
    assert_eq!(key_error(spki(p192, &point[..49])), KeyError::Unsupported);
    let explicit: &[u8] = &[0x30, 14, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 0x30, 3, 2, 1, 1];
    assert_eq!(key_error(spki(explicit, point)), KeyError::Unsupported);
    // The identity and another point of small order.
    let mut identity = [0; 32];
    identity[0] = 1;
    assert_eq!(key_error(spki(ED25519, &identity)), KeyError::Point);
    assert_eq!(key_error(spki(ED25519, &[0; 32])), KeyError::Point);
    assert_eq!(key_error(spki(ED25519, &[1; 31])), KeyError::Point);
}

#[test]
fn problems_are_bad_csr() {
    for error in [CsrError::Signature, CsrError::Key(KeyError::Point), CsrError::NoNames] {
        let problem = error.problem();
        assert_eq!(problem.kind, ErrorType::BadCsr);
        assert_eq!(problem.status, Some(400));
        assert!(!problem.detail.is_empty());
    }
}

#[test]
fn requests_of_openssl_are_read_as_they_are_meant() {
    let check = |pem: &[u8]| ParsedCsr::from_pem_or_der(pem).unwrap().check(&KeyPolicy::default());
    // The default digest of `openssl req` is SHA-256 whatever the key; this one also asks for everything common.
    let p384 = check(include_bytes!("vectors/ecdsa-p384-sha256.csr")).unwrap();
    assert_eq!(p384.key_kind(), KeyKind::EcdsaP384);
    assert_eq!(names(&p384), ["a.example", "10.0.0.1"]);
    assert!(p384.must_staple());
    let sha512 = [
        (&include_bytes!("vectors/ecdsa-p256-sha512.csr")[..], KeyKind::EcdsaP256),
        (&include_bytes!("vectors/ecdsa-p384-sha512.csr")[..], KeyKind::EcdsaP384),
    ];
    for (pem, kind) in sha512 {
        assert_eq!(check(pem).unwrap().key_kind(), kind);
        let mut forged = x509_parser::pem::parse_x509_pem(pem).unwrap().1.contents;
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(read(&forged), Err(CsrError::Signature));
    }
    let pss = check(include_bytes!("vectors/rsa-pss.csr")).unwrap();
    assert_eq!(pss.key_kind(), KeyKind::Rsa(2048));
    let ed25519 = check(include_bytes!("vectors/ed25519.csr")).unwrap();
    assert_eq!(ed25519.key_kind(), KeyKind::Ed25519);
    let sha1 = check(include_bytes!("vectors/rsa-sha1.csr"));
    assert_eq!(sha1, Err(CsrError::SignatureAlgorithm));
}
