//! Explanation of a worker: each value of its resolution with the layer that set it, and what the Runtime refused.
//!
//! The Runtime supplies the record of the resolution. The Backend verifies the recorded answer with its own copy of the bundle,
//! like a Runtime that restores a worker. So every text of an explanation comes from the bundle or from this program.

use backend_api::refusal::{MAX_REFUSED_SUBJECTS, RefusedSubject};
use backend_api::worker::WorkerView;
use bundles::manifest::Manifest;
use bundles::{Digest, WorkspaceId};
use host_policy::Resolution;
use host_policy::explain::{Explainer, Explanation};
use runtime_api::worker::WorkerId;
use serde_json::Value;
use worker_runtime::{Record, shipped};

use super::on_runtime;
use crate::backend::{Backend, BackendError};
use crate::link_error::LinkError;

/// A worker with the values of its resolution.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainedWorker {
    /// The worker and its Runtime.
    pub view: WorkerView,
    /// Values of the resolution.
    pub values: Vec<ExplainedValue>,
    /// Subjects that the Runtime refuses now. `None` if the worker is stopped or suspended, because it then has no authority.
    pub refused: Option<Vec<RefusedSubject>>,
}

/// A value of a resolution.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainedValue {
    /// The value with its layers.
    pub explanation: Explanation,
    /// Refusal of the value by the Runtime.
    pub refused: Option<RefusedSubject>,
}

impl Backend {
    /// Returns the values of a worker's resolution with their origins, and what its Runtime refuses.
    pub async fn explain_worker(
        &self,
        workspace: &WorkspaceId,
        id: &WorkerId,
    ) -> Result<ExplainedWorker, BackendError> {
        let view = self.worker(workspace, id).await?;
        let runtime = &view.runtime;
        let link = self.allowed_link(workspace, runtime)?;
        let record = link.record(workspace, view.worker.record).await.map_err(on_runtime(runtime))?;
        let unusable = || on_runtime(runtime)(LinkError::Unsupported);
        let record = Record::from_json(&record).map_err(|_| unusable())?;
        let digest = record.digests().bundle;
        // A Runtime could name the record of another worker.
        if (digest, record.request().profile()) != (view.worker.bundle, view.worker.request.profile.profile()) {
            return Err(unusable());
        }
        let manifest = self.manifest_or_builtin(workspace, digest).await?;
        let management = self.catalogue().management();
        let resolution = record.restore(&manifest, management.bundle_limits()).map_err(|_| unusable())?;
        let refused = match link.worker_spec(workspace, id).await {
            Ok(spec) => Some(refused_subjects(&spec)),
            Err(LinkError::Refused { .. }) => None,
            Err(error) => return Err(on_runtime(runtime)(error)),
        };
        let explainer =
            Explainer { manifest: &manifest, facts: record.facts(), resolution: &resolution, refusals: &[] };
        let value = |explanation: Explanation| {
            let subject = subject_of(&explanation, &resolution);
            let refused = refused.iter().flatten().find(|one| Some(one.subject.to_string()) == subject).cloned();
            ExplainedValue { explanation, refused }
        };
        let values = explainer.explain_all().into_iter().map(value).collect();
        Ok(ExplainedWorker { view, values, refused })
    }

    async fn manifest_or_builtin(&self, workspace: &WorkspaceId, digest: Digest) -> Result<Manifest, BackendError> {
        if let Ok(builtin) = shipped::bundle()
            && builtin.digest() == digest
        {
            return Ok(builtin.manifest().clone());
        }
        self.manifest(workspace, digest).await
    }
}

/// Returns the refused subjects of a specification. Those that this program does not know are left out.
fn refused_subjects(spec: &Value) -> Vec<RefusedSubject> {
    let narrowed = spec.get("narrowed").and_then(Value::as_array).into_iter().flatten();
    narrowed.filter_map(RefusedSubject::from_refusal).take(MAX_REFUSED_SUBJECTS).collect()
}

/// Returns the subject that a refusal of the value has.
fn subject_of(explanation: &Explanation, resolution: &Resolution) -> Option<String> {
    let (list, index) = explanation.field.as_deref()?.strip_prefix('/')?.split_once('/')?;
    let name = || explanation.value.as_ref().and_then(Value::as_str);
    match list {
        "tools" => Some(format!("tool:{}", name()?)),
        "plugins" => Some(format!("plugin:{}", name()?)),
        "wishes" => Some(resolution.wishes().get(index.parse::<usize>().ok()?)?.authority.to_string()),
        _ => None,
    }
}
