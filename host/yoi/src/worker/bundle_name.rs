//! Names of a bundle on a Runtime: a digest, the beginning of one, `newest`, or what it was put from.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use bundles::Digest;
use runtime_api::bundle::BundleSummary;
use serde_json::json;

use crate::bundle_source;
use crate::error::CliError;
use crate::remote::{MOST_LISTED, RemoteArgs};
use crate::sandbox::LimitsArgs;

/// A bundle as `worker create --bundle` names it.
#[derive(Debug, Clone)]
pub(super) enum BundleName {
    Digest(Digest),
    Newest,
    /// A folder or a built file, or the beginning of a digest where there is none of that name.
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

/// Fewest hex digits of a prefix. Fewer are soon those of two bundles.
const FEWEST_DIGITS: usize = 4;

impl BundleName {
    /// The digest of the bundle, and where it is asked for: a folder says its workspace itself.
    pub(super) fn on(&self, remote: &RemoteArgs) -> Result<(Digest, RemoteArgs), CliError> {
        match self {
            Self::Digest(digest) => Ok((*digest, remote.clone())),
            Self::Newest => Ok((newest(&listed(remote)?)?, remote.clone())),
            Self::Other(text) if PathBuf::from(text).exists() => {
                let limits = LimitsArgs::default().read()?.bundle;
                let bundle = bundle_source::open(&PathBuf::from(text), &limits)?.bundle;
                Ok((bundle.digest(), remote.or_workspace(&bundle.manifest().workspace.id)))
            }
            Self::Other(text) => Ok((beginning_with(text, remote)?, remote.clone())),
        }
    }
}

fn listed(remote: &RemoteArgs) -> Result<Vec<BundleSummary>, CliError> {
    remote.ask(|client| async move { client.bundles(None, MOST_LISTED).await })
}

fn newest(listed: &[BundleSummary]) -> Result<Digest, CliError> {
    let usable = listed.iter().filter(|bundle| bundle.revoked_at.is_none());
    let newest = usable.max_by_key(|bundle| bundle.revision).map(|bundle| bundle.digest);
    newest.ok_or_else(|| {
        CliError::new(
            "bundle_not_found",
            "the workspace has no bundle that may be used",
            "put one: `yoi runtime put BUNDLE`",
        )
    })
}

fn beginning_with(text: &str, remote: &RemoteArgs) -> Result<Digest, CliError> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let is_hex = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex || !(FEWEST_DIGITS..=64).contains(&digits.len()) {
        let text = bundles::shown(text);
        return Err(CliError::new(
            "bundle_not_found",
            format!("there is no folder or file `{text}`, and it is no beginning of a digest"),
            "name a folder, a built file, a digest, 4 or more of its first hex digits, or `newest`",
        ));
    }
    let listed = listed(remote)?;
    let found: Vec<Digest> =
        listed.iter().map(|bundle| bundle.digest).filter(|digest| digest.hex().starts_with(digits)).collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(CliError::new(
            "bundle_not_found",
            format!("the workspace has no bundle whose digest begins with `{digits}`"),
            "`yoi runtime bundles` lists what is there",
        )),
        several => Err(CliError::new(
            "usage",
            format!("the digests of {} bundles begin with `{digits}`", several.len()),
            "write more of its digits: `yoi runtime bundles` lists them",
        )
        .with_details(json!({ "bundles": several }))),
    }
}
