//! The name of a stored bundle in an argument: a digest, a digest prefix, `newest`, or the folder or file of the bundle.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use bundles::Digest;
use runtime_api::Code;
use runtime_api::bundle::BundleSummary;
use serde_json::json;

use crate::bundle_source;
use crate::error::CliError;
use crate::remote::{MAX_LIST_ITEMS, RemoteArgs};
use crate::sandbox::LimitsArgs;

/// A stored bundle as an argument names it.
#[derive(Debug, Clone)]
pub(crate) enum BundleName {
    Digest(Digest),
    Newest,
    /// A folder or a built file, or a digest prefix if no such file exists.
    Other(String),
}

impl FromStr for BundleName {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.parse() {
            Ok(digest) => Self::Digest(digest),
            Err(_) if text == "newest" => Self::Newest,
            Err(_) => Self::Other(text.to_owned()),
        })
    }
}

/// Minimum length of a digest prefix, in hex digits. Shorter prefixes often match several bundles.
const MIN_PREFIX_DIGITS: usize = 4;

impl BundleName {
    /// Returns the digest of the bundle, and `remote` with the workspace of a folder as the default.
    pub(crate) fn find(&self, remote: &RemoteArgs) -> Result<(Digest, RemoteArgs), CliError> {
        match self {
            Self::Digest(digest) => Ok((*digest, remote.clone())),
            Self::Newest => Ok((newest(&list(remote)?)?, remote.clone())),
            Self::Other(text) if PathBuf::from(text).exists() => {
                let limits = LimitsArgs::default().read()?.bundle;
                let bundle = bundle_source::open(&PathBuf::from(text), &limits)?.bundle;
                Ok((bundle.digest(), remote.with_default_workspace(&bundle.manifest().workspace.id)))
            }
            Self::Other(text) => Ok((find_prefix(text, remote)?, remote.clone())),
        }
    }
}

fn list(remote: &RemoteArgs) -> Result<Vec<BundleSummary>, CliError> {
    remote.send(|client| async move { client.bundles(None, MAX_LIST_ITEMS).await })
}

fn newest(listed: &[BundleSummary]) -> Result<Digest, CliError> {
    let usable = listed.iter().filter(|bundle| bundle.revoked_at.is_none());
    let newest = usable.max_by_key(|bundle| bundle.revision).map(|bundle| bundle.digest);
    newest.ok_or_else(|| {
        CliError::new(
            Code::BundleNotFound,
            "the workspace has no usable bundle",
            "upload one with `yoi runtime put BUNDLE`",
        )
    })
}

fn find_prefix(text: &str, remote: &RemoteArgs) -> Result<Digest, CliError> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let is_hex = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex || !(MIN_PREFIX_DIGITS..=64).contains(&digits.len()) {
        let text = bundles::shown(text);
        return Err(CliError::new(
            Code::BundleNotFound,
            format!("file `{text}` not found, and the text is not a digest prefix"),
            "name a folder, a built file, a digest, 4 or more of its first hex digits, or `newest`",
        ));
    }
    let listed = list(remote)?;
    let found: Vec<Digest> =
        listed.iter().map(|bundle| bundle.digest).filter(|digest| digest.hex().starts_with(digits)).collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(CliError::new(
            Code::BundleNotFound,
            format!("the workspace has no bundle whose digest begins with `{digits}`"),
            "list the bundles with `yoi runtime bundles`",
        )),
        several => Err(CliError::new(
            Code::Usage,
            format!("the digests of {} bundles begin with `{digits}`", several.len()),
            "write more digits; `yoi runtime bundles` lists the digests",
        )
        .with_details(json!({ "bundles": several }))),
    }
}
