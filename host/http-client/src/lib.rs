//! TLS settings and builder of HTTP clients: TLS by rustls with ring, HTTP/1.1, no proxy and no redirects.
//!
//! Nothing is read from the environment, except the certificates of the operating system where [`Trust::System`] asks for
//! them.

use std::sync::Arc;
use std::time::Duration;

use rustls_platform_verifier::Verifier;

/// Time in which a connection must be established.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Root certificates that a client trusts.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'a> {
    /// None. For a client that never speaks TLS, which then also works on a system without certificates.
    None,
    /// The certificates of the operating system and `extra_roots`.
    System {
        /// Further root certificates, each in DER.
        extra_roots: &'a [Vec<u8>],
    },
    /// Only these certificates, each in DER.
    Only(&'a [Vec<u8>]),
}

/// Error returned if the operating system has no certificates, or one of the extra roots is invalid.
#[derive(Debug)]
pub struct TlsUnavailable(rustls::Error);

impl std::fmt::Display for TlsUnavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot set up TLS")
    }
}

impl std::error::Error for TlsUnavailable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl From<rustls::Error> for TlsUnavailable {
    fn from(error: rustls::Error) -> Self {
        Self(error)
    }
}

/// Returns the TLS settings of a client: TLS 1.2 and 1.3, without a client certificate.
pub fn tls_config(trust: Trust<'_>) -> Result<rustls::ClientConfig, TlsUnavailable> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let tls = match trust {
        Trust::None => tls.with_root_certificates(rustls::RootCertStore::empty()),
        Trust::Only(roots) => {
            let mut store = rustls::RootCertStore::empty();
            for root in roots {
                store.add(root.clone().into())?;
            }
            tls.with_root_certificates(store)
        }
        Trust::System { extra_roots } => {
            let extra_roots = extra_roots.iter().map(|der| der.clone().into());
            let verifier = Verifier::new_with_extra_roots(extra_roots, provider)?;
            tls.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    Ok(tls.with_no_client_auth())
}

/// Returns a builder, to which the caller adds its timeouts.
pub fn builder(trust: Trust<'_>) -> Result<reqwest::ClientBuilder, TlsUnavailable> {
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls_config(trust)?)
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT))
}
