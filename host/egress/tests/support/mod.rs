//! Network access of one instance that may reach a test peer, and its fixed names.

pub mod http_peer;
pub mod ws_peer;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bundles::manifest::Effect;
use bundles::{SecretPlacement, SecretRef, UrlPermission};
use component_host::host_api::{
    Connection, IncomingResponse, Message, Method, OutgoingConnection, OutgoingRequest, RequestFailure, Requests,
    WebSocketFailure, WebSockets,
};
use egress::{
    Credentials, Dialer, Egress, EgressLimits, EgressSettings, FixedPermissions, NameResolver, NetworkPermissions,
    RequiredPermissions, ResolveError, SystemDialer, TlsRoots,
};
use host_policy::{AddressPolicy, PermissionSet};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// A deadline that no working test reaches.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Subprotocols that the permissions of [`Network`] cover.
pub const SUBPROTOCOLS: [&str; 2] = ["chat.v1", "chat.v2"];

/// Name that resolves to the loopback address, and that test certificates name.
pub const NAME: &str = "peer.example";

/// Value of the secret `token`.
pub const SECRET: &str = "s3cr3t-value-of-the-test";

/// Answers names from a list. Each look-up of a name gives its next answer, and the last one again.
#[derive(Debug, Default)]
pub struct Names(pub Mutex<BTreeMap<String, Vec<Vec<IpAddr>>>>);

#[async_trait]
impl NameResolver for Names {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let mut names = self.0.lock().expect("names");
        match names.get_mut(name) {
            Some(answers) if answers.len() > 1 => Ok(answers.remove(0)),
            Some(answers) => answers.first().cloned().ok_or(ResolveError::NotFound),
            None => Err(ResolveError::NotFound),
        }
    }
}

/// A dialer whose connections are never established.
#[derive(Debug)]
pub struct NoAnswer;

#[async_trait]
impl Dialer for NoAnswer {
    async fn connect(&self, _: SocketAddr) -> std::io::Result<TcpStream> {
        std::future::pending().await
    }
}

/// Secrets by name.
#[derive(Debug)]
pub struct Secrets(pub BTreeMap<String, String>);

#[async_trait]
impl Credentials for Secrets {
    async fn get(&self, name: &SecretRef) -> Option<secrecy::SecretString> {
        self.0.get(name.as_str()).map(|value| value.clone().into())
    }
}

/// Network access of one instance of a plugin.
pub struct Network {
    pub egress: Egress,
    pub names: Arc<Names>,
    pub permissions: FixedPermissions,
    pub requests: Arc<dyn Requests>,
    pub websockets: Arc<dyn WebSockets>,
}

pub fn permission(value: Value) -> UrlPermission {
    serde_json::from_value(value).expect("a permission")
}

/// Returns permissions for everything at `127.0.0.1`, `localhost` and [`NAME`] on a port.
pub fn everything(port: u16) -> NetworkPermissions {
    let (mut requests, mut websockets) = (Vec::new(), Vec::new());
    for host in ["127.0.0.1", "localhost", NAME] {
        let local = host == NAME;
        for scheme in ["http", "https", "ws", "wss"] {
            let mut value = json!({ "scheme": scheme, "host": host, "port": port, "path_prefixes": ["/"] });
            if local {
                value["local"] = json!(true);
            }
            match scheme {
                "http" | "https" => {
                    value["methods"] = json!(["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"]);
                    requests.push(permission(value));
                }
                _ => {
                    value["subprotocols"] = json!(SUBPROTOCOLS);
                    websockets.push(permission(value));
                }
            }
        }
    }
    let required = |list: Vec<UrlPermission>| {
        let set = Arc::new(PermissionSet::new(list));
        RequiredPermissions { targets: set.clone(), grants: set }
    };
    let placement: SecretPlacement =
        serde_json::from_value(json!({ "header": "authorization", "prefix": "Bearer " })).expect("a placement");
    let secrets: BTreeMap<SecretRef, SecretPlacement> = [("token".parse().expect("a name"), placement)].into();
    NetworkPermissions {
        requests: required(requests),
        websockets: required(websockets),
        declared_secrets: Arc::new(secrets.clone()),
        granted_secrets: Arc::new(secrets),
    }
}

impl Network {
    /// Creates network access to a peer, with limits.
    pub fn to(peer: SocketAddr, limits: EgressLimits) -> Self {
        Self::with(everything(peer.port()), limits, TlsRoots::Only(Vec::new()))
    }

    /// Like [`Network::to`], with the root certificate of a TLS peer, in DER.
    pub fn to_tls(peer: SocketAddr, limits: EgressLimits, root: Vec<u8>) -> Self {
        Self::with(everything(peer.port()), limits, TlsRoots::Only(vec![root]))
    }

    /// Like [`Network::to`], with another value of the secret `token`.
    pub fn with_secret(peer: SocketAddr, limits: EgressLimits, value: &str) -> Self {
        Self::new(everything(peer.port()), limits, TlsRoots::Only(Vec::new()), value)
    }

    pub fn with(permissions: NetworkPermissions, limits: EgressLimits, roots: TlsRoots) -> Self {
        Self::new(permissions, limits, roots, SECRET)
    }

    /// Like [`Network::to`], for a tool with an effect.
    pub fn with_effect(peer: SocketAddr, effect: Effect) -> Self {
        Self::of(everything(peer.port()), settings(EgressLimits::default(), TlsRoots::Only(Vec::new())), SECRET, effect)
    }

    /// Like [`Network::to`], with connections that are opened by a dialer.
    pub fn with_dialer(peer: SocketAddr, limits: EgressLimits, dialer: impl Dialer) -> Self {
        let settings = EgressSettings { dialer: Arc::new(dialer), ..settings(limits, TlsRoots::Only(Vec::new())) };
        Self::of(everything(peer.port()), settings, SECRET, Effect::External)
    }

    /// Like [`Network::to_tls`], with another value of the secret `token`.
    pub fn to_tls_with_secret(peer: SocketAddr, root: Vec<u8>, value: &str) -> Self {
        Self::new(everything(peer.port()), EgressLimits::default(), TlsRoots::Only(vec![root]), value)
    }

    fn new(permissions: NetworkPermissions, limits: EgressLimits, roots: TlsRoots, secret: &str) -> Self {
        Self::of(permissions, settings(limits, roots), secret, Effect::External)
    }

    fn of(permissions: NetworkPermissions, settings: EgressSettings, secret: &str, effect: Effect) -> Self {
        let names = Arc::new(Names::default());
        let loopback: IpAddr = [127, 0, 0, 1].into();
        for name in ["localhost", NAME] {
            names.0.lock().expect("names").insert(name.to_owned(), vec![vec![loopback]]);
        }
        let egress = Egress::new(EgressSettings { names: names.clone(), ..settings }).expect("egress");
        let permissions = FixedPermissions::new(permissions);
        Self::instance(egress, names, permissions, "team", secret, effect)
    }

    fn instance(
        egress: Egress,
        names: Arc<Names>,
        permissions: FixedPermissions,
        workspace: &str,
        secret: &str,
        effect: Effect,
    ) -> Self {
        let secrets = Secrets([("token".to_owned(), secret.to_owned())].into());
        let workspace = workspace.parse().expect("an id");
        let access = Arc::new(egress.access(workspace, Arc::new(permissions.clone()), Arc::new(secrets), effect));
        Self { egress, names, permissions, requests: access.clone(), websockets: access }
    }

    /// Returns the access of another instance to the same network. This one is of the workspace `team`.
    pub fn another(&self, workspace: &str) -> Self {
        let Self { egress, names, permissions, .. } = self;
        Self::instance(egress.clone(), names.clone(), permissions.clone(), workspace, SECRET, Effect::External)
    }

    /// Sends a GET request.
    pub async fn get(&self, url: &str) -> Result<IncomingResponse, RequestFailure> {
        self.send(get(url)).await
    }

    pub async fn send(&self, request: OutgoingRequest) -> Result<IncomingResponse, RequestFailure> {
        tokio::time::timeout(PATIENCE, self.requests.send(request)).await.expect("an end")
    }

    /// Opens a connection without subprotocols.
    pub async fn open(&self, url: &str) -> Result<Box<dyn Connection>, WebSocketFailure> {
        self.open_with(connection(url)).await
    }

    pub async fn open_with(&self, outgoing: OutgoingConnection) -> Result<Box<dyn Connection>, WebSocketFailure> {
        tokio::time::timeout(PATIENCE, self.websockets.open(outgoing)).await.expect("an end")
    }

    /// Returns the number of open WebSocket connections of all workspaces.
    pub fn open_connections(&self) -> usize {
        self.egress.open_connections().values().map(|count| *count as usize).sum()
    }
}

fn settings(limits: EgressLimits, roots: TlsRoots) -> EgressSettings {
    let (names, dialer) = (Arc::new(Names::default()), Arc::new(SystemDialer));
    EgressSettings { names, dialer, roots, limits, addresses: AddressPolicy::with_test_net_3() }
}

/// Returns a GET request without headers.
pub fn get(url: &str) -> OutgoingRequest {
    OutgoingRequest {
        method: Method::Get,
        url: url.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        credential: None,
        timeout: None,
    }
}

/// Returns a connection without subprotocols.
pub fn connection(url: &str) -> OutgoingConnection {
    OutgoingConnection { url: url.to_owned(), subprotocols: Vec::new(), credential: None, timeout: None }
}

/// Waits for the next message, with a deadline that no working test reaches.
pub async fn receive(connection: &mut Box<dyn Connection>) -> Result<Option<Message>, WebSocketFailure> {
    tokio::time::timeout(PATIENCE, connection.receive(PATIENCE)).await.expect("an end")
}
