//! A browser driven over the WebDriver protocol of the W3C, and the check of pages with axe-core.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use serde_json::{Value, json};

/// Time in which a page must show what a test waits for. It usually takes a fraction of a second.
const WAIT: Duration = Duration::from_secs(30);

/// Time between two looks at a page.
const PAUSE: Duration = Duration::from_millis(50);

/// Key of an element in the protocol.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Programs and files that a browser test needs.
#[derive(Debug)]
pub struct Tools {
    chromium: PathBuf,
    driver: PathBuf,
    axe: String,
}

impl Tools {
    /// Returns the tools. If one is missing, prints a line and returns `None`; in CI, fails.
    pub fn find() -> Option<Self> {
        // `.ci/run` unpacks the package of npm here.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
        let tools = || {
            let axe = target.join("axe/package/axe.min.js");
            let axe = std::fs::read_to_string(axe).map_err(|_| "axe-core, unpacked in axe/ of the target folder")?;
            let chromium = program("chromium").ok_or("chromium")?;
            Ok::<_, &str>(Self { chromium, driver: program("chromedriver").ok_or("chromium-driver")?, axe })
        };
        match tools() {
            Ok(tools) => Some(tools),
            Err(missing) => {
                assert!(std::env::var_os("CI").is_none(), "the test of the pages needs {missing}");
                eprintln!("skipped: the test of the pages needs {missing}");
                None
            }
        }
    }
}

fn program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// A browser with a window. Dropping it ends the browser.
pub struct Browser {
    client: reqwest::Client,
    /// Address of the session at the driver.
    session: String,
    axe: String,
    driver: Child,
    _profile: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A driver that is killed leaves its browser behind.
        let _ = end(&self.session);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Asks the driver to end a session, and waits for its answer.
fn end(session: &str) -> Option<usize> {
    let (host, path) = session.strip_prefix("http://")?.split_once('/')?;
    let mut connection = TcpStream::connect(host).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let request = format!("DELETE /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).ok()?;
    connection.read(&mut [0; 64]).ok()
}

impl Browser {
    /// Starts a browser with a new profile.
    pub async fn start(tools: &Tools, has_scripts: bool) -> Self {
        let profile = tempfile::tempdir().expect("a folder");
        let mut driver = Command::new(&tools.driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the driver starts");
        let mut lines = BufReader::new(driver.stdout.take().expect("its output")).lines();
        let port = lines
            .find_map(|line| {
                let line = line.expect("a line");
                Some(line.split_once("started successfully on port ")?.1.trim_end_matches('.').to_owned())
            })
            .expect("the port of the driver");
        // The driver must not wait for a reader of its output.
        std::thread::spawn(move || lines.for_each(drop));
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--window-size=1100,800",
        ];
        let mut arguments: Vec<String> = arguments.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let scripts = if has_scripts { 1 } else { 2 };
        let options = json!({
            "binary": tools.chromium, "args": arguments,
            "prefs": { "profile.managed_default_content_settings.javascript": scripts },
        });
        let capabilities = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let client = http_client::builder(http_client::Trust::None).expect("TLS").build().expect("a client");
        let root = format!("http://127.0.0.1:{port}/session");
        let mut browser = Self { client, session: root.clone(), axe: tools.axe.clone(), driver, _profile: profile };
        let started = browser.post("", capabilities).await;
        browser.session = format!("{root}/{}", started["sessionId"].as_str().expect("a session"));
        browser
    }

    async fn try_send(&self, request: reqwest::RequestBuilder) -> Result<Value, Value> {
        let response = request.send().await.expect("the driver answers");
        let status = response.status();
        let mut body: Value = response.json().await.expect("JSON");
        let value = body["value"].take();
        if status.is_success() { Ok(value) } else { Err(value) }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Value {
        self.try_send(request).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn post(&self, command: &str, body: Value) -> Value {
        self.send(self.client.post(format!("{}{command}", self.session)).json(&body)).await
    }

    async fn get(&self, command: &str) -> Value {
        self.send(self.client.get(format!("{}{command}", self.session))).await
    }

    /// Opens an address and waits until it is loaded.
    pub async fn open(&self, url: &str) {
        self.post("/url", json!({ "url": url })).await;
    }

    /// Returns the ids of elements.
    async fn find(&self, selector: &str) -> Vec<String> {
        let found = self.post("/elements", json!({ "using": "css selector", "value": selector })).await;
        let id = |element: &Value| element[ELEMENT].as_str().expect("an id").to_owned();
        found.as_array().expect("a list").iter().map(id).collect()
    }

    /// Returns the text of the first element, as a person sees it.
    pub async fn text(&self, selector: &str) -> String {
        let found = self.find(selector).await;
        let id = found.first().unwrap_or_else(|| panic!("no element `{selector}`"));
        self.get(&format!("/element/{id}/text")).await.as_str().expect("a text").to_owned()
    }

    /// Clicks on the first element with this text, as soon as there is one.
    pub async fn click(&self, selector: &str, text: &str) {
        let clicked = async {
            while !self.try_click(selector, text).await.unwrap_or(false) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        if tokio::time::timeout(WAIT, clicked).await.is_err() {
            panic!("no element `{selector}` with the text `{text}`: {}", self.text("body").await);
        }
    }

    /// Fails if the script of the page replaces the element at the same moment.
    async fn try_click(&self, selector: &str, text: &str) -> Result<bool, Value> {
        for id in self.find(selector).await {
            let element = format!("{}/element/{id}", self.session);
            let shown = self.try_send(self.client.get(format!("{element}/text"))).await?;
            if shown.as_str().is_some_and(|shown| shown.contains(text)) {
                self.try_send(self.client.post(format!("{element}/click")).json(&json!({}))).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until the document contains a text. The page is not loaded again.
    pub async fn wait_for(&self, text: &str) {
        self.wait_until(text, true).await;
    }

    /// Waits until the document no longer contains a text.
    pub async fn wait_without(&self, text: &str) {
        self.wait_until(text, false).await;
    }

    async fn wait_until(&self, text: &str, is_shown: bool) {
        let reached = async {
            loop {
                // Fails while the browser goes to another page.
                let source = self.try_send(self.client.get(format!("{}/source", self.session))).await;
                if source.is_ok_and(|source| source.as_str().is_some_and(|source| source.contains(text) == is_shown)) {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        if tokio::time::timeout(WAIT, reached).await.is_err() {
            panic!(
                "the page should {} `{text}`: {}",
                if is_shown { "show" } else { "not show" },
                self.text("body").await
            );
        }
    }

    /// Runs a script in the page and returns its result.
    pub async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Opens a tab, and returns its handle.
    pub async fn open_tab(&self, url: &str) -> String {
        let tab =
            self.post("/window/new", json!({ "type": "tab" })).await["handle"].as_str().expect("a tab").to_owned();
        self.switch_to(&tab).await;
        self.open(url).await;
        tab
    }

    /// Returns the handle of the tab.
    pub async fn tab(&self) -> String {
        self.get("/window").await.as_str().expect("a tab").to_owned()
    }

    /// Makes a tab the current one.
    pub async fn switch_to(&self, tab: &str) {
        self.post("/window", json!({ "handle": tab })).await;
    }

    /// Closes the tab.
    pub async fn close_tab(&self) {
        self.send(self.client.delete(format!("{}/window", self.session))).await;
    }

    async fn devtools(&self, command: &str, params: Value) -> Value {
        self.post("/goog/cdp/execute", json!({ "cmd": command, "params": params })).await
    }

    /// Shows pages in light or dark colours, and in a window of this size in pixels.
    pub async fn show_as(&self, scheme: &str, width: u32, height: u32) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
        let is_phone = width < 500;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Writes a picture of the page.
    pub async fn save_picture(&self, path: &Path) {
        let picture = self.get("/screenshot").await;
        let encoded = picture.as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64");
        std::fs::write(path, bytes).expect("a file");
    }

    /// Checks the page with axe-core: nothing serious or critical, in light and dark colours and at two widths. Also checks
    /// that the page does not scroll sideways.
    pub async fn check_access(&self, name: &str) {
        let script = format!(
            "{}; const done = arguments[0]; \
             axe.run(document, {{ resultTypes: ['violations'] }}).then((result) => done(result.violations \
             .map((one) => ({{ id: one.id, impact: one.impact, nodes: one.nodes.map((node) => node.html).slice(0, 3) }}))));",
            self.axe
        );
        for (scheme, width) in [("light", 1100), ("dark", 1100), ("light", 360), ("dark", 360)] {
            self.show_as(scheme, width, 760).await;
            let violations = self.post("/execute/async", json!({ "script": script, "args": [] })).await;
            let serious = violations.as_array().expect("a list").iter();
            let serious: Vec<_> =
                serious.filter(|one| matches!(one["impact"].as_str(), Some("serious" | "critical"))).collect();
            assert!(serious.is_empty(), "{name}, {scheme}, {width} pixels: {serious:#?}");
            let overflow = self.run("return document.documentElement.scrollWidth - window.innerWidth").await;
            assert!(overflow.as_i64().is_some_and(|pixels| pixels <= 0), "{name}, {width} pixels: {overflow} too wide");
            if let Some(folder) = std::env::var_os("YOI_PICTURES") {
                self.save_picture(&Path::new(&folder).join(format!("{name}-{scheme}-{width}.png"))).await;
            }
        }
        self.show_as("light", 1100, 760).await;
    }
}
