//! Files of the Passmate family of programs. They are vaults, so every change is imported with its
//! stamp.

use passmate_vault::format::container::open_container;
use passmate_vault::format::{BtokenShape, decode_btoken, decode_vault_file};
use passmate_vault::{Passphrase, Vault};
use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::Imported;
use crate::error::ImportError;
use crate::loss::Loss;
use crate::syntax::json;

const ACCOUNT: &str = "the server and the sync key (`passmate sync setup` sets up the sync again)";
const DESKTOP: &str = "a file of the desktop client or of Passmate 1";

/// Reads a vault file of Passmate or Passmate 2.
pub(crate) fn read_pmdb(
    bytes: &[u8],
    secret: Option<&Passphrase>,
) -> Result<Imported, ImportError> {
    if !is_container(bytes) {
        return Err(ImportError::NotThisFormat {
            expected: "a vault file of Passmate",
        });
    }
    let document = decode_vault_file(&open(bytes, secret)?)?;
    let losses = document
        .account
        .map(|_| Loss::of_file(ACCOUNT))
        .into_iter()
        .collect();
    // A truncated history in the file must not truncate the vault into which it is imported.
    Ok(Imported {
        vault: document.vault.with_whole_history(),
        losses,
        ..Imported::default()
    })
}

/// Reads the desktop client's file `[data, config]`, its older form `data`, or that of Passmate 1,
/// `{"version": 1, "records": data}`. Each may be plain or in a container.
pub(crate) fn read_desktop(
    bytes: &[u8],
    secret: Option<&Passphrase>,
) -> Result<Imported, ImportError> {
    let opened;
    let plaintext = if is_container(bytes) {
        opened = open(bytes, secret)?;
        &opened
    } else {
        bytes
    };
    let text = json::text_of(plaintext)?;
    let whole = |error: serde_json::Error| json::error_of(&error);
    let mut losses = Vec::new();
    let vault = match text.trim_ascii_start().as_bytes().first() {
        Some(b'[') => {
            let (data, config): (&RawValue, Option<Config>) =
                serde_json::from_str(text).map_err(whole)?;
            if config
                .and_then(|config| config.sync_key)
                .is_some_and(|key| !key.is_empty())
            {
                losses.push(Loss::of_file(ACCOUNT));
            }
            read_data(data.get().as_bytes())?
        }
        Some(b'{') => match serde_json::from_str::<Version1<'_>>(text) {
            Ok(Version1 {
                version: 1,
                records,
            }) => read_data(records.get().as_bytes())?,
            Ok(_) => return Err(ImportError::NotThisFormat { expected: DESKTOP }),
            Err(_) => read_data(text.as_bytes())?,
        },
        _ => return Err(ImportError::NotThisFormat { expected: DESKTOP }),
    };
    Ok(Imported {
        vault,
        losses,
        ..Imported::default()
    })
}

/// The settings in a file of the desktop client.
#[derive(Deserialize)]
struct Config {
    sync_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Version1<'a> {
    version: u64,
    #[serde(borrow)]
    records: &'a RawValue,
}

fn read_data(data: &[u8]) -> Result<Vault, ImportError> {
    let btoken = decode_btoken(data)?;
    match btoken.shape {
        BtokenShape::Desktop => Ok(btoken.vault),
        BtokenShape::Passmate2 => Err(ImportError::NotThisFormat { expected: DESKTOP }),
    }
}

fn is_container(bytes: &[u8]) -> bool {
    bytes.starts_with(b"scrypt")
}

fn open(bytes: &[u8], secret: Option<&Passphrase>) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    // Check the header before asking for a password.
    passmate_vault::format::container::container_params(bytes)?;
    Ok(open_container(
        bytes,
        secret.ok_or(ImportError::SecretNeeded)?,
    )?)
}
