//! HTTP servers on the loopback address: misbehaving ones that write raw bytes, and well-behaved ones over TLS.
//!
//! A [`Peer`] counts connections and records requests. It stops when it is dropped.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, SupportedProtocolVersion};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::{NAME, PATIENCE};

/// Body of a response over TLS.
pub type Body = BoxBody<Bytes, io::Error>;

/// Response over TLS. An error resets the stream in HTTP/2, and closes the connection in HTTP/1.1.
pub type Answer = Result<Response<Body>, io::Error>;

/// A server on a free port of `127.0.0.1`.
pub struct Peer {
    pub address: SocketAddr,
    state: Arc<State>,
    /// Connections of [`Peer::accepted`] itself.
    markers: AtomicUsize,
    _tasks: JoinSet<()>,
}

struct State {
    /// Addresses of the clients, in the order in which their connections were accepted.
    clients: watch::Sender<Vec<SocketAddr>>,
    /// Number of connections whose script has not ended.
    open: watch::Sender<usize>,
    seen: Mutex<Vec<String>>,
}

/// Counts an open connection as long as it exists.
struct OpenConnection(Arc<State>);

impl OpenConnection {
    fn new(state: Arc<State>) -> Self {
        state.open.send_modify(|count| *count += 1);
        Self(state)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.send_modify(|count| *count -= 1);
    }
}

impl Peer {
    /// Runs a script on each connection, before anything is read.
    pub fn tcp<F, Fut>(script: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::serve(move |stream: TcpStream, _: Arc<State>| script(stream))
    }

    /// Runs a script on each connection after a request was read.
    pub fn raw<F, Fut>(script: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let script = Arc::new(script);
        Self::serve(move |mut stream: TcpStream, state: Arc<State>| {
            let script = script.clone();
            async move {
                if let Some(request) = read_request(&mut stream).await {
                    state.seen.lock().expect("requests").push(request);
                    (*script)(stream).await;
                }
            }
        })
    }

    /// Reads a request, writes these bytes, and closes the connection.
    pub fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<Vec<u8>> = Arc::new(answer.into());
        Self::raw(move |stream| {
            let answer = answer.clone();
            async move { finish(stream, &answer).await }
        })
    }

    /// Reads a request, writes `first`, and then `again` until the client closes the connection. `again` is not empty.
    pub fn flooding(first: impl Into<Vec<u8>>, again: impl Into<Vec<u8>>) -> Self {
        let first: Arc<Vec<u8>> = Arc::new(first.into());
        let again: Arc<Vec<u8>> = Arc::new(again.into());
        Self::raw(move |mut stream| {
            let (first, again) = (first.clone(), again.clone());
            async move {
                let mut written = stream.write_all(&first).await;
                while written.is_ok() {
                    written = stream.write_all(&again).await;
                }
            }
        })
    }

    /// Serves TLS with a certificate for these names, and HTTP/1.1 or HTTP/2 as ALPN selects.
    pub fn tls<F>(
        authority: &Authority,
        names: &[&str],
        alpn: &[&[u8]],
        versions: &[&'static SupportedProtocolVersion],
        handler: F,
    ) -> Self
    where
        F: Fn(&Parts) -> Answer + Send + Sync + 'static,
    {
        Self::tls_with(authority.server(names, alpn, versions), handler)
    }

    /// Like [`Peer::tls`], with a TLS configuration.
    pub fn tls_with<F>(config: Arc<ServerConfig>, handler: F) -> Self
    where
        F: Fn(&Parts) -> Answer + Send + Sync + 'static,
    {
        let (acceptor, handler) = (TlsAcceptor::from(config), Arc::new(handler));
        Self::serve(move |stream: TcpStream, state: Arc<State>| {
            let (acceptor, handler) = (acceptor.clone(), handler.clone());
            async move {
                // A client that rejects the certificate closes the connection. The client reports the error.
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2".as_slice());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (handler, state) = (handler.clone(), state.clone());
                    async move {
                        let (parts, body) = request.into_parts();
                        if let Err(error) = body.collect().await {
                            return Err(io::Error::other(error));
                        }
                        let line = format!("{} {} {:?}", parts.method, parts.uri, parts.version);
                        state.seen.lock().expect("requests").push(line);
                        (*handler)(&parts)
                    }
                });
                let io = TokioIo::new(stream);
                // The client under test reports what went wrong.
                let _ = if is_http2 {
                    http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
                } else {
                    http1::Builder::new().serve_connection(io, service).await
                };
            }
        })
    }

    fn serve<F, Fut>(script: F) -> Self
    where
        F: Fn(TcpStream, Arc<State>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let listener = TcpListener::from_std(listener).expect("a listener");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            clients: watch::Sender::new(Vec::new()),
            open: watch::Sender::new(0),
            seen: Mutex::new(Vec::new()),
        });
        let shared = state.clone();
        let mut tasks: JoinSet<()> = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                // A client that resets a connection before it is accepted can cause an error.
                let Ok((stream, client)) = listener.accept().await else { continue };
                let open = OpenConnection::new(shared.clone());
                shared.clients.send_modify(|clients| clients.push(client));
                let connection = script(stream, shared.clone());
                connections.spawn(async move {
                    let _open = open;
                    connection.await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, state, markers: AtomicUsize::new(0), _tasks: tasks }
    }

    /// Returns the URL of a path over plain HTTP, with the address as host.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the URL of a path over TLS, with [`NAME`] as host.
    pub fn tls_url(&self, path: &str) -> String {
        format!("https://{NAME}:{}{path}", self.address.port())
    }

    /// Returns the number of connections that were opened before this call.
    ///
    /// Connections are accepted in the order in which they were opened. This function opens one of its own, which is not
    /// counted, and waits until that one is accepted.
    pub async fn accepted(&self) -> usize {
        let marker = TcpStream::connect(self.address).await.expect("a connection");
        let own = marker.local_addr().expect("an address");
        let earlier = self.markers.fetch_add(1, Ordering::SeqCst);
        let mut clients = self.state.clients.subscribe();
        let accepted = timeout(PATIENCE, clients.wait_for(|clients| clients.contains(&own))).await;
        let clients = accepted.expect("an end").expect("a sender");
        let place = clients.iter().rposition(|client| *client == own).expect("a place");
        place - earlier
    }

    /// Waits until the clients have closed all connections that were opened before this call.
    pub async fn closed(&self) {
        self.accepted().await;
        let mut open = self.state.open.subscribe();
        let closed = timeout(PATIENCE, open.wait_for(|count| *count == 0)).await;
        closed.expect("an end").expect("a sender");
    }

    /// Returns the requests that were read so far: head and body of each one, or method, URI and version over TLS.
    pub fn seen(&self) -> Vec<String> {
        self.state.seen.lock().expect("requests").clone()
    }
}

/// Reads a request with a body of `content-length` bytes. Returns `None` if the client closes the connection before.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes: Vec<u8> = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let length = content_length(&String::from_utf8_lossy(&bytes[..head]));
    while bytes.len() < head + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn content_length(head: &str) -> usize {
    let head = head.to_ascii_lowercase();
    let value = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    value.map_or(0, |value| value.trim().parse().expect("a number"))
}

/// Writes bytes, ends this direction, and waits until the client closes the connection.
///
/// A socket that is closed while it has unread data resets the connection, and the client can lose what it was sent.
pub async fn finish(mut stream: TcpStream, bytes: &[u8]) {
    if stream.write_all(bytes).await.is_ok() && stream.shutdown().await.is_ok() {
        drain(stream).await;
    }
}

/// Reads until the client closes the connection, and writes nothing.
pub async fn drain(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
}

/// Terminates TLS in front of a plain server, and returns the address.
pub async fn behind_tls(config: Arc<ServerConfig>, server: SocketAddr) -> SocketAddr {
    let (listener, acceptor) = (TcpListener::bind("127.0.0.1:0").await.expect("a port"), TlsAcceptor::from(config));
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut inside) = acceptor.accept(stream).await else { return };
                let Ok(mut outside) = TcpStream::connect(server).await else { return };
                let _ = copy_bidirectional(&mut inside, &mut outside).await;
            });
        }
    });
    address
}

/// Returns a body of known length.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// Answers with method, version, authority, path and headers of the request, as JSON.
pub fn echo(parts: &Parts) -> Answer {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = parts.headers.iter().map(|(name, value)| (name.as_str(), text(value.as_bytes())));
    let headers: Vec<(&str, String)> = headers.collect();
    let answer = json!({
        "method": parts.method.as_str(),
        "version": format!("{:?}", parts.version),
        "authority": parts.uri.authority().map(|authority| authority.as_str()),
        "path": parts.uri.path(),
        "headers": headers,
    });
    Ok(Response::new(full(answer.to_string())))
}

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: Vec<u8>,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("a certificate").der().to_vec();
        Self { issuer: Issuer::new(params, key), root }
    }

    /// Returns the root certificate in DER.
    pub fn root(&self) -> Vec<u8> {
        self.root.clone()
    }

    /// Returns the root certificate in PEM.
    pub fn root_pem(&self) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(&self.root))
    }

    /// Returns the TLS configuration of a server with these names.
    pub fn server(
        &self,
        names: &[&str],
        alpn: &[&[u8]],
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        self.server_with(&certificate_params(names), alpn, versions)
    }

    /// Returns the TLS configuration of a server with a certificate of these parameters.
    pub fn server_with(
        &self,
        params: &CertificateParams,
        alpn: &[&[u8]],
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        server_config(&certificate, &key, alpn, versions)
    }
}

/// Returns the parameters of a valid certificate for these names.
pub fn certificate_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).expect("names")
}

/// Returns the TLS configuration of a server with a certificate that no authority signed.
pub fn self_signed_server(
    names: &[&str],
    alpn: &[&[u8]],
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let key = KeyPair::generate().expect("a key");
    let certificate = certificate_params(names).self_signed(&key).expect("a certificate");
    server_config(&certificate, &key, alpn, versions)
}

fn server_config(
    certificate: &Certificate,
    key: &KeyPair,
    alpn: &[&[u8]],
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("certificate and key belong together");
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}
