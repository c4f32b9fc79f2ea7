//! Lists of URL permissions with an index, so that the time of a look-up does not depend on their number.
//!
//! One case remains linear: a request with subprotocols, and permissions that share both one of its paths and each of its
//! subprotocols. They can differ in their other subprotocols only, so a list seldom has many of them.

use std::collections::HashMap;

use bundles::{AddressReach, HostPattern, Method, Scheme, UrlPermission};
use url::Host;

use super::refusal::RequestPart;
use super::request::{EgressRequest, RequestKind};

/// The targets of a plugin's manifest, or the grants of a host, for one kind of request.
#[derive(Debug, Clone, Default)]
pub struct PermissionSet {
    list: Vec<UrlPermission>,
    index: HashMap<Origin, OriginIndex>,
}

/// Places in the list of the permissions for one origin.
#[derive(Debug, Clone, Default)]
struct OriginIndex {
    paths: HashMap<Box<str>, PathIndex>,
    /// Permissions for WebSockets, by subprotocol. A look-up searches the shorter one of this list and the list of the path.
    /// An index by both would need memory for the product of paths and subprotocols.
    subprotocols: HashMap<Box<str>, Vec<usize>>,
}

/// Places in the list of the permissions for one path prefix.
#[derive(Debug, Clone, Default)]
struct PathIndex {
    /// Permissions for WebSockets.
    websockets: Vec<usize>,
    /// Permissions of both kinds, without those that differ from an earlier one only in other paths or in subprotocols. Their
    /// number is bounded by the number of sets of methods.
    distinct: Vec<usize>,
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
            let of_origin = set.index.entry(origin).or_default();
            for prefix in permission.path_prefixes() {
                let of_path = of_origin.paths.entry(prefix.into()).or_default();
                let mut earlier = of_path.distinct.iter().filter_map(|place| set.list.get(*place));
                if !earlier.any(|earlier| rights(earlier) == rights(permission)) {
                    of_path.distinct.push(place);
                }
                if permission.scheme().is_websocket() {
                    of_path.websockets.push(place);
                }
            }
            for name in permission.subprotocols() {
                of_origin.subprotocols.entry(name.into()).or_default().push(place);
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
            let Some(of_origin) = self.index.get(&(request.scheme(), host, request.port())) else { continue };
            let places = of_origin.candidates(request);
            for permission in places.iter().filter_map(|place| self.list.get(*place)) {
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

impl OriginIndex {
    /// Returns the places of permissions among which all that cover a request can be found, apart from those that allow the
    /// same as another one.
    fn candidates(&self, request: &EgressRequest) -> Vec<usize> {
        let of_paths = || prefixes(request.url().path()).filter_map(|prefix| self.paths.get(prefix));
        let names: &[String] = match request.kind() {
            RequestKind::Request { .. } => &[],
            RequestKind::Websocket { subprotocols } => subprotocols,
        };
        let of_name = |name: &String| self.subprotocols.get(name.as_str()).map(Vec::as_slice).unwrap_or_default();
        let Some(of_name) = names.iter().map(of_name).min_by_key(|places| places.len()) else {
            return of_paths().flat_map(|of_path| &of_path.distinct).copied().collect();
        };
        let of_path: usize = of_paths().map(|of_path| of_path.websockets.len()).sum();
        if of_name.len() <= of_path {
            of_name.to_vec()
        } else {
            of_paths().flat_map(|of_path| &of_path.websockets).copied().collect()
        }
    }
}

/// Returns everything that a permission allows for its origin and its paths, except subprotocols.
fn rights(permission: &UrlPermission) -> (&[Method], AddressReach, bool) {
    (permission.methods(), permission.reach(), permission.metadata())
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

    fn websocket(paths: &[&str], subprotocols: &[&str], local: bool) -> UrlPermission {
        let mut value = json!({"scheme": "wss", "host": "a.example.com", "path_prefixes": paths});
        value["subprotocols"] = json!(subprotocols);
        value["local"] = json!(local);
        serde_json::from_value(value).expect("a permission")
    }

    fn websockets() -> impl Strategy<Value = Vec<UrlPermission>> {
        let subprotocols: [&[&str]; 5] = [&[], &["a"], &["b"], &["a", "b"], &["a", "b", "c"]];
        let paths: [&[&str]; 4] = [&["/"], &["/v1"], &["/v1/"], &["/v1", "/v2"]];
        let (path, names) = (proptest::sample::select(paths.to_vec()), proptest::sample::select(subprotocols.to_vec()));
        let one = (path, names, any::<bool>()).prop_map(|(paths, names, local)| websocket(paths, names, local));
        proptest::collection::vec(one, 0..8)
    }

    #[test]
    fn look_up_does_not_search_through_the_permissions_of_a_path_or_of_a_subprotocol() {
        let names: Vec<String> = (0..100).map(|number| format!("p{number}")).collect();
        let one_path = names.iter().map(|name| websocket(&["/v1"], &[name.as_str()], false));
        let paths: Vec<String> = (0..100).map(|number| format!("/x{number}")).collect();
        let one_subprotocol = paths.iter().map(|path| websocket(&[path.as_str()], &["x"], false));
        let methods: [&[&str]; 3] = [&["GET"], &["POST"], &["GET", "POST"]];
        let requests = paths.iter().enumerate();
        let requests =
            requests.map(|(number, path)| permission("a.example.com", methods[number % 3], &["/v1", path], false));
        let set = PermissionSet::new(one_path.chain(one_subprotocol).chain(requests));
        let websocket = |path: &str, names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            EgressRequest::websocket(&format!("wss://a.example.com{path}"), names).expect("a request")
        };
        let get = EgressRequest::request(Method::Get, "https://a.example.com/v1/x", Vec::new()).expect("a request");
        for (request, most) in [
            (websocket("/v1/x", &["p50"]), 1),
            (websocket("/v1/x", &["p50", "x"]), 1),
            (websocket("/v1/x", &[]), 1),
            (websocket("/x50", &["x"]), 1),
            (get, 3),
        ] {
            let of_origin = set.index.values().find(|of_origin| {
                let place = of_origin.paths.values().find_map(|of_path| of_path.distinct.first()).expect("a place");
                set.list[*place].scheme() == request.scheme()
            });
            let candidates = of_origin.expect("the origin").candidates(&request);
            assert!(candidates.len() <= most, "{request:?}: {candidates:?}");
        }
    }

    proptest! {
        #[test]
        fn index_finds_the_websockets_that_a_search_through_the_list_finds(list in websockets()) {
            let set = PermissionSet::new(list.clone());
            for path in ["/", "/v1", "/v1/", "/v1/x", "/v10", "/v2/y"] {
                for names in [&[][..], &["a"], &["b"], &["c"], &["d"], &["a", "b"], &["b", "a", "c"], &["a", "d"]] {
                    let names = names.iter().map(|name| (*name).to_owned()).collect();
                    let request = EgressRequest::websocket(&format!("wss://a.example.com{path}"), names).expect("a request");
                    let covering = list.iter().filter(|one| mismatch(one, &request).is_none());
                    let reach = covering.map(UrlPermission::reach).max();
                    prop_assert_eq!(set.covering(&request).map(|coverage| coverage.reach), reach);
                }
            }
        }

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
