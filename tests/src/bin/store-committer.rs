//! Commits as fast as it can and tells on stdout what was acknowledged, until it is ended from outside.
//!
//! `store-committer commit sqlite|sled|synced|unsynced PATH PREFIX` prints `ack KEY` for each acknowledged key;
//! `store-committer look sled|synced|unsynced PATH` reads keys from stdin and prints `missing KEY` for each that
//! is not there, then `done`. It is a program of its own so that it can be killed, or panic, alone.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use sigillo_ca::{
    model::AuditEvent,
    store::{
        Batch, Change, Store,
        contract::records::{certificate, event, external_key, issued},
        embedded::SqliteStore,
    },
};

/// How many tasks commit at a time: enough that groups form.
const COMMITTERS: usize = 16;

/// How large a value is where values are bare: about an issued certificate with its record.
const VALUE_LENGTH: usize = 1_500;

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["commit", "sqlite", path, prefix] => commit_to_sqlite(Path::new(path), prefix).await,
        ["commit", "sled", path, prefix] => commit_to_sled(Path::new(path), prefix),
        ["commit", "synced", path, prefix] => write_lines(Path::new(path), prefix, |file| file.sync_data()),
        ["commit", "unsynced", path, prefix] => write_lines(Path::new(path), prefix, |_| {
            // Slow enough that it does not fill the disk.
            std::thread::sleep(Duration::from_micros(200));
            Ok(())
        }),
        ["look", "sled", path] => look_in_sled(Path::new(path)),
        ["look", "synced" | "unsynced", path] => look_in_file(Path::new(path)),
        _ => return ExitCode::from(2),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn acknowledge(key: &str) -> io::Result<()> {
    // One write, so that a line is there whole or not at all.
    io::stdout().lock().write_all(format!("ack {key}\n").as_bytes())
}

async fn commit_to_sqlite(path: &Path, prefix: &str) -> Outcome {
    let store = Arc::new(SqliteStore::open(path)?);
    let tasks: Vec<_> = (0..COMMITTERS)
        .map(|task| {
            let (store, prefix) = (Arc::clone(&store), prefix.to_owned());
            tokio::spawn(async move {
                for n in 0_u64.. {
                    let key = format!("{prefix}-{task}-{n}");
                    store.commit(batch(event(&key), &key)).await?;
                    acknowledge(&key)?;
                }
                Outcome::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

fn batch(event: AuditEvent, key: &str) -> Batch {
    Batch::new(event)
        .with(Change::ExternalKey(external_key(key)))
        .with(Change::Certificate(issued(&certificate(
            &["a.example", "b.example"],
            1_000,
        ))))
}

fn commit_to_sled(path: &Path, prefix: &str) -> Outcome {
    // One task: with seven or more, sled's flush can wait for ever.
    let db = sled::open(path)?;
    for n in 0_u64.. {
        let key = format!("{prefix}-{n}");
        db.insert(&key, vec![7; VALUE_LENGTH])?;
        db.flush()?;
        acknowledge(&key)?;
    }
    Ok(())
}

fn write_lines(path: &Path, prefix: &str, sync: impl Fn(&File) -> io::Result<()>) -> Outcome {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    for n in 0_u64.. {
        let key = format!("{prefix}-{n}");
        file.write_all(format!("{key}\n").as_bytes())?;
        sync(&file)?;
        acknowledge(&key)?;
    }
    Ok(())
}

fn look_in_sled(path: &Path) -> Outcome {
    let db = sled::open(path)?;
    report(|key| Ok(db.get(key)?.is_some_and(|value| value.len() == VALUE_LENGTH)))
}

fn look_in_file(path: &Path) -> Outcome {
    let content = std::fs::read_to_string(path).unwrap_or_default();
    let there: std::collections::HashSet<&str> = content.lines().collect();
    report(|key| Ok(there.contains(key)))
}

fn report(is_there: impl Fn(&str) -> Result<bool, sled::Error>) -> Outcome {
    let mut out = io::stdout().lock();
    for key in io::stdin().lock().lines() {
        let key = key?;
        if !is_there(&key)? {
            writeln!(out, "missing {key}")?;
        }
    }
    writeln!(out, "done")?;
    Ok(())
}
