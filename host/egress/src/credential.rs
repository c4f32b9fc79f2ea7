//! Secrets in requests, and the search for them in answers.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bundles::{SecretPlacement, SecretRef};
use error_code::Code;
use hyper::header::{HeaderName, HeaderValue};
use memchr::memmem;
use secrecy::{ExposeSecret, SecretString};

use crate::failure::Failure;
use crate::permissions::NetworkPermissions;

/// Shortest secret that is added to requests. A shorter one would be found in answers by chance.
pub(crate) const MIN_SECRET_BYTES: usize = 8;

/// Source of the values of secrets.
#[async_trait]
pub trait Credentials: fmt::Debug + Send + Sync + 'static {
    /// Returns the current value of a secret, or `None` if it cannot be read.
    async fn get(&self, name: &SecretRef) -> Option<SecretString>;
}

/// A secret that a request uses, with its place. Its value is not read yet.
#[derive(Debug)]
pub(crate) struct PermittedSecret {
    name: SecretRef,
    placement: SecretPlacement,
}

/// A header with the value of a secret, and the search for it.
pub(crate) struct SecretHeader {
    pub(crate) name: HeaderName,
    pub(crate) value: HeaderValue,
    pub(crate) echo: SecretEcho,
}

impl PermittedSecret {
    /// Checks that the manifest declares the secret and that the host grants it at the same place.
    pub(crate) fn new(name: &str, permissions: &NetworkPermissions) -> Result<Self, Failure> {
        let shown = bundles::shown(name);
        let reference = name.parse::<SecretRef>().ok();
        let find = |list: &std::collections::BTreeMap<SecretRef, SecretPlacement>| {
            reference.as_ref().and_then(|reference| list.get(reference)).cloned()
        };
        let Some(declared) = find(&permissions.declared_secrets) else {
            let message = format!("secret `{shown}` is not declared in the plugin's manifest");
            return Err(Failure::denied(Code::SecretNotDeclared, message));
        };
        match find(&permissions.granted_secrets) {
            Some(granted) if granted == declared => {}
            _ => {
                let message = format!("secret `{shown}` is not granted at the place that the manifest declares");
                return Err(Failure::denied(Code::SecretNotGranted, message));
            }
        }
        let name = reference.ok_or_else(|| Failure::denied(Code::SecretNotDeclared, "invalid name of a secret"))?;
        Ok(Self { name, placement: declared })
    }

    /// `true` if the permissions still allow the secret at its place.
    pub(crate) fn is_permitted(&self, permissions: &NetworkPermissions) -> bool {
        let has = |list: &std::collections::BTreeMap<_, _>| list.get(&self.name) == Some(&self.placement);
        has(&permissions.declared_secrets) && has(&permissions.granted_secrets)
    }

    /// `true` if a plugin must not write a header beside the secret: the secret's own, and headers that would make a response
    /// hide the secret from the search. Servers that pass headers to CGI programs do not distinguish `_` and `-`.
    pub(crate) fn is_reserved(&self, name: &str) -> bool {
        let plain = |name: &str| name.to_ascii_lowercase().replace('_', "-");
        let name = plain(name);
        name == plain(self.placement.header.as_str()) || matches!(name.as_str(), "accept-encoding" | "range")
    }

    /// Reads the value.
    pub(crate) async fn read(&self, credentials: &dyn Credentials) -> Result<SecretHeader, Failure> {
        let unusable = |reason: &str| {
            Failure::denied(Code::SecretUnusable, format!("secret `{}` cannot be used: {reason}", self.name))
        };
        let value = credentials.get(&self.name).await.ok_or_else(|| unusable("it cannot be read"))?;
        let secret = value.expose_secret();
        if secret.len() < MIN_SECRET_BYTES {
            return Err(unusable("it has fewer than 8 bytes, so an answer could contain it by chance"));
        }
        // hyper would also accept bytes above 127, which servers decode in different ways.
        if !secret.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(unusable("it is not one line of visible ASCII"));
        }
        let prefix = self.placement.prefix.as_ref().map_or("", |prefix| prefix.as_str());
        let header = HeaderValue::from_str(&format!("{prefix}{secret}"));
        let mut header = header.map_err(|_| unusable("the prefix is not visible ASCII"))?;
        header.set_sensitive(true);
        let name = HeaderName::from_bytes(self.placement.header.as_str().as_bytes());
        let name = name.map_err(|_| unusable("the name of its header is invalid"))?;
        Ok(SecretHeader { name, value: header, echo: SecretEcho::new(secret.as_bytes()) })
    }
}

/// Search for a secret in a response: the value itself, and in base64 at each alignment in both alphabets. Without a secret,
/// nothing is found. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct SecretEcho(Arc<[memmem::Finder<'static>]>);

impl SecretEcho {
    fn new(secret: &[u8]) -> Self {
        // Names of headers come in lower case.
        let mut needles = vec![secret.to_vec(), secret.to_ascii_lowercase()];
        for before in 0..3 {
            let padded: Vec<u8> = std::iter::repeat_n(0, before).chain(secret.iter().copied()).collect();
            // Characters that also depend on the bytes before or after the secret are left out.
            let (first, end) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
            for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                needles.extend(engine.encode(&padded).as_bytes().get(first..end).map(<[u8]>::to_vec));
            }
        }
        Self(needles.iter().map(|needle| memmem::Finder::new(needle).into_owned()).collect())
    }

    /// Adds the search for another secret.
    pub(crate) fn add(&mut self, other: &Self) {
        let is_known = |finder: &&memmem::Finder<'static>| self.0.iter().any(|known| known.needle() == finder.needle());
        let new: Vec<_> = other.0.iter().filter(|finder| !is_known(finder)).cloned().collect();
        if !new.is_empty() {
            self.0 = self.0.iter().cloned().chain(new).collect();
        }
    }

    /// `true` if the bytes contain the secret.
    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|finder| finder.find(bytes).is_some())
    }
}

impl fmt::Debug for SecretEcho {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretEcho")
    }
}

impl fmt::Debug for SecretHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretHeader").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_found_raw_and_in_base64_at_each_alignment() {
        let secret = b"0123456789abcdef~?>";
        let echo = SecretEcho::new(secret);
        for before in 0..7 {
            for after in 0..4 {
                let text: Vec<u8> = [&b"xyzXYZx"[..before], secret, &b"tail"[..after]].concat();
                assert!(echo.is_in(&text));
                assert!(echo.is_in(STANDARD_NO_PAD.encode(&text).as_bytes()), "{before} {after}");
                assert!(echo.is_in(URL_SAFE_NO_PAD.encode(&text).as_bytes()), "{before} {after}");
            }
        }
        assert!(!echo.is_in(&secret[1..]) && !echo.is_in(STANDARD_NO_PAD.encode(&secret[3..]).as_bytes()));
        assert!(!SecretEcho::default().is_in(secret));
    }
}
