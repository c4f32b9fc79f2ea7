//! What a Runtime writes beside its stores, step by step: files that workers write into a mount, and secrets that an
//! operator sets. And what must be there after each step: the same for every way in which it may be interrupted.

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

use super::workload::{Told, told};
use crate::support::{World, acme, id, name};

/// One thing that is written. The number makes its content another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Writes a file where there is none, with the folders above it.
    New(&'static str, u64),
    /// Writes a file in the place of the one that is there.
    Replace(&'static str, u64),
    /// Sets a secret, new or in the place of an old one.
    Set(&'static str, u64),
    /// Takes a secret away.
    Remove(&'static str),
    /// Another program makes a folder, and syncs nothing.
    Folder(&'static str),
}

impl Step {
    /// What a file or a secret has in it. The file `large` is written in two pieces.
    fn content(name: &str, number: u64) -> String {
        let line = format!("{number} is in {name}\n");
        if name.ends_with("large") { format!("{line}{}\n", ".".repeat(100)).repeat(700) } else { line.repeat(3) }
    }

    pub(super) fn is_of_files(self) -> bool {
        matches!(self, Self::New(..) | Self::Replace(..) | Self::Folder(_))
    }
}

/// One thing that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// The files of the mount.
    Files,
    /// What is in a file.
    File(&'static str),
    /// The names of the secrets.
    Secrets,
    /// The value of a secret.
    Secret(&'static str),
}

/// What is there, as far as it was acknowledged: files of the mount by path, and secrets by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    files: BTreeMap<&'static str, String>,
    secrets: BTreeMap<&'static str, String>,
}

/// How much may be there besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strays {
    /// Nothing.
    None,
    /// What ARCHITECTURE.md lets an interrupted process leave: unfinished files by their name, and folders.
    Unfinished,
}

impl Held {
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

    /// What is in the mount and among the secrets is what was acknowledged, or what the step that had begun makes of
    /// it, and all of it is whole. What is there counts as acknowledged from then on.
    pub(super) fn check(&mut self, places: &Places, begun: Option<Step>, strays: Strays, context: &str) {
        let mut coming = self.clone();
        coming.acknowledged(begun.unwrap_or(Step::Folder("")));
        let files = found(&places.mount, strays, context);
        self.files = one_of(files, [&self.files, &coming.files], context);
        let secrets = found(&places.secrets, strays, context);
        // A file has one newline more than the value: the one that is taken away when it is read.
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

/// Which of two states is there.
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

/// Every file below a folder that is not unfinished, by its path.
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

/// As ARCHITECTURE.md says it: `.yoi-`, 32 hex digits, `.tmp`.
fn is_unfinished(name: &str) -> bool {
    let middle = name.strip_prefix(".yoi-").and_then(|rest| rest.strip_suffix(".tmp"));
    middle.is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A mount and a folder of secrets, and a Runtime with a worker that has the file tools. The Runtime's own stores are
/// in memory: what is on the disk here is the files.
pub(super) struct Places {
    pub(super) mount: PathBuf,
    secrets: PathBuf,
    runtime: Runtime,
}

impl Places {
    /// Below a folder in which they are or will be.
    pub(super) async fn below(root: &Path) -> Self {
        let (mount, secrets) = (root.join("mount"), root.join("kept/secrets"));
        let config = format!(
            "[host]\ncapabilities = ['tool:fs.list', 'tool:fs.read', 'tool:fs.write']\n[workspaces.acme]\n\
             signatures = {{ posture = \"none\" }}\nmounts.repo = {{ path = '{}', access = 'write' }}\n",
            mount.display()
        );
        // Many thousand calls of one worker.
        let limits = RuntimeLimits { history_entries: 1 << 40, stored_bytes: 1 << 40, ..RuntimeLimits::default() };
        let blobs = Arc::new(worker_runtime::blob_store::MemoryBlobs::new(1 << 40));
        let tools = tools::tools().expect("three").into();
        let runtime = World { config, limits, blobs, tools, ..World::default() }.open().await;
        let worker = CreateWorkerRequest::builtin(name("coder"));
        runtime.catalogue(&acme()).create(id("w"), worker).await.expect("a worker");
        Self { mount, secrets, runtime }
    }

    /// What the worker's tool answers.
    async fn call(&self, tool: &str, mut input: Value) -> Result<Value, Told> {
        input["mount"] = json!("repo");
        let call = ToolCall { input, confirmed: true };
        let called = self.runtime.interaction(&acme()).call(&id("w"), &name(tool), call).await;
        called.map(|called| called.output).map_err(|error| told!(error))
    }

    /// Opens the folder of secrets, which is made where it is not there, as a process does that begins.
    fn secrets(&self) -> Result<SecretDirectory, Told> {
        SecretDirectory::open(&self.secrets).map_err(|error| told!(error))
    }

    /// Does a step where `held` is there.
    pub(super) async fn perform(&self, step: Step, held: &Held) -> Result<(), Told> {
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
                self.secrets()?.set(&name(of), &value).map(drop).map_err(|error| told!(error))
            }
            Step::Remove(of) => match self.secrets()?.remove(&name(of)) {
                Err(error) if error.code() == "secret_not_found" => Ok(()),
                removed => removed.map_err(|error| told!(error)),
            },
            Step::Folder(path) => {
                fs::create_dir(self.mount.join(path)).expect("made");
                Ok(())
            }
        }
    }

    /// Does a step that was interrupted: what is there by then is replaced.
    pub(super) async fn again(&self, step: Step, held: &Held) -> Result<(), Told> {
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

    /// Whether what is answered is what is held, and all of it; or that something is left out, where an answer says so.
    pub(super) async fn ask(&self, ask: Ask, held: &Held) -> Result<bool, Told> {
        match ask {
            Ask::Files => {
                let listed = self.call("fs.list", json!({ "glob": "**" })).await?;
                let files = listed["entries"].as_array().expect("entries").iter();
                let files = files.map(|entry| entry["path"].as_str().expect("a path"));
                Ok(listed["truncated"] == json!(true) || files.eq(held.files.keys().copied()))
            }
            Ask::File(path) => {
                let read = self.call("fs.read", json!({ "path": path })).await?;
                Ok(read["text"].as_str() == held.files.get(path).map(String::as_str))
            }
            Ask::Secrets => {
                let listed = self.secrets()?.list().map_err(|error| told!(error))?;
                Ok(listed.iter().map(ToString::to_string).eq(held.secrets.keys().copied()))
            }
            Ask::Secret(of) => {
                let value = self.secrets()?.get(&name(of)).await.map_err(|error| told!(error))?;
                Ok(Some(value.expose_secret()) == held.secrets.get(of).map(String::as_str))
            }
        }
    }

    /// Workers and operators are told of what is held, and of nothing else.
    pub(super) async fn tell(&self, held: &Held, context: &str) {
        let files = [Ask::Files].into_iter().chain(held.files.keys().map(|path| Ask::File(path)));
        for ask in files {
            assert_eq!(self.ask(ask, held).await, Ok(true), "{context}: {ask:?}");
        }
        if !self.secrets.exists() {
            assert!(held.secrets.is_empty(), "{context}: the secrets are lost");
            return;
        }
        assert_eq!(self.ask(Ask::Secrets, held).await, Ok(true), "{context}");
        for of in held.secrets.keys() {
            assert_eq!(self.ask(Ask::Secret(of), held).await, Ok(true), "{context}: {of}");
            assert_eq!(fs::metadata(self.secrets.join(of)).expect("there").mode() & 0o777, 0o600, "{context}");
        }
    }

    /// Takes everything away, and puts the content of these steps there, as another program does.
    pub(super) fn prepare(&self, there: &[Step]) -> Held {
        let mut held = Held::default();
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

    /// Gives the secrets the modes that they have: a cut is made of names and content alone.
    pub(super) fn make_private(&self) {
        let set = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
        if self.secrets.is_dir() {
            set(&self.secrets, 0o700);
            walk(&self.secrets, &mut |path, _| set(&self.secrets.join(path), 0o600));
        }
    }
}
