//! Strict RFC 7468 text: 64 characters a line, nothing before, between or behind.

/// Writes a certificate.
pub fn certificate(der: &[u8]) -> String {
    block("CERTIFICATE", der)
}

/// Writes a block with any label.
pub fn block(label: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_64_characters() {
        let text = certificate(&[7; 100]);
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!(lines.first(), Some(&"-----BEGIN CERTIFICATE-----"));
        assert_eq!(lines[1].len(), 64);
        assert!(text.ends_with("-----END CERTIFICATE-----\n"));
    }
}
