//! Flags as Go programs take them, for the commands that stand in for such programs.

use std::ffi::OsString;

/// The commands whose flags may have one hyphen.
const COMMANDS: [&str; 2] = ["pebble", "challtestsrv"];

/// Gives flags with one hyphen a second one, behind a command that stands in for a Go program.
///
/// Go knows no short flags that could be put together, so `-config` can mean nothing but `--config`.
pub(super) fn gnu_style(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut behind_command = false;
    let mut out = Vec::new();
    for (position, argument) in arguments.into_iter().enumerate() {
        let text = argument.to_str().unwrap_or_default();
        if behind_command && is_long_with_one_hyphen(text) {
            out.push(format!("-{text}").into());
            continue;
        }
        behind_command |= position > 0 && COMMANDS.contains(&text);
        out.push(argument);
    }
    out
}

fn is_long_with_one_hyphen(text: &str) -> bool {
    let name = text.strip_prefix('-').unwrap_or_default();
    name.len() > 1 && name.starts_with(|first: char| first.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &[&str], meant: &[&str]) {
        let read = gnu_style(given.iter().map(OsString::from));
        assert_eq!(read, meant);
    }

    #[test]
    fn one_hyphen_is_as_good_as_two() {
        check(
            &[
                "sigillo-ca",
                "challtestsrv",
                "-http01",
                "",
                "--dns01",
                ":8053",
                "-defaultIPv4=1.2.3.4",
                "-h",
            ],
            &[
                "sigillo-ca",
                "challtestsrv",
                "--http01",
                "",
                "--dns01",
                ":8053",
                "--defaultIPv4=1.2.3.4",
                "-h",
            ],
        );
    }

    #[test]
    fn other_commands_keep_their_flags() {
        check(&["sigillo-ca", "serve", "-config"], &["sigillo-ca", "serve", "-config"]);
        check(&["pebble", "-config"], &["pebble", "-config"]);
    }
}
