//! Loads a certificate and key whose files have changed, without a restart or a signal.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config::CertificateFiles;
use crate::state::ServerState;
use crate::tls::{self, Identity, ServedCertificate};

/// Between two looks at the files.
const LOOK_PAUSE: Duration = Duration::from_secs(2);

/// Modification time, length and inode of each file. A changed file has another stamp.
pub(super) type Stamp = [Option<(SystemTime, u64, u64)>; 2];

/// The files of the pair that is served: the operator's, or the server's own.
pub(super) fn files_of(configured: &Option<CertificateFiles>, data_dir: &Path) -> CertificateFiles {
    configured.clone().unwrap_or_else(|| CertificateFiles {
        certificate: data_dir.join(tls::OWN_CERTIFICATE),
        key: data_dir.join(tls::OWN_KEY),
    })
}

pub(super) fn stamp(files: &CertificateFiles) -> Stamp {
    [&files.certificate, &files.key].map(|path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len(), file.ino()))
    })
}

/// Loads changed files when they have been stable for a moment, because a renewal writes one after
/// the other. A pair that cannot be used is logged once, and the served pair stays.
pub(super) async fn follow_certificate(
    state: Arc<ServerState>,
    data_dir: PathBuf,
    notes: PathBuf,
    mut served: Stamp,
) {
    let look = || {
        let configured = files_of(&state.certificate.load(), &data_dir);
        tokio::task::spawn_blocking(move || stamp(&configured))
    };
    let mut before = Stamp::default();
    loop {
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_PAUSE) => {}
        }
        let now = look().await.unwrap_or_default();
        let is_stable = now == before;
        before = now;
        // A missing file is about to be replaced.
        if now == served || !is_stable || now.contains(&None) {
            continue;
        }
        served = now;
        let (configured, data_dir) = (Option::clone(&state.certificate.load()), data_dir.clone());
        let loaded =
            tokio::task::spawn_blocking(move || Identity::load(configured.as_ref(), &data_dir))
                .await;
        match loaded {
            Ok(Ok(identity)) => {
                let served = ServedCertificate::serve(&identity, &notes);
                let settings = state.settings.load_full().with_certificate(served);
                state.settings.store(Arc::new(settings));
                tracing::info!(pin = %identity.pin, "the certificate has changed; new connections \
                    use it");
                for warning in &identity.warnings {
                    warning.log();
                }
            }
            Ok(Err(error)) => {
                let hint = error.hint();
                tracing::error!(%error, hint, "the new certificate cannot be used; the old one \
                    stays");
            }
            Err(_) => {}
        }
    }
}
