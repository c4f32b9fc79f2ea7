//! Digests that are named by their first digits.

use bundles::Digest;
use runtime_api::Code;
use serde_json::json;

use crate::error::CliError;

/// Minimum number of hex digits of a prefix. Shorter ones soon match more than one digest.
pub(crate) const MIN_DIGITS: usize = 4;

/// Objects that can be named by a prefix of their digest.
pub(crate) struct DigestLookup {
    /// Kind of the objects in the singular, as in errors and error codes.
    pub(crate) kind: &'static str,
    /// Command that lists the objects.
    pub(crate) list: &'static str,
}

impl DigestLookup {
    /// Returns `true` if the text can be a prefix of a digest, with or without `sha256:`.
    pub(crate) fn is_prefix(text: &str) -> bool {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let is_hex = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_hex && (MIN_DIGITS..=64).contains(&digits.len())
    }

    /// Returns the only digest that begins with `text`.
    pub(crate) fn find(&self, text: &str, digests: impl IntoIterator<Item = Digest>) -> Result<Digest, CliError> {
        let Self { kind, list } = self;
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let found: Vec<Digest> = digests.into_iter().filter(|digest| digest.hex().starts_with(digits)).collect();
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(CliError::new(
                match *kind {
                    "bundle" => Code::BundleNotFound,
                    "resolver" => Code::ResolverNotFound,
                    _ => Code::NotFound,
                },
                format!("no {kind} found with a digest that begins with `{}`", bundles::shown(digits)),
                format!("list them with `{list}`"),
            )),
            several => Err(CliError::new(
                Code::Usage,
                format!("the digests of {} {kind}s begin with `{digits}`", several.len()),
                format!("write more digits; `{list}` lists them"),
            )
            .with_details(json!({ "digests": several }))),
        }
    }
}
