//! Interfaces that the Runtime offers to one plugin of one worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bundles::manifest::Effect;
use bundles::{PluginName, WorkspaceId};
use component_host::host_api::{Clocks, HostApi, LogLine, LogSink, NoEgress, Random, Requests, WebSockets};

use super::logs::{PluginLogs, PluginOwner};
#[cfg(feature = "egress")]
use super::network::{PackagePermissions, PluginNetwork};
use super::packages::LoadedPackage;
use crate::clock::Clock;
use crate::config_in_force::ConfigInForce;

/// Parts of the Runtime behind the interfaces of all plugins. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct PluginHost {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) logs: Arc<PluginLogs>,
    #[cfg_attr(not(feature = "egress"), allow(dead_code, reason = "only the network follows the config"))]
    pub(crate) config: Arc<ConfigInForce>,
    /// `None` if plugins have no network access.
    #[cfg(feature = "egress")]
    pub(crate) network: Option<PluginNetwork>,
}

/// The interfaces of one plugin of one workspace.
#[derive(Debug, Clone)]
pub(crate) struct PluginInterfaces {
    host: PluginHost,
    plugin: PluginName,
    #[cfg(feature = "egress")]
    permissions: Arc<PackagePermissions>,
}

impl PluginHost {
    /// Returns the interfaces of a plugin.
    #[cfg_attr(
        not(feature = "egress"),
        allow(unused_variables, reason = "only the network needs workspace and package")
    )]
    pub(crate) fn interfaces(
        &self,
        workspace: &WorkspaceId,
        plugin: PluginName,
        package: &LoadedPackage,
    ) -> PluginInterfaces {
        PluginInterfaces {
            #[cfg(feature = "egress")]
            permissions: Arc::new(PackagePermissions::new(self.config.clone(), workspace.clone(), package)),
            host: self.clone(),
            plugin,
        }
    }
}

impl PluginInterfaces {
    /// Returns the interfaces for a new instance, which belongs to a worker and has an effect on remote systems.
    pub(crate) fn of_instance(&self, owner: PluginOwner, effect: Effect) -> HostApi {
        let (requests, websockets) = self.network(effect);
        let log = PluginLog { logs: self.host.logs.clone(), owner, plugin: self.plugin.clone() };
        HostApi {
            requests,
            websockets,
            log: Arc::new(log),
            clocks: Arc::new(PluginClocks { started: Instant::now(), clock: self.host.clock.clone() }),
            random: Arc::new(SystemRandom),
        }
    }

    #[cfg_attr(not(feature = "egress"), allow(unused_variables, reason = "there is no network"))]
    fn network(&self, effect: Effect) -> (Arc<dyn Requests>, Arc<dyn WebSockets>) {
        #[cfg(feature = "egress")]
        if let Some(network) = &self.host.network {
            return network.access(&self.permissions, effect);
        }
        (Arc::new(NoEgress), Arc::new(NoEgress))
    }
}

#[derive(Debug)]
struct PluginLog {
    logs: Arc<PluginLogs>,
    owner: PluginOwner,
    plugin: PluginName,
}

impl LogSink for PluginLog {
    fn write(&self, line: LogLine) {
        self.logs.write(&self.owner, &self.plugin, line);
    }
}

/// Clocks of one instance. The wall clock is rounded down to a second.
#[derive(Debug)]
struct PluginClocks {
    started: Instant,
    clock: Arc<dyn Clock>,
}

impl Clocks for PluginClocks {
    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn wall(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.clock.now().as_second()).unwrap_or_default())
    }
}

#[derive(Debug)]
struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        getrandom::fill(bytes).map_err(|_| std::io::ErrorKind::Other.into())
    }
}
