//! TLS of outgoing connections.

use std::sync::Arc;

use component_host::host_api::Unreachable;
use http_client::Trust;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;

use crate::failure::Failure;

/// A connection, plain or encrypted.
pub(crate) type Stream = Either<TcpStream, Box<tokio_rustls::client::TlsStream<TcpStream>>>;

/// Root certificates that remote systems are verified with.
#[derive(Debug, Clone)]
pub enum TlsRoots {
    /// The certificates of the operating system. If there are none, every encrypted connection fails.
    System,
    /// Only these certificates, each in DER.
    Only(Vec<Vec<u8>>),
}

impl TlsRoots {
    /// Reads root certificates in PEM. The result has at least one.
    pub fn from_pem(text: &[u8]) -> Result<Self, InvalidRoots> {
        let roots = CertificateDer::pem_slice_iter(text).map(|root| root.map(|root| root.to_vec()));
        match roots.collect::<Result<Vec<_>, _>>() {
            Ok(roots) if !roots.is_empty() => Ok(Self::Only(roots)),
            _ => Err(InvalidRoots),
        }
    }
}

/// Error returned if root certificates are invalid, or if there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid root certificates: expected certificates in PEM")]
pub struct InvalidRoots;

/// Protocol that a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1 or HTTP/2, as the remote system selects.
    Http,
    /// WebSocket over HTTP/1.1.
    WebSocket,
}

/// Configurations for both protocols. `None` if the operating system has no root certificates.
#[derive(Debug)]
pub(crate) struct Tls(Option<[Arc<ClientConfig>; 2]>);

impl Tls {
    pub(crate) fn new(roots: &TlsRoots) -> Result<Self, InvalidRoots> {
        let config = match roots {
            TlsRoots::Only(roots) => http_client::tls_config(Trust::Only(roots)).map_err(|_| InvalidRoots)?,
            TlsRoots::System => match http_client::tls_config(Trust::System { extra_roots: &[] }) {
                Ok(config) => config,
                Err(_) => return Ok(Self(None)),
            },
        };
        let speaking = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Arc::new(config)
        };
        Ok(Self(Some([speaking(&[b"h2", b"http/1.1"]), speaking(&[b"http/1.1"])])))
    }

    /// Encrypts a connection and verifies that the remote system has a certificate for the host.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        host: url::Host<&str>,
        protocol: Protocol,
    ) -> Result<Stream, Failure> {
        let failed = || Failure::Unreachable(Unreachable::Tls);
        let [http, websocket] = self.0.as_ref().ok_or_else(failed)?;
        let config = if protocol == Protocol::Http { http } else { websocket };
        let name = match host {
            url::Host::Domain(name) => ServerName::try_from(name.to_owned()).map_err(|_| failed())?,
            url::Host::Ipv4(address) => ServerName::IpAddress(std::net::IpAddr::V4(address).into()),
            url::Host::Ipv6(address) => ServerName::IpAddress(std::net::IpAddr::V6(address).into()),
        };
        let encrypted = TlsConnector::from(config.clone()).connect(name, stream).await.map_err(|_| failed())?;
        Ok(Either::Right(Box::new(encrypted)))
    }
}

/// `true` if the remote system selected HTTP/2.
pub(crate) fn is_http2(stream: &Stream) -> bool {
    match stream {
        Either::Left(_) => false,
        Either::Right(encrypted) => encrypted.get_ref().1.alpn_protocol() == Some(b"h2"),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn root_certificates_are_read_in_pem_and_anything_else_is_invalid() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["ca.example".to_owned()]).expect("a name");
        let encode = |label: &str, der: &[u8]| {
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
        };
        let pem = encode("CERTIFICATE", params.self_signed(&key).expect("a certificate").der());
        let private = encode("PRIVATE KEY", &key.serialize_der());
        let two = format!("comment\n{pem}\n{pem}");
        let TlsRoots::Only(roots) = TlsRoots::from_pem(two.as_bytes()).expect("two roots") else { panic!("a list") };
        assert_eq!(roots.len(), 2);
        assert!(Tls::new(&TlsRoots::Only(roots)).is_ok());
        for invalid in ["", "no certificate", &private, &pem.replace("-----END", "----END")] {
            assert_eq!(TlsRoots::from_pem(invalid.as_bytes()).err(), Some(InvalidRoots), "{invalid}");
        }
        assert!(Tls::new(&TlsRoots::Only(vec![b"not DER".to_vec()])).is_err());
    }
}
