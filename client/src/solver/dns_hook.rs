//! dns-01 through a program of the user's (RFC 8555 section 8.4).

use std::path::Path;
use std::time::Duration;

use sigillo_protocol::acme::challenge::ChallengeType;

use super::{Proof, Solver, SolverFuture};
use crate::error::Result;
use crate::hook::Hook;

/// Runs `PROGRAM present|remove RECORD VALUE`.
///
/// The same is in the environment as `SIGILLO_ACTION`, `SIGILLO_RECORD`, `SIGILLO_VALUE`, with
/// `SIGILLO_DOMAIN`. Two values of one record may be wanted at once (a name and its wildcard), so
/// the program has to add and to take away values, not to replace the record.
#[derive(Debug)]
pub struct DnsHook {
    hook: Hook,
    wait: Duration,
}

impl DnsHook {
    /// Names the program, and how long a new record needs to become visible.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn new(program: &Path, wait: Duration) -> Result<Self> {
        Ok(Self {
            hook: Hook::new(program)?,
            wait,
        })
    }

    async fn run(&self, action: &str, proof: &Proof) -> Result<()> {
        let record = proof.subject.record_name()?;
        let value = proof.dns_value();
        let env = [
            ("SIGILLO_ACTION", action.to_owned()),
            ("SIGILLO_DOMAIN", proof.subject.text()),
            ("SIGILLO_RECORD", record.clone()),
            ("SIGILLO_VALUE", value.clone()),
        ];
        self.hook.run(&[action, &record, &value], &env).await
    }
}

impl Solver for DnsHook {
    fn kind(&self) -> ChallengeType {
        ChallengeType::Dns01
    }

    fn present<'a>(&'a self, proof: &'a Proof) -> SolverFuture<'a> {
        Box::pin(async move {
            self.run("present", proof).await?;
            tokio::time::sleep(self.wait).await;
            Ok(())
        })
    }

    fn remove<'a>(&'a self, proof: &'a Proof) -> SolverFuture<'a> {
        Box::pin(self.run("remove", proof))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solver::{Subject, Token};
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn tells_the_program_what_to_set_and_to_remove() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("hook");
        let log = dir.path().join("log");
        let body = format!(
            "#!/bin/sh\necho \"$1 $2 $3 $SIGILLO_ACTION $SIGILLO_RECORD $SIGILLO_VALUE \
             $SIGILLO_DOMAIN\" >> {}\n",
            log.display()
        );
        std::fs::write(&program, body).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let solver = DnsHook::new(&program, Duration::ZERO).unwrap();
        let proof = Proof {
            subject: Subject::Dns("a.example".into()),
            token: Token::parse("tok").unwrap(),
            key_authorization: "tok.thumb".into(),
        };
        solver.present(&proof).await.unwrap();
        solver.remove(&proof).await.unwrap();
        let value = proof.dns_value();
        let line = |action: &str| {
            let record = "_acme-challenge.a.example";
            format!("{action} {record} {value} {action} {record} {value} a.example")
        };
        let said = std::fs::read_to_string(log).unwrap();
        assert_eq!(said.lines().collect::<Vec<_>>(), [line("present"), line("remove")]);
    }
}
