//! The keys of all rows. Numbers have a fixed length, so that they sort as numbers.

use std::fmt::Display;

use bundles::{Digest, IngressName, PluginName, Revision, WorkspaceId};
use content_store::metadata::Key;
use runtime_api::ingress::EventId;
use runtime_api::worker::WorkerId;

fn in_workspace(table: &'static str, workspace: impl Display) -> Key {
    Key::new(table).part(workspace)
}

/// Prefix of the rows of a workspace's blobs.
pub(crate) fn blobs_key(workspace: &WorkspaceId) -> Key {
    in_workspace("blob", workspace)
}

pub(crate) fn blob_key(workspace: &WorkspaceId, digest: &Digest) -> Key {
    blobs_key(workspace).part(digest)
}

/// Prefix of the rows that record which workspaces have a blob, for all blobs.
pub(crate) fn all_holders_key() -> Key {
    Key::new("holder")
}

/// The workspaces that have a blob.
pub(crate) fn holders_key(digest: &Digest) -> Key {
    all_holders_key().part(digest)
}

pub(crate) fn holder_key(digest: &Digest, workspace: &WorkspaceId) -> Key {
    holders_key(digest).part(workspace)
}

/// Prefix of the rows that record the uses of a blob or bundle in a workspace.
pub(crate) fn uses_key(workspace: &WorkspaceId, digest: &Digest) -> Key {
    in_workspace("use", workspace).part(digest)
}

pub(crate) fn bundles_key(workspace: &WorkspaceId) -> Key {
    in_workspace("bundle", workspace)
}

pub(crate) fn bundle_key(workspace: &WorkspaceId, digest: &Digest) -> Key {
    bundles_key(workspace).part(digest)
}

/// Mark of a workspace whose bundles all have rows for their use of packages, even of packages that were put later.
pub(crate) fn packages_recorded_key(workspace: &WorkspaceId) -> Key {
    in_workspace("packages-recorded", workspace)
}

/// Row of a revision. It names the first bundle that had the revision, even if that bundle was removed.
pub(crate) fn revision_key(workspace: &WorkspaceId, revision: Revision) -> Key {
    in_workspace("revision", workspace).part(format_args!("{:020}", revision.get()))
}

/// The newest revision that was ever acknowledged.
pub(crate) fn newest_key(workspace: &WorkspaceId) -> Key {
    in_workspace("newest", workspace)
}

/// The decision of a Backend that was acknowledged last.
pub(crate) fn desired_key(workspace: &WorkspaceId) -> Key {
    in_workspace("desired", workspace)
}

/// The id of the Runtime.
pub(crate) fn runtime_id_key() -> Key {
    Key::new("runtime").part("id")
}

/// The workspaces that have anything.
pub(crate) fn usages_key() -> Key {
    Key::new("usage")
}

pub(crate) fn usage_key(workspace: &WorkspaceId) -> Key {
    in_workspace("usage", workspace)
}

/// Prefix of the failed resolutions that are recorded, of all workspaces.
pub(crate) fn all_failures_key() -> Key {
    Key::new("failures")
}

/// The failed resolutions of a workspace that are recorded.
pub(crate) fn failures_key(workspace: &WorkspaceId) -> Key {
    all_failures_key().part(workspace)
}

/// Prefix of the records with which resolvers are compared, of all workspaces.
pub(crate) fn all_corpora_key() -> Key {
    Key::new("corpus")
}

/// Prefix of the records of a workspace with which resolvers are compared, by the digests of their inputs.
pub(crate) fn corpus_key(workspace: &WorkspaceId) -> Key {
    all_corpora_key().part(workspace)
}

pub(crate) fn workers_key(workspace: &WorkspaceId) -> Key {
    in_workspace("worker", workspace)
}

pub(crate) fn worker_key(workspace: &WorkspaceId, id: &WorkerId) -> Key {
    workers_key(workspace).part(id)
}

/// Removals that are under way: workers that are gone, and whose histories are not yet, in all workspaces.
pub(crate) fn removals_key() -> Key {
    Key::new("removal")
}

pub(crate) fn removal_key(workspace: &WorkspaceId, id: &WorkerId) -> Key {
    removals_key().part(workspace).part(id)
}

pub(crate) fn entries_key(workspace: &WorkspaceId, id: &WorkerId) -> Key {
    in_workspace("history", workspace).part(id)
}

pub(crate) fn entry_key(workspace: &WorkspaceId, id: &WorkerId, number: u64) -> Key {
    entries_key(workspace, id).part(format_args!("{number:010}"))
}

/// Row of an event that a worker received. The id is text of its sender, so its digest is the key.
pub(crate) fn received_key(workspace: &WorkspaceId, id: &WorkerId, ingress: &IngressName, event: &EventId) -> Key {
    in_workspace("received", workspace).part(id).part(ingress).part(Digest::of(event.as_str()))
}

/// Prefix of the events of a worker that wait for their delivery.
pub(crate) fn queued_events_key(workspace: &WorkspaceId, id: &WorkerId) -> Key {
    in_workspace("queued-event", workspace).part(id)
}

/// Prefix of the events that wait for one service.
pub(crate) fn queued_for_key(workspace: &WorkspaceId, id: &WorkerId, plugin: &PluginName) -> Key {
    queued_events_key(workspace, id).part(plugin)
}

pub(crate) fn queued_event_key(workspace: &WorkspaceId, id: &WorkerId, plugin: &PluginName, number: u64) -> Key {
    queued_for_key(workspace, id, plugin).part(format_args!("{number:010}"))
}

pub(crate) fn sequence_key(stream: impl Display) -> Key {
    in_workspace("sequence", stream)
}

pub(crate) fn events_key(stream: impl Display) -> Key {
    in_workspace("event", stream)
}

pub(crate) fn event_key(stream: impl Display, number: u64) -> Key {
    events_key(stream).part(format_args!("{number:020}"))
}

pub(crate) fn resolvers_key() -> Key {
    Key::new("resolver")
}

pub(crate) fn resolver_key(digest: &Digest) -> Key {
    resolvers_key().part(digest)
}

/// Row of the resolver registry: the active resolver and the earlier ones.
pub(crate) fn registry_key() -> Key {
    Key::new("resolver-registry").part("state")
}

/// The newest comparison of a resolver with the one that was active then.
pub(crate) fn comparison_key(resolver: &Digest) -> Key {
    Key::new("resolver-comparison").part(resolver)
}

/// The workers that a resolver resolved, in all workspaces.
pub(crate) fn resolved_by_key(resolver: &Digest) -> Key {
    Key::new("resolved-by").part(resolver)
}

pub(crate) fn tokens_key() -> Key {
    Key::new("token")
}

pub(crate) fn token_key(id: &crate::token::TokenId) -> Key {
    tokens_key().part(id)
}
