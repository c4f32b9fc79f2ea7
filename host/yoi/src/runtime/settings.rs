//! What a config says beside what the host grants: how the service runs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bundles::SecretRef;
use runtime_service::{Hosts, ServerLimits};
use serde::{Deserialize, Deserializer};
use worker_runtime::{InvalidLimit, RuntimeLimits};

use crate::error::CliError;

/// The tables of a config that are not the host's policy.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    pub(super) service: Service,
    pub(super) limits: RuntimeLimits,
}

impl Settings {
    /// Their names.
    pub(crate) const TABLES: [&str; 2] = ["service", "limits"];

    /// Returns the first limit whose value has no meaning, with the table in which it stands.
    pub(crate) fn invalid_limit(&self) -> Option<(&'static [&'static str], InvalidLimit)> {
        let ours = self.limits.invalid().map(|found| (&["limits"][..], found));
        let of_service = || self.service.limits.invalid(self.limits.call_ms);
        ours.or_else(|| of_service().map(|found| (&["service", "limits"][..], found)))
    }
}

/// `[service]`. Paths are as from the folder of the config.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of settings")]
pub(super) struct Service {
    /// Where the service listens.
    #[serde(deserialize_with = "address")]
    pub(super) listen: SocketAddr,
    /// Whether it may listen where other machines reach it: there must be something before it that
    /// speaks TLS, for tokens go over the wire as they are.
    pub(super) behind_tls: bool,
    /// What clients may call it beside the names of this machine for itself.
    hosts: BTreeSet<String>,
    /// Pages that may ask.
    origins: BTreeSet<String>,
    /// Where everything is kept.
    data: PathBuf,
    /// Where secrets are; by default where `yoi secret` has them.
    secrets: Option<PathBuf>,
    /// Whether `secrets` is a folder that systemd or Kubernetes made, which is only read.
    pub(super) secrets_read_only: bool,
    /// Limits of components and bundles, as a file like `docs/limits.toml`.
    component_limits: Option<PathBuf>,
    /// How often garbage is collected; 0 for never.
    pub(super) collect_garbage_minutes: u64,
    /// Blobs in a bucket instead of the data folder.
    pub(super) bucket: Option<Bucket>,
    /// What one client may take.
    pub(super) limits: ServerLimits,
}

/// `[service.bucket]`: a bucket that speaks S3. The secret of its key is one of the service's secrets.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bucket {
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

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    let invalid = |_| serde::de::Error::custom(format!("`{text}` is no address with a port, as `127.0.0.1:7070`"));
    text.parse().map_err(invalid)
}

fn region() -> String {
    "us-east-1".to_owned()
}

impl Default for Service {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7070)),
            behind_tls: false,
            hosts: BTreeSet::new(),
            origins: BTreeSet::new(),
            data: "yoi-data".into(),
            secrets: None,
            secrets_read_only: false,
            component_limits: None,
            collect_garbage_minutes: 60,
            bucket: None,
            limits: ServerLimits::default(),
        }
    }
}

/// Paths of this machine stay out of it.
impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("listen", &self.listen).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Where the config is: what its paths are from.
#[derive(Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn of(config: &Path) -> Self {
        Self(config.parent().map(Path::to_owned).unwrap_or_default())
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.0.join(path)
    }
}

impl Service {
    pub(super) fn data(&self, folder: &Folder) -> PathBuf {
        folder.at(&self.data)
    }

    pub(super) fn secrets(&self, folder: &Folder) -> Option<PathBuf> {
        self.secrets.as_deref().map(|path| folder.at(path))
    }

    pub(super) fn component_limits(&self, folder: &Folder) -> Option<PathBuf> {
        self.component_limits.as_deref().map(|path| folder.at(path))
    }

    /// That nobody reaches it without being meant to.
    pub(super) fn is_private(&self) -> Result<(), CliError> {
        if self.listen.ip().is_loopback() || self.behind_tls {
            return Ok(());
        }
        Err(CliError::new(
            "tls_missing",
            "the service would listen where other machines reach it, and tokens would go over the wire unencrypted",
            "listen on 127.0.0.1, or put a proxy with TLS before it and write `behind_tls = true` under [service]",
        ))
    }

    /// What clients may call a service that listens there: what the config says, and always what this machine
    /// calls itself. In lower case, as names are compared.
    pub(super) fn known_as(&self, listening: SocketAddr) -> Hosts {
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

    /// The first config with every setting that it has as a comment.
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
    fn a_service_is_known_as_its_config_says_and_as_its_machine_calls_itself() {
        let service = Service { hosts: ["Runtime.Example.COM".to_owned()].into(), ..Service::default() };
        let hosts = service.known_as(SocketAddr::from(([10, 0, 0, 7], 7070))).hosts;
        let expected = ["10.0.0.7:7070", "127.0.0.1:7070", "[::1]:7070", "localhost:7070", "runtime.example.com"];
        assert_eq!(hosts.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn limits_with_which_nothing_works_are_refused() {
        let read = |text: &str| {
            let (_, settings) = host_policy::RuntimeConfig::from_toml_with::<Settings>(text, &Settings::TABLES)
                .expect("the types are right");
            settings.invalid_limit().map(|(table, found)| (table.join("."), found.name, found.expected))
        };
        let every = [
            ("limits", serde_json::to_value(RuntimeLimits::default()).expect("JSON")),
            ("service.limits", serde_json::to_value(ServerLimits::default()).expect("JSON")),
        ];
        // None of these, or at once: each is something that a host may mean.
        let may_be_zero = [
            "bundles",
            "workers",
            "resolvers",
            "queued_calls",
            "unused_blob_seconds",
            "shutdown_ms",
            "recent_blob_bytes",
        ];
        for (table, limits) in every {
            for (field, _) in limits.as_object().expect("a table") {
                let told = read(&format!("[{table}]\n{field} = 0\n"));
                if may_be_zero.contains(&field.as_str()) {
                    assert_eq!(told, None, "{field}");
                } else {
                    let (of, name, expected) = told.expect(field);
                    assert_eq!((of.as_str(), name), (table, field.as_str()));
                    assert!(expected.starts_with("a whole number "), "{expected}");
                }
            }
        }
        assert_eq!(read("[service.limits]\nhead_bytes = 1024\nheaders = 16\nhead_ms = 100\n"), None);
        assert_eq!(read("[limits]\ncall_ms = 149_999\n"), None);
        assert!(read("[limits]\ncall_ms = 150_000\n").is_some_and(|(.., expected)| expected.contains("150001")));
        for (percent, is_right) in [(1, true), (100, true), (101, false), (4_000_000_000_u32, false)] {
            let told = read(&format!("[service.limits]\nconnection_share_percent = {percent}\n"));
            assert_eq!(told.is_none(), is_right, "{told:?}");
        }
    }

    #[test]
    fn the_first_config_has_every_limit_with_its_default() {
        let (_, settings) = host_policy::RuntimeConfig::from_toml_with::<Settings>(&every_setting(), &Settings::TABLES)
            .expect("every setting is one");
        assert_eq!(settings.limits, RuntimeLimits::default());
        assert_eq!(settings.service.limits, ServerLimits::default());
        let text = every_setting();
        let named = |limits: serde_json::Value| {
            for (name, _) in limits.as_object().expect("a table") {
                assert!(text.lines().any(|line| line.starts_with(&format!("{name} = "))), "{name}");
            }
        };
        named(serde_json::to_value(RuntimeLimits::default()).expect("JSON"));
        named(serde_json::to_value(ServerLimits::default()).expect("JSON"));
    }
}
