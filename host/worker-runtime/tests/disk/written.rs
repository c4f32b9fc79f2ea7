//! Workload of the data that a Runtime writes outside its stores: files that workers write into a mount, and secrets
//! that an operator sets. Also the state that must exist after each step, for all kinds of interruptions.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bundles::Digest;
use host_tools::fs as tools;
use runtime_api::call::ToolCall;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use worker_runtime::secret::{SecretDirectory, SecretSource};
use worker_runtime::worker::CreateWorkerRequest;
use worker_runtime::{Runtime, RuntimeLimits};

use super::workload::{Failure, failure};
use crate::support::{World, acme, id, name};

/// One step. The number makes its content unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Writes a new file, and creates the folders above it.
    New(&'static str, u64),
    /// Replaces an existing file.
    Replace(&'static str, u64),
    /// Creates or replaces a secret.
    Set(&'static str, u64),
    /// Removes a secret.
    Remove(&'static str),
    /// Another program creates a folder without syncing it.
    Folder(&'static str),
}

impl Step {
    /// Returns the content of a file or secret. The file `large` is written in two chunks.
    fn content(name: &str, number: u64) -> String {
        let line = format!("{number} is in {name}\n");
        if name.ends_with("large") { format!("{line}{}\n", ".".repeat(100)).repeat(700) } else { line.repeat(3) }
    }

    pub(super) fn is_of_files(self) -> bool {
        matches!(self, Self::New(..) | Self::Replace(..) | Self::Folder(_))
    }
}

/// One read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadStep {
    /// Lists the files of the mount.
    Files,
    /// Reads a file.
    File(&'static str),
    /// Lists the names of the secrets.
    Secrets,
    /// Reads a secret.
    Secret(&'static str),
}

/// Acknowledged state: files of the mount by path, and secrets by name.
#[derive(Debug, Clone, Default)]
pub(super) struct AcknowledgedState {
    files: BTreeMap<&'static str, String>,
    secrets: BTreeMap<&'static str, String>,
}

/// Additional entries that are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strays {
    /// Nothing.
    None,
    /// Entries that an interrupted process may leave according to ARCHITECTURE.md: temporary files and folders.
    Unfinished,
}

impl AcknowledgedState {
    pub(super) fn acknowledged(&mut self, step: Step) {
        match step {
            Step::New(path, number) | Step::Replace(path, number) => {
                self.files.insert(path, Step::content(path, number));
            }
            Step::Set(name, number) => {
                self.secrets.insert(name, Step::content(name, number));
            }
            Step::Remove(name) => drop(self.secrets.remove(name)),
            Step::Folder(_) => {}
        }
    }

    /// Checks that the mount and the secrets have the acknowledged state or the state after the interrupted step,
    /// completely. That state counts as acknowledged from then on.
    pub(super) fn check(&mut self, places: &Places, begun: Option<Step>, strays: Strays, context: &str) {
        let mut coming = self.clone();
        coming.acknowledged(begun.unwrap_or(Step::Folder("")));
        let files = found(&places.mount, strays, context);
        self.files = one_of(files, [&self.files, &coming.files], context);
        let secrets = found(&places.secrets, strays, context);
        // The file ends with one more newline than the value, because reading removes one.
        let secrets = secrets.into_iter().map(|(name, file)| (name, file.strip_suffix('\n').unwrap_or("").to_owned()));
        self.secrets = one_of(secrets.collect(), [&self.secrets, &coming.secrets], context);
        if strays == Strays::None {
            let above = |path: &str| path.match_indices('/').map(|(end, _)| path[..end].to_owned()).collect::<Vec<_>>();
            let mut expected: Vec<String> = self.files.keys().flat_map(|path| above(path)).collect();
            expected.sort();
            expected.dedup();
            assert_eq!(folders(&places.mount), expected, "{context}: folders that nobody made");
        }
    }
}

/// Returns which of the two states exists.
fn one_of(
    found: BTreeMap<String, String>,
    states: [&BTreeMap<&'static str, String>; 2],
    context: &str,
) -> BTreeMap<&'static str, String> {
    let is = |state: &&&BTreeMap<&'static str, String>| {
        state.len() == found.len() && state.iter().all(|(name, content)| found.get(*name) == Some(content))
    };
    let short: Vec<_> = found.iter().map(|(name, content)| (name, content.len(), content.lines().next())).collect();
    (*states.iter().find(is).unwrap_or_else(|| panic!("{context}: neither before nor after: {short:?}"))).clone()
}

/// Returns all files below a folder by path, except for temporary ones.
fn found(root: &Path, strays: Strays, context: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    walk(root, &mut |path, is_folder| {
        if is_folder {
            return;
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        if is_unfinished(name) {
            assert_eq!(strays, Strays::Unfinished, "{context}: `{path}` is left");
        } else {
            all.insert(path.to_owned(), fs::read_to_string(root.join(path)).expect(context));
        }
    });
    all
}

fn folders(root: &Path) -> Vec<String> {
    let mut all = Vec::new();
    walk(root, &mut |path, is_folder| all.extend(is_folder.then(|| path.to_owned())));
    all.sort();
    all
}

fn walk(root: &Path, visit: &mut dyn FnMut(&str, bool)) {
    let mut ahead = vec![root.to_owned()];
    while let Some(folder) = ahead.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            let is_folder = path.is_dir();
            visit(path.strip_prefix(root).expect("below").to_str().expect("a name"), is_folder);
            ahead.extend(is_folder.then_some(path));
        }
    }
}

/// The name format in ARCHITECTURE.md: `.yoi-`, 32 hex digits, `.tmp`.
fn is_unfinished(name: &str) -> bool {
    let middle = name.strip_prefix(".yoi-").and_then(|rest| rest.strip_suffix(".tmp"));
    middle.is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A mount and a folder of secrets, and a Runtime with a worker that has the file tools. The stores of the Runtime are
/// in memory, so only the files are on the disk.
pub(super) struct Places {
    pub(super) mount: PathBuf,
    secrets: PathBuf,
    runtime: Runtime,
}

impl Places {
    /// Uses the folders below `root`, which need not exist yet.
    pub(super) async fn below(root: &Path) -> Self {
        let (mount, secrets) = (root.join("mount"), root.join("kept/secrets"));
        let config = format!(
            "[host]\ncapabilities = ['tool:fs.list', 'tool:fs.read', 'tool:fs.write']\n[workspaces.acme]\n\
             signatures = {{ posture = \"none\" }}\nmounts.repo = {{ path = '{}', access = 'write' }}\n",
            mount.display()
        );
        // Allows many thousand calls of one worker.
        let limits = RuntimeLimits { history_entries: 1 << 40, stored_bytes: 1 << 40, ..RuntimeLimits::default() };
        let blobs = Arc::new(worker_runtime::blob_store::MemoryBlobs::new(1 << 40));
        let tools = tools::tools().expect("three").into();
        let runtime = World { config, limits, blobs, tools, ..World::default() }.open().await;
        let worker = CreateWorkerRequest::builtin(name("coder"));
        runtime.catalogue(&acme()).create(id("w"), worker).await.expect("a worker");
        Self { mount, secrets, runtime }
    }

    /// Calls a tool of the worker.
    async fn call(&self, tool: &str, mut input: Value) -> Result<Value, Failure> {
        input["mount"] = json!("repo");
        let call = ToolCall { input, confirmed: true };
        let called = self.runtime.interaction(&acme()).call(&id("w"), &name(tool), call).await;
        called
            .map(|called| called.output)
            .map_err(|error| Failure { code: error.recorded_code().to_owned(), ..failure!(error) })
    }

    /// Opens the folder of secrets or creates it, as a process does at its start.
    fn secrets(&self) -> Result<SecretDirectory, Failure> {
        SecretDirectory::open(&self.secrets).map_err(|error| failure!(error))
    }

    /// Runs a step on the state `held`.
    pub(super) async fn perform(&self, step: Step, held: &AcknowledgedState) -> Result<(), Failure> {
        match step {
            Step::New(path, number) => {
                let input = json!({ "path": path, "text": Step::content(path, number) });
                self.call("fs.write", input).await.map(drop)
            }
            Step::Replace(path, number) => {
                let replaces = Digest::of(held.files.get(path).expect("a file"));
                let input = json!({ "path": path, "text": Step::content(path, number), "replaces": replaces });
                self.call("fs.write", input).await.map(drop)
            }
            Step::Set(of, number) => {
                let value = SecretString::from(Step::content(of, number));
                self.secrets()?.set(&name(of), &value).map(drop).map_err(|error| failure!(error))
            }
            Step::Remove(of) => match self.secrets()?.remove(&name(of)) {
                Err(error) if error.code() == "secret_not_found" => Ok(()),
                removed => removed.map_err(|error| failure!(error)),
            },
            Step::Folder(path) => {
                fs::create_dir(self.mount.join(path)).expect("made");
                Ok(())
            }
        }
    }

    /// Repeats an interrupted step, and replaces what exists by then.
    pub(super) async fn again(&self, step: Step, held: &AcknowledgedState) -> Result<(), Failure> {
        match step {
            Step::New(path, number) if held.files.contains_key(path) => {
                self.perform(Step::Replace(path, number), held).await
            }
            Step::Folder(path) => {
                fs::create_dir_all(self.mount.join(path)).expect("made");
                Ok(())
            }
            step => self.perform(step, held).await,
        }
    }

    /// Checks that a read returns the complete state, or reports that something is omitted if its output can say so.
    pub(super) async fn ask(&self, ask: ReadStep, held: &AcknowledgedState) -> Result<bool, Failure> {
        match ask {
            ReadStep::Files => {
                let listed = self.call("fs.list", json!({ "glob": "**" })).await?;
                let files = listed["entries"].as_array().expect("entries").iter();
                let files = files.map(|entry| entry["path"].as_str().expect("a path"));
                Ok(listed["truncated"] == json!(true) || files.eq(held.files.keys().copied()))
            }
            ReadStep::File(path) => {
                let read = self.call("fs.read", json!({ "path": path })).await?;
                Ok(read["text"].as_str() == held.files.get(path).map(String::as_str))
            }
            ReadStep::Secrets => {
                let listed = self.secrets()?.list().map_err(|error| failure!(error))?;
                Ok(listed.iter().map(ToString::to_string).eq(held.secrets.keys().copied()))
            }
            ReadStep::Secret(of) => {
                let value = self.secrets()?.get(&name(of)).await.map_err(|error| failure!(error))?;
                Ok(Some(value.expose_secret()) == held.secrets.get(of).map(String::as_str))
            }
        }
    }

    /// Checks that workers and operators see exactly this state.
    pub(super) async fn tell(&self, held: &AcknowledgedState, context: &str) {
        let files = [ReadStep::Files].into_iter().chain(held.files.keys().map(|path| ReadStep::File(path)));
        for ask in files {
            assert_eq!(self.ask(ask, held).await, Ok(true), "{context}: {ask:?}");
        }
        if !self.secrets.exists() {
            assert!(held.secrets.is_empty(), "{context}: the secrets are lost");
            return;
        }
        assert_eq!(self.ask(ReadStep::Secrets, held).await, Ok(true), "{context}");
        for of in held.secrets.keys() {
            assert_eq!(self.ask(ReadStep::Secret(of), held).await, Ok(true), "{context}: {of}");
            assert_eq!(fs::metadata(self.secrets.join(of)).expect("there").mode() & 0o777, 0o600, "{context}");
        }
    }

    /// Removes everything and writes the content of these steps, as another program does.
    pub(super) fn prepare(&self, there: &[Step]) -> AcknowledgedState {
        let mut held = AcknowledgedState::default();
        let _ = fs::remove_dir_all(&self.mount);
        let _ = fs::remove_dir_all(self.secrets.parent().expect("a folder"));
        fs::create_dir(&self.mount).expect("made");
        for step in there {
            held.acknowledged(*step);
        }
        for (root, all, end) in [(&self.mount, &held.files, ""), (&self.secrets, &held.secrets, "\n")] {
            for (path, content) in all {
                let path = root.join(path);
                fs::create_dir_all(path.parent().expect("a folder")).expect("made");
                fs::write(path, content.clone() + end).expect("written");
            }
        }
        self.make_private();
        held
    }

    /// Sets the modes of the secrets, because a cut records names and content only.
    pub(super) fn make_private(&self) {
        let set = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
        if self.secrets.is_dir() {
            set(&self.secrets, 0o700);
            walk(&self.secrets, &mut |path, _| set(&self.secrets.join(path), 0o600));
        }
    }
}
