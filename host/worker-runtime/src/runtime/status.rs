//! Status of the Runtime, as a Backend reads it.

use std::collections::BTreeMap;

use bundles::WorkspaceId;
use content_store::metadata::MetadataError;
use runtime_api::runtime::{RuntimeId, RuntimeStatus, WorkspaceStatus};

use super::{Management, OpenError};
use crate::content::ContentError;
use crate::ledger::{Change, ChangeError, Decision, Ledger, runtime_id_key};
use crate::workspace::Workspace;

impl Management {
    /// Returns the status of this Runtime, with those of `workspaces` that the config names.
    pub async fn status<'a>(
        &self,
        workspaces: impl IntoIterator<Item = &'a WorkspaceId>,
    ) -> Result<RuntimeStatus, ContentError> {
        let config = self.shared.config.load_full();
        let active_resolver = **self.shared.active_resolver.load();
        let mut statuses = BTreeMap::new();
        for id in workspaces.into_iter().filter(|id| config.has_workspace(id)) {
            let content = Workspace { shared: self.shared.clone(), id: id.clone() }.content();
            let acknowledged = content.desired().await?;
            let fault = match &acknowledged {
                None => None,
                Some(acknowledged) => content.view_under(acknowledged.bundle, &config).await.err(),
            };
            let status = WorkspaceStatus {
                facts: self.shared.facts(&config, id).digest(),
                resolver: config.pinned_resolver(id).unwrap_or(active_resolver),
                newest_revision: content.newest_revision().await?.map(|(newest, _)| newest),
                acknowledged,
                fault: fault.map(|error| error.code().to_string()),
            };
            statuses.insert(id.clone(), status);
        }
        Ok(RuntimeStatus {
            id: self.id().clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            worlds: self.capabilities().worlds,
            active_resolver,
            workspaces: statuses,
        })
    }

    /// Returns the id of this Runtime.
    pub fn id(&self) -> &RuntimeId {
        &self.shared.id
    }
}

/// Returns the id of the Runtime to which the records belong. The first call creates the id.
pub(super) async fn load_id(ledger: &Ledger) -> Result<RuntimeId, OpenError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| OpenError::NoEntropy)?;
    let (new, key) = (RuntimeId::from(random), runtime_id_key());
    let decide = || async {
        Ok(match ledger.row::<RuntimeId>(&key).await? {
            Some(row) => Decision::Keep(row.value),
            None => Decision::Commit(Change::default().expect::<RuntimeId>(&key, None).put(&key, &new), new.clone()),
        })
    };
    ledger.update_globally::<_, ChangeError, _>(decide).await.map_err(|error| match error {
        ChangeError::Store(error) => error.into(),
        ChangeError::Conflict | ChangeError::Full { .. } => {
            MetadataError::Unavailable { operation: "write a record" }.into()
        }
    })
}
