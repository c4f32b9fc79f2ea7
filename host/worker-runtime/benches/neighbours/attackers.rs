//! The attackers: 64 connections of one workspace, each with one kind of attack on shared resources. They ignore
//! responses, and reconnect when the service closes a connection.

use std::time::Duration;

use bundles::Digest;
use serde_json::json;

use crate::service::Place;
use crate::wire::{Wire, head};
use crate::{Outcome, print, server};

/// Kinds of attacks with their numbers of connections.
const KINDS: [(Kind, usize); 11] = [
    (Kind::Resolver("loop_in_resolve"), 8),
    (Kind::Resolver("fill_forever"), 4),
    (Kind::Resolver("grow_memory"), 6),
    (Kind::Results, 8),
    (Kind::Flood, 8),
    (Kind::Strangers, 4),
    (Kind::WrongTokens, 4),
    (Kind::Bundles, 6),
    (Kind::Schemas, 4),
    (Kind::SlowUploads, 8),
    (Kind::SlowHeads, 4),
];

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Creates workers with a hostile resolver of this name.
    Resolver(&'static str),
    /// Calls a tool that returns 1 MiB.
    Results,
    /// Sends requests without pauses.
    Flood,
    /// Sends requests without a token.
    Strangers,
    /// Sends requests with a token that differs in one character.
    WrongTokens,
    /// Puts bundles of 1 MiB, each of which has to be verified.
    Bundles,
    /// Creates workers whose tool schemas are expensive to compile.
    Schemas,
    /// Uploads blobs byte by byte.
    SlowUploads,
    /// Sends request heads byte by byte.
    SlowHeads,
}

/// Attacks until the process is killed.
pub(crate) async fn attack(place: Place, only: Option<&str>) -> Outcome<()> {
    rustix::process::nice(19)?;
    let mut number = 0;
    let mut attackers = Vec::new();
    let wanted = |kind: &Kind| only.is_none_or(|only| format!("{kind:?}").contains(only));
    for (kind, count) in KINDS.into_iter().filter(|(kind, _)| wanted(kind)) {
        for _ in 0..count {
            number += 1;
            let place = place.clone();
            attackers.push(tokio::spawn(async move {
                let mut turn = 0_u64;
                loop {
                    turn += 1;
                    let _ = once(kind, &place, number, &mut turn).await;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }));
        }
    }
    print(&format!("{} attackers", attackers.len()));
    std::future::pending().await
}

/// Attacks on one connection until the connection fails.
async fn once(kind: Kind, place: &Place, number: u64, turn: &mut u64) -> Outcome<()> {
    let mut wire = Wire::connect(place.address).await?;
    let token = place.attacker.token.as_str();
    match kind {
        Kind::Resolver(attack) => loop {
            *turn += 1;
            let resolver = place.resolvers.iter().find(|(name, _)| name == attack).map(|(_, digest)| *digest);
            let body = json!({ "profile": "plain", "bundle": place.attacker.bundle, "resolver": resolver,
                "allow_older": true });
            wire.ask_json("PUT", &format!("/v1/workers/r-{number}-{turn}"), token, &body.to_string()).await?;
        },
        Kind::Results => {
            let body = json!({ "profile": "plain", "bundle": place.attacker.bundle, "allow_older": true }).to_string();
            let path = format!("/v1/workers/large-{number}-{turn}");
            wire.ask_json("PUT", &path, token, &body).await?;
            loop {
                wire.ask_json("POST", &format!("{path}/tools/large"), token, "{\"input\":{}}").await?;
            }
        }
        Kind::Flood => loop {
            wire.ask("GET", "/v1/workers?limit=1000", token, "", b"").await?;
        },
        Kind::Strangers => loop {
            wire.ask("GET", "/v1/workers", "", "", b"").await?;
        },
        Kind::WrongTokens => loop {
            let wrong = format!("{}{}", token.get(..token.len() - 1).unwrap_or_default(), "f");
            wire.ask("GET", "/v1/workers", &wrong, "", b"").await?;
        },
        Kind::Bundles => loop {
            *turn += 1;
            let line = format!("{number} {turn}: say what you did, and in which file, and why it had to be so.\n");
            let text = line.repeat((1 << 20) / line.len()).into_bytes();
            let revision = number * 1_000_000 + *turn;
            server::small_bundle(&place.attacker.workspace, revision, vec![text], &[])?.put(&mut wire, token).await?;
        },
        Kind::Schemas => loop {
            *turn += 1;
            let bundle = schema_bundle(place, number * 1_000_000 + *turn)?;
            bundle.put(&mut wire, token).await?;
            let body = json!({ "profile": "plain", "bundle": bundle.digest(), "allow_older": true }).to_string();
            wire.ask_json("PUT", &format!("/v1/workers/s-{number}-{turn}"), token, &body).await?;
        },
        Kind::SlowUploads => {
            *turn += 1;
            let path = format!("/v1/blobs/{}", Digest::of(format!("{number} {turn}").as_bytes()));
            wire.send(head("PUT", &path, token, "", 1 << 20).as_bytes()).await?;
            send_slowly(&mut wire, &vec![7; 1 << 20]).await
        }
        Kind::SlowHeads => {
            let head = head("GET", "/v1/workers", token, &"x".repeat(4096), 0);
            send_slowly(&mut wire, head.as_bytes()).await
        }
    }
}

/// Sends bytes one by one, 50 ms apart.
async fn send_slowly(wire: &mut Wire, bytes: &[u8]) -> Outcome<()> {
    for byte in bytes {
        wire.send(std::slice::from_ref(byte)).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Generates a bundle whose tool schema has short patterns with a large compiled form.
fn schema_bundle(place: &Place, revision: u64) -> Outcome<server::BundleUpload> {
    let pattern = |number: usize| json!({ "pattern": format!("^([a-z]{{1,{}}}x){{1,60}}$", 60 + number % 60) });
    let schema = json!({ "type": "object", "title": revision.to_string(),
        "properties": { "text": { "anyOf": (0..200).map(pattern).collect::<Vec<_>>() } } });
    let schema = schema.to_string().into_bytes();
    let mut upload = server::small_bundle(&place.attacker.workspace, revision, Vec::new(), &["echo"])?;
    let mut manifest: serde_json::Value = serde_json::from_slice(&upload.manifest)?;
    if let Some(tool) = manifest.pointer_mut("/tools/echo") {
        *tool = json!({ "source": "host", "effect": "none",
            "input": { "digest": Digest::of(&schema), "size": schema.len() } });
    }
    upload.manifest = bundles::canonical::to_canonical(&manifest)?;
    upload.blobs = vec![schema];
    Ok(upload)
}
