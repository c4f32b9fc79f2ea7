//! Interfaces that the Runtime offers to one plugin of one worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bundles::PluginName;
use component_host::host_api::{Clocks, HostApi, LogLine, LogSink, NoEgress, Random};

use super::logs::{PluginLogs, PluginOwner};
use crate::clock::Clock;

/// Returns the interfaces for one instance. Requests and connections are refused: this Runtime has no egress for plugins.
pub(crate) fn host_api(
    clock: &Arc<dyn Clock>,
    logs: &Arc<PluginLogs>,
    owner: PluginOwner,
    plugin: &PluginName,
) -> HostApi {
    HostApi {
        requests: Arc::new(NoEgress),
        websockets: Arc::new(NoEgress),
        log: Arc::new(PluginLog { logs: logs.clone(), owner, plugin: plugin.clone() }),
        clocks: Arc::new(PluginClocks { started: Instant::now(), clock: clock.clone() }),
        random: Arc::new(SystemRandom),
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
