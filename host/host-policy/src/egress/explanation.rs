//! Explanation of one request: the two permissions that it needs, its addresses, and what would allow it.

use std::net::{IpAddr, Ipv4Addr};

use bundles::{AddressReach, UrlPermission, WrittenUrlPermission, is_loopback_name};
use serde::Serialize;
use url::Host;

use super::address::{AddressKind, AddressPolicy};
use super::permission_set::PermissionSet;
use super::refusal::{EgressRefusal, RequestPart, smallest_permission};
use super::request::EgressRequest;
use super::{check_addresses, permit_request};

/// Explanation of a request. Its decision is that of [`permit_request`] and [`check_addresses`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EgressExplanation {
    /// Method and normalised URL.
    pub request: String,
    /// Targets of the plugin's manifest.
    pub target: KeyExplanation,
    /// Grants of the host.
    pub grant: KeyExplanation,
    /// Name whose addresses are not known, so that they are not checked.
    pub unresolved: Option<String>,
    /// Classes of addresses that both lists allow: `public`, `local` and `metadata`. Empty if the request is not covered.
    pub allowed_addresses: Vec<&'static str>,
    /// Addresses of the host.
    pub addresses: Vec<AddressExplanation>,
    /// Smallest permission that would allow the request, if a permission can.
    pub permission: Option<UrlPermission>,
    /// Refusal of the request. `None` if it is allowed, as far as its addresses are known.
    #[serde(skip)]
    pub refusal: Option<EgressRefusal>,
}

/// What a list of permissions says about a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyExplanation {
    /// Permission that covers the request, with the widest reach.
    pub covered_by: Option<UrlPermission>,
    /// Part of the request that the nearest permission does not cover. `None` if one covers it, or if there is none.
    pub nearest_differs_in: Option<String>,
}

/// Class of an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AddressExplanation {
    /// The address.
    pub address: IpAddr,
    /// `a public address`, or the kind of a special one.
    pub class: String,
}

/// Explains a request. `resolved` has the addresses of the name in the URL, if they are known.
pub fn explain_request(
    targets: &PermissionSet,
    grants: &PermissionSet,
    request: &EgressRequest,
    policy: &AddressPolicy,
    resolved: Option<&[IpAddr]>,
) -> EgressExplanation {
    let (addresses, unresolved) = match (request.host(), resolved) {
        (Host::Ipv4(address), _) => (vec![IpAddr::V4(address)], None),
        (Host::Ipv6(address), _) => (vec![IpAddr::V6(address)], None),
        (Host::Domain(_), Some(resolved)) => (resolved.to_vec(), None),
        // RFC 6761: these names are loopback addresses everywhere.
        (Host::Domain(name), None) if is_loopback_name(name) => (vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], None),
        (Host::Domain(name), None) => (Vec::new(), Some(name.to_owned())),
    };
    let permitted = permit_request(targets, grants, request.clone());
    let refusal = match (permitted, &unresolved) {
        (Err(refusal), _) => Some(refusal),
        (Ok(_), Some(_)) => None,
        (Ok(permitted), None) => check_addresses(policy, &permitted, &addresses).err(),
    };
    let class = |address: IpAddr| {
        policy.special_kind(address).map_or_else(|| "a public address".to_owned(), |kind| kind.to_string())
    };
    let described = |address: &IpAddr| AddressExplanation { address: *address, class: class(*address) };
    EgressExplanation {
        allowed_addresses: allowed_addresses(targets, grants, request),
        request: request.line(),
        target: key(targets, request),
        grant: key(grants, request),
        permission: refusal.as_ref().and_then(|refusal| allowing(refusal, request, policy, &addresses)),
        addresses: addresses.iter().map(described).collect(),
        unresolved,
        refusal,
    }
}

fn allowed_addresses(targets: &PermissionSet, grants: &PermissionSet, request: &EgressRequest) -> Vec<&'static str> {
    let (Some(target), Some(grant)) = (targets.covering(request), grants.covering(request)) else { return Vec::new() };
    let is_local = target.reach.min(grant.reach) == AddressReach::Special;
    let is_metadata = target.metadata && grant.metadata;
    let classes = [("public", true), ("local", is_local), ("metadata", is_metadata)];
    classes.into_iter().filter(|(_, is_allowed)| *is_allowed).map(|(class, _)| class).collect()
}

fn key(permissions: &PermissionSet, request: &EgressRequest) -> KeyExplanation {
    let covered_by = permissions.covering(request).map(|coverage| coverage.permission);
    let nearest = || permissions.nearest(request).map(|part: RequestPart| part.to_string());
    KeyExplanation { nearest_differs_in: if covered_by.is_some() { None } else { nearest() }, covered_by }
}

/// Returns the smallest permission that would allow a refused request, if the refusal is for the lack of one.
fn allowing(
    refusal: &EgressRefusal,
    request: &EgressRequest,
    policy: &AddressPolicy,
    addresses: &[IpAddr],
) -> Option<UrlPermission> {
    if !matches!(refusal, EgressRefusal::NotCovered { .. } | EgressRefusal::SpecialAddress { .. }) {
        return None;
    }
    let kinds = || addresses.iter().filter_map(|address| policy.special_kind(*address));
    let metadata = kinds().any(|kind| kind == AddressKind::Metadata);
    let local = kinds().any(|kind| kind != AddressKind::Metadata);
    let written = WrittenUrlPermission { local, metadata, ..smallest_permission(request)? };
    UrlPermission::try_from(written.normal()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundles::Method;
    use serde_json::json;

    fn set(value: serde_json::Value) -> PermissionSet {
        PermissionSet::new([serde_json::from_value(value).expect("a permission")])
    }

    #[test]
    fn permission_of_an_explanation_allows_the_request() {
        let api = json!({"scheme": "https", "host": "a.example", "methods": ["GET"], "path_prefixes": ["/v1"]});
        let (public, private, metadata) = ("8.8.8.8", "10.0.0.1", "169.254.169.254");
        for (url, address, missing) in [
            ("https://a.example/v1/x", public, None),
            ("https://a.example/v2", public, Some("path")),
            ("https://b.example/v1", public, Some("host")),
            ("https://a.example/v1", private, None),
            ("https://a.example/v1", metadata, None),
            ("http://169.254.169.254/", metadata, Some("scheme")),
        ] {
            let request = EgressRequest::request(Method::Get, url, Vec::new()).expect("a request");
            let resolved = [address.parse().expect("an address")];
            let explained = |permissions: &PermissionSet| {
                explain_request(permissions, permissions, &request, &AddressPolicy::default(), Some(&resolved))
            };
            let explanation = explained(&set(api.clone()));
            assert_eq!(explanation.target.nearest_differs_in.as_deref(), missing, "{url}");
            match explanation.permission {
                None => assert_eq!(explanation.refusal, None, "{url} {address}"),
                Some(permission) => {
                    assert_eq!(explained(&PermissionSet::new([permission])).refusal, None, "{url} {address}");
                }
            }
        }
    }

    #[test]
    fn address_that_is_not_known_is_not_checked() {
        let api = set(json!({"scheme": "https", "host": "a.example", "methods": ["GET"], "path_prefixes": ["/"]}));
        let request = EgressRequest::request(Method::Get, "https://A.example/?q#f", Vec::new()).expect("a request");
        let explanation = explain_request(&api, &api, &request, &AddressPolicy::default(), None);
        assert_eq!(explanation.request, "GET https://a.example/?q");
        assert_eq!((explanation.unresolved.as_deref(), explanation.refusal), (Some("a.example"), None));
        assert_eq!(explanation.allowed_addresses, ["public"]);
        let marked = json!({"scheme": "https", "host": "a.example", "methods": ["GET"], "path_prefixes": ["/"], "local": true, "metadata": true});
        let wide = set(marked);
        let explained = |targets: &PermissionSet, grants: &PermissionSet| {
            explain_request(targets, grants, &request, &AddressPolicy::default(), None).allowed_addresses
        };
        assert_eq!(explained(&wide, &wide), ["public", "local", "metadata"]);
        assert_eq!(explained(&wide, &api), ["public"]);
        assert_eq!(explained(&wide, &PermissionSet::default()), [""; 0]);
    }

    #[test]
    fn localhost_is_loopback_without_a_look_up() {
        let every =
            set(json!({"scheme": "http", "host": "*", "broad": true, "methods": ["GET"], "path_prefixes": ["/"]}));
        let request = EgressRequest::request(Method::Get, "http://localhost/", Vec::new()).expect("a request");
        let explanation = explain_request(&every, &every, &request, &AddressPolicy::default(), None);
        assert_eq!(explanation.unresolved, None);
        assert!(matches!(explanation.refusal, Some(EgressRefusal::SpecialAddress { .. })), "{:?}", explanation.refusal);
    }
}
