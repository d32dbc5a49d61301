//! RFC 2585, 7468, 9110 and 9111: CRLs and certificates as files over HTTP.

use jiff::Timestamp;

use crate::case::{Case, Complaint, Finding, Judgement, ensure, must_read, should, should_read};
use crate::der;
use crate::http::Request;
use crate::read::certificate::{ACCESS_CA_ISSUERS, Certificate};
use crate::read::crl::Crl;
use crate::read::time;
use crate::suite::Run;

pub(super) const CASES: &[Case] = &[
    must_read!(
        c2585_3_01,
        "A certificate's URI gives one DER certificate, a CRL's one DER CRL."
    ),
    should!(c2585_4_1_01, "Their types are pkix-cert and pkix-crl."),
    should!(c5280_4_2_2_1_03, "A bundle of certificates is pkcs7-mime."),
    should_read!(c9110_8_8_01, "Conditional requests save a transfer."),
    must_read!(c9110_9_3_2_01, "HEAD gives the headers of GET."),
    should_read!(c9111_5_2_01, "A CRL cannot be cached beyond its nextUpdate."),
];

/// The files that the shared certificate and its issuer name: URL and whether it is a CRL.
fn files(run: &Run) -> Judgement<Vec<(String, bool)>> {
    let mut files = Vec::new();
    for certificate in &run.certificate()?.chain {
        files.extend(certificate.crl_uris().into_iter().map(|url| (url, true)));
        files.extend(
            certificate
                .access(ACCESS_CA_ISSUERS)
                .into_iter()
                .map(|url| (url, false)),
        );
    }
    files.retain(|(url, _)| url.starts_with("http"));
    if files.is_empty() {
        Err(Finding::NotOffered("certificates name no files".into()))
    } else {
        Ok(files)
    }
}

fn is_bundle(url: &str) -> bool {
    url.ends_with(".p7c")
}

fn c2585_3_01(run: &Run) -> Judgement {
    run.each(files(run)?, |(url, is_crl)| {
        let answer = run.get(&url)?;
        ensure!(answer.status == 200, "{url}: {}", answer.summary());
        if is_crl {
            Crl::read(&answer.body).read_as(&url)?;
        } else if !is_bundle(&url) {
            Certificate::read(&answer.body).read_as(&url)?;
        }
        Ok(())
    });
    Ok(())
}

fn c2585_4_1_01(run: &Run) -> Judgement {
    run.each(files(run)?, |(url, is_crl)| {
        if !is_bundle(&url) {
            let kind = run.get(&url)?.media_type();
            let wanted = if is_crl {
                "application/pkix-crl"
            } else {
                "application/pkix-cert"
            };
            ensure!(kind == wanted, "{url} is {kind:?}");
        }
        Ok(())
    });
    Ok(())
}

fn c5280_4_2_2_1_03(run: &Run) -> Judgement {
    let Some((url, _)) = files(run)?.into_iter().find(|(url, _)| is_bundle(url)) else {
        return Err(Finding::NotOffered("no bundle is named".into()));
    };
    let answer = run.get(&url)?;
    ensure!(
        answer.media_type() == "application/pkcs7-mime",
        "{url} is {:?}",
        answer.media_type()
    );
    let mut content = der::single(&answer.body, der::SEQUENCE).read_as(&url)?.inside();
    let kind = content.expect(der::OID).read_as(&url)?;
    ensure!(
        der::dotted(kind.content) == "1.2.840.113549.1.7.2",
        "{url} is no signed data"
    );
    Ok(())
}

fn c9110_8_8_01(run: &Run) -> Judgement {
    run.each(files(run)?, |(url, _)| {
        let answer = run.get(&url)?;
        let validators = [("etag", "If-None-Match"), ("last-modified", "If-Modified-Since")];
        let mut judged = false;
        run.each(validators, |(name, condition)| {
            let Some(value) = answer.header(name) else {
                return Ok(());
            };
            judged = true;
            let again = run.send(&Request::get(&url).header(condition, value))?;
            let changed = again.status == 200 && again.body != answer.body;
            ensure!(
                again.status == 304 || changed,
                "{url}: {condition} gets {}",
                again.status
            );
            ensure!(again.status != 304 || again.body.is_empty(), "{url}: 304 with a body");
            Ok(())
        });
        ensure!(judged, "{url} has neither ETag nor Last-Modified");
        Ok(())
    });
    Ok(())
}

fn c9110_9_3_2_01(run: &Run) -> Judgement {
    run.each(files(run)?, |(url, _)| {
        let head = run.send(&Request::new("HEAD", &url))?;
        let get = run.get(&url)?;
        ensure!(
            head.status == get.status,
            "{url}: HEAD gives {}, GET {}",
            head.status,
            get.status
        );
        run.each(["content-type", "content-length", "etag", "last-modified"], |name| {
            let same = head.header(name) == get.header(name);
            // The file may have been made anew in between.
            ensure!(
                same || head.header("etag") != get.header("etag"),
                "{url}: {name} differs"
            );
            Ok(())
        });
        Ok(())
    });
    Ok(())
}

fn c9111_5_2_01(run: &Run) -> Judgement {
    run.each(files(run)?, |(url, is_crl)| {
        if !is_crl {
            return Ok(());
        }
        let answer = run.get(&url)?;
        let crl = Crl::read(&answer.body).read_as(&url)?;
        let Some(next) = crl.next_update else { return Ok(()) };
        if let Some(expires) = answer.header("expires") {
            ensure!(
                time::http_date(expires).read_as("Expires")? <= next,
                "{url}: Expires {expires} is after {next}"
            );
        }
        let cache = answer.header("cache-control").unwrap_or_default();
        if let Some(age) = cache
            .split(',')
            .find_map(|part| part.trim().strip_prefix("max-age=")?.parse::<i64>().ok())
        {
            ensure!(
                Timestamp::now().as_second() + age <= next.as_second() + 1,
                "{url}: max-age {age} is after {next}"
            );
        }
        Ok(())
    });
    Ok(())
}
