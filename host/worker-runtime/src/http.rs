//! The way out over HTTP/1.1: TLS is rustls with ring, no proxy is used, no redirect followed, and
//! nothing is read from the environment but, where that is asked for, the system's certificates.

use std::sync::Arc;
use std::time::Duration;

use rustls_platform_verifier::Verifier;

/// A connection is there after so long, or is not.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);

/// Whose certificates are believed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trust<'a> {
    /// Nobody's: for a client that never speaks TLS, which then also works where the system has none.
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "the client's"))]
    Nobody,
    /// The system's, and these besides, each in DER.
    System {
        /// Roots.
        and: &'a [Vec<u8>],
    },
}

/// TLS cannot be set up: the system has no certificates, or one that was handed over is none.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up")]
pub(crate) struct NoTls(#[from] rustls::Error);

/// A client, to be given its deadlines.
pub(crate) fn builder(trust: Trust<'_>) -> Result<reqwest::ClientBuilder, NoTls> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let tls = match trust {
        Trust::Nobody => tls.with_root_certificates(rustls::RootCertStore::empty()),
        Trust::System { and } => {
            let trusted = and.iter().map(|der| der.clone().into());
            let verifier = Verifier::new_with_extra_roots(trusted, provider)?;
            tls.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls.with_no_client_auth())
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT))
}
