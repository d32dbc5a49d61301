//! Flags as Go programs take them, for the commands that stand in for such programs.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

/// The commands whose flags may have one hyphen.
const COMMANDS: [&str; 2] = ["pebble", "challtestsrv"];

/// The names under which the program is a command of its own from the first argument on.
const NAMES: [(&str, &str); 2] = [("pebble", "pebble"), ("pebble-challtestsrv", "challtestsrv")];

/// Makes a program that is called by a name of [`NAMES`] the command that it stands for.
pub(super) fn as_command(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.collect();
    let own = arguments.first().and_then(|own| Path::new(own).file_name());
    let stands_for = NAMES.iter().find(|(name, _)| own == Some(OsStr::new(name)));
    if let Some((_, command)) = stands_for {
        // A script may call the link as it would call the program itself.
        if arguments.get(1).is_none_or(|second| second != command) {
            arguments.insert(1, command.into());
        }
    }
    arguments
}

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

    #[test]
    fn a_link_with_pebbles_name_is_this_command() {
        for (given, meant) in [
            (
                &["/bin/pebble", "-version"][..],
                &["/bin/pebble", "pebble", "-version"][..],
            ),
            (&["pebble"], &["pebble", "pebble"]),
            (
                &["./pebble-challtestsrv", "-h"],
                &["./pebble-challtestsrv", "challtestsrv", "-h"],
            ),
            (
                &["sigillo-ca", "pebble", "-strict"],
                &["sigillo-ca", "pebble", "-strict"],
            ),
            (&["sigillo-ca"], &["sigillo-ca"]),
        ] {
            assert_eq!(as_command(given.iter().map(OsString::from)), meant);
        }
    }
}
