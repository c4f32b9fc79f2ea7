//! Runtimes that requests add to the fleet.
//!
//! A row keeps each request. A Runtime of the config with the same name takes precedence, and requests cannot change it.

use std::collections::BTreeMap;
use std::sync::Arc;

use backend_api::audit::{Action, Actor};
use backend_api::fleet::{Access, RegisterRuntimeRequest};
use bundles::RuntimeName;
use content_store::metadata::Key;
use content_store::records::Records;
use runtime_api::Code;
use serde::{Deserialize, Serialize};

use super::{Backend, BackendError, RuntimeEntry};
use crate::connector::{Connector, ConnectorError};
use crate::reconciler::RuntimeKnowledge;
use crate::runtime_link::NoAccess;
use crate::visibility::{Rules, RuntimeRules};

/// Key of the Runtimes that requests added.
fn registered_keys() -> Key {
    Key::new("backend-registered")
}

/// A Runtime that a request added, as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisteredRow {
    name: RuntimeName,
    request: RegisterRuntimeRequest,
}

/// Prefix of the names of secrets that a request can name. Without it, a token with the scope `admin` could make the Backend
/// send any secret of its host to any URL.
const REGISTERED_SECRET_PREFIX: &str = "runtime-";

/// Maximum number of Runtimes that requests add.
const MAX_REGISTERED: usize = 10_000;

/// Reads the Runtimes that requests added, and opens the access to each.
pub(super) async fn read_registered(
    records: &Records,
    connector: &dyn Connector,
) -> Result<BTreeMap<RuntimeName, RuntimeEntry>, BackendError> {
    let mut runtimes = BTreeMap::new();
    for (_, row) in records.rows::<RegisteredRow>(&registered_keys(), None, usize::MAX).await? {
        let RegisteredRow { name, request } = row;
        let opened = entry(connector, &name, &request).await.unwrap_or_else(|error| {
            // The other Runtimes do not depend on it, and only a running Backend can remove it.
            let code = error.code();
            tracing::warn!(target: "yoi::backend", runtime = %name, code = code.as_str(), "a Runtime that a request added cannot be used");
            RuntimeEntry { rules: rules(&request), access: Access::Remote, link: Arc::new(NoAccess(code)) }
        });
        runtimes.insert(name, opened);
    }
    Ok(runtimes)
}

/// Opens the access to a Runtime that a request added.
async fn entry(
    connector: &dyn Connector,
    name: &RuntimeName,
    request: &RegisterRuntimeRequest,
) -> Result<RuntimeEntry, BackendError> {
    let failed = |error| BackendError::Connector { runtime: name.clone(), error };
    if !request.token.as_ref().starts_with(REGISTERED_SECRET_PREFIX) {
        return Err(failed(ConnectorError {
            code: Code::SecretNotGranted,
            message: format!("secret `{}` cannot be named by a request", request.token),
            help: format!("use a secret whose name begins with `{REGISTERED_SECRET_PREFIX}`"),
        }));
    }
    let link = connector.connect(request).await.map_err(failed)?;
    Ok(RuntimeEntry { rules: rules(request), access: Access::Remote, link })
}

fn rules(request: &RegisterRuntimeRequest) -> RuntimeRules {
    let RegisterRuntimeRequest { labels, workspaces, requires, .. } = request.clone();
    RuntimeRules { labels, rules: Rules { accepted: workspaces, required: requires } }
}

/// Returns the Runtimes of the config and those that requests added.
pub(super) fn with_registered(
    mut config: BTreeMap<RuntimeName, RuntimeEntry>,
    registered: &BTreeMap<RuntimeName, RuntimeEntry>,
) -> BTreeMap<RuntimeName, RuntimeEntry> {
    for (name, entry) in registered {
        config.entry(name.clone()).or_insert_with(|| entry.clone());
    }
    config
}

impl Backend {
    /// Adds a remote Runtime, or replaces one that was added this way.
    pub async fn register_runtime(
        &self,
        actor: &Actor,
        name: &RuntimeName,
        request: &RegisterRuntimeRequest,
    ) -> Result<(), BackendError> {
        let _decision = self.0.decisions.lock().await;
        let action = Action::RegisterRuntime { runtime: name.clone() };
        let opened = match self.check_registrable(name) {
            Ok(()) => entry(&*self.0.connector, name, request).await,
            Err(error) => Err(error),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.record(actor, action, Some(error.code())).await?;
                return Err(error);
            }
        };
        let key = registered_keys().part(name);
        let row = RegisteredRow { name: name.clone(), request: request.clone() };
        self.commit_with_entry(actor, action, None, |batch| batch.put_row(&key, &row)).await?;
        let now = self.0.now();
        let mut fleet = self.0.fleet();
        fleet.registered.insert(name.clone(), opened.clone());
        // A new config may have the name meanwhile.
        if fleet.configured.contains(name) {
            return Ok(());
        }
        fleet.reconciler.set_runtime(name.clone(), opened.rules.clone(), RuntimeKnowledge::default(), now);
        fleet.reconciler.read_now(name, now);
        fleet.runtimes.insert(name.clone(), opened);
        drop(fleet);
        self.0.wake.notify_one();
        Ok(())
    }

    /// Removes a Runtime that a request added. Nothing is removed from the Runtime itself.
    pub async fn remove_runtime(&self, actor: &Actor, name: &RuntimeName) -> Result<(), BackendError> {
        let _decision = self.0.decisions.lock().await;
        let action = Action::RemoveRuntime { runtime: name.clone() };
        if let Err(error) = self.check_removable(name) {
            self.record(actor, action, Some(error.code())).await?;
            return Err(error);
        }
        let key = registered_keys().part(name);
        self.commit_with_entry(actor, action, None, |batch| batch.delete(&key)).await?;
        let mut fleet = self.0.fleet();
        fleet.registered.remove(name);
        if !fleet.configured.contains(name) {
            fleet.runtimes.remove(name);
            fleet.reconciler.remove_runtime(name);
        }
        Ok(())
    }

    fn check_registrable(&self, name: &RuntimeName) -> Result<(), BackendError> {
        let fleet = self.0.fleet();
        if fleet.configured.contains(name) {
            return Err(BackendError::RuntimeInConfig(name.clone()));
        }
        if fleet.registered.len() >= MAX_REGISTERED && !fleet.registered.contains_key(name) {
            return Err(BackendError::Full { limit: "registered_runtimes", allowed: MAX_REGISTERED });
        }
        Ok(())
    }

    fn check_removable(&self, name: &RuntimeName) -> Result<(), BackendError> {
        let fleet = self.0.fleet();
        match (fleet.registered.contains_key(name), fleet.configured.contains(name)) {
            // Also beside a Runtime of the config, which then stays.
            (true, _) => Ok(()),
            (false, true) => Err(BackendError::RuntimeInConfig(name.clone())),
            (false, false) => Err(BackendError::RuntimeNotFound(name.clone())),
        }
    }
}
