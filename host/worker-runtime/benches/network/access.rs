//! Network access of one instance that may reach a server on this machine, and a guest that uses it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bundles::manifest::Effect;
use bundles::{SecretRef, UrlPermission};
use component_host::host_api::{Clocks, HostApi, LogLine, Random};
use component_host::{Invocation, PluginLimits, ToolPlugin};
use host_policy::PermissionSet;
use secrecy::SecretString;
use serde_json::json;
use worker_runtime::egress::{
    Credentials, Egress, EgressLimits, EgressSettings, FixedPermissions, NetworkAccess, NetworkPermissions,
    RequiredPermissions,
};

use crate::Outcome;
use crate::component::Plugin;

/// No secrets.
#[derive(Debug)]
struct NoCredentials;

#[async_trait]
impl Credentials for NoCredentials {
    async fn get(&self, _: &SecretRef) -> Option<SecretString> {
        None
    }
}

/// Clocks and random bytes without effect.
#[derive(Debug)]
struct Nothing;

impl Clocks for Nothing {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn wall(&self) -> Duration {
        Duration::ZERO
    }
}

impl Random for Nothing {
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        bytes.fill(0);
        Ok(())
    }
}

/// A ratio with the seconds of its denominator.
pub(crate) struct Ratio {
    pub(crate) ratio: f64,
    pub(crate) base: f64,
}

/// Returns network access to a server.
pub(crate) fn access(server: SocketAddr) -> Outcome<NetworkAccess> {
    let permission = |scheme: &str, methods: &[&str]| -> Outcome<UrlPermission> {
        Ok(serde_json::from_value(json!({
            "scheme": scheme, "host": "127.0.0.1", "port": server.port(), "methods": methods, "path_prefixes": ["/"],
        }))?)
    };
    let keys = |permission| {
        let set = Arc::new(PermissionSet::new([permission]));
        RequiredPermissions { targets: set.clone(), grants: set }
    };
    let permissions = NetworkPermissions {
        requests: keys(permission("http", &["GET"])?),
        websockets: keys(permission("ws", &[])?),
        declared_secrets: Arc::new(BTreeMap::new()),
        granted_secrets: Arc::new(BTreeMap::new()),
    };
    let limits = EgressLimits {
        instance_requests_per_second: 1_000_000,
        workspace_requests_per_second: 1_000_000,
        messages_per_second: 10_000_000,
        bytes_per_second: u32::MAX,
        workspace_connections: 100_000,
        ..EgressLimits::default()
    };
    let egress = Egress::new(EgressSettings::of_system(limits))?;
    Ok(egress.access(
        "team".parse()?,
        Arc::new(FixedPermissions::new(permissions)),
        Arc::new(NoCredentials),
        Effect::External,
    ))
}

/// Returns the interfaces of an instance with this network access.
fn host_api(access: &NetworkAccess) -> HostApi {
    let access = Arc::new(access.clone());
    HostApi {
        requests: access.clone(),
        websockets: access,
        log: Arc::new(Mutex::<Vec<LogLine>>::default()),
        clocks: Arc::new(Nothing),
        random: Arc::new(Nothing),
    }
}

/// Returns a tool that runs code with the imports of the network. The URL is at address 16, and `null` at 8.
pub(crate) fn guest(url: &str, call: &str) -> Vec<u8> {
    let data = format!("(data (i32.const 8) \"null\") (data (i32.const 16) \"{url}\")");
    Plugin::tool()
        .with("imports", include_str!("../../../../tests/guests/plugins/network.wat.in"))
        .with("data", data)
        .with("locals", "(local $n i32)")
        .with("call", call)
        .bytes()
}

/// Calls the tool once.
pub(crate) async fn call(plugin: &ToolPlugin, access: &NetworkAccess) -> Outcome<()> {
    let input = json!({});
    let invocation =
        Invocation { id: "1".to_owned(), tool: "tool".parse()?, input, remaining: Duration::from_secs(60) };
    let run = plugin.call(&invocation, host_api(access), &PluginLimits::default()).await;
    run.result.map_err(|error| error.to_string())?.map_err(|failure| failure.message)?;
    Ok(())
}
