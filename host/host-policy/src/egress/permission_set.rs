//! Lists of URL permissions with an index, so that the time of a look-up does not depend on their number.

use std::collections::HashMap;

use bundles::{AddressReach, HostPattern, Scheme, UrlPermission};
use url::Host;

use super::refusal::RequestPart;
use super::request::{EgressRequest, RequestKind};

/// The targets of a plugin's manifest, or the grants of a host, for one kind of request.
#[derive(Debug, Clone, Default)]
pub struct PermissionSet {
    list: Vec<UrlPermission>,
    /// Places of the permissions in `list`, by origin and path prefix.
    index: HashMap<Origin, HashMap<Box<str>, Vec<usize>>>,
}

/// Scheme, host and port of a permission.
type Origin = (Scheme, HostPattern, u16);

/// The permissions of a set that cover one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Coverage {
    /// The permission with the widest reach.
    pub(super) permission: UrlPermission,
    /// The widest reach, so that an additional narrow permission does not restrict the request.
    pub(super) reach: AddressReach,
    /// `true` if one of the permissions covers metadata services.
    pub(super) metadata: bool,
}

impl PermissionSet {
    /// Creates a set.
    pub fn new(permissions: impl IntoIterator<Item = UrlPermission>) -> Self {
        let mut set = Self { list: permissions.into_iter().collect(), index: HashMap::new() };
        for (place, permission) in set.list.iter().enumerate() {
            let origin = (permission.scheme(), permission.host().clone(), permission.port());
            let paths = set.index.entry(origin).or_default();
            for prefix in permission.path_prefixes() {
                paths.entry(prefix.into()).or_default().push(place);
            }
        }
        set
    }

    /// Returns the permissions.
    pub fn as_slice(&self) -> &[UrlPermission] {
        &self.list
    }

    /// Returns the permissions that cover the request.
    pub(super) fn covering(&self, request: &EgressRequest) -> Option<Coverage> {
        let mut coverage: Option<Coverage> = None;
        for host in patterns(&request.host()) {
            let Some(paths) = self.index.get(&(request.scheme(), host, request.port())) else { continue };
            let places = prefixes(request.url().path()).filter_map(|prefix| paths.get(prefix)).flatten();
            for permission in places.filter_map(|place| self.list.get(*place)) {
                if mismatch(permission, request).is_some() {
                    continue;
                }
                let (reach, metadata) = (permission.reach(), permission.metadata());
                match &mut coverage {
                    Some(widest) => {
                        widest.metadata |= metadata;
                        if reach > widest.reach {
                            (widest.reach, widest.permission) = (reach, permission.clone());
                        }
                    }
                    None => coverage = Some(Coverage { permission: permission.clone(), reach, metadata }),
                }
            }
        }
        coverage
    }

    /// Returns the mismatch of the permission that is nearest to the request, or `None` if there are no permissions.
    pub(super) fn nearest(&self, request: &EgressRequest) -> Option<RequestPart> {
        self.list.iter().filter_map(|permission| mismatch(permission, request)).max()
    }
}

/// Returns all patterns that cover a host.
fn patterns(host: &Host<&str>) -> impl Iterator<Item = HostPattern> {
    let (exact, parent) = match *host {
        Host::Domain(name) => {
            let parent = name.split_once('.').map(|(_, parent)| HostPattern::Subdomains(parent.into()));
            (HostPattern::Name(name.into()), parent)
        }
        Host::Ipv4(address) => (HostPattern::Address(address.into()), None),
        Host::Ipv6(address) => (HostPattern::Address(address.into()), None),
    };
    std::iter::once(exact).chain(parent).chain([HostPattern::Any])
}

/// Returns all path prefixes that cover a path: the path itself, and each beginning that ends before or after a `/`.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').flat_map(|(at, _)| [at, at + 1]).chain([path.len()]);
    let mut last = 0;
    // The end after one `/` can be the end before the next one, or the end of the path.
    ends.filter(move |end| std::mem::replace(&mut last, *end) != *end).filter_map(|end| path.get(..end))
}

/// Returns the first part of the request that the permission does not cover.
fn mismatch(permission: &UrlPermission, request: &EgressRequest) -> Option<RequestPart> {
    if permission.scheme() != request.scheme() {
        return Some(RequestPart::Scheme);
    }
    if !permission.host().covers(&request.host()) {
        return Some(RequestPart::Host);
    }
    if permission.port() != request.port() {
        return Some(RequestPart::Port);
    }
    if !permission.covers_path(request.url().path()) {
        return Some(RequestPart::Path);
    }
    match request.kind() {
        RequestKind::Request { method, .. } => (!permission.methods().contains(method)).then_some(RequestPart::Method),
        RequestKind::Websocket { subprotocols } => {
            let is_covered = subprotocols.iter().all(|name| permission.covers_subprotocol(name));
            (!is_covered).then_some(RequestPart::Subprotocol)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundles::Method;
    use proptest::prelude::*;
    use serde_json::json;

    fn permission(host: &str, methods: &[&str], paths: &[&str], local: bool) -> UrlPermission {
        let mut value = json!({"scheme": "https", "host": host, "methods": methods, "path_prefixes": paths});
        if host == "*" {
            value["broad"] = json!(true);
        }
        if host.starts_with("*.") {
            value["wildcard"] = json!("subdomain");
        }
        if local && !host.starts_with(|first: char| first.is_ascii_digit()) {
            value["local"] = json!(true);
        }
        serde_json::from_value(value).expect("a permission")
    }

    #[test]
    fn prefixes_are_the_path_and_each_beginning_before_or_after_a_separator() {
        assert_eq!(prefixes("/").collect::<Vec<_>>(), ["/"]);
        assert_eq!(prefixes("/a").collect::<Vec<_>>(), ["/", "/a"]);
        assert_eq!(prefixes("/a/b/").collect::<Vec<_>>(), ["/", "/a", "/a/", "/a/b", "/a/b/"]);
    }

    fn permissions() -> impl Strategy<Value = Vec<UrlPermission>> {
        let host = prop_oneof![
            Just("*"),
            Just("*.example.com"),
            Just("a.example.com"),
            Just("b.a.example.com"),
            Just("127.0.0.1")
        ];
        let methods: [&[&str]; 3] = [&["GET"], &["POST"], &["GET", "POST"]];
        let paths: [&[&str]; 4] = [&["/"], &["/v1"], &["/v1/"], &["/v1", "/v2"]];
        let (method, path) = (proptest::sample::select(methods.to_vec()), proptest::sample::select(paths.to_vec()));
        let one = (host, method, path, any::<bool>());
        let one = one.prop_map(|(host, methods, paths, local)| permission(host, methods, paths, local));
        proptest::collection::vec(one, 0..6)
    }

    proptest! {
        #[test]
        fn index_finds_what_a_search_through_the_list_finds(list in permissions()) {
            let set = PermissionSet::new(list.clone());
            for host in ["a.example.com", "b.a.example.com", "example.com", "127.0.0.1", "[::1]"] {
                for path in ["/", "/v1", "/v1/", "/v1/x", "/v10", "/v2/y"] {
                    for method in [Method::Get, Method::Post] {
                        let url = format!("https://{host}{path}");
                        let request = EgressRequest::request(method, &url, Vec::new()).expect("a request");
                        let covering = list.iter().filter(|one| mismatch(one, &request).is_none());
                        let reach = covering.map(UrlPermission::reach).max();
                        prop_assert_eq!(set.covering(&request).map(|coverage| coverage.reach), reach);
                    }
                }
            }
        }
    }
}
