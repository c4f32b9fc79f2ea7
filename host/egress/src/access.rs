//! The network access of plugins: who may send what, and the way to a connection that was judged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bundles::WorkspaceId;
use component_host::host_api::Unreachable;
use error_code::Code;
use host_policy::{AddressPolicy, EgressRequest, PermissionSet, PermittedRequest, check_addresses, permit_request};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};
use tokio_util::either::Either;
use url::Host;

use crate::credential::{Credentials, PermittedSecret, SecretHeader};
use crate::dial::{Dialer, SystemDialer, dial};
use crate::failure::Failure;
use crate::limits::EgressLimits;
use crate::name_resolver::{NameResolver, ResolveError, SystemNames};
use crate::permissions::{NetworkPermissions, PermissionSource, TwoKeys};
use crate::quota::{Quotas, Rate, WorkspaceQuota};
use crate::tls::{InvalidRoots, Protocol, Stream, Tls, TlsRoots};

/// Network access of all plugins of a Runtime. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Egress(Arc<Shared>);

/// Settings of [`Egress`].
#[derive(Debug)]
pub struct EgressSettings {
    /// Look-up of names.
    pub names: Arc<dyn NameResolver>,
    /// Opening of TCP connections.
    pub dialer: Arc<dyn Dialer>,
    /// Root certificates.
    pub roots: TlsRoots,
    /// Limits.
    pub limits: EgressLimits,
    /// Classification of addresses.
    pub addresses: AddressPolicy,
}

#[derive(Debug)]
pub(crate) struct Shared {
    names: Arc<dyn NameResolver>,
    dialer: Arc<dyn Dialer>,
    tls: Tls,
    pub(crate) limits: EgressLimits,
    addresses: AddressPolicy,
    quotas: Quotas,
    /// Runtime of the connections. Guests are polled on other threads, which they may occupy.
    pub(crate) tasks: Handle,
}

/// Network access of one instance of a plugin: of one tool call, or of one service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NetworkAccess(pub(crate) Arc<Access>);

#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) shared: Arc<Shared>,
    permissions: Arc<dyn PermissionSource>,
    credentials: Arc<dyn Credentials>,
    pub(crate) quota: Arc<WorkspaceQuota>,
    rate: Rate,
}

/// A connection to a judged address, for one permitted request.
pub(crate) struct Dialled {
    pub(crate) stream: Stream,
    pub(crate) judgement: Judgement,
    pub(crate) secret: Option<SecretHeader>,
}

/// A judged request with the address of its connection. It can be judged again.
pub(crate) struct Judgement {
    pub(crate) permitted: PermittedRequest,
    address: std::net::IpAddr,
    secret: Option<PermittedSecret>,
    protocol: Protocol,
}

impl EgressSettings {
    /// Returns settings with the names and the root certificates of the system.
    pub fn of_system(limits: EgressLimits) -> Self {
        let names = Arc::new(SystemNames::new());
        let (dialer, roots) = (Arc::new(SystemDialer), TlsRoots::System);
        Self { names, dialer, roots, limits, addresses: AddressPolicy::default() }
    }
}

impl Egress {
    /// Creates network access. Connections run on the current Tokio runtime.
    ///
    /// # Panics
    ///
    /// Panics outside of a Tokio runtime.
    pub fn new(settings: EgressSettings) -> Result<Self, InvalidRoots> {
        let EgressSettings { names, dialer, roots, limits, addresses } = settings;
        let (tls, tasks) = (Tls::new(&roots)?, Handle::current());
        Ok(Self(Arc::new(Shared { names, dialer, tls, limits, addresses, quotas: Quotas::default(), tasks })))
    }

    /// Returns the network access of a new instance.
    pub fn access(
        &self,
        workspace: WorkspaceId,
        permissions: Arc<dyn PermissionSource>,
        credentials: Arc<dyn Credentials>,
    ) -> NetworkAccess {
        let shared = self.0.clone();
        let quota = shared.quotas.of(&workspace, &shared.limits);
        let rate = Rate::new(shared.limits.instance_requests_per_second);
        NetworkAccess(Arc::new(Access { shared, permissions, credentials, quota, rate }))
    }

    /// Returns the number of open WebSocket connections of each workspace that has used the network.
    pub fn open_connections(&self) -> BTreeMap<WorkspaceId, u32> {
        self.0.quotas.open_connections()
    }
}

/// Returns the lists of permissions for a protocol.
fn keys(permissions: &NetworkPermissions, protocol: Protocol) -> &TwoKeys {
    match protocol {
        Protocol::Http => &permissions.requests,
        Protocol::WebSocket => &permissions.websockets,
    }
}

fn permit(
    permissions: &NetworkPermissions,
    protocol: Protocol,
    request: EgressRequest,
) -> Result<PermittedRequest, Failure> {
    let TwoKeys { targets, grants } = keys(permissions, protocol);
    let (targets, grants): (&PermissionSet, &PermissionSet) = (targets, grants);
    Ok(permit_request(targets, grants, request)?)
}

impl Access {
    fn permissions(&self) -> Result<Arc<NetworkPermissions>, Failure> {
        self.permissions.current().ok_or_else(Failure::revoked)
    }

    /// Returns a receiver that is notified when the permissions change.
    pub(crate) fn changes(&self) -> tokio::sync::watch::Receiver<()> {
        self.permissions.changes()
    }

    /// Judges a request and connects. Nothing is looked up or sent before the request is permitted.
    pub(crate) async fn connect(
        &self,
        request: EgressRequest,
        protocol: Protocol,
        credential: Option<&str>,
        guest_headers: &[(String, String)],
        deadline: Instant,
    ) -> Result<Dialled, Failure> {
        let permissions = self.permissions()?;
        let permitted = permit(&permissions, protocol, request)?;
        let secret = credential.map(|name| PermittedSecret::new(name, &permissions)).transpose()?;
        if let Some(secret) = &secret
            && let Some((name, _)) = guest_headers.iter().find(|(name, _)| secret.is_header(name))
        {
            let message =
                format!("header `{}` contains the credential, so the plugin cannot write it", bundles::shown(name));
            return Err(Failure::denied(Code::HeaderNotAllowed, message));
        }
        self.quota.begin(&self.rate)?;
        let connect_ms = Duration::from_millis(self.shared.limits.connect_ms);
        let deadline = deadline.min(Instant::now() + connect_ms);
        let connected = timeout_at(deadline, self.dial(&permitted, protocol, secret.is_some())).await;
        let (stream, address) = connected.map_err(|_| Failure::TimedOut)??;
        let header = match &secret {
            None => None,
            Some(secret) => Some(secret.read(self.credentials.as_ref()).await?),
        };
        Ok(Dialled { stream, judgement: Judgement { permitted, address, secret, protocol }, secret: header })
    }

    async fn dial(
        &self,
        permitted: &PermittedRequest,
        protocol: Protocol,
        has_secret: bool,
    ) -> Result<(Stream, std::net::IpAddr), Failure> {
        let shared = &self.shared;
        let resolved = match permitted.name() {
            None => Vec::new(),
            Some(name) => match shared.names.resolve(name).await {
                Ok(addresses) => addresses,
                Err(ResolveError::NotFound | ResolveError::Unavailable) => {
                    return Err(Failure::Unreachable(Unreachable::Dns));
                }
            },
        };
        let addresses = check_addresses(&shared.addresses, permitted, &resolved)?;
        let is_private = || addresses.as_slice().iter().all(|address| address.ip().is_loopback());
        if has_secret && !permitted.request().scheme().is_encrypted() && !is_private() {
            let message = "a secret is sent over an encrypted connection or to this machine only";
            return Err(Failure::denied(Code::SecretNeedsTls, message));
        }
        let (stream, address) = dial(shared.dialer.as_ref(), &addresses).await?;
        let stream = match permitted.request().scheme().is_encrypted() {
            true => shared.tls.connect(stream, host(permitted), protocol).await?,
            false => Either::Left(stream),
        };
        Ok((stream, address.ip()))
    }

    /// Judges an open connection by the permissions in force.
    pub(crate) fn judge_again(&self, judgement: &Judgement) -> Result<(), Failure> {
        let permissions = self.permissions()?;
        let permitted = permit(&permissions, judgement.protocol, judgement.permitted.request().clone())?;
        check_addresses(&self.shared.addresses, &permitted, &[judgement.address])?;
        match &judgement.secret {
            Some(secret) if !secret.is_permitted(&permissions) => {
                Err(Failure::denied(Code::SecretNotGranted, "the secret is not granted any more"))
            }
            _ => Ok(()),
        }
    }
}

fn host(permitted: &PermittedRequest) -> Host<&str> {
    permitted.request().host()
}
