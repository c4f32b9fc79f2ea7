//! The honest clients: what they do, and what they saw.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Outcome;
use crate::service::{BITS, Place, Tenant};
use crate::wire::{Answer, Wire};

/// Time to think between two requests.
const THINKS: Duration = Duration::from_millis(8);

/// How often `/livez` is asked.
const LIVEZ_EVERY: Duration = Duration::from_millis(25);

/// What clients saw in some time.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Milliseconds of each request, by what it was.
    taken: BTreeMap<&'static str, Vec<f64>>,
    pub(crate) errors: Vec<String>,
    pub(crate) livez_ms: f64,
    seconds: f64,
}

impl Seen {
    fn all(&self) -> Vec<f64> {
        let mut all: Vec<f64> = self.taken.values().flatten().copied().collect();
        all.sort_by(f64::total_cmp);
        all
    }

    /// Requests a second.
    pub(crate) fn throughput(&self) -> f64 {
        self.all().len() as f64 / self.seconds
    }

    /// Milliseconds within which that part of all requests was answered.
    pub(crate) fn percentile(&self, part: f64) -> f64 {
        percentile(&self.all(), part)
    }

    /// The same for each kind of request.
    pub(crate) fn by_kind(&self) -> String {
        let of = |(kind, taken): (&&str, &Vec<f64>)| {
            let mut taken = taken.clone();
            taken.sort_by(f64::total_cmp);
            format!("{kind} {:.2}/{:.2}", percentile(&taken, 0.5), percentile(&taken, 0.99))
        };
        format!("        {} (median/99th in ms)", self.taken.iter().map(of).collect::<Vec<_>>().join(", "))
    }

    fn add(&mut self, other: Self) {
        for (kind, taken) in other.taken {
            self.taken.entry(kind).or_default().extend(taken);
        }
        self.errors.extend(other.errors);
        self.livez_ms = self.livez_ms.max(other.livez_ms);
    }
}

fn percentile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part).round() as usize).copied().unwrap_or_default()
}

/// All honest clients work for some time. `turn` tells one such time from another.
pub(crate) async fn work(place: &Place, turn: usize, time: Duration) -> Outcome<Seen> {
    let until = Instant::now() + time;
    let mut clients = Vec::new();
    for tenant in &place.honest {
        clients.push(tokio::spawn(client(place.address, tenant.clone(), turn, until)));
    }
    clients.push(tokio::spawn(lives(place.address, until)));
    let mut seen = Seen { seconds: time.as_secs_f64(), ..Seen::default() };
    for client in clients {
        match client.await? {
            Ok(one) => seen.add(one),
            Err(error) => seen.errors.push(error.to_string()),
        }
    }
    Ok(seen)
}

async fn client(address: std::net::SocketAddr, tenant: Tenant, turn: usize, until: Instant) -> Outcome<Seen> {
    let mut seen = Seen::default();
    let mut wire = Wire::connect(address).await?;
    let mut number = 0_usize;
    while Instant::now() < until {
        number += 1;
        let set: Vec<String> =
            (0..BITS).filter(|bit| (number + turn * 20_000) >> bit & 1 == 1).map(|bit| format!("cap-{bit}")).collect();
        let path = format!("/v1/workers/w-{turn}-{number}");
        let worker = json!({ "profile": "plain", "bundle": tenant.bundle, "required_capabilities": set });
        let said = format!("{number} of {turn}");
        let call = json!({ "input": { "text": said } }).to_string();
        let tool = format!("{path}/tools/echo");
        let asked = [
            ("create", "PUT", path.as_str(), worker.to_string(), 201),
            ("call", "POST", tool.as_str(), call.clone(), 200),
            ("look", "GET", path.as_str(), String::new(), 200),
            ("call", "POST", tool.as_str(), call, 200),
        ];
        for (kind, method, path, body, status) in asked {
            let started = Instant::now();
            let answer = wire.ask_json(method, path, &tenant.token, &body).await;
            seen.taken.entry(kind).or_default().push(started.elapsed().as_secs_f64() * 1e3);
            match answer {
                Ok(Answer { status: told, body })
                    if told == status && (kind != "call" || String::from_utf8_lossy(&body).contains(said.as_str())) => {
                }
                Ok(answer) => {
                    seen.errors.push(format!("{kind}: {} {}", answer.status, String::from_utf8_lossy(&answer.body)))
                }
                Err(error) => {
                    seen.errors.push(format!("{kind}: {error}"));
                    wire = Wire::connect(address).await?;
                }
            }
            tokio::time::sleep(THINKS).await;
        }
    }
    Ok(seen)
}

/// Asks whether the service lives, on a connection of its own.
async fn lives(address: std::net::SocketAddr, until: Instant) -> Outcome<Seen> {
    let mut seen = Seen::default();
    let mut wire = Wire::connect(address).await?;
    while Instant::now() < until {
        let started = Instant::now();
        match wire.ask("GET", "/livez", "", "", b"").await {
            Ok(Answer { status: 200, .. }) => {}
            other => seen.errors.push(format!("livez: {other:?}")),
        }
        seen.livez_ms = seen.livez_ms.max(started.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(LIVEZ_EVERY).await;
    }
    Ok(seen)
}
