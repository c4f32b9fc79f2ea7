//! Cases of requests as data: permissions, a request, and the addresses of its names.

use std::net::IpAddr;

use bundles::{UrlPermission, WrittenUrlPermission};
use serde_json::{Map, Value, json};

use super::{
    AddressPolicy, CheckedAddresses, EgressRefusal, EgressRequest, PermissionSet, check_addresses, permit_request,
};

/// A case: a JSON object with `targets`, `grants`, `api` (`request` or `websocket`), `method`, `url`, `headers`, `subprotocols`
/// and `dns` (addresses by name).
#[derive(Debug, Clone, Copy)]
pub struct EgressCase<'a> {
    fields: &'a Map<String, Value>,
    /// `true` if a permission for the host `*` has the mark `broad`, although the case does not say so.
    marks_every_host: bool,
}

/// Error of a case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaseError {
    /// The request is refused.
    #[error(transparent)]
    Refused(#[from] EgressRefusal),
    /// The method is not one of the contract.
    #[error("invalid method")]
    Method,
}

impl CaseError {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code().as_str(),
            Self::Method => "invalid_method",
        }
    }
}

impl<'a> EgressCase<'a> {
    /// Creates a case of a JSON object.
    pub fn new(fields: &'a Map<String, Value>, marks_every_host: bool) -> Self {
        Self { fields, marks_every_host }
    }

    /// Returns a text of the case, or an empty text.
    pub fn text(&self, field: &str) -> &'a str {
        self.fields.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns a list of the case, or an empty list.
    pub fn list(&self, field: &str) -> &'a [Value] {
        self.fields.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the permissions of a list. Invalid ones are left out: they cover nothing.
    pub fn permissions(&self, field: &str) -> PermissionSet {
        PermissionSet::new(self.list(field).iter().filter_map(|value| self.permission(value.as_object()?.clone())))
    }

    /// Any value of a mark counts as the mark.
    fn permission(&self, mut fields: Map<String, Value>) -> Option<UrlPermission> {
        for (mark, ours) in [("local", json!(true)), ("broad", json!(true)), ("wildcard", json!("subdomain"))] {
            if fields.remove(mark).is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false))) {
                fields.insert(mark.to_owned(), ours);
            }
        }
        if self.marks_every_host && fields.get("host") == Some(&json!("*")) {
            fields.insert("broad".to_owned(), json!(true));
        }
        let written: WrittenUrlPermission = serde_json::from_value(Value::Object(fields)).ok()?;
        written.normal().try_into().ok()
    }

    /// Returns the headers of the request.
    pub fn headers(&self) -> Vec<(String, String)> {
        let pair = |header: &Value| Some((header.get(0)?.as_str()?.to_owned(), header.get(1)?.as_str()?.to_owned()));
        self.list("headers").iter().filter_map(pair).collect()
    }

    /// Returns the request.
    pub fn request(&self) -> Result<EgressRequest, CaseError> {
        if self.text("api") == "websocket" {
            let subprotocols = self.list("subprotocols").iter().filter_map(Value::as_str).map(str::to_owned);
            return Ok(EgressRequest::websocket(self.text("url"), subprotocols.collect())?);
        }
        let method = self.text("method").parse().map_err(|_| CaseError::Method)?;
        Ok(EgressRequest::request(method, self.text("url"), self.headers())?)
    }

    /// Returns the addresses of a name.
    pub fn look_up(&self, name: &str) -> Vec<IpAddr> {
        let addresses = self.fields.get("dns").and_then(|names| names.get(name)).and_then(Value::as_array);
        addresses.into_iter().flatten().filter_map(|address| address.as_str()?.parse().ok()).collect()
    }

    /// Checks the request, and returns the addresses that may be dialled.
    pub fn check(&self, policy: &AddressPolicy) -> Result<CheckedAddresses, CaseError> {
        let permitted = permit_request(&self.permissions("targets"), &self.permissions("grants"), self.request()?)?;
        let resolved = permitted.name().map(|name| self.look_up(name)).unwrap_or_default();
        Ok(check_addresses(policy, &permitted, &resolved)?)
    }
}
