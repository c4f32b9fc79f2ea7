//! The service process, and the information that its clients need.

use std::net::SocketAddr;

use bundles::{Digest, WorkspaceId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::wire::Wire;
use crate::{Outcome, hostile, print, sandboxed, server};

/// Number of honest clients, each with its own workspace.
pub(crate) const HONEST_CLIENTS: usize = 8;

/// Workspace of the attackers.
pub(crate) const ATTACKER_WORKSPACE: &str = "attacker";

/// Limit on the average number of requests per second of one token.
const REQUESTS_PER_SECOND: u32 = 500;

/// Number of capabilities. Each subset makes a different request.
pub(crate) const BITS: usize = 16;

/// Address, tokens and digests for the clients.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) honest: Vec<Tenant>,
    pub(crate) attacker: Tenant,
    /// Hostile resolvers by name.
    pub(crate) resolvers: Vec<(String, Digest)>,
}

/// A workspace with a token and a bundle.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Tenant {
    pub(crate) workspace: String,
    pub(crate) token: String,
    pub(crate) bundle: Digest,
}

fn config() -> String {
    let names = (0..BITS).map(|bit| format!("'cap-{bit}'")).collect::<Vec<_>>().join(", ");
    let all = (0..HONEST_CLIENTS).map(|number| format!("honest-{number}")).chain([ATTACKER_WORKSPACE.to_owned()]);
    let of = |name: String| format!("[workspaces.{name}]\nsignatures = {{ posture = 'none' }}\n");
    format!("[host]\ncapabilities = ['tool:echo', 'tool:large', {names}]\n{}", all.map(of).collect::<String>())
}

/// Returns an output of nearly the maximum size.
fn large(_: Value) -> Value {
    json!({ "text": "x".repeat((1 << 20) - 64) })
}

/// Serves until the process is killed.
pub(crate) async fn serve() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let sandbox = sandboxed::sandbox(None)?;
    let builder = server::on_files(folder.path(), &config(), &sandbox).await?;
    let builder =
        builder.tool(server::function_tool("echo", |input| input)?).tool(server::function_tool("large", large)?);
    let runtime = builder.open().await?;
    let mut resolvers = Vec::new();
    for component in hostile::all() {
        if ["loop_in_resolve", "fill_forever", "grow_memory"].contains(&component.name) {
            let digest = Digest::of(&component.bytes);
            runtime.management().admit_resolver(digest, component.bytes.into()).await?;
            resolvers.push((component.name.to_owned(), digest));
        }
    }
    let (address, serving) = server::serve(server::routes(&runtime, REQUESTS_PER_SECOND)).await?;
    let mut wire = Wire::connect(address).await?;
    let mut tenants = Vec::new();
    for name in (0..HONEST_CLIENTS).map(|number| format!("honest-{number}")).chain([ATTACKER_WORKSPACE.to_owned()]) {
        let workspace: WorkspaceId = name.parse()?;
        let token = server::token(&runtime, &workspace).await?;
        let prompts = (0..8).map(|number| format!("{number}: answer kindly.\n").repeat(80).into_bytes()).collect();
        let bundle = server::small_bundle(&name, 1, prompts, &["echo", "large"])?;
        bundle.put(&mut wire, &token).await?;
        tenants.push(Tenant { workspace: name, token, bundle: bundle.digest() });
    }
    let attacker = tenants.pop().ok_or("no attacker")?;
    let place = Place { address, honest: tenants, attacker, resolvers };
    print(&serde_json::to_string(&place)?);
    serving.await?;
    Ok(())
}
