//! Contact URLs (RFC 8555 section 7.3): which ones are taken.

use sigillo_protocol::acme::{
    identifier::DnsName,
    problem::{ErrorType, Problem},
};

/// How many contacts an account may have.
const CONTACTS_MAX: usize = 10;

/// The longest contact URL: an e-mail address has at most 254 octets (RFC 5321 section 4.5.3.1.3).
const CONTACT_LENGTH_MAX: usize = 7 + 254;

/// Checks all contacts of an account.
///
/// # Errors
/// `unsupportedContact` for a scheme other than `mailto`, `invalidContact` for a bad address.
pub fn check(contacts: &[String]) -> Result<(), Problem> {
    if contacts.len() > CONTACTS_MAX {
        return Err(invalid(format!("An account has at most {CONTACTS_MAX} contacts.")));
    }
    contacts.iter().try_for_each(|contact| check_one(contact))
}

fn check_one(contact: &str) -> Result<(), Problem> {
    let Some((scheme, address)) = contact.split_once(':') else {
        return Err(invalid("A contact is a URL such as mailto:admin@example.org."));
    };
    if !scheme.eq_ignore_ascii_case("mailto") {
        return Err(Problem::new(
            ErrorType::UnsupportedContact,
            "Only contacts with the scheme mailto are supported.",
        ));
    }
    if contact.len() > CONTACT_LENGTH_MAX {
        return Err(invalid("The e-mail address is too long."));
    }
    if address.contains(['?', ',']) {
        // RFC 8555 section 7.3: no header fields, one address.
        return Err(invalid("A mailto contact holds one address and no header fields."));
    }
    let Some((local, domain)) = address.rsplit_once('@') else {
        return Err(invalid("The e-mail address has no @."));
    };
    let local_fits = (1..=64).contains(&local.len())
        && local
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'@' | b'<' | b'>' | b'"' | b'\\' | b'(' | b')'));
    if !local_fits {
        return Err(invalid("The part of the e-mail address before the @ is not valid."));
    }
    match domain.parse::<DnsName>() {
        Ok(_) => Ok(()),
        Err(_) => Err(invalid(
            "The part of the e-mail address after the @ is not a domain name.",
        )),
    }
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(ErrorType::InvalidContact, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(contact: &str) -> Option<ErrorType> {
        check(&[contact.to_owned()]).err().map(|problem| problem.kind)
    }

    #[test]
    fn takes_one_plain_address() {
        for contact in ["mailto:admin@example.org", "MAILTO:a.b+c@sub.example.org"] {
            assert_eq!(kind(contact), None, "{contact}");
        }
    }

    #[test]
    fn refuses_other_schemes_as_unsupported() {
        for contact in ["tel:+123", "https://example.org"] {
            assert_eq!(kind(contact), Some(ErrorType::UnsupportedContact), "{contact}");
        }
    }

    #[test]
    fn refuses_bad_addresses_as_invalid() {
        for contact in [
            "mailto:",
            "mailto:not-an-address",
            "mailto:a@example.org?subject=x",
            "mailto:a@example.org,b@example.org",
            "mailto:a b@example.org",
            "mailto:@example.org",
            "mailto:a@",
            "no-scheme",
        ] {
            assert_eq!(kind(contact), Some(ErrorType::InvalidContact), "{contact}");
        }
    }

    #[test]
    fn refuses_too_many() {
        let many = vec!["mailto:a@example.org".to_owned(); CONTACTS_MAX + 1];
        assert!(check(&many).is_err());
    }
}
