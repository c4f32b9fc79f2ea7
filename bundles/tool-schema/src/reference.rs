//! Resolution of references within the document.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::Url;

use crate::fault::SchemaProblem;
use crate::keyword::{NodeId, ResourceId};
use crate::parse::Dialect;

/// Base URI of a document without an `$id`.
const DEFAULT_BASE: &str = "json-schema:///";

/// The document itself, or a part of it with an identifier.
pub(crate) struct Resource<'d> {
    pub(crate) root: &'d Value,
    pub(crate) dialect: Dialect,
    base: Option<Url>,
    anchors: HashMap<&'d str, NodeId>,
}

/// The resources of a document. The first one is the document itself.
#[derive(Default)]
pub(crate) struct Resources<'d> {
    all: Vec<Resource<'d>>,
    by_base: HashMap<Url, ResourceId>,
}

/// Limit on the resources of a document. Each one stores a base URI of up to [`MAX_BASE_BYTES`].
const MAX_RESOURCES: usize = 256;

/// Limit on the length of a base URI, in bytes.
const MAX_BASE_BYTES: usize = 4096;

/// The target of a reference.
pub(crate) enum Target<'d> {
    Anchor(NodeId),
    Value(&'d Value, ResourceId),
}

impl<'d> Resources<'d> {
    pub(crate) fn get(&self, id: ResourceId) -> Option<&Resource<'d>> {
        self.all.get(id as usize)
    }

    /// Adds a resource inside `within`, with the identifier `id`.
    pub(crate) fn add(
        &mut self,
        within: Option<ResourceId>,
        id: Option<&str>,
        root: &'d Value,
        dialect: Dialect,
    ) -> Result<ResourceId, SchemaProblem> {
        let outer = match within.and_then(|within| self.get(within)) {
            Some(outer) => outer.base.clone(),
            None => Url::parse(DEFAULT_BASE).ok(),
        };
        let invalid = |expected| SchemaProblem::Shape { keyword: "$id", expected };
        let base = match id {
            Some(id) => Some(join(outer.as_ref(), id).ok_or(invalid("a URI reference"))?),
            None => outer,
        };
        if self.all.len() >= MAX_RESOURCES {
            return Err(invalid("at most 256 occurrences in one schema"));
        }
        if base.as_ref().is_some_and(|base| base.as_str().len() > MAX_BASE_BYTES) {
            return Err(invalid("at most 4096 bytes when resolved against its base"));
        }
        let resource = self.all.len() as ResourceId;
        let before = base.clone().and_then(|base| self.by_base.insert(base, resource));
        self.all.push(Resource { root, dialect, base, anchors: HashMap::new() });
        if before.is_some() { Err(SchemaProblem::DuplicateName) } else { Ok(resource) }
    }

    pub(crate) fn add_anchor(
        &mut self,
        resource: ResourceId,
        name: &'d str,
        node: NodeId,
    ) -> Result<(), SchemaProblem> {
        let Some(resource) = self.all.get_mut(resource as usize) else { return Ok(()) };
        match resource.anchors.insert(name, node) {
            Some(before) if before != node => Err(SchemaProblem::DuplicateName),
            _ => Ok(()),
        }
    }

    /// Resolves a reference of the resource `from`.
    pub(crate) fn resolve(&self, from: ResourceId, reference: &str) -> Result<Target<'d>, SchemaProblem> {
        let (uri, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let id = if uri.is_empty() { from } else { self.find(from, uri)? };
        let resource = self.get(id).ok_or(SchemaProblem::DanglingReference)?;
        let fragment = percent_decode_str(fragment).decode_utf8().map_err(|_| SchemaProblem::DanglingReference)?;
        if fragment.is_empty() || fragment.starts_with('/') {
            let target = resource.root.pointer(&fragment).ok_or(SchemaProblem::DanglingReference)?;
            return Ok(Target::Value(target, id));
        }
        resource.anchors.get(fragment.as_ref()).copied().map(Target::Anchor).ok_or(SchemaProblem::DanglingReference)
    }

    fn find(&self, from: ResourceId, uri: &str) -> Result<ResourceId, SchemaProblem> {
        let base = self.get(from).and_then(|resource| resource.base.as_ref());
        let wanted = join(base, uri).ok_or(SchemaProblem::RemoteReference)?;
        self.by_base.get(&wanted).copied().ok_or(SchemaProblem::RemoteReference)
    }
}

/// Resolves a URI reference against a base and removes the fragment.
fn join(base: Option<&Url>, uri: &str) -> Option<Url> {
    let mut url = match Url::parse(uri) {
        Ok(url) => url,
        // A base such as `urn:x:y` has no relative references, so `join` fails there.
        Err(_) => base?.join(uri).ok()?,
    };
    url.set_fragment(None);
    Some(url)
}
