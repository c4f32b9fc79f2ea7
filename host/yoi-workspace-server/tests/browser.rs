//! The pages in a browser: login, live updates, refusal, repair, roll-back, many tabs, no scripts, and accessibility.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use backend_api::audit::Actor;
use backend_api::body::SetDesiredRequest;
use backend_api::session::LoginLinkRequest;
use backend_client::{BackendClient, PublicationOutcome};
use bundles::{Contents, Digest, RuntimeName};
use runtime_api::token::{Scope, TokenGrant};
use runtime_api::worker::{CreateWorkerRequest, WorkerId};
use runtime_client::ClientOptions;
use runtime_service::{Hosts, ServiceOptions};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use worker_runtime::Runtime;
use worker_runtime::token::SystemEntropy;
use yoi_workspace_server::Backend;
use yoi_workspace_server::service::BackendService;
use yoi_workspace_server::visibility::{Names, Rules, RuntimeRules};

use crate::fleet::Switched;
use crate::support::{World, any, bundle, config, desire, labels, name, open_rules, runtime};
use crate::webdriver::{Browser, Tools};

/// A Backend with four Runtimes that listens on this machine.
struct Server {
    backend: Backend,
    /// Address of the pages, without a slash at the end.
    url: String,
    client: BackendClient,
    token: SecretString,
    /// The Runtime that the tests make refuse a bundle.
    picky: Runtime,
}

impl Server {
    async fn start() -> Self {
        let mut runtimes = Vec::new();
        for _ in 0..4 {
            runtimes.push(runtime(config(&["acme", "research"])).await);
        }
        let [one, two, us, lab] = <[Runtime; 4]>::try_from(runtimes).expect("four");
        let silent = Arc::new(Switched { link: us.clone().into(), silent: true.into() });
        let only_research = RuntimeRules {
            labels: labels(&[("region", "eu")]),
            rules: Rules { accepted: Names::Only([name("research")].into()), ..any() },
        };
        let world = World::new(&["acme", "research"]).await.with_embedded("eu-1", &one).with_embedded("eu-2", &two);
        let world = world.with("us-1", open_rules(), silent.clone());
        let world =
            world.with("lab", only_research, Arc::new(yoi_workspace_server::runtime_link::EmbeddedRuntime::from(lab)));
        let backend = world.open().await;
        assert!(silent.silent.load(Ordering::SeqCst));

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let hosts = Hosts { hosts: [address.clone()].into(), ..Hosts::default() };
        let service = BackendService::new(backend.clone(), ServiceOptions { hosts, ..ServiceOptions::default() });
        tokio::spawn(async move { service.serve(listener, std::future::pending()).await });
        let running = backend.clone();
        tokio::spawn(async move { running.run(std::future::pending()).await });

        let grant = TokenGrant {
            name: name("administrator"),
            scopes: [Scope::Operator, Scope::Read, Scope::Bundles].into(),
            workspaces: ["acme", "research"].map(name).into(),
            expires_at: None,
            connections: None,
            event_streams: None,
        };
        let management = backend.catalogue().management();
        let (_, token) = management.issue_token(grant, &SystemEntropy).await.expect("a token");
        let url = format!("http://{address}");
        let options = ClientOptions::new(&url, token.clone());
        let client = BackendClient::new(options).expect("a client").in_workspace(name("acme"));
        Self { backend, url, client, token, picky: two }
    }

    async fn link(&self) -> String {
        let link = self.client.issue_login_link(&LoginLinkRequest::default()).await.expect("a link");
        format!("{}{}", self.url, link.path)
    }

    /// Publishes a revision through the API and makes it the desired one.
    async fn publish(&self, revision: u64, text: &str) {
        let bundle = bundle("acme", revision, text);
        let digest = bundle.digest();
        let published = self.client.publish(&Contents::from(bundle)).await.expect("published");
        assert_eq!(published.outcome, PublicationOutcome::New);
        let request = SetDesiredRequest { bundle: digest, allow_older: false, stage: None };
        self.client.set_desired(&request).await.expect("desired");
    }

    /// Returns the number of event streams that browsers have opened.
    async fn streams(&self) -> u64 {
        let client = http_client::builder(http_client::Trust::None).expect("TLS").build().expect("a client");
        let request = client.get(format!("{}/metrics", self.url)).bearer_auth(self.token.expose_secret());
        let text = request.send().await.expect("an answer").text().await.expect("a text");
        let lines =
            text.lines().filter(|line| line.contains("route=\"/live\"") && line.contains("http_requests_total"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }
}

async fn log_in(browser: &Browser, server: &Server) {
    let link = server.link().await;
    browser.open(&link).await;
    assert_eq!(browser.text("h1").await, "Log in");
    browser.click("main button", "Log in").await;
    browser.wait_for("<h1>Fleet</h1>").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn person_sees_publications_refusals_and_repairs_live_and_rolls_back() {
    let Some(tools) = Tools::find() else { return };
    let server = Server::start().await;
    desire(&server.backend, &bundle("research", 1, "Cite your sources.")).await;
    let browser = Browser::start(&tools, true).await;
    browser.open(&server.url).await;
    assert_eq!(browser.text("h1").await, "Not logged in");
    browser.check_access("logged-out").await;
    browser.open(&server.link().await).await;
    browser.check_access("login").await;
    log_in(&browser, &server).await;
    browser.wait_for("nothing desired").await;

    // A publication appears without a reload.
    server.publish(1, "Be kind.").await;
    browser.wait_for("generation 1</span></th>").await;
    server.publish(2, "Be kind and brief.").await;
    browser.wait_for("generation 2").await;
    browser.wait_for("unreachable").await;

    // A Runtime refuses, is repaired, and its page says why.
    server.picky.management().replace_config(config(&["research"])).expect("in force");
    server.publish(3, "Be quick.").await;
    browser.wait_for("no_signature_posture").await;
    if std::env::var_os("YOI_UPDATE").is_some() {
        browser.show_as("light", 900, 590).await;
        let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/fleet.png");
        browser.save_picture(&picture).await;
    }
    browser.check_access("fleet").await;
    browser.click("tbody a", "eu-2").await;
    browser.wait_for("<h1>Runtime <code>eu-2</code></h1>").await;
    browser.wait_for("no_signature_posture").await;
    browser.check_access("runtime").await;
    server.picky.management().replace_config(config(&["acme", "research"])).expect("in force");
    browser.click("main button", "Read again now").await;
    browser.wait_for("in sync").await;
    browser.wait_without("no_signature_posture").await;

    browser.click("tbody a", "acme").await;
    browser.wait_for("<h1>Workspace <code>acme</code></h1>").await;
    browser.click("main button", "Compare").await;
    browser.wait_for("From revision 3 to revision 3").await;
    browser.open(&format!("{}/workspaces/acme?from=1&to=3", server.url)).await;
    browser.wait_for("From revision 1 to revision 3").await;
    browser.check_access("workspace").await;
    browser.click("main button", "Roll back to revision 2").await;
    browser.wait_for("generation 4").await;
    browser.wait_for("Roll back to revision 1").await;
    browser.click("main td a", "").await;
    browser.wait_for("<h1>Revision ").await;
    browser.check_access("bundle").await;

    let request = CreateWorkerRequest { bundle: None, ..CreateWorkerRequest::of_bundle(name("plain"), Digest::of("")) };
    let (id, on): (WorkerId, RuntimeName) = (name("build-7"), name("eu-2"));
    server.backend.create_worker(&Actor::Local, &name("acme"), &id, &request, Some(&on)).await.expect("created");
    browser.open(&format!("{}/workspaces/acme", server.url)).await;
    browser.click("main a", "Workers of the workspace").await;
    browser.wait_for("build-7</a>").await;
    browser.check_access("workers").await;
    browser.click("tbody a", "build-7").await;
    browser.wait_for("<h1>Worker <code>build-7</code></h1>").await;
    browser.check_access("worker").await;

    browser.click("header a", "Audit log").await;
    browser.wait_for("rolled <code>acme</code> back").await;
    browser.check_access("audit").await;
    browser.open(&format!("{}/workspaces/none", server.url)).await;
    browser.check_access("error").await;

    // The open page notices that its session was ended.
    browser.open(&server.url).await;
    browser.wait_for(">Live</p>").await;
    let sessions = server.client.sessions().await.expect("sessions");
    server.client.end_session(&sessions[0].id).await.expect("ended");
    browser.wait_for("Not logged in").await;
    let page = server.backend.audit_page(0, 1000).await.expect("the audit log");
    assert!(page.items.iter().any(|entry| matches!(entry.actor, Actor::Session { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_tabs_share_one_stream() {
    let Some(tools) = Tools::find() else { return };
    let server = Server::start().await;
    let browser = Browser::start(&tools, true).await;
    log_in(&browser, &server).await;
    browser.wait_for(">Live</p>").await;
    let mut tabs = vec![browser.tab().await];
    for _ in 1..8 {
        tabs.push(browser.open_tab(&server.url).await);
        browser.wait_for(">Live</p>").await;
    }
    assert_eq!(server.streams().await, 1);
    server.publish(1, "Be kind.").await;
    for tab in &tabs {
        browser.switch_to(tab).await;
        browser.wait_for("generation 1").await;
    }
    assert_eq!(server.streams().await, 1);
    // When the tab with the stream is closed, another one opens a stream.
    browser.switch_to(&tabs[0]).await;
    browser.close_tab().await;
    server.publish(2, "Be brief.").await;
    for tab in &tabs[1..] {
        browser.switch_to(tab).await;
        browser.wait_for("generation 2").await;
    }
    assert_eq!(server.streams().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_work_without_scripts() {
    let Some(tools) = Tools::find() else { return };
    let server = Server::start().await;
    server.publish(1, "Be kind.").await;
    server.publish(2, "Be brief.").await;
    let browser = Browser::start(&tools, false).await;
    log_in(&browser, &server).await;
    browser.click("thead a", "acme").await;
    browser.click("main button", "Roll back to revision 1").await;
    browser.wait_for("revision <strong>1</strong>").await;
    browser.wait_for("generation 3").await;
    browser.click("main button", "Compare").await;
    browser.wait_for("From revision 1 to revision 2").await;
    browser.click("header button", "Log out").await;
    browser.wait_for("<h1>Not logged in</h1>").await;
}
