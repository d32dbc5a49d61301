//! The keys that DNSSEC validation begins from, where they are not the root's published ones.

use std::path::Path;

use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::proto::serialize::txt::trust_anchor::{Entry, Parser};

use super::settings::SettingsError;

/// Reads a file of DNSKEY records, one a line, as resolvers keep them.
///
/// DS records would not do: the library compares keys, not their digests.
pub(super) fn read(path: &Path) -> Result<TrustAnchors, SettingsError> {
    let bad = |reason: String| SettingsError::TrustAnchors {
        path: path.to_owned(),
        reason,
    };
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let entries = Parser::new(text)
        .parse()
        .map_err(|error| bad(format!("these are no DNSKEY records ({error})")))?;
    // No anchors at all would mean that nothing validates.
    if entries.is_empty() {
        return Err(bad("there is no DNSKEY record in it".into()));
    }
    let mut anchors = TrustAnchors::empty();
    for entry in entries {
        let Entry::DNSKEY(record) = entry else {
            return Err(bad("it holds records that are no DNSKEY".into()));
        };
        anchors.insert_with_name(record.data().public_key(), record.name().into());
    }
    Ok(anchors)
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Name;

    use super::*;

    /// The example key of RFC 6605 section 6.1.
    const KEY: &str = "GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==";

    fn outcome(text: &str) -> Result<TrustAnchors, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchors");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn reads_keys_of_the_root_and_of_other_zones() {
        let text = format!("; ours\n. 3600 IN DNSKEY 257 3 13 {KEY}\nexample.net. IN DNSKEY 257 3 13 {KEY}\n");
        let anchors = outcome(&text).unwrap();
        assert_eq!(anchors.len(), 1, "only keys of the root are counted");
        let key = anchors.get(0).unwrap();
        let name = |text: &str| Name::from_ascii(text).unwrap().into();
        assert!(anchors.contains_with_name(key, &name("example.net.")));
        assert!(!anchors.contains_with_name(key, &name("example.org.")));
    }

    #[test]
    fn refuses_files_that_hold_no_keys() {
        let digest = ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n";
        for (text, reason) in [
            ("", "no DNSKEY record in it"),
            ("; a comment\n\n", "no DNSKEY record in it"),
            ("nonsense", "no DNSKEY record in it"),
            (digest, "these are no DNSKEY records"),
            (". IN DNSKEY 257 3 13 %%%%\n", "these are no DNSKEY records"),
        ] {
            let error = outcome(text).err().expect(text).to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
        let missing = read(Path::new("/nonexistent/anchors")).err().unwrap().to_string();
        assert!(
            missing.starts_with("validation.trust_anchors /nonexistent"),
            "{missing}"
        );
    }
}
