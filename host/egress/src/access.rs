//! Checks requests by the permissions in force, and opens connections to checked addresses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bundles::manifest::Effect;
use bundles::{Method, WorkspaceId};
use component_host::host_api::Unreachable;
use error_code::Code;
use host_policy::{AddressPolicy, EgressRequest, PermissionSet, PermittedRequest, check_addresses, permit_request};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};
use tokio_util::either::Either;
use url::Host;

use crate::credential::{Credentials, PermittedSecret, SecretEcho, SecretHeader};
use crate::dial::{Dialer, SystemDialer, dial};
use crate::failure::Failure;
use crate::limits::EgressLimits;
use crate::name_resolver::{NameResolver, ResolveError, SystemNames};
use crate::permissions::{NetworkPermissions, PermissionSource, RequiredPermissions};
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
    effect: Effect,
    sent: Mutex<SecretEcho>,
    pub(crate) quota: Arc<WorkspaceQuota>,
    rate: Rate,
}

/// A connection to a checked address, for one permitted request.
pub(crate) struct PermittedConnection {
    pub(crate) stream: Stream,
    pub(crate) permit: ConnectionPermit,
    pub(crate) secret: Option<SecretHeader>,
}

/// A permitted request with the address of its connection. It can be checked again under other permissions.
pub(crate) struct ConnectionPermit {
    pub(crate) permitted: PermittedRequest,
    address: std::net::IpAddr,
    secret: Option<PermittedSecret>,
    protocol: Protocol,
}

impl EgressSettings {
    /// Creates settings with the names and the root certificates of the system.
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

    /// Returns the network access of a new instance. `effect` is the effect that the manifest declares for what the instance
    /// does: only `external` allows methods other than `GET` and `HEAD`, and WebSockets; `none` allows nothing.
    pub fn access(
        &self,
        workspace: WorkspaceId,
        permissions: Arc<dyn PermissionSource>,
        credentials: Arc<dyn Credentials>,
        effect: Effect,
    ) -> NetworkAccess {
        let shared = self.0.clone();
        let quota = shared.quotas.of(&workspace, &shared.limits);
        let rate = Rate::new(shared.limits.instance_requests_per_second);
        NetworkAccess(Arc::new(Access {
            shared,
            permissions,
            credentials,
            effect,
            sent: Mutex::default(),
            quota,
            rate,
        }))
    }

    /// Returns the number of open WebSocket connections of each workspace that has used the network.
    pub fn open_connections(&self) -> BTreeMap<WorkspaceId, u32> {
        self.0.quotas.open_connections()
    }
}

/// Returns the lists of permissions for a protocol.
fn required(permissions: &NetworkPermissions, protocol: Protocol) -> &RequiredPermissions {
    match protocol {
        Protocol::Http => &permissions.requests,
        Protocol::WebSocket => &permissions.websockets,
    }
}

fn permit_under(
    permissions: &NetworkPermissions,
    protocol: Protocol,
    request: EgressRequest,
) -> Result<PermittedRequest, Failure> {
    let RequiredPermissions { targets, grants } = required(permissions, protocol);
    let (targets, grants): (&PermissionSet, &PermissionSet) = (targets, grants);
    Ok(permit_request(targets, grants, request)?)
}

impl Access {
    /// Counts the start of a request or a handshake, also of one that is refused afterwards.
    pub(crate) fn begin(&self) -> Result<(), Failure> {
        self.quota.begin(&self.rate)
    }

    /// Returns the search for the secret of a request, and for all secrets that this instance has sent before: a remote
    /// system can return one in a later response.
    pub(crate) fn sent_secrets(&self, secret: Option<&SecretHeader>) -> SecretEcho {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(secret) = secret {
            sent.add(&secret.echo);
        }
        sent.clone()
    }

    fn permissions(&self) -> Result<Arc<NetworkPermissions>, Failure> {
        self.permissions.current().ok_or_else(Failure::revoked)
    }

    /// Checks that the declared effect includes the request.
    fn check_effect(&self, request: &EgressRequest) -> Result<(), Failure> {
        let is_reading = matches!(request.method(), Some(Method::Get | Method::Head));
        match self.effect {
            Effect::External => Ok(()),
            Effect::Read | Effect::Write if is_reading => Ok(()),
            Effect::Read | Effect::Write => {
                let message = "the tool does not declare the effect `external`, so it may send `GET` and `HEAD` only";
                Err(Failure::denied(Code::EffectNotDeclared, message))
            }
            Effect::None => {
                let message = "the tool declares no effect, so it may not use the network";
                Err(Failure::denied(Code::EffectNotDeclared, message))
            }
        }
    }

    /// Runs `exchange`, and ends it when `check` refuses after a change of the permissions. The result is that refusal then.
    pub(crate) async fn while_permitted<T>(
        &self,
        check: impl Fn() -> Result<(), Failure>,
        exchange: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            refusal = self.refusal(check) => Err(refusal),
            result = exchange => result,
        }
    }

    /// Returns the refusal of `check` as soon as it refuses. It runs now and after each change of the permissions.
    pub(crate) async fn refusal(&self, check: impl Fn() -> Result<(), Failure>) -> Failure {
        let mut changes = self.permissions.changes();
        loop {
            // A change before the subscription is not notified, so the first check does not wait for one.
            if let Err(refusal) = check() {
                return refusal;
            }
            if changes.changed().await.is_err() {
                return Failure::revoked();
            }
        }
    }

    /// Checks a request and connects. Nothing is looked up or sent before the request is permitted.
    pub(crate) async fn connect(
        &self,
        request: EgressRequest,
        protocol: Protocol,
        credential: Option<&str>,
        guest_headers: &[(String, String)],
        deadline: Instant,
    ) -> Result<PermittedConnection, Failure> {
        self.check_effect(&request)?;
        let permissions = self.permissions()?;
        let permitted = permit_under(&permissions, protocol, request)?;
        let secret = credential.map(|name| PermittedSecret::new(name, &permissions)).transpose()?;
        if let Some(secret) = &secret
            && let Some((name, _)) = guest_headers.iter().find(|(name, _)| secret.is_reserved(name))
        {
            let message = format!("header `{}` must not be set beside a credential", bundles::shown(name));
            return Err(Failure::denied(Code::HeaderNotAllowed, message));
        }
        let connect_ms = Duration::from_millis(self.shared.limits.connect_ms);
        let deadline = deadline.min(Instant::now() + connect_ms);
        let check = |address| self.check_in_force(&permitted, protocol, secret.as_ref(), address);
        let connecting = async {
            let (stream, address) = self.dial(&permitted, protocol, secret.is_some()).await?;
            // The value of a secret is read for a request that is permitted now.
            check(Some(address))?;
            let value = match &secret {
                None => None,
                Some(secret) => Some(secret.read(self.credentials.as_ref()).await?),
            };
            Ok((stream, address, value))
        };
        let connecting = self.while_permitted(|| check(None), connecting);
        let (stream, address, value) = timeout_at(deadline, connecting).await.map_err(|_| Failure::TimedOut)??;
        let permit = ConnectionPermit { permitted, address, secret, protocol };
        Ok(PermittedConnection { stream, permit, secret: value })
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
        let is_loopback = || addresses.as_slice().iter().all(|address| address.ip().is_loopback());
        if has_secret && !permitted.request().scheme().is_encrypted() && !is_loopback() {
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

    /// Checks an open connection by the permissions in force.
    pub(crate) fn check_again(&self, permit: &ConnectionPermit) -> Result<(), Failure> {
        self.check_in_force(&permit.permitted, permit.protocol, permit.secret.as_ref(), Some(permit.address))
    }

    /// Checks a request by the permissions in force, and the address of its connection if there is one.
    fn check_in_force(
        &self,
        permitted: &PermittedRequest,
        protocol: Protocol,
        secret: Option<&PermittedSecret>,
        address: Option<std::net::IpAddr>,
    ) -> Result<(), Failure> {
        let permissions = self.permissions()?;
        let permitted = permit_under(&permissions, protocol, permitted.request().clone())?;
        if let Some(address) = address {
            check_addresses(&self.shared.addresses, &permitted, &[address])?;
        }
        match secret {
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
