//! Network access of plugins: the permissions in force of one package in one workspace, and the secrets that it may use.
//! The connections themselves are those of the package `egress`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bundles::manifest::Effect;
use bundles::{Digest, SecretPlacement, SecretRef, UrlPermission, WorkspaceId};
use component_host::host_api::{Requests, WebSockets};
use egress::{Credentials, Egress, NetworkPermissions, PermissionSource, RequiredPermissions};
use host_policy::{PermissionSet, PluginGrant, RuntimeConfig};
use host_tools::secret::SecretSource;
use secrecy::SecretString;
use tokio::sync::watch;

use super::packages::LoadedPackage;
use crate::config_in_force::ConfigInForce;

/// Network access for all plugins of a Runtime. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct PluginNetwork {
    pub(crate) egress: Egress,
    pub(crate) secrets: Arc<dyn SecretSource>,
}

/// Permissions of one package in one workspace. They follow the config in force.
#[derive(Debug)]
pub(crate) struct PackagePermissions {
    config: Arc<ConfigInForce>,
    workspace: WorkspaceId,
    package: Digest,
    declared: DeclaredTargets,
    /// Permissions under the config that was last used. An index of permissions takes time to build.
    cached: Mutex<Option<Cached>>,
}

type Cached = (Arc<RuntimeConfig>, Option<Arc<NetworkPermissions>>);

/// What a manifest declares.
#[derive(Debug)]
struct DeclaredTargets {
    requests: Arc<PermissionSet>,
    websockets: Arc<PermissionSet>,
    secrets: Arc<BTreeMap<SecretRef, SecretPlacement>>,
}

fn set<'a>(permissions: impl IntoIterator<Item = &'a UrlPermission>) -> Arc<PermissionSet> {
    Arc::new(PermissionSet::new(permissions.into_iter().cloned()))
}

impl PluginNetwork {
    /// Returns the network access of a new instance.
    pub(crate) fn access(
        &self,
        permissions: &Arc<PackagePermissions>,
        effect: Effect,
    ) -> (Arc<dyn Requests>, Arc<dyn WebSockets>) {
        let credentials = Arc::new(HostSecrets(self.secrets.clone()));
        let access = self.egress.access(permissions.workspace.clone(), permissions.clone(), credentials, effect);
        let access = Arc::new(access);
        (access.clone(), access)
    }
}

impl PackagePermissions {
    pub(crate) fn new(config: Arc<ConfigInForce>, workspace: WorkspaceId, package: &LoadedPackage) -> Self {
        let asked = package.manifest.permissions();
        let secrets = asked.secrets.iter().filter_map(|secret| Some((secret.what.clone(), secret.placement.clone()?)));
        let declared = DeclaredTargets {
            requests: set(asked.requests.iter().map(|target| &target.what)),
            websockets: set(asked.websockets.iter().map(|target| &target.what)),
            secrets: Arc::new(secrets.collect()),
        };
        Self { config, workspace, package: package.digest(), declared, cached: Mutex::default() }
    }

    fn under(&self, grant: &PluginGrant) -> NetworkPermissions {
        let secrets = grant.secrets.iter().map(|secret| (secret.name.clone(), secret.placement()));
        let declared = &self.declared;
        NetworkPermissions {
            requests: RequiredPermissions { targets: declared.requests.clone(), grants: set(&grant.requests) },
            websockets: RequiredPermissions { targets: declared.websockets.clone(), grants: set(&grant.websockets) },
            declared_secrets: declared.secrets.clone(),
            granted_secrets: Arc::new(secrets.collect()),
        }
    }
}

impl PermissionSource for PackagePermissions {
    fn current(&self) -> Option<Arc<NetworkPermissions>> {
        let config = self.config.load_full();
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, permissions)) = &*cached
            && Arc::ptr_eq(of, &config)
        {
            return permissions.clone();
        }
        let grant = config.plugin(&self.workspace, &self.package);
        let permissions = grant.map(|grant| Arc::new(self.under(grant)));
        *cached = Some((config, permissions.clone()));
        permissions
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.config.changes()
    }
}

/// The secrets of the host.
#[derive(Debug)]
struct HostSecrets(Arc<dyn SecretSource>);

#[async_trait]
impl Credentials for HostSecrets {
    async fn get(&self, name: &SecretRef) -> Option<SecretString> {
        match self.0.get(name).await {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::warn!(secret = %name, code = error.code().as_str(), "cannot read a secret for a plugin");
                None
            }
        }
    }
}
