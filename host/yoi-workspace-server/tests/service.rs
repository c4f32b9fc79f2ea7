//! The HTTP API of a Backend, used by its client over a real connection, with a remote Runtime behind its own HTTP API.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backend_api::audit::{Action, Actor};
use backend_api::body::{IssueBackendTokenRequest, SetDesiredRequest};
use backend_api::fleet::{Access, Condition, RegisterRuntimeRequest, RuntimeView};
use backend_api::policy::Names;
use backend_api::token::BackendScope;
use backend_client::{BackendClient, PublicationOutcome};
use bundles::{Bundle, Contents, WorkspaceId};
use runtime_api::Code;
use runtime_api::token::Scope;
use runtime_client::{Client, ClientError, ClientOptions};
use secrecy::SecretString;
use tokio::task::JoinHandle;
use yoi_workspace_server::runtime_link::{RemoteRuntime, RuntimeLink};
use yoi_workspace_server::service::openapi_json;
use yoi_workspace_server::{Backend, Connector, ConnectorError, NoConnector};

use crate::support::served::{Served, remote, serve_backend, serve_runtime, token};
use crate::support::{World, bundle, config, labels, name, open_rules, runtime};

/// A Backend behind its HTTP API, which reconciles until it is dropped.
struct ServedBackend {
    url: String,
    backend: Backend,
    _served: Served,
    reconciling: JoinHandle<()>,
}

impl ServedBackend {
    async fn new(backend: Backend) -> Self {
        let served = serve_backend(&backend, 0).await;
        let running = backend.clone();
        let reconciling = tokio::spawn(async move { running.run(std::future::pending()).await });
        Self { url: format!("http://{}", served.address), backend, _served: served, reconciling }
    }

    /// Returns a client with a token of these scopes.
    async fn client(&self, scopes: &[BackendScope], workspaces: &[&str]) -> BackendClient {
        let scopes: Vec<Scope> = scopes.iter().map(|scope| scope.of_runtime()).collect();
        let token = token(self.backend.catalogue(), &scopes, workspaces).await;
        BackendClient::new(ClientOptions::new(self.url.clone(), token)).expect("a client")
    }
}

impl Drop for ServedBackend {
    fn drop(&mut self) {
        self.reconciling.abort();
    }
}

fn contents(bundle: Bundle) -> Contents {
    Contents::new(bundle, None).expect("contents")
}

fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (Option<Code>, String) {
    match result.expect_err("an error") {
        ClientError::Problem(problem) => (problem.known_code(), problem.detail().to_owned()),
        other => panic!("{other:?}"),
    }
}

async fn until(client: &BackendClient, runtime: &str, is_right: impl Fn(&Condition) -> bool) {
    let workspace: WorkspaceId = name("acme");
    let reached = async {
        loop {
            let view = client.runtime(&name(runtime)).await.expect("a Runtime");
            if is_right(&view.workspaces[&workspace].condition) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reached).await.expect("the condition");
}

#[tokio::test(flavor = "multi_thread")]
async fn bundle_is_published_over_http_and_reaches_a_remote_runtime() {
    let far = runtime(config(&["acme"])).await;
    let served = serve_runtime(&far).await;
    let link = remote(&far, &served, &[Scope::Status, Scope::Read, Scope::Bundles]).await;
    let mut world = World::new(&["acme", "other"]).await.with("far", open_rules(), Arc::new(link));
    world.runtimes.values_mut().for_each(|entry| entry.access = Access::Remote);
    let backend = ServedBackend::new(world.open().await).await;
    let publisher = backend.client(&[BackendScope::Read, BackendScope::Publish], &["acme"]).await;

    let first = publisher.publish(&contents(bundle("acme", 1, "Be kind."))).await.expect("published");
    assert_eq!((first.outcome, first.uploaded.digests.len()), (PublicationOutcome::New, 1));
    let again = publisher.publish(&contents(bundle("acme", 1, "Be kind."))).await.expect("published");
    assert_eq!((again.outcome, again.uploaded.digests.len()), (PublicationOutcome::Known, 0));
    let same = publisher.publish(&contents(bundle("acme", 2, "Be kind."))).await.expect("accepted");
    assert_eq!((same.outcome, same.bundle.revision.get()), (PublicationOutcome::Unchanged, 1));
    assert!(publisher.desired().await.expect("a workspace").desired.is_none());

    let request = SetDesiredRequest { bundle: first.bundle.digest, allow_older: false, stage: None };
    publisher.set_desired(&request).await.expect("desired");
    until(&publisher, "far", |condition| *condition == Condition::InSync).await;
    assert_eq!(
        far.content(&name("acme")).desired().await.expect("read").map(|state| state.bundle),
        Some(first.bundle.digest)
    );
    let view = publisher.runtime(&name("far")).await.expect("a Runtime");
    assert_eq!(view.report.as_ref().map(|report| report.id.clone()), Some(far.management().id().clone()));
    // The token serves one of the two workspaces.
    assert_eq!(view.workspaces.keys().map(WorkspaceId::as_str).collect::<Vec<_>>(), ["acme"]);
    assert!(publisher.explain(&name("far")).await.expect("a decision").decision.allowed);

    // The Runtime withdraws the token's access to the workspace.
    far.management().replace_config(config(&["other"])).expect("in force");
    let second = publisher.publish(&contents(bundle("acme", 3, "Be brief."))).await.expect("published");
    let request = SetDesiredRequest { bundle: second.bundle.digest, ..request };
    publisher.set_desired(&request).await.expect("desired");
    until(&publisher, "far", |condition| matches!(condition, Condition::Refused { .. })).await;
    far.management().replace_config(config(&["acme"])).expect("in force");
    publisher.sync().await.expect("read again");
    until(&publisher, "far", |condition| *condition == Condition::InSync).await;
    publisher.roll_back().await.expect("rolled back");
    until(&publisher, "far", |condition| *condition == Condition::InSync).await;
    assert_eq!(
        far.content(&name("acme")).desired().await.expect("read").map(|state| (state.bundle, state.generation.get())),
        Some((first.bundle.digest, 3))
    );
}

/// Connects with one token, whatever secret the request names.
#[derive(Debug)]
struct OneToken(SecretString);

#[async_trait]
impl Connector for OneToken {
    async fn connect(&self, request: &RegisterRuntimeRequest) -> Result<Arc<dyn RuntimeLink>, ConnectorError> {
        let client = Client::new(ClientOptions::new(request.url.clone(), self.0.clone())).map_err(|error| {
            let code = error.known_code().unwrap_or(Code::InvalidConfig);
            ConnectorError { code, message: error.to_string(), help: error.help().to_owned() }
        })?;
        Ok(Arc::new(RemoteRuntime::from(client)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runtime_that_a_request_adds_outlives_a_restart_until_it_is_removed() {
    let far = runtime(config(&["acme"])).await;
    let served = serve_runtime(&far).await;
    let far_token = token(&far, &[Scope::Status, Scope::Read, Scope::Bundles], &["acme"]).await;
    let world = World { connector: Arc::new(OneToken(far_token)), ..World::new(&["acme"]).await };
    let mut world = world.with_embedded("here", &runtime(config(&["acme"])).await);
    let backend = ServedBackend::new(world.open().await).await;
    let admin = backend.client(&[BackendScope::Admin], &[]).await;
    let request = |url: &str, token: &str| RegisterRuntimeRequest {
        url: url.to_owned(),
        token: name(token),
        allow_http: false,
        labels: labels(&[("region", "eu")]),
        workspaces: Names::All,
        requires: labels(&[]),
    };
    let right = request(&format!("http://{}", served.address), "runtime-far");
    let refused = [
        ("far", request(&format!("http://{}", served.address), "database-password"), Code::SecretNotGranted),
        ("far", request("http://10.0.0.1", "runtime-far"), Code::InsecureUrl),
        ("here", right.clone(), Code::RuntimeInConfig),
    ];
    for (runtime, request, expected) in refused {
        assert_eq!(code(admin.register_runtime(&name(runtime), &request).await).0, Some(expected));
    }
    let publisher = backend.client(&[BackendScope::Read, BackendScope::Publish], &["acme"]).await;
    assert_eq!(code(publisher.register_runtime(&name("far"), &right).await).0, Some(Code::ScopeMissing));
    let view = admin.register_runtime(&name("far"), &right).await.expect("added");
    assert_eq!((view.access, view.labels), (Access::Remote, labels(&[("region", "eu")])));
    assert!(!format!("{right:?}").contains("127.0.0.1"));

    let published = publisher.publish(&contents(bundle("acme", 1, "Be kind."))).await.expect("published");
    let desired = SetDesiredRequest { bundle: published.bundle.digest, allow_older: false, stage: None };
    publisher.set_desired(&desired).await.expect("desired");
    until(&publisher, "far", |condition| *condition == Condition::InSync).await;

    // The Backend is restarted while the token of the Runtime cannot be read.
    drop(backend);
    let connector = std::mem::replace(&mut world.connector, Arc::new(NoConnector));
    let without = world.open().await;
    let view = without.runtime(&name("far"), &[name("acme")].into()).expect("a Runtime");
    assert_eq!((view.access, view.labels), (Access::Remote, labels(&[("region", "eu")])));
    crate::support::until(&without, "far", "acme", |condition| matches!(condition, Condition::Unavailable(_))).await;
    drop(without);
    world.connector = connector;

    // The Backend is restarted, with a config that has changed.
    let backend = ServedBackend::new(world.open().await).await;
    let admin = backend.client(&[BackendScope::Admin], &[]).await;
    backend.backend.replace_runtimes(Default::default());
    let names = |views: Vec<RuntimeView>| views.into_iter().map(|view| view.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(admin.runtimes().await.expect("a list")), ["far"]);
    until(&admin, "far", |condition| *condition == Condition::InSync).await;
    // A new config has a Runtime with the same name. It takes precedence, and requests cannot change it.
    let entry = world.runtimes["here"].clone();
    backend.backend.replace_runtimes([(name("far"), entry)].into());
    assert_eq!(code(admin.register_runtime(&name("far"), &right).await).0, Some(Code::RuntimeInConfig));
    assert_eq!(admin.runtime(&name("far")).await.expect("a Runtime").access, Access::Embedded);
    admin.remove_runtime(&name("far")).await.expect("removed");
    assert_eq!(names(admin.runtimes().await.expect("a list")), ["far"]);
    assert_eq!(code(admin.remove_runtime(&name("far")).await).0, Some(Code::RuntimeInConfig));
    backend.backend.replace_runtimes(Default::default());
    assert_eq!(code(admin.remove_runtime(&name("far")).await).0, Some(Code::RuntimeNotFound));
    assert!(admin.runtimes().await.expect("a list").is_empty());
    let entries = admin.audit(0, 1000).await.expect("the log");
    let refusals = |action: Action| {
        entries.iter().filter(|entry| entry.action == action).map(|entry| entry.refused).collect::<Vec<_>>()
    };
    assert_eq!(
        refusals(Action::RegisterRuntime { runtime: name("far") }),
        [Some(Code::SecretNotGranted), Some(Code::InsecureUrl), None, Some(Code::RuntimeInConfig)]
    );
    assert_eq!(
        refusals(Action::RemoveRuntime { runtime: name("far") }),
        [None, Some(Code::RuntimeInConfig), Some(Code::RuntimeNotFound)]
    );
    assert!(world.open().await.runtimes(&Default::default()).iter().all(|view| view.name != name("far")));
}

#[tokio::test(flavor = "multi_thread")]
async fn token_does_what_its_scopes_and_workspaces_allow() {
    let backend = ServedBackend::new(World::new(&["acme", "other"]).await.open().await).await;
    let reader = backend.client(&[BackendScope::Read], &["acme"]).await;
    let bundle = contents(bundle("acme", 1, "Be kind."));
    let (refused, detail) = code(reader.publish(&bundle).await);
    assert_eq!((refused, detail.as_str()), (Some(Code::ScopeMissing), "the token does not have the scope `publish`"));
    assert_eq!(code(reader.roll_back().await).0, Some(Code::ScopeMissing));
    assert_eq!(code(reader.sync().await).0, Some(Code::ScopeMissing));
    assert_eq!(code(reader.audit(0, 10).await).1, "the token does not have the scope `admin`");
    assert_eq!(code(reader.tokens().await).0, Some(Code::ScopeMissing));
    let other = reader.in_workspace(name("other"));
    assert_eq!(code(other.desired().await).0, Some(Code::WorkspaceDenied));
    assert_eq!(code(other.explain(&name("any")).await).0, Some(Code::WorkspaceDenied));
    let ids = |views: Vec<backend_api::body::WorkspaceView>| {
        views.into_iter().map(|view| view.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(reader.workspaces().await.expect("a list")), ["acme"]);
    assert_eq!(code(reader.runtime(&name("none")).await).0, Some(Code::RuntimeNotFound));

    let admin = backend.client(&[BackendScope::Admin], &[]).await;
    assert_eq!(ids(admin.workspaces().await.expect("a list")), ["acme", "other"]);
    assert_eq!(code(admin.read_runtime(&name("none")).await).0, Some(Code::RuntimeNotFound));
    let request = IssueBackendTokenRequest {
        name: name("publisher"),
        scopes: [BackendScope::Publish].into(),
        workspaces: [name("acme")].into(),
        expires_at: None,
    };
    let issued = admin.issue_token(&request).await.expect("a token");
    let publisher = ClientOptions::new(backend.url.clone(), issued.token.clone().into());
    let publisher = BackendClient::new(publisher).expect("a client");
    publisher.publish(&bundle).await.expect("published");
    assert!(!format!("{issued:?}").contains(&issued.token));
    assert_eq!(code(publisher.workspaces().await).0, Some(Code::ScopeMissing));
    admin.revoke_token(&issued.summary.id).await.expect("revoked");
    assert_eq!(code(publisher.publish(&bundle).await).0, Some(Code::Unauthenticated));

    let entries = admin.audit(0, 1000).await.expect("the log");
    let actions: Vec<_> = entries.iter().map(|entry| (&entry.action, entry.refused)).collect();
    let unknown = Action::ReadRuntime { runtime: name("none") };
    assert!(actions.contains(&(&unknown, Some(Code::RuntimeNotFound))), "{actions:?}");
    assert!(actions.contains(&(&Action::IssueToken { issued: Some(issued.summary.id.clone()) }, None)));
    assert!(actions.contains(&(&Action::RevokeToken { revoked: issued.summary.id.clone() }, None)));
    let published = entries.iter().find(|entry| matches!(entry.action, Action::Publish { .. })).expect("an entry");
    assert_eq!(published.actor, Actor::Token { token: issued.summary.id });
    assert_eq!(admin.audit(entries.len() as u64 - 1, 1000).await.expect("the log").len(), 1);
}

#[test]
fn description_of_the_api_is_the_one_in_the_docs() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/backend-openapi.json");
    let text = openapi_json();
    if std::env::var_os("YOI_UPDATE").is_some() {
        std::fs::write(&path, &text).expect("written");
    }
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), text, "YOI_UPDATE=1 writes the file");
}
