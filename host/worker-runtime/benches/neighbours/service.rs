//! The service, and what the clients must know of it.

use std::net::SocketAddr;

use bundles::{Digest, WorkspaceId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::wire::Wire;
use crate::{Outcome, hostile, sandboxed, say, served};

/// Honest clients, each with a workspace of its own.
pub(crate) const HONEST: usize = 8;

/// The attackers' workspace.
pub(crate) const ATTACKED: &str = "attacker";

/// Requests that one token may send a second, on average.
const REQUESTS_PER_SECOND: u32 = 500;

/// Capabilities that requests can be told apart by.
pub(crate) const BITS: usize = 16;

/// What the clients know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) honest: Vec<Tenant>,
    pub(crate) attacker: Tenant,
    /// Resolvers that mean harm, by what they do.
    pub(crate) resolvers: Vec<(String, Digest)>,
}

/// A workspace, a token of it, and a bundle in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Tenant {
    pub(crate) workspace: String,
    pub(crate) token: String,
    pub(crate) bundle: Digest,
}

fn config() -> String {
    let names = (0..BITS).map(|bit| format!("'cap-{bit}'")).collect::<Vec<_>>().join(", ");
    let all = (0..HONEST).map(|number| format!("honest-{number}")).chain([ATTACKED.to_owned()]);
    let of = |name: String| format!("[workspaces.{name}]\nsignatures = {{ posture = 'none' }}\n");
    format!("[host]\ncapabilities = ['tool:echo', 'tool:large', {names}]\n{}", all.map(of).collect::<String>())
}

/// As much as one call may answer, or nearly.
fn large(_: Value) -> Value {
    json!({ "text": "x".repeat((1 << 20) - 64) })
}

/// Serves until it is ended from outside.
pub(crate) async fn serve() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let sandbox = sandboxed::sandbox(None)?;
    let builder = served::on_files(folder.path(), &config(), &sandbox).await?;
    let builder = builder.tool(served::answers("echo", |input| input)?).tool(served::answers("large", large)?);
    let runtime = builder.open().await?;
    let mut resolvers = Vec::new();
    for one in hostile::all() {
        if ["loop_in_resolve", "fill_forever", "grow_memory"].contains(&one.name) {
            let digest = Digest::of(&one.bytes);
            runtime.management().admit_resolver(digest, one.bytes.into()).await?;
            resolvers.push((one.name.to_owned(), digest));
        }
    }
    let (address, serving) = served::serve(served::routes(&runtime, REQUESTS_PER_SECOND)).await?;
    let mut wire = Wire::connect(address).await?;
    let mut tenants = Vec::new();
    for name in (0..HONEST).map(|number| format!("honest-{number}")).chain([ATTACKED.to_owned()]) {
        let workspace: WorkspaceId = name.parse()?;
        let token = served::token(&runtime, &workspace).await?;
        let prompts = (0..8).map(|number| format!("{number}: answer kindly.\n").repeat(80).into_bytes()).collect();
        let bundle = served::small(&name, 1, prompts, &["echo", "large"])?;
        bundle.put(&mut wire, &token).await?;
        tenants.push(Tenant { workspace: name, token, bundle: bundle.digest() });
    }
    let attacker = tenants.pop().ok_or("no attacker")?;
    let place = Place { address, honest: tenants, attacker, resolvers };
    say(&serde_json::to_string(&place)?);
    serving.await?;
    Ok(())
}
