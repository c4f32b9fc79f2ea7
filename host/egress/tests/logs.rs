//! Log records of all libraries during exchanges with a secret.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use component_host::host_api::{OutgoingConnection, OutgoingRequest};
use egress::EgressLimits;
use log::{LevelFilter, Log, Metadata, Record};
use rustls::version::TLS13;
use tokio::runtime::Runtime;
use tracing::Level;

use crate::support::http_peer::{Authority, Peer, full};
use crate::support::ws_peer::WsPeer;
use crate::support::{NAME, Network, connection, get};

/// Value of the secret, which no other test uses.
const SECRET: &str = "canary-of-the-logs-5b1e";

/// Everything that was logged.
#[derive(Debug, Clone, Default)]
struct Records(Arc<Mutex<Vec<u8>>>);

impl Records {
    /// Records everything that is logged with `log`, by all threads of the process.
    fn of_process() -> &'static Self {
        static RECORDS: OnceLock<Records> = OnceLock::new();
        RECORDS.get_or_init(|| {
            let records = Self::default();
            log::set_boxed_logger(Box::new(records.clone())).expect("the only logger");
            log::set_max_level(LevelFilter::Trace);
            records
        })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("records")).into_owned()
    }
}

impl Log for Records {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{} {}\n", record.target(), record.args());
        self.0.lock().expect("records").extend_from_slice(line.as_bytes());
    }

    fn flush(&self) {}
}

impl io::Write for Records {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("records").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Servers on threads of their own. What they log is not recorded, because they receive the secret.
fn servers() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads")
}

#[tokio::test]
async fn no_library_logs_a_secret_even_at_the_lowest_level() {
    let (servers, authority) = (servers(), Authority::new());
    let (traced, logged) = (Records::default(), Records::of_process());
    let writer = traced.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(Level::TRACE).with_writer(move || writer.clone()).finish();
    let _recording = tracing::subscriber::set_default(subscriber);

    for alpn in [b"http/1.1".as_slice(), b"h2"] {
        let peer = {
            let _entered = servers.enter();
            Peer::tls(&authority, &[NAME], &[alpn], &[&TLS13], |_| Ok(hyper::Response::new(full("ok"))))
        };
        let network = Network::to_tls_with_secret(peer.address, authority.root(), SECRET);
        let request = OutgoingRequest { credential: Some("token".to_owned()), ..get(&peer.tls_url("/")) };
        network.send(request).await.expect("a response");
    }
    let peer = servers.spawn(WsPeer::echo()).await.expect("a server");
    let network = Network::with_secret(peer.address, EgressLimits::default(), SECRET);
    let outgoing = OutgoingConnection { credential: Some("token".to_owned()), ..connection(&peer.url()) };
    let mut socket = network.open_with(outgoing).await.expect("open");
    socket.close(1000, "").await.expect("closed");
    // The servers received the secret, and something was recorded.
    assert!(peer.heads()[0].contains(SECRET), "{:?}", peer.heads());
    let (traced, logged) = (traced.text(), logged.text());
    assert!(traced.contains("h2::"), "{traced}");
    assert!(logged.contains("tungstenite"), "{logged}");
    let bytes = format!("{:?}", SECRET.as_bytes());
    for form in [SECRET.to_owned(), STANDARD.encode(SECRET), bytes[1..bytes.len() - 1].to_owned()] {
        for text in [&traced, &logged] {
            let line = text.lines().find(|line| line.contains(&form));
            assert_eq!(line, None, "{form}");
        }
    }
    servers.shutdown_background();
}
