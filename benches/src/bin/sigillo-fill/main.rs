//! Loads certificates into a store through its own door, and measures what one more costs there.
//!
//! `sigillo-fill FILE COUNT` brings a store up to about so many certificates; called again it goes on where it was.
//! `sigillo-fill FILE measure [TASKS] [CERTIFICATES]` plays what an order writes (five batches, of which the last two
//! are the intent and the certificate), by so many at the same time, beside reads.

mod flow;
mod process;
mod record;

use std::{path::Path, sync::Arc, time::Instant};

use sigillo_ca::store::{Page, Store, embedded::SqliteStore};

use process::Usage;
use record::Template;

/// How many certificates are written in one batch.
const BATCH: u64 = 2000;

/// After how many batches progress is told.
const TELL_EVERY: u64 = 50;

/// How many status answers, certificates and pages are read to measure one.
const READS: u64 = 2000;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default: u64| -> u64 {
        arguments
            .get(place)
            .map_or(default, |text| text.parse().expect("a number"))
    };
    match arguments.as_slice() {
        [path, word, ..] if word == "measure" => measure(path.as_ref(), number(2, 16), number(3, 4000)).await,
        [path, _] => fill(path.as_ref(), number(1, 0)).await,
        _ => {
            eprintln!("usage: sigillo-fill FILE COUNT | sigillo-fill FILE measure [TASKS] [CERTIFICATES]");
            std::process::exit(2);
        }
    }
}

/// Writes certificates until the status feed has come so far.
async fn fill(path: &Path, count: u64) {
    let store = SqliteStore::open(path).expect("the store can be opened");
    let template = Template::new().await;
    let (mut done, _) = store.status_position().await.expect("the store is read");
    let (began, before, first) = (Instant::now(), Usage::now(), done);
    let mut batches = 0;
    while done < count {
        let many = BATCH.min(count - done);
        store
            .commit(template.batch(done, many))
            .await
            .expect("the batch is committed");
        done += many;
        batches += 1;
        if batches % TELL_EVERY == 0 {
            eprintln!("{done} {:.0}/s", (done - first) as f64 / began.elapsed().as_secs_f64());
        }
    }
    let used = Usage::now().since(before);
    drop(store);
    let size = std::fs::metadata(path).expect("the file is there").len();
    println!(
        "filled certificates={done} octets_each={} cpu_us_each={:.0} rss_mib={}",
        size / done.max(1),
        used.cpu_us / (done - first).max(1) as f64,
        Usage::now().resident_mib
    );
}

async fn measure(path: &Path, tasks: u64, count: u64) {
    let began = Instant::now();
    let store = Arc::new(SqliteStore::open(path).expect("the store can be opened"));
    let opened = began.elapsed();
    let template = Arc::new(Template::new().await);
    let (certificates, _) = store.status_position().await.expect("the store is read");

    let status = timed(|_| async {
        let serial = sigillo_ca::model::Serial::random();
        store.status(serial).await.expect("the store is read");
    })
    .await;
    let feed = timed(|n| {
        let after = n * (certificates / READS).max(1);
        let store = store.clone();
        async move {
            let page = store.status_feed(after, 1).await.expect("the store is read");
            if let Some(record) = page.first() {
                let found = store.certificate(record.serial).await.expect("the store is read");
                assert!(found.is_some(), "what the feed tells of is there");
            }
        }
    })
    .await;
    let list = timed(|n| {
        let store = store.clone();
        async move {
            let filter = record::named(n);
            store
                .certificates(&filter, Page::first(100))
                .await
                .expect("the store is read");
        }
    })
    .await;

    // The signal moves with every group that is committed.
    let groups = || *store.changed().borrow();
    let (before, groups_before) = (Usage::now(), groups());
    let began = Instant::now();
    flow::issue(&store, &template, tasks, count).await;
    let took = began.elapsed();
    let used = Usage::now().since(before);
    let each = |total: u64| total as f64 / count as f64;
    println!(
        "measured certificates={certificates} open_ms={:.1} status_us={status:.1} certificate_us={feed:.1} \
         by_name_us={list:.1} tasks={tasks} cpu_us_each={:.0} written_each={:.0} syncs_each={:.2} per_second={:.0} rss_mib={}",
        opened.as_secs_f64() * 1e3,
        used.cpu_us / count as f64,
        each(used.written),
        each(groups() - groups_before),
        count as f64 / took.as_secs_f64(),
        Usage::now().resident_mib
    );
}

/// Returns how many microseconds of the processors' time one of many took.
async fn timed<F: Future<Output = ()>>(work: impl Fn(u64) -> F) -> f64 {
    let before = Usage::now();
    for n in 0..READS {
        work(n).await;
    }
    Usage::now().since(before).cpu_us / READS as f64
}
