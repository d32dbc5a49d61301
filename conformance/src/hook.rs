//! What only an operator of the target can do: a command of his own does it when it is asked to.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::case::{Finding, Judgement};
use crate::suite::Run;

/// A hook that does not end is given up after this: restarting a server is the slowest thing that is asked of one.
const HOOK_WITHIN: Duration = Duration::from_secs(120);

/// How often it is looked whether a hook has ended.
const HOOK_LOOK: Duration = Duration::from_millis(20);

/// The exit code by which a hook says that it cannot do what it is asked.
const NOT_SUPPORTED: i32 = 3;

/// Every verb with its arguments and what the target is to be like afterwards.
pub const VERBS: &[(&str, &str)] = &[
    (
        "terms URL",
        "the terms of service are at URL and have to be agreed to before the next order",
    ),
    ("profile-withdraw NAME", "the profile NAME is not offered any more"),
    (
        "limit-orders N",
        "an account that has placed N orders is refused the next one, for some seconds",
    ),
    ("order-lifetime SECONDS", "new orders end after so many seconds"),
    (
        "certificate-lifetime SECONDS",
        "new certificates end after so many seconds",
    ),
    (
        "ocsp-validity SECONDS",
        "OCSP answers live so many seconds from thisUpdate to nextUpdate",
    ),
    (
        "hold SERIAL",
        "the certificate of this serial, in hexadecimal, is on hold",
    ),
    ("release SERIAL", "it is released from hold"),
    (
        "clock SECONDS",
        "the clock is ahead by so many seconds more; asked at the end, and never turned back",
    ),
    (
        "ocsp-trouble",
        "the OCSP responder cannot do its work, as without its database; asked at the end",
    ),
    ("restore", "everything but the clock is as it was before"),
];

impl Run {
    /// Has the operator's hook do something.
    pub(crate) fn hook(&self, verb: &str, arguments: &[&str]) -> Judgement {
        let Some(program) = &self.options.hook else {
            return Err(Finding::Blocked("the run has no --hook".into()));
        };
        let blocked = |why: String| Err(Finding::Blocked(format!("the hook, asked for {verb}: {why}")));
        let mut command = Command::new(program);
        command.arg(verb).args(arguments).stdin(Stdio::null());
        // What it says goes where the suite's own complaints go, so that a pipe nobody reads cannot stop it.
        command.stdout(Stdio::null()).stderr(Stdio::inherit());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return blocked(error.to_string()),
        };
        let began = Instant::now();
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) if status.code() == Some(NOT_SUPPORTED) => return blocked("not supported".into()),
                Ok(Some(status)) => return blocked(format!("it ended with {status}")),
                Ok(None) if began.elapsed() < HOOK_WITHIN => std::thread::sleep(HOOK_LOOK),
                Ok(None) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return blocked(format!("not done within {} seconds", HOOK_WITHIN.as_secs()));
                }
                Err(error) => return blocked(error.to_string()),
            }
        }
    }

    /// Has the hook do something, judges, and has it put everything back, however the judging ends.
    pub(crate) fn with_hook<T>(
        &self,
        verb: &str,
        arguments: &[&str],
        judge: impl FnOnce() -> Judgement<T>,
    ) -> Judgement<T> {
        self.hook(verb, arguments)?;
        let judged = judge();
        if let Err(Finding::Blocked(why)) = self.hook("restore", &[]) {
            self.warn(why);
        }
        judged
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::mock::acme;
    use crate::mock::server::{Mock, Said};
    use crate::target::Options;

    /// What comes of asking this program.
    fn asked(program: Option<&str>) -> Judgement {
        let mock = Mock::start(|origin, request| {
            acme::common(origin, request, String::new).unwrap_or_else(|| Said::problem(404, "malformed"))
        });
        let mock = mock.expect("a port");
        let mut options = Options::new(mock.url(acme::DIRECTORY));
        options.hook = program.map(PathBuf::from);
        Run::start(options).expect("a directory").hook("restore", &[])
    }

    #[test]
    fn goes_on_only_when_the_operator_did_as_asked() {
        assert!(asked(Some("true")).is_ok());
        for program in [Some("false"), Some("no-such-program-anywhere"), None] {
            assert!(matches!(asked(program), Err(Finding::Blocked(_))), "{program:?}");
        }
    }
}
