//! The honest clients and their statistics.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Outcome;
use crate::service::{BITS, Place, Tenant};
use crate::wire::{Answer, Wire};

/// Pause between two requests.
const THINK_TIME: Duration = Duration::from_millis(8);

/// Interval between requests for `/livez`.
const LIVEZ_INTERVAL: Duration = Duration::from_millis(25);

/// Latencies and errors of the clients in one period.
#[derive(Debug, Default)]
pub(crate) struct ClientStats {
    /// Latency of each request in milliseconds, by kind.
    latencies: BTreeMap<&'static str, Vec<f64>>,
    pub(crate) errors: Vec<String>,
    pub(crate) livez_ms: f64,
    seconds: f64,
}

impl ClientStats {
    fn all(&self) -> Vec<f64> {
        let mut all: Vec<f64> = self.latencies.values().flatten().copied().collect();
        all.sort_by(f64::total_cmp);
        all
    }

    /// Returns the number of requests per second.
    pub(crate) fn throughput(&self) -> f64 {
        self.all().len() as f64 / self.seconds
    }

    /// Returns a percentile of all latencies in milliseconds.
    pub(crate) fn percentile(&self, part: f64) -> f64 {
        percentile(&self.all(), part)
    }

    /// Formats the median and the 99th percentile of each kind of request.
    pub(crate) fn by_kind(&self) -> String {
        let of = |(kind, latencies): (&&str, &Vec<f64>)| {
            let mut latencies = latencies.clone();
            latencies.sort_by(f64::total_cmp);
            format!("{kind} {:.2}/{:.2}", percentile(&latencies, 0.5), percentile(&latencies, 0.99))
        };
        format!("        {} (median/99th in ms)", self.latencies.iter().map(of).collect::<Vec<_>>().join(", "))
    }

    fn add(&mut self, other: Self) {
        for (kind, latencies) in other.latencies {
            self.latencies.entry(kind).or_default().extend(latencies);
        }
        self.errors.extend(other.errors);
        self.livez_ms = self.livez_ms.max(other.livez_ms);
    }
}

fn percentile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part).round() as usize).copied().unwrap_or_default()
}

/// Runs all honest clients for a period. `turn` numbers the period, so that worker ids do not repeat.
pub(crate) async fn work(place: &Place, turn: usize, time: Duration) -> Outcome<ClientStats> {
    let until = Instant::now() + time;
    let mut clients = Vec::new();
    for tenant in &place.honest {
        clients.push(tokio::spawn(client(place.address, tenant.clone(), turn, until)));
    }
    clients.push(tokio::spawn(check_liveness(place.address, until)));
    let mut stats = ClientStats { seconds: time.as_secs_f64(), ..ClientStats::default() };
    for client in clients {
        match client.await? {
            Ok(client_stats) => stats.add(client_stats),
            Err(error) => stats.errors.push(error.to_string()),
        }
    }
    Ok(stats)
}

async fn client(address: std::net::SocketAddr, tenant: Tenant, turn: usize, until: Instant) -> Outcome<ClientStats> {
    let mut stats = ClientStats::default();
    let mut wire = Wire::connect(address).await?;
    let mut number = 0_usize;
    while Instant::now() < until {
        number += 1;
        let set: Vec<String> =
            (0..BITS).filter(|bit| (number + turn * 20_000) >> bit & 1 == 1).map(|bit| format!("cap-{bit}")).collect();
        let path = format!("/v1/workers/w-{turn}-{number}");
        let worker = json!({ "profile": "plain", "bundle": tenant.bundle, "required_capabilities": set });
        let text = format!("{number} of {turn}");
        let call = json!({ "input": { "text": text } }).to_string();
        let tool = format!("{path}/tools/echo");
        let requests = [
            ("create", "PUT", path.as_str(), worker.to_string(), 201),
            ("call", "POST", tool.as_str(), call.clone(), 200),
            ("look", "GET", path.as_str(), String::new(), 200),
            ("call", "POST", tool.as_str(), call, 200),
        ];
        for (kind, method, path, body, status) in requests {
            let started = Instant::now();
            let answer = wire.ask_json(method, path, &tenant.token, &body).await;
            stats.latencies.entry(kind).or_default().push(started.elapsed().as_secs_f64() * 1e3);
            match answer {
                Ok(Answer { status: received, body })
                    if received == status
                        && (kind != "call" || String::from_utf8_lossy(&body).contains(text.as_str())) => {}
                Ok(answer) => {
                    stats.errors.push(format!("{kind}: {} {}", answer.status, String::from_utf8_lossy(&answer.body)))
                }
                Err(error) => {
                    stats.errors.push(format!("{kind}: {error}"));
                    wire = Wire::connect(address).await?;
                }
            }
            tokio::time::sleep(THINK_TIME).await;
        }
    }
    Ok(stats)
}

/// Requests `/livez` in intervals, on its own connection.
async fn check_liveness(address: std::net::SocketAddr, until: Instant) -> Outcome<ClientStats> {
    let mut stats = ClientStats::default();
    let mut wire = Wire::connect(address).await?;
    while Instant::now() < until {
        let started = Instant::now();
        match wire.ask("GET", "/livez", "", "", b"").await {
            Ok(Answer { status: 200, .. }) => {}
            other => stats.errors.push(format!("livez: {other:?}")),
        }
        stats.livez_ms = stats.livez_ms.max(started.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(LIVEZ_INTERVAL).await;
    }
    Ok(stats)
}
