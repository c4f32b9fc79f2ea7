//! The config that a grant gives.

use serde_json::Value;

/// Interval of heartbeats if the config has none, in milliseconds.
const DEFAULT_HEARTBEAT_MS: u64 = 30_000;

/// Config of the service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// URL of the chat.
    pub(crate) url: String,
    /// Interval of heartbeats, in milliseconds.
    pub(crate) heartbeat_ms: u64,
}

impl Config {
    /// Parses a config. The host has validated it against the schema in `plugin.toml`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let config: Value = serde_json::from_str(text).map_err(|error| format!("invalid config: {error}"))?;
        let url = config.get("url").and_then(Value::as_str).ok_or("invalid config: `url` is missing")?;
        let heartbeat_ms = config.get("heartbeat_ms").and_then(Value::as_u64).unwrap_or(DEFAULT_HEARTBEAT_MS);
        Ok(Self { url: url.to_owned(), heartbeat_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    #[test]
    fn heartbeat_interval_has_a_default() {
        let config = |heartbeat_ms| Config { url: "wss://a.example/gateway".to_owned(), heartbeat_ms };
        assert_eq!(Config::parse(r#"{"url":"wss://a.example/gateway"}"#), Ok(config(30_000)));
        assert_eq!(Config::parse(r#"{"heartbeat_ms":100,"url":"wss://a.example/gateway"}"#), Ok(config(100)));
    }

    #[test]
    fn config_without_a_url_is_refused() {
        for text in ["null", "{}", r#"{"url":1}"#, ""] {
            assert!(Config::parse(text).is_err(), "{text}");
        }
    }
}
