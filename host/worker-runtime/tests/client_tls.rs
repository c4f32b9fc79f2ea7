//! The client over TLS: a Runtime behind a TLS proxy, with certificates made for the test.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use runtime_client::{Client, ClientError, ClientOptions, ConnectError};
use rustls::pki_types::PrivateKeyDer;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::client::{serve_as, token};
use crate::support::{World, acme, bundle};

/// A certificate authority.
struct Authority(Issuer<'static, KeyPair>, Vec<u8>);

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate").der().to_vec();
        Self(Issuer::new(params, key), certificate)
    }

    /// Returns the TLS configuration of a server with this name.
    fn server(&self, name: &str, versions: &[&'static SupportedProtocolVersion]) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key);
        Arc::new(config.expect("they belong together"))
    }
}

/// Accepts connections, terminates TLS, and forwards the bytes.
fn speak_tls(listener: TcpListener, service: SocketAddr, config: Arc<ServerConfig>) {
    let acceptor = TlsAcceptor::from(config);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that rejects the certificate closes the connection. The client reports the error.
                let Ok(mut inside) = acceptor.accept(stream).await else { return };
                let Ok(mut outside) = TcpStream::connect(service).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
            });
        }
    });
}

/// Creates a client that trusts `authority`. Returns `None` if this system has no certificates.
fn client(name: &str, options: &ClientOptions, authority: &Authority) -> Option<Client> {
    let options = ClientOptions {
        base_url: format!("https://{name}"),
        certificates: vec![authority.1.clone()],
        ..options.clone()
    };
    match Client::new(options) {
        Err(ClientError::NoTls) if std::env::var_os("CI").is_none() => {
            eprintln!("skipped: this system has no certificates, and without any no client speaks TLS");
            None
        }
        made => Some(made.expect("a client")),
    }
}

#[tokio::test]
async fn client_connects_only_to_tls_service_with_trusted_certificate_for_its_name() {
    let (mut fronts, mut names) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let front = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        names.push(format!("localhost:{}", front.local_addr().expect("an address").port()));
        fronts.push(front);
    }
    let runtime = World::default().open().await;
    let (service, stop, _) = serve_as(&runtime, 0, &names).await;
    let options = ClientOptions::new("https://localhost", token(&runtime).await);
    let options = ClientOptions { workspace: Some(acme()), ..options };
    let (authority, stranger) = (Authority::new(), Authority::new());
    let servers = [
        authority.server("localhost", &[&TLS13]),
        authority.server("localhost", &[&TLS12]),
        authority.server("elsewhere.example.com", &[&TLS13]),
    ];
    for (front, server) in fronts.into_iter().zip(servers) {
        speak_tls(front, service, server);
    }
    for (name, known) in names.iter().take(2).zip([false, true]) {
        let Some(trusting) = client(name, &options, &authority) else { return };
        let sent = trusting.put_bundle(&bundle(1).into()).await.expect("taken");
        assert_eq!(sent.known, known);
        assert_eq!(trusting.bundles(None, 10).await.expect("a list"), [sent.bundle]);

        // Signed by another authority.
        let Some(suspicious) = client(name, &options, &stranger) else { return };
        let told = suspicious.runtime().await.expect_err("nobody believed in signed it");
        assert_eq!(told, ClientError::Unreachable(ConnectError::Certificate));
        assert!(!told.help().is_empty() && !format!("{told} {told:?}").contains("localhost"), "{told:?}");
    }
    // Trusted, but for another name.
    let Some(misled) = client(&names[2], &options, &authority) else { return };
    assert_eq!(misled.live().await, Err(ClientError::Unreachable(ConnectError::Certificate)));
    // No TLS.
    let Some(plain) = client(&format!("localhost:{}", service.port()), &options, &authority) else { return };
    assert_eq!(plain.live().await, Err(ClientError::Unreachable(ConnectError::PlainText)));
    // A server that ends the handshake with the alert `handshake_failure`.
    let front = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let name = format!("localhost:{}", front.local_addr().expect("an address").port());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = front.accept().await {
            let _ = stream.write_all(&[0x15, 3, 3, 0, 2, 2, 40]).await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    let Some(refused) = client(&name, &options, &authority) else { return };
    assert_eq!(refused.live().await, Err(ClientError::Unreachable(ConnectError::Tls)));
    // `.invalid` never resolves.
    let Some(lost) = client("nowhere.invalid", &options, &authority) else { return };
    assert_eq!(lost.live().await, Err(ClientError::Unreachable(ConnectError::Other)));
    drop(stop);
}
