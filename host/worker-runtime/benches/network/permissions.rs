//! Look-up of the permission that covers a request.

use std::hint::black_box;

use bundles::{Method, UrlPermission};
use host_policy::{EgressRequest, PermissionSet, permit_request};
use serde_json::json;

use crate::Outcome;
use crate::measure::{Group, timed};

/// Returns permissions for as many hosts.
fn permissions(count: usize) -> Outcome<PermissionSet> {
    let permission = |number: usize| -> Outcome<UrlPermission> {
        let host = format!("host-{number}.example.com");
        Ok(serde_json::from_value(json!({
            "scheme": "https", "host": host, "methods": ["GET"], "path_prefixes": ["/v1", "/v2"],
        }))?)
    };
    Ok(PermissionSet::new((0..count).map(permission).collect::<Outcome<Vec<_>>>()?))
}

/// Returns the ratio of a look-up among 1,000 permissions ÷ among 10. The covering one is the last.
pub(crate) fn thousand_vs_ten(rounds: usize) -> Outcome<f64> {
    let mut group = Group::default();
    let mut cases = Vec::new();
    for count in [10, 1000] {
        let set = permissions(count)?;
        let url = format!("https://host-{}.example.com/v2/a/b", count - 1);
        let request = EgressRequest::request(Method::Get, &url, Vec::new())?;
        cases.push(group.case(move |times| {
            timed(times, || {
                black_box(permit_request(&set, &set, black_box(request.clone()))?);
                Ok(())
            })
        }));
    }
    let measured = group.measure(rounds)?;
    match cases.as_slice() {
        [ten, thousand] => Ok(measured.ratio(*thousand, *ten)),
        _ => Err("two cases".into()),
    }
}
