//! Packages of the plugins that a worker selects.

use std::collections::BTreeMap;
use std::sync::Arc;

use bundles::manifest::BlobRef;
use bundles::plugin::{self, Package, PackageError, PluginManifest, PluginWorld};
use bundles::{Blob, Bundle, Digest, PluginName};
use component_host::{LoadError, Sandbox, ServicePlugin, ToolPlugin};
use content_store::blob_store::BlobError;
use host_policy::{PackageFault, PackageFaults, PluginGrant, Resolution, RuntimeConfig};
use runtime_api::Code;
use serde_json::Value;
use tool_schema::{Schema, ValidationError, Work};

use super::services::ServicePlan;
use crate::content::ContentError;
use crate::memo::Memo;
use crate::workspace::Workspace;

/// Verified packages of all workspaces that are kept in memory. A package has up to 40 MiB, but only its manifest and its
/// linked component are kept.
const MAX_LOADED_PACKAGES: usize = 64;

/// A verified package whose component is ready to run.
#[derive(Debug)]
pub(crate) struct LoadedPackage {
    pub(crate) manifest: PluginManifest,
    reference: BlobRef,
    pub(crate) component: LoadedComponent,
}

/// A component that is ready to run, by its world.
#[derive(Debug)]
pub(crate) enum LoadedComponent {
    Tool(ToolPlugin),
    Service(ServicePlugin),
}

impl LoadedPackage {
    /// Returns the digest by which the config grants the package.
    pub(crate) fn digest(&self) -> Digest {
        self.reference.digest
    }

    /// Returns the plan of the service, or `None` for a plugin that is not a service.
    pub(crate) fn service_plan(self: &Arc<Self>, grant: &PluginGrant) -> Option<ServicePlan> {
        let LoadedComponent::Service(component) = &self.component else { return None };
        let config = granted_config(self.manifest.config(), grant);
        Some(ServicePlan { package: self.clone(), component: component.clone(), grant: grant.clone(), config })
    }
}

/// Loads packages and remembers them.
#[derive(Debug)]
pub(crate) struct Packages {
    loaded: Memo<Digest, Arc<LoadedPackage>>,
}

impl Default for Packages {
    fn default() -> Self {
        Self { loaded: Memo::new(MAX_LOADED_PACKAGES) }
    }
}

/// The packages of one worker: those that can be used, and the faults of the others.
#[derive(Debug, Default)]
pub(crate) struct WorkerPackages {
    pub(crate) loaded: BTreeMap<PluginName, Arc<LoadedPackage>>,
    pub(crate) faults: PackageFaults,
}

impl Workspace {
    /// Reads and loads the packages of the selected plugins that the config grants. Runs in the compute pool.
    ///
    /// # Errors
    ///
    /// A store that cannot be read now. It says nothing about the package.
    pub(crate) async fn load_packages(
        &self,
        config: &RuntimeConfig,
        bundle: &Bundle,
        resolution: &Resolution,
    ) -> Result<WorkerPackages, ContentError> {
        let mut packages = WorkerPackages::default();
        for name in resolution.plugins() {
            let Some(plugin) = bundle.manifest().plugins.get(name) else { continue };
            // A package that is not granted is not even read.
            let Some(grant) = config.plugin(&self.id, &plugin.package.digest) else { continue };
            match self.load_package(bundle, name, plugin.package.digest, grant).await? {
                Ok(loaded) => {
                    packages.loaded.insert(name.clone(), loaded);
                }
                Err(fault) => {
                    packages.faults.insert(name.clone(), fault);
                }
            }
        }
        Ok(packages)
    }

    async fn load_package(
        &self,
        bundle: &Bundle,
        name: &PluginName,
        digest: Digest,
        grant: &PluginGrant,
    ) -> Result<Result<Arc<LoadedPackage>, PackageFault>, ContentError> {
        let shared = &self.shared;
        // The row says that the package belongs to this workspace, so it is read even if the package is in memory.
        let bytes = match self.content().blob_size(digest).await {
            Ok(bytes) => bytes,
            Err(ContentError::BlobNotFound(_)) => return Ok(Err(PackageFault::Missing)),
            Err(error) => return Err(error),
        };
        let loaded = match shared.packages.loaded.get(&digest) {
            Some(loaded) => loaded,
            None => {
                let stored = match shared.blobs.get_sized(digest, bytes).await {
                    Ok(stored) => stored,
                    Err(BlobError::NotFound(_)) => {
                        // An earlier read may have found damage, and moved the package out of the store.
                        let is_damaged = self.content().is_set_aside(digest).await?;
                        return Ok(Err(if is_damaged { PackageFault::Damaged } else { PackageFault::Missing }));
                    }
                    Err(BlobError::Damaged(_)) => return Ok(Err(PackageFault::Damaged)),
                    Err(error) => return Err(error.into()),
                };
                let package = match Package::open(Blob::new(&*stored), &shared.sandbox.limits().bundle) {
                    Ok(package) => package,
                    Err(error) => return Ok(Err(fault_of(&error))),
                };
                let component = match load_component(&shared.sandbox, &package).await {
                    Ok(component) => component,
                    Err(fault) => return Ok(Err(fault)),
                };
                let (manifest, reference) = (package.manifest().clone(), package.reference());
                let loaded = Arc::new(LoadedPackage { manifest, reference, component });
                shared.packages.loaded.insert(digest, loaded.clone());
                loaded
            }
        };
        Ok(match self.find_fault(bundle, name, &loaded, grant) {
            None => Ok(loaded),
            Some(fault) => Err(fault),
        })
    }

    /// Returns the first fault of a package for one worker.
    fn find_fault(
        &self,
        bundle: &Bundle,
        name: &PluginName,
        package: &LoadedPackage,
        grant: &PluginGrant,
    ) -> Option<PackageFault> {
        let manifest = &package.manifest;
        if let Some(difference) = plugin::differences(bundle, name, manifest, package.reference).first() {
            return Some(PackageFault::Mismatch(difference.to_string()));
        }
        if let Some(tool) = manifest.tools().keys().find(|tool| self.shared.tools.host().contains(tool.as_ref())) {
            return Some(PackageFault::HostTool(tool.clone()));
        }
        let limits = &self.shared.sandbox.limits().bundle;
        check_config(manifest.config(), grant, limits.pattern_bytes, self.shared.limits.schema_work)
            .err()
            .map(PackageFault::InvalidConfig)
    }
}

/// Returns the fault of a package that is invalid.
fn fault_of(error: &PackageError) -> PackageFault {
    let problem = error.to_string();
    match error.code() {
        Code::UnsupportedWorld => PackageFault::UnsupportedWorld(problem),
        Code::InvalidSchema => PackageFault::InvalidSchema(problem),
        _ => PackageFault::Invalid(problem),
    }
}

/// Loads the component of a package for the world that its manifest names.
async fn load_component(sandbox: &Sandbox, package: &Package) -> Result<LoadedComponent, PackageFault> {
    let loaded = match package.manifest().world() {
        PluginWorld::Tool => sandbox.load_tool(package.component()).await.map(LoadedComponent::Tool),
        PluginWorld::Service => sandbox.load_service(package.component()).await.map(LoadedComponent::Service),
    };
    loaded.map_err(|error| match error {
        LoadError::ForeignImport { imports, .. } => PackageFault::ForeignImport(imports),
        error if error.is_temporary() => {
            PackageFault::NotLoaded { reason: error.to_string(), remedy: error.help().to_owned() }
        }
        error => PackageFault::Unloadable(error.to_string()),
    })
}

/// Returns the config that a grant gives to a plugin, or `null` for a plugin without a config.
fn granted_config(schema: Option<&Value>, grant: &PluginGrant) -> Value {
    match schema {
        Some(_) => Value::Object(grant.config.clone().unwrap_or_default()),
        None => Value::Null,
    }
}

fn check_config(
    schema: Option<&Value>,
    grant: &PluginGrant,
    pattern_bytes: usize,
    schema_work: u64,
) -> Result<(), String> {
    let Some(document) = schema else {
        return if grant.config.is_some() { Err("the plugin has no config".to_owned()) } else { Ok(()) };
    };
    // The schema of a verified manifest has no faults.
    let Ok(schema) = Schema::parse(document, pattern_bytes) else { return Err("its schema is invalid".to_owned()) };
    match schema.validate(&granted_config(Some(document), grant), &mut Work::new(schema_work)) {
        Ok(()) => Ok(()),
        Err(ValidationError::Mismatch(mismatch)) if mismatch.pointer.is_empty() => Err(mismatch.reason),
        Err(ValidationError::Mismatch(mismatch)) => Err(format!("at `{}`: {}", mismatch.pointer, mismatch.reason)),
        Err(ValidationError::Incomplete(cause)) => Err(cause.to_string()),
    }
}
