//! The tables `[service]`, `[limits]`, `[egress]` and `[backend]` of a config: the settings of the service. The other tables are
//! the policy of the host.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use bundles::SecretRef;
use runtime_api::Code;
use runtime_service::{Hosts, ServerLimits};
use serde::{Deserialize, Deserializer};
use worker_runtime::egress::EgressLimits;
use worker_runtime::{InvalidLimit, RuntimeLimits};

use super::backend::BackendTable;
use crate::error::CliError;

/// Settings of the service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    pub(super) service: Service,
    pub(super) limits: RuntimeLimits,
    pub(super) egress: Egress,
    /// The Backend that this Runtime polls.
    pub(super) backend: Option<BackendTable>,
}

/// The table `[egress]`: network access of plugins.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of settings")]
pub(super) struct Egress {
    /// File with root certificates in PEM, in place of those of the system. Relative to the folder of the config.
    certificates: Option<PathBuf>,
    pub(super) limits: EgressLimits,
}

/// Omits paths.
impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Egress {
    pub(super) fn certificates(&self, folder: &Folder) -> Option<PathBuf> {
        self.certificates.as_deref().map(|path| folder.at(path))
    }
}

impl Settings {
    /// Names of the tables.
    pub(crate) const TABLES: [&str; 4] = ["service", "limits", "egress", "backend"];

    /// Returns the first limit with an invalid value, and its table.
    pub(crate) fn invalid_limit(&self) -> Option<(&'static [&'static str], InvalidLimit)> {
        let own = self.limits.invalid().map(|found| (&["limits"][..], found));
        let of_service = || self.service.limits.invalid(self.limits.call_ms);
        let of_egress = || self.egress.limits.invalid().map(|found| (&["egress", "limits"][..], found));
        own.or_else(|| of_service().map(|found| (&["service", "limits"][..], found))).or_else(of_egress)
    }
}

/// The table `[service]`. Paths are relative to the folder of the config.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of settings")]
pub(crate) struct Service {
    /// Address of the service. Default: a port of 127.0.0.1 that each kind of service has.
    #[serde(deserialize_with = "address")]
    listen: Option<SocketAddr>,
    /// `true` if a proxy with TLS is in front of the service, so that it may listen on an address that other machines reach.
    /// The service itself does not encrypt.
    pub(crate) behind_tls: bool,
    /// Allowed `Host` headers, in addition to the address and the loopback names.
    hosts: BTreeSet<String>,
    /// Allowed origins of browsers.
    origins: BTreeSet<String>,
    /// Data folder. Default: a folder that each kind of service has.
    data: Option<PathBuf>,
    /// Folder of the secrets. Default: that of `yoi secret`.
    secrets: Option<PathBuf>,
    /// `true` if systemd or Kubernetes manages the folder of the secrets, so that the service only reads it.
    pub(crate) secrets_read_only: bool,
    /// File with limits of components and bundles, like `docs/limits.toml`.
    component_limits: Option<PathBuf>,
    /// Minutes between garbage collections. 0 disables them.
    pub(crate) collect_garbage_minutes: u64,
    /// Bucket that stores the blobs instead of the data folder.
    pub(crate) bucket: Option<Bucket>,
    /// Limits of the HTTP server.
    pub(crate) limits: ServerLimits,
}

/// The table `[service.bucket]`: an S3 bucket. Its secret access key is one of the secrets of the host.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bucket {
    pub(super) endpoint: String,
    #[serde(default = "region")]
    pub(super) region: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) prefix: String,
    pub(super) access_key_id: String,
    pub(super) secret_access_key: SecretRef,
    #[serde(default)]
    pub(super) allow_http: bool,
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    let invalid = |_| {
        serde::de::Error::custom(format!(
            "invalid address `{text}`: expected an IP address with a port, such as `127.0.0.1:7070`"
        ))
    };
    text.parse().map(Some).map_err(invalid)
}

fn region() -> String {
    "us-east-1".to_owned()
}

impl Default for Service {
    fn default() -> Self {
        Self {
            listen: None,
            behind_tls: false,
            hosts: BTreeSet::new(),
            origins: BTreeSet::new(),
            data: None,
            secrets: None,
            secrets_read_only: false,
            component_limits: None,
            collect_garbage_minutes: 60,
            bucket: None,
            limits: ServerLimits::default(),
        }
    }
}

/// Omits paths.
impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("listen", &self.listen).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Folder of a config. Paths in the config are relative to it.
#[derive(Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn of(config: &Path) -> Self {
        Self(config.parent().map(Path::to_owned).unwrap_or_default())
    }

    pub(crate) fn at(&self, path: &Path) -> PathBuf {
        self.0.join(path)
    }
}

impl Service {
    /// Returns the address of the service. `port` is the default port.
    pub(crate) fn listen(&self, port: u16) -> SocketAddr {
        self.listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// Returns the data folder. `name` is the name of the default folder.
    pub(crate) fn data(&self, folder: &Folder, name: &str) -> PathBuf {
        folder.at(self.data.as_deref().unwrap_or(Path::new(name)))
    }

    pub(crate) fn secrets(&self, folder: &Folder) -> Option<PathBuf> {
        self.secrets.as_deref().map(|path| folder.at(path))
    }

    pub(crate) fn component_limits(&self, folder: &Folder) -> Option<PathBuf> {
        self.component_limits.as_deref().map(|path| folder.at(path))
    }

    /// Checks that tokens are not sent unencrypted over a network.
    pub(crate) fn require_private(&self) -> Result<(), CliError> {
        if self.listen.is_none_or(|address| address.ip().is_loopback()) || self.behind_tls {
            return Ok(());
        }
        Err(CliError::new(
            Code::TlsMissing,
            "other machines could reach the service, and tokens would be sent unencrypted",
            "listen on 127.0.0.1, or use a proxy with TLS and write `behind_tls = true` under [service]",
        ))
    }

    /// Returns the allowed hosts and origins of a service at this address: those of the config, the address and the loopback
    /// names. Host names are lower case, because they are compared in lower case.
    pub(crate) fn hosts_at(&self, listening: SocketAddr) -> Hosts {
        let mut hosts: BTreeSet<String> = self.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        let port = listening.port();
        hosts.extend([format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")]);
        hosts.insert(listening.to_string());
        Hosts { hosts, origins: self.origins.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the config of `init` with all commented settings enabled.
    fn every_setting() -> String {
        let is_setting = |rest: &str| {
            rest.starts_with('[')
                || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ') && key != "signatures")
        };
        let lines = include_str!("runtime.toml").lines();
        let lines = lines.map(|line| line.strip_prefix("# ").filter(|rest| is_setting(rest)).unwrap_or(line));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_allowed_hosts_are_those_of_the_config_the_address_and_the_loopback_names() {
        let service = Service { hosts: ["Runtime.Example.COM".to_owned()].into(), ..Service::default() };
        let hosts = service.hosts_at(SocketAddr::from(([10, 0, 0, 7], 7070))).hosts;
        let expected = ["10.0.0.7:7070", "127.0.0.1:7070", "[::1]:7070", "localhost:7070", "runtime.example.com"];
        assert_eq!(hosts.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn limits_that_make_every_request_fail_are_refused() {
        let read = |text: &str| {
            let (_, settings) = host_policy::RuntimeConfig::from_toml_with::<Settings>(text, &Settings::TABLES)
                .expect("the types are right");
            settings.invalid_limit().map(|(table, found)| (table.join("."), found.name, found.expected))
        };
        let every = [
            ("limits", serde_json::to_value(RuntimeLimits::default()).expect("JSON")),
            ("service.limits", serde_json::to_value(ServerLimits::default()).expect("JSON")),
            ("egress.limits", serde_json::to_value(EgressLimits::default()).expect("JSON")),
        ];
        // Zero means none or at once, which can be intended.
        let may_be_zero = [
            "bundles",
            "workers",
            "resolvers",
            "failed_resolutions",
            "queued_calls",
            "unused_blob_seconds",
            "shutdown_ms",
            "recent_blob_bytes",
            "service_restarts",
            "service_backoff_ms",
            "service_stop_ms",
            "ingress_queue",
            "request_bytes",
            "resolution_records",
            "comparison_seconds",
            "comparison_cost_percent",
            "shadow_percent",
            "response_bytes",
            "workspace_requests",
            "receive_ms",
            "workspace_connections",
        ];
        for (table, limits) in every {
            for (field, _) in limits.as_object().expect("a table") {
                let invalid = read(&format!("[{table}]\n{field} = 0\n"));
                if may_be_zero.contains(&field.as_str()) {
                    assert_eq!(invalid, None, "{field}");
                } else {
                    let (of, name, expected) = invalid.expect(field);
                    assert_eq!((of.as_str(), name), (table, field.as_str()));
                    assert!(expected.starts_with("a whole number "), "{expected}");
                }
            }
        }
        assert_eq!(read("[service.limits]\nhead_bytes = 1024\nheaders = 16\nhead_ms = 100\n"), None);
        assert_eq!(read("[limits]\ncall_ms = 149_999\n"), None);
        assert!(read("[limits]\ncall_ms = 150_000\n").is_some_and(|(.., expected)| expected.contains("150001")));
        for (percent, is_right) in [(1, true), (100, true), (101, false), (4_000_000_000_u32, false)] {
            let invalid = read(&format!("[service.limits]\nconnection_share_percent = {percent}\n"));
            assert_eq!(invalid.is_none(), is_right, "{invalid:?}");
        }
    }

    #[test]
    fn the_config_of_init_lists_every_limit_with_its_default() {
        let (_, settings) = host_policy::RuntimeConfig::from_toml_with::<Settings>(&every_setting(), &Settings::TABLES)
            .expect("every setting is valid");
        assert_eq!(settings.limits, RuntimeLimits::default());
        assert_eq!(settings.service.limits, ServerLimits::default());
        assert_eq!(settings.egress.limits, EgressLimits::default());
        assert!(settings.backend.is_some());
        let text = every_setting();
        let named = |limits: serde_json::Value| {
            for (name, _) in limits.as_object().expect("a table") {
                assert!(text.lines().any(|line| line.starts_with(&format!("{name} = "))), "{name}");
            }
        };
        named(serde_json::to_value(RuntimeLimits::default()).expect("JSON"));
        named(serde_json::to_value(ServerLimits::default()).expect("JSON"));
        named(serde_json::to_value(EgressLimits::default()).expect("JSON"));
    }
}
