//! Programs of the user's that run at certain moments.
//!
//! A hook is one program file, started directly: no shell reads what a server or a certificate says.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::error::{Error, Result};

/// How long a hook may run: DNS providers can be slow, but a renewal must not hang for ever.
const HOOK_TIMEOUT: Duration = Duration::from_secs(300);
/// How much of what a hook says is kept to explain its failure.
const HOOK_OUTPUT_MAX: u64 = 16 * 1024;

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    program: PathBuf,
    timeout: Duration,
}

impl Hook {
    /// Names the program.
    ///
    /// # Errors
    /// When there is no such file: better said before the order than after it.
    pub fn new(program: &Path) -> Result<Self> {
        let program = std::path::absolute(program).map_err(|e| Error::file("find the program", program, e))?;
        if !program.is_file() {
            return Err(Error::usage(format!("there is no program {}", program.display())));
        }
        Ok(Self {
            program,
            timeout: HOOK_TIMEOUT,
        })
    }

    /// Runs the program with arguments and additional environment, and waits for its end.
    ///
    /// # Errors
    /// When it cannot be started, takes too long, or ends with another status than 0.
    pub async fn run(&self, args: &[&str], env: &[(&str, String)]) -> Result<()> {
        let what = format!("the hook {} failed", self.program.display());
        let mut child = Command::new(&self.program)
            .args(args)
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| Error::local(&what, e))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let finished = async {
            let (said, complained, status) = tokio::join!(read_some(stdout), read_some(stderr), child.wait());
            (said, complained, status)
        };
        let seconds = self.timeout.as_secs();
        let (said, complained, status) = tokio::time::timeout(self.timeout, finished)
            .await
            .map_err(|_| Error::local(&what, format!("it took longer than {seconds} s")))?;
        let status = status.map_err(|e| Error::local(&what, e))?;
        if status.success() {
            tracing::debug!(hook = %self.program.display(), output = said, "hook done");
            return Ok(());
        }
        let words = if complained.is_empty() { said } else { complained };
        Err(Error::local(what, format!("{status}\n{}", words.trim_end())))
    }
}

/// Reads the beginning of a stream and throws the rest away, so that the writer never blocks.
async fn read_some(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else {
        return String::new();
    };
    let mut kept = Vec::new();
    let _ = (&mut stream).take(HOOK_OUTPUT_MAX).read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&kept).into_owned()
}

/// Runs a deploy hook for a certificate that was just obtained.
///
/// The program finds `SIGILLO_NAME`, `SIGILLO_DOMAINS` (separated by spaces), `SIGILLO_DIR`,
/// `SIGILLO_CERT`, `SIGILLO_CHAIN`, `SIGILLO_FULLCHAIN` and `SIGILLO_KEY` in its environment.
///
/// # Errors
/// When it fails; the certificate is kept all the same.
pub async fn deploy(hook: &Hook, name: &str, domains: &[String], dir: &Path) -> Result<()> {
    let file = |file: &str| dir.join(file).display().to_string();
    let env = [
        ("SIGILLO_NAME", name.to_owned()),
        ("SIGILLO_DOMAINS", domains.join(" ")),
        ("SIGILLO_DIR", dir.display().to_string()),
        ("SIGILLO_CERT", file("cert.pem")),
        ("SIGILLO_CHAIN", file("chain.pem")),
        ("SIGILLO_FULLCHAIN", file("fullchain.pem")),
        ("SIGILLO_KEY", file("key.pem")),
    ];
    hook.run(&[], &env).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn script(dir: &Path, body: &str) -> Hook {
        let path = dir.join("hook");
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Hook::new(&path).unwrap()
    }

    #[tokio::test]
    async fn a_hook_gets_its_values_unread_by_any_shell() {
        let dir = tempfile::tempdir().unwrap();
        let hook = script(dir.path(), "printf '%s|%s' \"$1\" \"$SIGILLO_VALUE\" > \"$OUT\"");
        let out = dir.path().join("out");
        let evil = "$(touch /tmp/x); `id` ' \"";
        let env = [("SIGILLO_VALUE", evil.to_owned()), ("OUT", out.display().to_string())];
        hook.run(&[evil], &env).await.unwrap();
        assert_eq!(std::fs::read_to_string(out).unwrap(), format!("{evil}|{evil}"));
    }

    #[tokio::test]
    async fn a_failing_hook_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let hook = script(dir.path(), "echo no such zone >&2; exit 3");
        let error = hook.run(&[], &[]).await.unwrap_err().to_string();
        assert!(error.contains("no such zone") && error.contains('3'), "{error}");
    }

    #[tokio::test]
    async fn a_hook_that_hangs_or_talks_too_much_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let mut hook = script(dir.path(), "exec sleep 60");
        hook.timeout = Duration::from_millis(100);
        assert!(hook.run(&[], &[]).await.unwrap_err().to_string().contains("longer"));
        let loud = script(dir.path(), "head -c 1000000 /dev/zero; exit 1");
        let error = loud.run(&[], &[]).await.unwrap_err().to_string();
        assert!(error.len() < 2 * HOOK_OUTPUT_MAX as usize);
    }
}
