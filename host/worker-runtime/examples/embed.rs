//! Embeds a Runtime in a program, with one bundle, one worker and one call.
#![allow(clippy::print_stdout, reason = "the example prints its results")]
use std::{error::Error, sync::Arc};

use bundles::{BuildOptions, BundleLimits, Folder, build};
use serde_json::{Value, json};
use worker_runtime::prelude::*;

/// A host tool that needs no authority.
#[derive(Debug)]
struct Greet(ToolName);

#[async_trait]
impl HostTool for Greet {
    fn name(&self) -> &ToolName {
        &self.0
    }
    fn needs(&self) -> &[Authority] {
        &[]
    }
    async fn call(&self, _: ToolContext, input: Value) -> Result<Value, ToolError> {
        let name = input.get("name").and_then(Value::as_str).unwrap_or("you");
        Ok(json!({ "greeting": format!("good day, {name}") }))
    }
}

const CONFIG: &str = "host.capabilities = ['tool:greet']\nworkspaces.my-team.signatures = { posture = 'none' }";
const BUNDLE: &str = r#"schema = "yoi.config-bundle/1"
revision = 1
created_at = "2026-06-25T15:49:30Z"
language = "en"
workspace.id = "my-team"
tools.greet = { source = "host", effect = "none" }"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let builder = Runtime::builder().clock(Arc::new(SystemClock)).config(RuntimeConfig::from_toml(CONFIG)?);
    let runtime = builder.tool(Arc::new(Greet("greet".parse()?))).open().await?;

    let files = [("bundle.toml", BUNDLE), ("profiles/host.toml", r#"tools_allow = ["greet"]"#)];
    let folder = Folder::from_files(files.map(|(path, text)| (path.to_owned(), text.into())));
    let bundle = build(&folder, &BuildOptions::default(), &BundleLimits::default()).map_err(|_| "no bundle")?.bundle;
    let team = bundle.manifest().workspace.id.clone();
    runtime.content(&team).put_bundle(&bundle).await?;

    let request = CreateWorkerRequest::of_bundle("host".parse()?, bundle.digest());
    let desk = runtime.catalogue(&team).create("front-desk".parse()?, request).await?.worker;
    let call = ToolCall { input: json!({ "name": "Ada" }), confirmed: false };
    let called = runtime.interaction(&team).call(&desk.id, &"greet".parse()?, call).await?;
    println!("entry {} of {}: {}", called.entry, desk.id, called.output);
    assert_eq!(called.output, json!({ "greeting": "good day, Ada" }));
    Ok(())
}
