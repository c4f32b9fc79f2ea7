//! S3 service for tests: `moto` from PyPI, in a process of its own that ends with the test.
//!
//! If it is not installed, the tests print one line and pass. With `CI` set, they fail.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

/// Ends when its standard input is closed, which happens when the test process ends.
const SERVER: &str = "
import os, sys, threading
from moto.server import main
def end():
    sys.stdin.read()
    os._exit(0)
threading.Thread(target=end, daemon=True).start()
main(['-H', '127.0.0.1', '-p', '0'] + sys.argv[1:])
";

/// Writes the certificate of an authority in DER, and a server certificate that it issued. The dates are fixed, so the
/// result does not depend on the clock.
const CERTIFICATES: &str = "
import datetime, ipaddress, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
def named(name):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
def certificate(name, key, issuer, extension):
    builder = x509.CertificateBuilder().subject_name(named(name)).issuer_name(named('authority'))
    builder = builder.not_valid_before(datetime.datetime(2020, 1, 1)).not_valid_after(datetime.datetime(2120, 1, 1))
    builder = builder.serial_number(x509.random_serial_number()).public_key(key.public_key())
    return builder.add_extension(extension, critical=False).sign(issuer, hashes.SHA256())
authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address('127.0.0.1'))])
above = certificate('authority', authority, authority, x509.BasicConstraints(True, None))
below = certificate('server', server, authority, address)
folder = sys.argv[1]
encoding, nothing = serialization.Encoding, serialization.NoEncryption()
open(folder + '/authority.der', 'wb').write(above.public_bytes(encoding.DER))
open(folder + '/server.pem', 'wb').write(below.public_bytes(encoding.PEM))
key = server.private_bytes(encoding.PEM, serialization.PrivateFormat.PKCS8, nothing)
open(folder + '/server.key', 'wb').write(key)
";

const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, \
    SignedHeaders=host, Signature=0";

/// Server shared by all tests, which use different buckets and prefixes.
static PEER: LazyLock<Option<Peer>> = LazyLock::new(|| Peer::start(&[]));

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    _process: Child,
}

/// Returns the server, or `None` if it is not installed.
pub(super) fn peer() -> Option<&'static Peer> {
    let peer = PEER.as_ref();
    if peer.is_none() {
        assert!(std::env::var_os("CI").is_none(), "no S3 peer: `pip install 'moto[server]'`");
        eprintln!("skipped: no S3 peer (`pip install 'moto[server]'`)");
    }
    peer
}

impl Peer {
    pub(super) fn start(arguments: &[&str]) -> Option<Self> {
        let mut process = Command::new("python3")
            .args(["-c", SERVER])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let mut lines = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            if lines.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some((_, address)) =
                line.trim().split_once("Running on http").and_then(|(_, url)| url.split_once("//"))
            {
                break address.parse().unwrap();
            }
        };
        // The server writes a line for each request, and would block if the pipe were not read.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Some(Self { address, _process: process })
    }

    /// Returns a server with TLS, and the certificate of its authority in DER.
    pub(super) fn start_with_tls(folder: &Path) -> (Self, Vec<u8>) {
        let made = Command::new("python3").args(["-c", CERTIFICATES]).arg(folder).status().unwrap();
        assert!(made.success());
        let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
        let arguments = ["-s", "-c", certificate.to_str().unwrap(), "-k", key.to_str().unwrap()];
        (Self::start(&arguments).unwrap(), std::fs::read(folder.join("authority.der")).unwrap())
    }

    /// Sends a request without the store, and returns the status.
    pub(super) fn send(&self, method: &str, path: &str, body: &[u8]) -> u16 {
        self.answer(method, path, body).split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Returns the response to a request for a path.
    pub(super) fn list(&self, path: &str) -> String {
        self.answer("GET", path, b"")
    }

    /// This server requires a signature and does not verify it.
    fn answer(&self, method: &str, path: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\nAuthorization: {SIGNED}\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}
