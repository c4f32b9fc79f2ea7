//! Remote systems of plugins: names, a dialer that leads their addresses to servers on this machine, and those servers.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use host_policy::AddressPolicy;
use tokio::net::TcpStream;
use worker_runtime::egress::{Dialer, Egress, EgressLimits, EgressSettings, NameResolver, ResolveError, TlsRoots};

use http_peer::Authority;

/// Servers that the tests of `egress` use too.
#[allow(dead_code, reason = "the tests of `egress` use more of them")]
#[path = "../../../egress/tests/support/http_peer.rs"]
pub mod http_peer;
#[allow(dead_code, reason = "the tests of `egress` use more of them")]
#[path = "../../../egress/tests/support/ws_peer.rs"]
pub mod ws_peer;

/// A deadline that no working test reaches.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A name of a remote system.
pub const NAME: &str = "peer.example";

/// Remote systems, by name. Each has a public address, which leads to a server on this machine.
#[derive(Debug, Default)]
pub struct Internet {
    systems: Mutex<BTreeMap<String, (IpAddr, SocketAddr)>>,
    dialled: Mutex<Vec<SocketAddr>>,
}

impl Internet {
    /// Adds a remote system, or leads its name to another server.
    pub fn add(&self, name: &str, server: SocketAddr) {
        let mut systems = self.systems.lock().expect("systems");
        // TEST-NET-3 stands for public addresses.
        let address = IpAddr::from([203, 0, 113, u8::try_from(systems.len() + 1).expect("few systems")]);
        systems.insert(name.to_owned(), (address, server));
    }

    /// Returns the addresses that were dialled.
    pub fn dialled(&self) -> Vec<SocketAddr> {
        self.dialled.lock().expect("addresses").clone()
    }

    /// Returns network access to these systems, whose certificates come from one authority.
    pub fn egress(self: &Arc<Self>, authority: &Authority, limits: EgressLimits) -> Egress {
        let settings = EgressSettings {
            names: self.clone(),
            dialer: self.clone(),
            roots: TlsRoots::Only(vec![authority.root()]),
            limits,
            addresses: AddressPolicy::with_test_net_3(),
        };
        Egress::new(settings).expect("egress")
    }
}

#[async_trait]
impl NameResolver for Internet {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let found = self.systems.lock().expect("systems").get(name).map(|(address, _)| vec![*address]);
        found.ok_or(ResolveError::NotFound)
    }
}

#[async_trait]
impl Dialer for Internet {
    async fn connect(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        self.dialled.lock().expect("addresses").push(address);
        let server = {
            let systems = self.systems.lock().expect("systems");
            systems.values().find(|(of, _)| *of == address.ip()).map(|(_, server)| *server)
        };
        TcpStream::connect(server.ok_or(std::io::ErrorKind::ConnectionRefused)?).await
    }
}
