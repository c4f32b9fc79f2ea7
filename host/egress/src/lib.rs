//! Network access of plugins: the only package that opens connections for them.
//!
//! [`Egress`] belongs to a Runtime, and [`NetworkAccess`] to one instance of a plugin. Each request and each handshake is
//! checked by `host-policy` with the permissions in force: manifest and grant must both cover the URL, and every address of
//! its name is checked before the connection goes to one of them. No other name is looked up, no redirect is followed, and
//! nothing is read from the environment.
//!
//! Read [`access`](NetworkAccess) first, then `request` and `websocket`.

mod access;
mod credential;
mod dial;
mod failure;
mod limits;
mod name_resolver;
mod permissions;
mod quota;
mod request;
mod tls;
mod websocket;

pub use access::{Egress, EgressSettings, NetworkAccess};
pub use credential::Credentials;
pub use dial::{Dialer, SystemDialer};
pub use limits::EgressLimits;
pub use name_resolver::{NameResolver, ResolveError, SystemNames};
pub use permissions::{FixedPermissions, NetworkPermissions, PermissionSource, RequiredPermissions};
pub use tls::{InvalidRoots, TlsRoots};
