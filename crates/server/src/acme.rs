//! Certificates from a certificate authority that speaks ACME (RFC 8555). The rules are:
//!
//!  - the key is the server's own, `key.pem` in the data dir, and stays: devices that pinned it
//!    notice no renewal;
//!  - `cert.pem` is replaced only by a complete chain for that key, in one step; the server loads it
//!    as it loads every changed file;
//!  - whatever fails, the certificate that is there is served on, and the order is repeated later.

mod challenge;
mod hook;
mod http;
mod order;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::now;
use crate::config::Acme;
use crate::tls::{self, Leaf};
use order::OrderError;

/// Between two looks at the certificate.
const LOOK_PAUSE: Duration = Duration::from_secs(3600);
/// The pause after a first failure; each further one is twice as long. Authorities refuse those who
/// repeat failing orders too often.
const RETRY_MIN: Duration = Duration::from_secs(900);
const RETRY_MAX: Duration = Duration::from_secs(86_400);

/// Keeps the server's own certificate issued, until `stop`. Calls `failed` for each failed order.
pub(crate) async fn keep_issued(
    acme: Acme,
    data_dir: PathBuf,
    stop: CancellationToken,
    failed: impl Fn(),
) {
    let mut retry = RETRY_MIN;
    loop {
        let renewed = tokio::select! {
            // An order under way is dropped: the authority or the operator's program may hang.
            () = stop.cancelled() => return,
            renewed = renew_if_due(&acme, &data_dir) => renewed,
        };
        let pause = match renewed {
            Ok(()) => {
                retry = RETRY_MIN;
                LOOK_PAUSE
            }
            Err(error) => {
                failed();
                let (hint, again) = (error.hint(), format!("{} min", retry.as_secs() / 60));
                tracing::error!(
                    %error, hint, again,
                    "no certificate was issued; the present one is served on"
                );
                let pause = retry;
                retry = (retry * 2).min(RETRY_MAX);
                pause
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn renew_if_due(acme: &Acme, data_dir: &Path) -> Result<(), OrderError> {
    let leaf = tls::own_leaf(data_dir)?;
    let Some(reason) = due(&leaf, &acme.names, now()) else {
        return Ok(());
    };
    tracing::info!(
        reason,
        names = acme.names.join(", "),
        "a certificate is ordered"
    );
    order::order(acme, data_dir).await
}

/// Why a certificate has to be ordered at this moment, if it has to.
fn due(leaf: &Leaf, names: &[String], at: i64) -> Option<&'static str> {
    let is_named = |name: &String| {
        leaf.names
            .iter()
            .any(|other| other.eq_ignore_ascii_case(name))
    };
    let lifetime = leaf.not_after - leaf.not_before;
    if leaf.is_self_signed {
        Some("the present one is self-signed")
    } else if !names.iter().all(is_named) {
        Some("the present one has other names")
    } else if leaf.not_after - at < lifetime / 3 {
        Some("less than a third of the lifetime is left")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_ordered_when_it_has_to_be() {
        let names = ["a.example".to_owned()];
        let good = Leaf {
            names: vec!["A.example".to_owned(), "b.example".to_owned()],
            not_before: 1000,
            not_after: 1300,
            is_self_signed: false,
        };
        assert_eq!(due(&good, &names, 1200), None);
        assert!(due(&good, &names, 1201).unwrap().contains("third"));
        assert!(
            due(&good, &["c.example".to_owned()], 1000)
                .unwrap()
                .contains("names")
        );
        let own = Leaf {
            is_self_signed: true,
            ..good
        };
        assert!(due(&own, &names, 1000).unwrap().contains("self-signed"));
    }
}
