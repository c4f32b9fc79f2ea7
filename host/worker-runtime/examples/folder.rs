//! A Runtime on disk, whose state survives the process. The program supplies secrets and changes the config at runtime.
#![allow(clippy::print_stdout, reason = "the example prints its results")]
use std::{error::Error, path::Path, sync::Arc};

use bundles::{BuildOptions, BundleLimits, Folder, build};
use futures_util::StreamExt;
use serde_json::{Value, json};
use worker_runtime::prelude::*;

/// A secret source with one secret.
#[derive(Debug)]
struct Vault;

#[async_trait]
impl SecretSource for Vault {
    async fn get(&self, name: &SecretRef) -> Result<SecretString, SecretError> {
        match name.as_str() {
            "badge" => Ok("7c1".to_owned().into()),
            _ => Err(SecretError::NotFound(name.clone())),
        }
    }
}

/// A host tool that opens a door with a secret. The worker never sees the secret.
#[derive(Debug)]
struct OpenDoor(ToolName, SecretRef, [Authority; 1]);

#[async_trait]
impl HostTool for OpenDoor {
    fn name(&self) -> &ToolName {
        &self.0
    }
    fn needs(&self) -> &[Authority] {
        &self.2
    }
    async fn call(&self, context: ToolContext, _: Value) -> Result<Value, ToolError> {
        let _badge: SecretString = context.secret(&self.1).await?;
        Ok(json!({ "opened_by": context.worker(), "call": context.call_id() }))
    }
}

const CONFIG: &str =
    "host.capabilities = ['tool:open-door']\nworkspaces.my-team = { signatures = { posture = 'none' } }";
const BUNDLE: &str = r#"schema = "yoi.config-bundle/1"
revision = 1
created_at = "2026-06-25T15:49:30Z"
language = "en"
workspace.id = "my-team"
tools.open-door = { source = "host", effect = "external" }"#;
const PROFILE: &str = r#"tools_allow = ["open-door"]
requires = ["secret:badge"]"#;

/// Returns the config with these secrets granted.
fn config_with_secrets(secrets: &str) -> Result<RuntimeConfig, host_policy::ConfigError> {
    RuntimeConfig::from_toml(&CONFIG.replace("'none' }", &format!("'none' }}, secrets = [{secrets}]")))
}

async fn open(folder: &Path) -> Result<Runtime, Box<dyn Error>> {
    let badge: SecretRef = "badge".parse()?;
    let door = OpenDoor("open-door".parse()?, badge.clone(), [Authority::Secret(badge)]);
    let builder =
        Runtime::builder().data_folder(folder).clock(Arc::new(SystemClock)).config(config_with_secrets("'badge'")?);
    Ok(builder.secrets(Arc::new(Vault)).tool(Arc::new(door)).open().await?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let files = [("bundle.toml", BUNDLE), ("profiles/porter.toml", PROFILE)];
    let files = Folder::from_files(files.map(|(path, text)| (path.to_owned(), text.into())));
    let bundle = build(&files, &BuildOptions::default(), &BundleLimits::default()).map_err(|_| "no bundle")?.bundle;
    let team = bundle.manifest().workspace.id.clone();
    let porter: WorkerId = "porter".parse()?;

    let runtime = open(folder.path()).await?;
    runtime.content(&team).put_bundle(&bundle).await?;
    let request = CreateWorkerRequest::of_bundle("porter".parse()?, bundle.digest());
    runtime.catalogue(&team).create(porter.clone(), request).await?;
    drop(runtime);

    // The folder contains the whole state, including compiled resolvers.
    let runtime = open(folder.path()).await?;
    let call = || ToolCall { input: json!({}), confirmed: false };
    let door: ToolName = "open-door".parse()?;
    let called = runtime.interaction(&team).call(&porter, &door, call()).await?;
    assert_eq!(called.output, json!({ "opened_by": "porter", "call": 1 }));

    // A withdrawn grant ends with the next call.
    runtime.management().reload(config_with_secrets("")?).await?;
    let Err(refused) = runtime.interaction(&team).call(&porter, &door, call()).await else {
        return Err("the badge is not granted any more".into());
    };
    println!("{refused}");

    let mut events = runtime.observation(&team).subscribe(0).await?.into_stream();
    let mut received = Vec::new();
    while received.len() < 4
        && let Some(event) = events.next().await
    {
        match event?.item {
            SubscriptionItem::Event(event) => received.push(event.kind),
            SubscriptionItem::Gap { .. } => return Err("unexpected gap".into()),
        }
    }
    println!("{received:#?}");
    let [EventKind::BundleStored { .. }, EventKind::WorkerCreated { .. }, EventKind::CallEnded { .. }, _] =
        &received[..]
    else {
        return Err("unexpected events".into());
    };
    Ok(())
}
