//! Keys: the vectors of the RFCs, the policy, and jsonwebtoken as a second judge.

use super::*;

const RSA_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
const ED_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
/// RFC 7515 section A.3.1.
const P256_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const P256_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

fn rsa(n: &str, e: &str) -> Result<Jwk, JwkError> {
    Jwk::from_json(&format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#))
}

fn ec(crv: &str, x: &str, y: &str) -> Result<Jwk, JwkError> {
    Jwk::from_json(&format!(r#"{{"kty":"EC","crv":"{crv}","x":"{x}","y":"{y}"}}"#))
}

fn okp(crv: &str, x: &str) -> Result<Jwk, JwkError> {
    Jwk::from_json(&format!(r#"{{"kty":"OKP","crv":"{crv}","x":"{x}"}}"#))
}

#[test]
fn c7638_3_01_gives_the_thumbprints_of_the_rfcs() {
    let with_more = format!(
        r#"{{"n":"{RSA_N}","use":"sig","kid":"2011-04-29","alg":"RS256","e":"AQAB","kty":"RSA","x":1}}"#
    );
    let key = Jwk::from_json(&with_more).unwrap();
    assert_eq!(key.thumbprint().to_string(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    assert_eq!(key, rsa(RSA_N, "AQAB").unwrap(), "one key in another dress");
    let ed = okp("Ed25519", ED_X).unwrap();
    assert_eq!(ed.thumbprint().to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_eq!(ed.thumbprint().to_string().parse(), Ok(ed.thumbprint()));
}
