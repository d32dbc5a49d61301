//! Link headers by the grammar of RFC 8288.

/// One link.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) target: String,
    pub(crate) relations: Vec<String>,
}

/// Reads one header field, which may hold several links.
pub(crate) fn parse(field: &str) -> Result<Vec<Link>, String> {
    let mut links = Vec::new();
    let mut rest = field.trim_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (target, after) = rest
            .strip_prefix('<')
            .and_then(|rest| rest.split_once('>'))
            .ok_or("a link target is not in <>")?;
        let mut link = Link {
            target: target.to_owned(),
            relations: Vec::new(),
        };
        rest = after.trim_start();
        while let Some(parameter) = rest.strip_prefix(';') {
            let (name, value, after) = parameter_of(parameter.trim_start())?;
            if name.eq_ignore_ascii_case("rel") && link.relations.is_empty() {
                link.relations = value.split_ascii_whitespace().map(str::to_owned).collect();
            }
            rest = after.trim_start();
        }
        links.push(link);
        rest = match rest.strip_prefix(',') {
            Some(after) => after.trim_start_matches([' ', '\t', ',']),
            None if rest.is_empty() => rest,
            None => return Err(format!("no comma before {rest:?}")),
        };
    }
    if links.is_empty() {
        Err("an empty Link header".into())
    } else {
        Ok(links)
    }
}

fn parameter_of(text: &str) -> Result<(&str, String, &str), String> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let (name, after) = text.split_at(text.find(|c| !is_token(c)).unwrap_or(text.len()));
    if name.is_empty() {
        return Err("a parameter without a name".into());
    }
    let Some(value) = after.trim_start().strip_prefix('=') else {
        return Ok((name, String::new(), after));
    };
    let value = value.trim_start();
    if let Some(quoted) = value.strip_prefix('"') {
        let end = quoted.find('"').ok_or("a quoted value that does not end")?;
        return Ok((name, quoted[..end].to_owned(), &quoted[end + 1..]));
    }
    let (token, after) = value.split_at(value.find(|c| !is_token(c)).unwrap_or(value.len()));
    if token.is_empty() {
        Err("a parameter without a value".into())
    } else {
        Ok((name, token.to_owned(), after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_several_links_in_one_field() {
        let links = parse("<https://a/d>;rel=\"index\", <https://a/x>; rel=up ; title=\"a, b\"").expect("sound");
        assert_eq!(links[0].relations, ["index"]);
        assert_eq!(
            (links[1].target.as_str(), links[1].relations[0].as_str()),
            ("https://a/x", "up")
        );
    }

    #[test]
    fn refuses_what_the_grammar_does_not_have() {
        for wrong in [
            "https://a/d; rel=index",
            "<https://a/d> rel=index",
            "<a>;rel=\"x",
            "<a>;=x",
            "",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
