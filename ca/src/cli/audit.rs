//! The audit log on the command line.

use clap::Subcommand;

use super::{
    CliError, CliResult, Common,
    operate::{escape, print_json},
    remote::Operations,
};
use crate::{
    admin::answers_for_cli::ListPage,
    audit::{Chain, verify},
    model::AuditRecord,
};

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Recomputes the chain from its beginning and says whether anything was altered, removed or reordered
    Verify,
    /// Prints all records, one JSON object a line
    Export,
}

pub async fn run(common: &Common, command: AuditCommand) -> CliResult {
    let operations = Operations::reach(common).await?;
    match command {
        AuditCommand::Export => {
            follow(&operations, |record| {
                println!("{}", serde_json::to_string(&record)?);
                Ok(())
            })
            .await
        }
        AuditCommand::Verify => {
            let mut chain = Chain::START;
            follow(&operations, |record| {
                chain = verify(chain, [&record])?;
                Ok(())
            })
            .await?;
            let head: String = chain.hash.iter().map(|octet| format!("{octet:02x}")).collect();
            if common.json {
                return print_json(&serde_json::json!({ "records": chain.sequence, "head": head }));
            }
            println!("{} records, unbroken; head {head}", chain.sequence);
            Ok(())
        }
    }
}

async fn follow(operations: &Operations, mut each: impl FnMut(AuditRecord) -> CliResult) -> CliResult {
    let mut after = String::from("0");
    loop {
        let page: ListPage<AuditRecord> = operations
            .get(&format!("/audit?limit=5000&after={}", escape(&after)))
            .await?;
        for record in page.items {
            each(record)?;
        }
        match page.next {
            Some(next) if next == after => return Err(CliError::new("the daemon's list does not end")),
            Some(next) => after = next,
            None => return Ok(()),
        }
    }
}
