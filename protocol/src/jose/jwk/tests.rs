//! Keys: the vectors of the RFCs, the policy, and other libraries as second judges.

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{EcdsaKeyPair, KeyPair as _, RsaPssSaltLength},
};

use super::*;

/// RFC 7638 section 3.1.
const RSA_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
/// RFC 8037 section A.2.
const ED_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
/// RFC 7515 section A.3.1.
const P256_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const P256_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
/// The payload of RFC 7515 sections A.2 and A.3.
const JWT_PAYLOAD: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

fn rsa(n: &str, e: &str) -> Result<Jwk, JwkError> {
    Jwk::from_json(&format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#))
}

fn ec(crv: &str, x: &str, y: &str) -> Result<Jwk, JwkError> {
    Jwk::from_json(&format!(r#"{{"kty":"EC","crv":"{crv}","x":"{x}","y":"{y}"}}"#))
}

fn okp(crv: &str, x: &str) -> Result<Jwk, JwkError> {
    Jwk::from_json(&format!(r#"{{"kty":"OKP","crv":"{crv}","x":"{x}"}}"#))
}

fn octets(text: &str) -> Vec<u8> {
    base64url::decode(text).unwrap()
}

fn x509(key: &impl AsDer<PublicKeyX509Der<'static>>) -> Vec<u8> {
    key.as_der().unwrap().as_ref().to_vec()
}

fn ecdsa_pair(alg: Algorithm) -> (EcdsaKeyPair, Jwk) {
    let signing = match alg {
        Algorithm::Es256 => &aws::ECDSA_P256_SHA256_FIXED_SIGNING,
        _ => &aws::ECDSA_P384_SHA384_FIXED_SIGNING,
    };
    let pair = EcdsaKeyPair::generate(signing).unwrap();
    let jwk = Jwk::from_sec1(alg, pair.public_key().as_ref()).unwrap();
    (pair, jwk)
}

fn rsa_pair() -> (RsaKeyPair, Jwk) {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let spki = x509(pair.public_key());
    let jwk = Jwk::from_spki_der(&spki).unwrap();
    assert_eq!(jwk.spki_der(), spki);
    (pair, jwk)
}

/// One key of each type.
fn one_of_each() -> Vec<Jwk> {
    vec![
        ec("P-256", P256_X, P256_Y).unwrap(),
        ecdsa_pair(Algorithm::Es384).1,
        okp("Ed25519", ED_X).unwrap(),
        rsa(RSA_N, "AQAB").unwrap(),
    ]
}

#[test]
fn c7638_3_01_gives_the_thumbprints_of_the_rfcs() {
    let with_more =
        format!(r#"{{"n":"{RSA_N}","use":"sig","kid":"2011-04-29","alg":"RS256","e":"AQAB","kty":"RSA","x":1}}"#);
    let key = Jwk::from_json(&with_more).unwrap();
    assert_eq!(
        key.thumbprint().to_string(),
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
    assert_eq!(key, rsa(RSA_N, "AQAB").unwrap(), "one key in another dress");
    let ed = okp("Ed25519", ED_X).unwrap();
    assert_eq!(
        ed.thumbprint().to_string(),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
    assert_eq!(ed.thumbprint().to_string().parse(), Ok(ed.thumbprint()));
    assert!("kPrK".parse::<Thumbprint>().is_err());
}

#[test]
fn jsonwebtoken_computes_the_same_thumbprints() {
    use jsonwebtoken::jwk::{Jwk as Other, ThumbprintHash};
    for key in one_of_each() {
        let other: Other = serde_json::from_str(&key.to_json()).unwrap();
        assert_eq!(
            other.thumbprint(ThumbprintHash::SHA256).unwrap(),
            key.thumbprint().to_string()
        );
    }
}

#[test]
fn verifies_the_signatures_of_the_rfcs() {
    let rsa_n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    let cases = [
        (
            "7515 A.2",
            rsa(rsa_n, "AQAB"),
            Algorithm::Rs256,
            format!("eyJhbGciOiJSUzI1NiJ9.{JWT_PAYLOAD}"),
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            "7515 A.3",
            ec("P-256", P256_X, P256_Y),
            Algorithm::Es256,
            format!("eyJhbGciOiJFUzI1NiJ9.{JWT_PAYLOAD}"),
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            "8037 A.4",
            okp("Ed25519", ED_X),
            Algorithm::EdDsa,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".to_owned(),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ];
    for (name, key, alg, input, signature) in cases {
        let key = key.unwrap();
        let signature = octets(signature);
        assert_eq!(key.verify(alg, input.as_bytes(), &signature), Ok(()), "{name}");
        for at in [0, signature.len() / 2, signature.len() - 1] {
            let mut flipped = signature.clone();
            flipped[at] ^= 1;
            assert_eq!(
                key.verify(alg, input.as_bytes(), &flipped),
                Err(VerifyError::Signature),
                "{name}"
            );
        }
        assert_eq!(
            key.verify(alg, b"another", &signature),
            Err(VerifyError::Signature),
            "{name}"
        );
        for other in Algorithm::ALL
            .into_iter()
            .filter(|other| !key.algorithms().contains(other))
        {
            assert_eq!(
                key.verify(other, input.as_bytes(), &signature),
                Err(VerifyError::Algorithm),
                "{name}"
            );
        }
    }
}

#[test]
fn c7518_3_4_01_takes_ecdsa_only_in_full_length_and_never_as_der() {
    for (alg, half) in [(Algorithm::Es256, 32), (Algorithm::Es384, 48)] {
        let (pair, key) = ecdsa_pair(alg);
        let sign = || pair.sign(&SystemRandom::new(), b"input").unwrap().as_ref().to_vec();
        let verify = |signature: &[u8]| key.verify(alg, b"input", signature).is_ok();
        let (mut short_r, mut short_s) = (false, false);
        // One signature in 256 has an r, and one an s, that begins with a zero octet.
        for _ in 0..20_000 {
            let signature = sign();
            let leading_zero = (signature[0] == 0, signature[half] == 0);
            if leading_zero.0 && !short_r {
                short_r = verify(&signature);
                assert!(!verify(&signature[1..]), "a shortened r");
            }
            if leading_zero.1 && !short_s {
                short_s = verify(&signature);
                assert!(
                    !verify(&[&signature[..half], &signature[half + 1..]].concat()),
                    "a shortened s"
                );
            }
            if short_r && short_s {
                break;
            }
        }
        assert!(short_r && short_s, "leading zeros are kept and verify");
        let good = sign();
        assert!(verify(&good));
        let longer = [&[0], &good[..half], &[0], &good[half..]].concat();
        for bad in [
            &good[1..],
            &good[..good.len() - 1],
            &longer,
            &[good.clone(), vec![0]].concat(),
            &[],
        ] {
            assert!(!verify(bad), "{} octets", bad.len());
        }
        let der_pair = EcdsaKeyPair::from_pkcs8(
            if half == 32 {
                &aws::ECDSA_P256_SHA256_ASN1_SIGNING
            } else {
                &aws::ECDSA_P384_SHA384_ASN1_SIGNING
            },
            pair.to_pkcs8v1().unwrap().as_ref(),
        )
        .unwrap();
        assert!(
            !verify(der_pair.sign(&SystemRandom::new(), b"input").unwrap().as_ref()),
            "DER"
        );
    }
}

#[test]
fn j4_refuses_r_and_s_outside_their_range() {
    // The order of P-256.
    let n = octets("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE");
    let (_, key) = ecdsa_pair(Algorithm::Es256);
    let (zero, mut one) = (vec![0; 32], vec![0; 32]);
    one[31] = 1;
    for r in [&zero, &one, &n, &vec![0xff; 32]] {
        for s in [&zero, &one, &n, &vec![0xff; 32]] {
            let signature = [r.as_slice(), s].concat();
            assert_eq!(
                key.verify(Algorithm::Es256, b"input", &signature),
                Err(VerifyError::Signature)
            );
        }
    }
}

#[test]
fn c7518_3_5_01_takes_pss_only_with_a_salt_of_32_octets() {
    let (pair, key) = rsa_pair();
    let sign = |padding| {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(padding, &SystemRandom::new(), b"input", &mut signature)
            .unwrap();
        signature
    };
    let pss = sign(&aws::RSA_PSS_SHA256);
    assert_eq!(key.verify(Algorithm::Ps256, b"input", &pss), Ok(()));
    assert_eq!(
        key.verify(Algorithm::Rs256, b"input", &pss),
        Err(VerifyError::Signature)
    );
    let pkcs1 = sign(&aws::RSA_PKCS1_SHA256);
    assert_eq!(key.verify(Algorithm::Rs256, b"input", &pkcs1), Ok(()));
    assert_eq!(
        key.verify(Algorithm::Ps256, b"input", &pkcs1),
        Err(VerifyError::Signature)
    );
    for salt in [
        RsaPssSaltLength::Custom(0),
        RsaPssSaltLength::Custom(20),
        RsaPssSaltLength::Max,
    ] {
        // An encoding has to be static to be used; a test may leak one.
        let encoding = Box::leak(Box::new(aws::RSA_PSS_SHA256.with_pss_salt_length(salt)));
        assert_eq!(
            key.verify(Algorithm::Ps256, b"input", &sign(encoding)),
            Err(VerifyError::Signature)
        );
    }
    let sha384 = sign(&aws::RSA_PKCS1_SHA384);
    assert_eq!(
        key.verify(Algorithm::Rs256, b"input", &sha384),
        Err(VerifyError::Signature)
    );
}

#[test]
fn j6_c7518_6_2_01_takes_only_points_on_the_curve_in_full_length() {
    assert!(ec("P-256", P256_X, P256_Y).is_ok());
    let zero = base64url::encode([0; 32]);
    let stripped = base64url::encode(&octets(P256_X)[1..]);
    let longer = base64url::encode([&[0], octets(P256_X).as_slice()].concat());
    let shifted = base64url::encode([octets(P256_X).as_slice(), &octets(P256_Y)[..1]].concat());
    let p = base64url::encode(octets("_____wAAAAEAAAAAAAAAAAAAAAD_______________8"));
    for (crv, x, y) in [
        ("P-256", P256_Y, P256_X),
        ("P-256", P256_X, P256_X),
        ("P-256", &zero, &zero),
        ("P-256", &p, P256_Y),
        ("P-256", &stripped, P256_Y),
        ("P-256", P256_X, &stripped),
        ("P-256", &longer, P256_Y),
        ("P-256", &shifted, &base64url::encode(&octets(P256_Y)[1..])),
        ("P-256", "", ""),
        ("P-384", P256_X, P256_Y),
        ("p-256", P256_X, P256_Y),
        ("P-521", P256_X, P256_Y),
        ("secp256k1", P256_X, P256_Y),
        ("Ed25519", P256_X, P256_Y),
    ] {
        assert!(ec(crv, x, y).is_err(), "{crv} {x} {y}");
    }
    assert_eq!(ec("P-256", P256_Y, P256_X), Err(JwkError::Point));
    // An off-curve y that differs in one bit only.
    let mut y = octets(P256_Y);
    y[31] ^= 1;
    assert_eq!(ec("P-256", P256_X, &base64url::encode(y)), Err(JwkError::Point));
}

#[test]
fn j16_j17_holds_rsa_to_its_bounds() {
    let n = octets(RSA_N);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = n.clone();
        change(&mut changed);
        rsa(&base64url::encode(changed), "AQAB")
    };
    assert_eq!(with(&|n| n.truncate(128)), Err(JwkError::RsaLength(1024)));
    assert_eq!(with(&|n| n[0] = 0x7f), Err(JwkError::RsaLength(2047)));
    assert_eq!(with(&|n| n[255] &= 0xfe), Err(JwkError::RsaModulus), "even");
    assert_eq!(with(&|n| n.insert(0, 0)), Err(JwkError::LeadingZero("n")));
    assert_eq!(with(&Vec::clear), Err(JwkError::LeadingZero("n")));
    assert_eq!(with(&|n| n.resize(1025, 0xff)), Err(JwkError::RsaLength(8200)));
    assert_eq!(with(&|n| n.resize(1 << 20, 0xff)), Err(JwkError::RsaLength(8 << 20)));
    let triple = |n: &mut Vec<u8>| {
        let mut carry = 0;
        for octet in n.iter_mut().rev() {
            carry += u16::from(*octet) * 3;
            *octet = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        n.insert(0, carry.to_le_bytes()[0]);
    };
    assert_eq!(with(&triple), Err(JwkError::RsaModulus), "divisible by three");
    for (e, outcome) in [
        ("AQAB", None),
        ("Aw", None),
        ("AQ", Some(JwkError::RsaExponent)),
        ("Ag", Some(JwkError::RsaExponent)),
        ("AQAA", Some(JwkError::RsaExponent)),
        ("AAEAAQ", Some(JwkError::LeadingZero("e"))),
        ("AA", Some(JwkError::LeadingZero("e"))),
        ("", Some(JwkError::LeadingZero("e"))),
        ("_____w", None),
        ("AQAAAAE", Some(JwkError::RsaExponent)),
        (RSA_N, Some(JwkError::RsaExponent)),
    ] {
        assert_eq!(rsa(RSA_N, e).err(), outcome, "{e}");
    }
}

#[test]
fn j18_refuses_weak_and_uncanonical_ed25519_keys() {
    assert!(okp("Ed25519", ED_X).is_ok());
    let hex = |text: &str| {
        let digits = text.as_bytes().chunks(2);
        let octets = digits.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap());
        base64url::encode(octets.collect::<Vec<_>>())
    };
    for x in [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ] {
        let refused = okp("Ed25519", &hex(x));
        assert!(
            matches!(refused, Err(JwkError::WeakEd25519 | JwkError::Point)),
            "{x}: {refused:?}"
        );
    }
    for crv in ["X25519", "Ed448", "X448", "ed25519", "P-256"] {
        assert_eq!(okp(crv, ED_X), Err(JwkError::Curve), "{crv}");
    }
    assert_eq!(
        okp("Ed25519", &base64url::encode([1; 31])),
        Err(JwkError::CoordinateLength("x"))
    );
}

#[test]
fn c8037_3_1_02_refuses_malleable_ed25519_signatures() {
    let key = okp("Ed25519", ED_X).unwrap();
    let input = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let good = octets("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
    assert_eq!(key.verify(Algorithm::EdDsa, input, &good), Ok(()));
    // The order of the base point, little-endian: s + L is the same number modulo L.
    let l = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10_u16,
    ];
    let mut malleable = good.clone();
    let mut carry = 0;
    for (octet, order) in malleable[32..].iter_mut().zip(l) {
        carry += u16::from(*octet) + order;
        *octet = carry.to_le_bytes()[0];
        carry >>= 8;
    }
    for bad in [
        &malleable[..],
        &good[..63],
        &[good.clone(), vec![0]].concat(),
        &[0; 64],
        &[],
    ] {
        assert_eq!(key.verify(Algorithm::EdDsa, input, bad), Err(VerifyError::Signature));
    }
}

#[test]
fn c7517_9_2_01_refuses_private_and_symmetric_keys() {
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        let text = format!(r#"{{"kty":"EC","crv":"P-256","x":"{P256_X}","y":"{P256_Y}","{name}":"AAAA"}}"#);
        assert_eq!(Jwk::from_json(&text), Err(JwkError::Private(name)));
    }
    assert_eq!(Jwk::from_json(r#"{"kty":"oct","k":"AAAA"}"#), Err(JwkError::KeyType));
}

#[test]
fn refuses_what_is_no_jwk() {
    for text in [
        "",
        "[]",
        "null",
        "{}",
        r#"{"kty":1}"#,
        r#"{"kty":null}"#,
        r#"{"kty":"ec"}"#,
        r#"{"kty":"EC"}"#,
        r#"{"kty":"RSA","n":1,"e":"AQAB"}"#,
        r#"{"kty":"RSA","e":"AQAB"}"#,
        r#"{"kty":"OKP","crv":"Ed25519"}"#,
        r#"{"kty":"OKP","kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo="}"#,
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp"}"#,
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"}"#,
    ] {
        assert!(Jwk::from_json(text).is_err(), "{text}");
    }
}

#[test]
fn a_subject_public_key_info_round_trips() {
    let mut keys = one_of_each();
    keys.push(rsa_pair().1);
    keys.push(rsa(RSA_N, "Aw").unwrap());
    for key in keys {
        let der = key.spki_der();
        assert_eq!(Jwk::from_spki_der(&der).as_ref(), Ok(&key));
        assert_eq!(Jwk::from_json(&key.to_json()).as_ref(), Ok(&key));
        let (rest, spki) = SubjectPublicKeyInfo::from_der(&der).unwrap();
        assert!(rest.is_empty() && spki.parsed().is_ok(), "x509-parser reads it");
        for end in 0..der.len() {
            assert!(Jwk::from_spki_der(&der[..end]).is_err(), "cut at {end}");
        }
        assert!(
            Jwk::from_spki_der(&[der, vec![0]].concat()).is_err(),
            "something behind"
        );
    }
    let (pair, key) = ecdsa_pair(Algorithm::Es256);
    let der = x509(pair.public_key());
    assert_eq!(key.spki_der(), der, "aws-lc-rs writes the same");
}

#[test]
fn a_spoilt_subject_public_key_info_never_panics() {
    for key in one_of_each() {
        let der = key.spki_der();
        for at in 0..der.len() {
            for bit in [1, 0x80, 0xff] {
                let mut spoilt = der.clone();
                spoilt[at] ^= bit;
                if let Ok(read) = Jwk::from_spki_der(&spoilt) {
                    assert_eq!(read.spki_der(), spoilt, "one encoding for one key");
                }
            }
        }
    }
}
