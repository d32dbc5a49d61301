//! RFC 7468 text in its strict form.

use crate::base64;

/// Reads certificates that follow each other, with nothing between, before or behind.
pub(crate) fn certificates(text: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "the chain is not text")?;
    let mut lines = text
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .peekable();
    let mut certificates = Vec::new();
    while let Some(line) = lines.next() {
        if line.is_empty() && !certificates.is_empty() {
            // The last line end, or an empty line between blocks, which the lax grammar calls whitespace.
            if lines.peek().is_none() {
                break;
            }
            return Err("an empty line in the chain".into());
        }
        if line != "-----BEGIN CERTIFICATE-----" {
            return Err(format!("{line:?} where a certificate begins"));
        }
        certificates.push(block(&mut lines)?);
    }
    if certificates.is_empty() {
        Err("no certificate in the chain".into())
    } else {
        Ok(certificates)
    }
}

fn block<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Result<Vec<u8>, String> {
    let mut text = String::new();
    let mut last = false;
    for line in lines {
        if line == "-----END CERTIFICATE-----" {
            return base64::from_standard(&text).ok_or_else(|| "unreadable base64 in the chain".into());
        }
        if last || line.len() > 64 || line.is_empty() {
            return Err(format!("a line of {} characters where 64 belong", line.len()));
        }
        last = line.len() < 64;
        text.push_str(line);
    }
    Err("a certificate does not end".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";

    #[test]
    fn reads_blocks_that_follow_each_other() {
        assert_eq!(
            certificates(format!("{ONE}{ONE}").as_bytes()).map(|all| all.len()),
            Ok(2)
        );
    }

    #[test]
    fn refuses_anything_else() {
        for wrong in [
            String::new(),
            format!("subject=x\n{ONE}"),
            format!("{ONE}\n{ONE}"),
            ONE.replace("CERTIFICATE", "X509 CERTIFICATE"),
            ONE.replace("MAMCAQE=", "MAMC\nAQE="),
            ONE.replace("MAMCAQE=", " MAMCAQE="),
            ONE.replace("-----END CERTIFICATE-----\n", ""),
        ] {
            assert!(certificates(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
