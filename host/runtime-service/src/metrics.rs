//! Metrics of a service: those of its HTTP server, and the usage and load of each workspace.

use std::sync::atomic::AtomicU64;

use content_store::metadata::MetadataError;
use http_edge::HttpMetrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use worker_runtime::Runtime;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WorkspaceLabelSet {
    workspace: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabelSet {
    outcome: &'static str,
}

/// Metrics of one service.
#[derive(Debug)]
pub(crate) struct ServiceMetrics {
    registry: Registry,
    pub(super) event_streams: Gauge,
    reloads: Family<ReloadLabelSet, Counter>,
    stored_bytes: Family<WorkspaceLabelSet, Gauge<u64, AtomicU64>>,
    bundles: Family<WorkspaceLabelSet, Gauge<u64, AtomicU64>>,
    workers: Family<WorkspaceLabelSet, Gauge<u64, AtomicU64>>,
    running: Family<WorkspaceLabelSet, Gauge>,
    queued: Family<WorkspaceLabelSet, Gauge>,
    websockets: Family<WorkspaceLabelSet, Gauge>,
}

impl ServiceMetrics {
    pub(super) fn new(http: &HttpMetrics) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("yoi"),
            event_streams: Gauge::default(),
            reloads: Family::default(),
            stored_bytes: Family::default(),
            bundles: Family::default(),
            workers: Family::default(),
            running: Family::default(),
            queued: Family::default(),
            websockets: Family::default(),
        };
        let registry = &mut metrics.registry;
        http.register(registry);
        registry.register("event_streams", "Open event streams", metrics.event_streams.clone());
        registry.register("config_reloads", "Configs that were read while the service ran", metrics.reloads.clone());
        let stored = metrics.stored_bytes.clone();
        registry.register_with_unit("workspace_stored", "Bytes stored by a workspace", Unit::Bytes, stored);
        registry.register("workspace_bundles", "Bundles of a workspace", metrics.bundles.clone());
        registry.register(
            "workspace_workers",
            "Workers of a workspace, including stopped ones",
            metrics.workers.clone(),
        );
        registry.register("workspace_running_calls", "Running calls and resolutions", metrics.running.clone());
        registry.register("workspace_queued_calls", "Queued calls and resolutions", metrics.queued.clone());
        let websockets = metrics.websockets.clone();
        registry.register("workspace_websockets", "Open WebSocket connections of plugins", websockets);
        metrics
    }

    pub(super) fn count_reload(&self, outcome: &'static str) {
        self.reloads.get_or_create(&ReloadLabelSet { outcome }).inc();
    }

    /// Returns all metrics in the OpenMetrics text format.
    pub(super) async fn encode(&self, runtime: &Runtime) -> Result<String, MetadataError> {
        let management = runtime.management();
        let websockets = management.open_connections();
        for workspace in management.tenants().await? {
            let usage = management.usage(&workspace).await?;
            let (running, queued) = management.load(&workspace);
            let label = WorkspaceLabelSet { workspace: workspace.to_string() };
            self.stored_bytes.get_or_create(&label).set(usage.bytes);
            self.bundles.get_or_create(&label).set(usage.bundles);
            self.workers.get_or_create(&label).set(usage.workers);
            self.running.get_or_create(&label).set(running.into());
            self.queued.get_or_create(&label).set(queued.into());
            let websockets = websockets.get(&workspace).copied().unwrap_or_default();
            self.websockets.get_or_create(&label).set(websockets.into());
        }
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        Ok(text)
    }
}
