//! Tests of the file tools as a worker uses them: inside granted mounts, and nowhere else.

use std::future::poll_fn;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bundles::Digest;
use host_policy::RuntimeConfig;
use host_tools::fs;
use proptest::prelude::*;
use runtime_api::call::ToolCall;
use serde_json::{Value, json};
use worker_runtime::history::EntryKind;
use worker_runtime::worker::CreateWorkerRequest;
use worker_runtime::{CallError, Runtime, RuntimeLimits};

use crate::support::{World, acme, bundle_of, id, name, put};

/// Text outside the mount, and in the path of the mount itself.
const CANARY: &str = "canary-7f3a91";

/// A folder with a mount, beside a file that no worker may see.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix(CANARY).tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("mount")).expect("made");
        std::fs::write(folder.path().join("outside.txt"), CANARY).expect("written");
        Self { folder }
    }

    fn mount(&self) -> PathBuf {
        self.folder.path().join("mount")
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.mount().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, content).expect("written");
    }

    fn content(&self, path: &str) -> String {
        std::fs::read_to_string(self.mount().join(path)).expect("read")
    }

    fn config(&self, access: &str) -> String {
        format!(
            "[host]\ncapabilities = ['tool:fs.list', 'tool:fs.read', 'tool:fs.write']\n\
             [workspaces.acme]\nsignatures = {{ posture = \"none\" }}\n\
             [workspaces.acme.mounts.repo]\npath = '{}'\naccess = '{access}'\n",
            self.mount().display()
        )
    }

    /// Returns a Runtime with a worker `w` of a profile of the built-in bundle.
    async fn worker(&self, access: &str, profile: &str) -> Worker {
        self.worker_with(access, profile, RuntimeLimits { call_bytes: 16 << 20, ..RuntimeLimits::default() }).await
    }

    async fn worker_with(&self, access: &str, profile: &str, limits: RuntimeLimits) -> Worker {
        let runtime = self.runtime(access, limits).await;
        let request = CreateWorkerRequest::builtin(name(profile));
        runtime.catalogue(&acme()).create(id("w"), request).await.expect("a worker");
        Worker { runtime }
    }

    async fn runtime(&self, access: &str, limits: RuntimeLimits) -> Runtime {
        let limits = RuntimeLimits { running_calls: 8, ..limits };
        let world = World { config: self.config(access), limits, ..World::default() };
        world.open_with(fs::tools().expect("three tools")).await
    }

    async fn coder(&self) -> Worker {
        self.worker("write", "coder").await
    }
}

#[derive(Clone)]
struct Worker {
    runtime: Runtime,
}

impl Worker {
    async fn call(&self, tool: &str, mut input: Value) -> Result<Value, CallError> {
        input.as_object_mut().expect("an object").entry("mount").or_insert(json!("repo"));
        let call = ToolCall { input, confirmed: true };
        Ok(self.runtime.interaction(&acme()).call(&id("w"), &name(tool), call).await?.output)
    }

    async fn ok(&self, tool: &str, input: Value) -> Value {
        self.call(tool, input).await.unwrap_or_else(|error| panic!("{}: {error}", error.code()))
    }

    /// Calls a tool, and returns the code of its error, after checking that it contains no path of the host.
    async fn refused(&self, tool: &str, input: Value) -> String {
        let error = self.call(tool, input.clone()).await.err().unwrap_or_else(|| panic!("{tool} {input} is refused"));
        let told = format!("{error} {error:?} {}", error.help());
        assert!(!told.contains(CANARY) && !told.contains("/tmp"), "{told}");
        error.recorded_code().to_owned()
    }

    async fn read(&self, path: &str) -> Value {
        self.ok("fs.read", json!({ "path": path })).await
    }

    async fn paths(&self, input: Value) -> Vec<String> {
        let listing = self.ok("fs.list", input).await;
        assert_eq!(listing["truncated"], json!(false), "{listing}");
        paths(&listing)
    }
}

fn paths(listing: &Value) -> Vec<String> {
    let entries = listing["entries"].as_array().expect("a list");
    entries.iter().map(|entry| entry["path"].as_str().expect("a path").to_owned()).collect()
}

fn digest(content: impl AsRef<[u8]>) -> String {
    Digest::of(content).to_string()
}

/// Returns all entries below a folder, without following links.
fn everything(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    // Another thread may be removing the file.
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries {
        let entry = entry.expect("an entry");
        found.push(entry.path().display().to_string());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(everything(&entry.path()));
        }
    }
    found
}

#[tokio::test]
async fn a_folder_is_listed_by_path_and_files_by_a_glob() {
    let place = Place::new();
    for path in ["src/lib.rs", "src/a/mod.rs", "src/a/notes.md", "src.rs", "README.md", ".git/config", "z/ä.rs"] {
        place.write(path, path);
    }
    let worker = place.coder().await;
    let listing = worker.ok("fs.list", json!({})).await;
    let entries = json!([
        { "path": ".git", "kind": "folder" }, { "path": "README.md", "kind": "file", "size": 9 },
        { "path": "src", "kind": "folder" }, { "path": "src.rs", "kind": "file", "size": 6 }, { "path": "z", "kind": "folder" },
    ]);
    assert_eq!(listing, json!({ "entries": entries, "truncated": false }));
    assert_eq!(worker.paths(json!({ "path": "src" })).await, ["src/a", "src/lib.rs"]);
    assert_eq!(worker.paths(json!({ "path": "src/a" })).await, ["src/a/mod.rs", "src/a/notes.md"]);
    let all = worker.paths(json!({ "glob": "**/*.rs" })).await;
    assert_eq!(all, ["src.rs", "src/a/mod.rs", "src/lib.rs", "z/ä.rs"]);
    assert_eq!(worker.paths(json!({ "glob": "src/**/*.rs" })).await, ["src/a/mod.rs", "src/lib.rs"]);
    assert_eq!(worker.paths(json!({ "path": "src", "glob": "*/*.{rs,md}" })).await, ["src/a/mod.rs", "src/a/notes.md"]);
    assert!(worker.paths(json!({ "glob": "src" })).await.is_empty(), "a glob finds files");
    for (path, code) in [("README.md", "not_a_folder"), ("README.md/x", "not_a_folder"), ("nothing", "file_not_found")]
    {
        assert_eq!(worker.refused("fs.list", json!({ "path": path })).await, code);
    }
    for glob in ["../*", "/etc/*", "[a"] {
        assert_eq!(worker.refused("fs.list", json!({ "glob": glob })).await, "invalid_glob");
    }
}

#[tokio::test]
async fn the_first_entries_by_path_are_returned_up_to_the_limit() {
    let place = Place::new();
    for number in 0..30 {
        place.write(&format!("{:02}", 29 - number), "");
    }
    let worker = place.coder().await;
    let listing = worker.ok("fs.list", json!({ "limit": 3 })).await;
    assert_eq!((paths(&listing), &listing["truncated"]), (vec!["00".into(), "01".into(), "02".into()], &json!(true)));
    assert_eq!(worker.paths(json!({ "limit": 30 })).await.len(), 30);
}

#[tokio::test]
async fn a_listing_that_exceeds_the_output_limit_is_truncated() {
    let place = Place::new();
    for number in 0..100 {
        place.write(&format!("{number:02}{}", "x".repeat(200)), "");
    }
    let limits = RuntimeLimits { call_bytes: 10_000, ..RuntimeLimits::default() };
    let worker = place.worker_with("write", "coder", limits).await;
    let listing = worker.ok("fs.list", json!({})).await;
    let found = paths(&listing);
    assert!((30..50).contains(&found.len()) && listing["truncated"] == json!(true), "{}", found.len());
    assert!(found[0].starts_with("00") && serde_json::to_vec(&listing).expect("JSON").len() <= 10_000);
}

#[tokio::test]
async fn a_hundred_thousand_entries_are_listed_within_the_limits() {
    let place = Place::new();
    let many = place.mount().join("many");
    std::fs::create_dir(&many).expect("made");
    std::fs::write(many.join("000000"), "").expect("written");
    for number in 1..100_000 {
        std::fs::hard_link(many.join(format!("{:06}", number / 30_000 * 30_000)), many.join(format!("{number:06}")))
            .or_else(|_| std::fs::write(many.join(format!("{number:06}")), ""))
            .expect("made");
    }
    let worker = place.coder().await;
    let began = Instant::now();
    let listing = worker.ok("fs.list", json!({ "path": "many" })).await;
    let found = paths(&listing);
    assert_eq!((found.len(), &listing["truncated"]), (500, &json!(true)));
    assert_eq!((found[0].as_str(), found[499].as_str()), ("many/000000", "many/000499"));
    assert_eq!(worker.paths(json!({ "glob": "**/09999[0-9]" })).await.len(), 10);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_file_is_read_whole_or_by_lines_with_its_line_ends() {
    let place = Place::new();
    place.write("unix", "one\ntwo\nthree\n");
    place.write("dos", "one\r\ntwo\r\nthree");
    place.write("empty", "");
    place.write("long", "x\n".repeat(2500));
    let worker = place.coder().await;
    let read = |path: &'static str, first: u64, lines: Option<u64>| {
        let worker = worker.clone();
        async move {
            let mut input = json!({ "path": path, "first_line": first });
            if let Some(lines) = lines {
                input["lines"] = json!(lines);
            }
            worker.ok("fs.read", input).await
        }
    };
    let unix = read("unix", 1, None).await;
    let whole = json!({
        "text": "one\ntwo\nthree\n", "first_line": 1, "total_lines": 3, "digest": digest("one\ntwo\nthree\n"), "truncated": false,
    });
    assert_eq!(unix, whole);
    for (path, first, lines, text, total, truncated) in [
        ("unix", 2, Some(1), "two\n", 3, false),
        ("unix", 3, None, "three\n", 3, false),
        ("unix", 4, None, "", 3, false),
        ("unix", 100, Some(5000), "", 3, false),
        ("dos", 1, Some(2), "one\r\ntwo\r\n", 3, false),
        ("dos", 3, None, "three", 3, false),
        ("empty", 1, None, "", 0, false),
        ("long", 2500, None, "x\n", 2500, false),
    ] {
        let said = read(path, first, lines).await;
        assert_eq!((&said["text"], &said["first_line"]), (&json!(text), &json!(first)), "{path} {first} {lines:?}");
        assert_eq!((&said["total_lines"], &said["truncated"]), (&json!(total), &json!(truncated)), "{path} {first}");
    }
    let long = read("long", 1, None).await;
    assert_eq!((long["text"].as_str().map(str::len), &long["truncated"]), (Some(4000), &json!(true)));
    assert_eq!(read("long", 501, None).await["truncated"], json!(false));
    assert_eq!(read("long", 1, Some(2000)).await["truncated"], json!(false), "what was asked for is there");
}

#[tokio::test]
async fn text_is_truncated_after_a_line_or_else_after_a_character() {
    const MOST: usize = 1 << 20;
    const LINE: usize = 64 << 10;
    let place = Place::new();
    place.write("fits", "y".repeat(MOST));
    place.write("one-more", "y".repeat(MOST + 1));
    place.write("lines", format!("{}\n{}\n", "a".repeat(1000), "b".repeat(MOST)));
    place.write("characters", "日".repeat(MOST / 3 + 10));
    let worker = place.coder().await;
    // A line of more than 64 KiB counts as several lines.
    let lines = 1001 + 15 * LINE;
    let characters = MOST / LINE * (LINE / 3 * 3);
    for (path, bytes, truncated) in
        [("fits", MOST, false), ("one-more", MOST, true), ("lines", lines, true), ("characters", characters, true)]
    {
        let said = worker.read(path).await;
        assert_eq!(
            (said["text"].as_str().map(str::len), &said["truncated"]),
            (Some(bytes), &json!(truncated)),
            "{path}"
        );
        assert_eq!(said["digest"].as_str(), Some(digest(place.content(path)).as_str()), "of the whole file");
    }
    assert_eq!(worker.ok("fs.read", json!({ "path": "lines", "first_line": 2 })).await["total_lines"], json!(17));
    // An output whose JSON would be too long is truncated too.
    let limits = RuntimeLimits { call_bytes: 10_000, ..RuntimeLimits::default() };
    let narrow = place.worker_with("write", "coder", limits).await;
    place.write("escapes", "\u{1}".repeat(5000));
    for path in ["fits", "escapes", "characters"] {
        let said = narrow.read(path).await;
        let bytes = serde_json::to_vec(&said).expect("JSON").len();
        assert!((9_000..=10_000).contains(&bytes) && said["truncated"] == json!(true), "{path} {bytes}");
    }
}

#[tokio::test]
async fn every_part_of_a_long_line_is_read_by_a_line_number() {
    let place = Place::new();
    let letters = "abcdefghij".repeat(260_000);
    let wide = "日本".repeat(200_000);
    place.write("letters", &letters);
    place.write("wide", format!("first\n{wide}\r\nlast"));
    place.write("exact", format!("{}\n{}", "x".repeat(64 << 10), "y".repeat(64 << 10)));
    place.write("one-more", format!("{}\n", "x".repeat((64 << 10) + 1)));
    let limits = RuntimeLimits::default();
    let worker = place.worker_with("write", "coder", limits).await;
    for (path, total) in [("letters", 40), ("wide", 21), ("exact", 2), ("one-more", 2)] {
        let (mut text, mut line, mut truncated) = (String::new(), 1, json!(true));
        while truncated == json!(true) {
            let said = worker.ok("fs.read", json!({ "path": path, "first_line": line })).await;
            assert_eq!(said["total_lines"], json!(total), "{path}");
            let part = said["text"].as_str().expect("text").to_owned();
            assert!(!part.is_empty(), "{path} {line}");
            // The output has complete lines, so the next call begins after them.
            let whole = worker.ok("fs.read", json!({ "path": path, "first_line": line, "lines": 1 })).await;
            assert!(part.starts_with(whole["text"].as_str().expect("text")) && whole["truncated"] == json!(false));
            line += 1;
            text.push_str(whole["text"].as_str().expect("text"));
            truncated =
                if part.len() == whole["text"].as_str().map_or(0, str::len) { json!(false) } else { json!(true) };
        }
        assert_eq!(text, place.content(path), "{path}");
        assert_eq!(
            worker.ok("fs.read", json!({ "path": path, "first_line": line })).await["text"],
            json!(""),
            "{path}"
        );
    }
}

#[tokio::test]
async fn file_that_is_not_text_or_too_large_is_refused() {
    let place = Place::new();
    place.write("latin-1", b"caf\xe9\n");
    place.write("cut", &"ä".as_bytes()[..1]);
    place.write("late", [&b"x".repeat(200_000)[..], b"\xff"].concat());
    place.write("utf-8", "caf\u{e9}\n".repeat(50_000));
    let large = std::fs::File::create(place.mount().join("large")).expect("made");
    large.set_len((64 << 20) + 1).expect("grown");
    let just = std::fs::File::create(place.mount().join("just")).expect("made");
    just.set_len(64 << 20).expect("grown");
    let worker = place.coder().await;
    for path in ["latin-1", "cut", "late"] {
        assert_eq!(worker.refused("fs.read", json!({ "path": path })).await, "not_utf8");
    }
    assert_eq!(worker.read("utf-8").await["total_lines"], json!(50_000));
    assert_eq!(worker.refused("fs.read", json!({ "path": "large" })).await, "file_too_large");
    assert_eq!(worker.read("just").await["total_lines"], json!(1024));
    let replaces = digest("anything");
    let input = json!({ "path": "large", "text": "", "replaces": replaces });
    assert_eq!(worker.refused("fs.write", input).await, "file_too_large");
}

#[tokio::test]
async fn paths_that_lead_elsewhere_are_refused_and_their_neighbours_are_not() {
    let place = Place::new();
    for path in ["a/b", "..a", "...", "．．", "%2e%2e", "~", "C:", "a b", "日本"] {
        place.write(path, "inside");
    }
    let worker = place.coder().await;
    let long = "a/".repeat(600);
    for path in [
        "..",
        "../outside.txt",
        "a/../../outside.txt",
        "a/..",
        "./a",
        "/etc/passwd",
        "//etc/passwd",
        "a//b",
        "a/b/",
        "a\\..\\b",
        "..\\outside.txt",
        "a\0b",
        "a\nb",
        "\u{202e}b/a",
        "a\u{200b}/b",
        &"x".repeat(256),
    ] {
        for tool in ["fs.read", "fs.list", "fs.write"] {
            let mut input = json!({ "path": path });
            if tool == "fs.write" {
                input["text"] = json!("x");
            }
            assert_eq!(worker.refused(tool, input).await, "invalid_path", "{path:?}");
        }
    }
    assert_eq!(worker.refused("fs.read", json!({ "path": long })).await, "invalid_input", "by the schema");
    for path in ["a/b", "..a", "...", "．．", "%2e%2e", "~", "C:", "a b", "日本"] {
        assert_eq!(worker.read(path).await["text"], json!("inside"), "{path}");
    }
    assert_eq!(everything(place.folder.path()).len(), 12, "nothing was made");
}

#[tokio::test]
async fn links_are_followed_inside_the_mount_and_not_out_of_it() {
    let place = Place::new();
    place.write("real/file", "inside");
    let link = |to: &str, at: &str| symlink(to, place.mount().join(at)).expect("a link");
    let absolute = place.folder.path().join("outside.txt");
    link("../outside.txt", "up");
    link("real/../../outside.txt", "round");
    link(absolute.to_str().expect("UTF-8"), "absolute");
    link("..", "above");
    link("/", "root");
    link("/proc/self/root", "magic");
    link("real/file", "file");
    link("real", "folder");
    link("../mount/real", "out-and-in");
    link("folder/./file", "twice");
    link(".", "here");
    link("loop-b", "loop-a");
    link("loop-a", "loop-b");
    link("self", "self");
    link("nowhere", "dangling");
    let worker = place.coder().await;
    for path in
        ["up", "round", "absolute", "above/outside.txt", "root/etc/passwd", "magic/etc/passwd", "out-and-in/file"]
    {
        assert_eq!(worker.refused("fs.read", json!({ "path": path })).await, "outside_mount", "{path}");
        let write = json!({ "path": path, "text": "x" });
        assert_eq!(worker.refused("fs.write", write).await, "outside_mount", "{path}");
    }
    for path in ["above", "root", "out-and-in"] {
        assert_eq!(worker.refused("fs.list", json!({ "path": path })).await, "outside_mount", "{path}");
    }
    for path in ["loop-a", "self", "loop-a/x"] {
        assert_eq!(worker.refused("fs.read", json!({ "path": path })).await, "link_loop", "{path}");
    }
    assert_eq!(worker.refused("fs.read", json!({ "path": "dangling" })).await, "file_not_found");
    for path in ["file", "folder/file", "twice", "here/here/file"] {
        assert_eq!(worker.read(path).await["text"], json!("inside"), "{path}");
    }
    assert_eq!(worker.paths(json!({ "path": "folder" })).await, ["folder/file"]);
    // A listing shows links as `other`, and a walk does not follow them.
    let listing = worker.ok("fs.list", json!({})).await;
    let others = listing["entries"].as_array().expect("a list").iter().filter(|entry| entry["kind"] == json!("other"));
    assert_eq!(others.count(), 15);
    assert_eq!(worker.paths(json!({ "glob": "**" })).await, ["real/file"]);
    // The target of the link is replaced, and the link remains.
    let input = json!({ "path": "twice", "text": "new", "replaces": digest("inside") });
    assert_eq!(worker.ok("fs.write", input).await["created"], json!(false));
    assert_eq!(place.content("real/file"), "new");
    worker.ok("fs.write", json!({ "path": "dangling", "text": "made" })).await;
    assert_eq!(place.content("nowhere"), "made");
    for path in ["twice", "dangling"] {
        assert!(place.mount().join(path).is_symlink());
    }
    assert_eq!(std::fs::read_to_string(absolute).expect("read"), CANARY);
}

#[tokio::test]
async fn only_regular_files_are_opened_and_nothing_hangs() {
    let place = Place::new();
    place.write("file", "text");
    let mount = place.mount();
    rustix::fs::mkfifoat(rustix::fs::CWD, mount.join("fifo"), rustix::fs::Mode::from_raw_mode(0o600)).expect("a FIFO");
    let _socket = std::os::unix::net::UnixListener::bind(mount.join("socket")).expect("a socket");
    std::fs::create_dir(mount.join("folder")).expect("made");
    let mut special = vec!["fifo", "socket", "folder"];
    // Only root may create devices.
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let zero = rustix::fs::makedev(1, 5);
    let kind = rustix::fs::FileType::CharacterDevice;
    if rustix::fs::mknodat(rustix::fs::CWD, mount.join("device"), kind, mode, zero).is_ok() {
        assert!(std::fs::metadata(mount.join("device")).expect("there").file_type().is_char_device());
        special.push("device");
    }
    let worker = place.coder().await;
    for path in special {
        let read = worker.refused("fs.read", json!({ "path": path }));
        assert_eq!(tokio::time::timeout(Duration::from_secs(10), read).await.expect("no wait"), "not_a_file");
        let replace = json!({ "path": path, "text": "x", "replaces": digest("") });
        assert_eq!(worker.refused("fs.write", replace).await, "not_a_file", "{path}");
        let code = worker.refused("fs.write", json!({ "path": path, "text": "x" })).await;
        assert_eq!(code, if path == "folder" { "not_a_file" } else { "file_exists" }, "{path}");
    }
    let listing = worker.ok("fs.list", json!({})).await;
    let kind = |path: &str| {
        let entries = listing["entries"].as_array().expect("a list");
        entries.iter().find(|entry| entry["path"] == json!(path)).expect("an entry")["kind"].clone()
    };
    assert_eq!([kind("fifo"), kind("socket"), kind("folder"), kind("file")], ["other", "other", "folder", "file"]);
    assert_eq!(worker.read("file").await["text"], json!("text"));
}

#[tokio::test]
async fn file_is_created_with_its_folders_and_replaced_only_if_unchanged() {
    let place = Place::new();
    let worker = place.coder().await;
    let write = |path: &str, text: &str, replaces: Option<String>| {
        let mut input = json!({ "path": path, "text": text });
        if let Some(replaces) = replaces {
            input["replaces"] = json!(replaces);
        }
        input
    };
    let made = worker.ok("fs.write", write("a/b/c.txt", "one", None)).await;
    assert_eq!(made, json!({ "digest": digest("one"), "size": 3, "created": true }));
    assert_eq!(worker.refused("fs.write", write("a/b/c.txt", "two", None)).await, "file_exists");
    assert_eq!(worker.refused("fs.write", write("a/b/c.txt", "two", Some(digest("other")))).await, "file_changed");
    assert_eq!(place.content("a/b/c.txt"), "one");
    let replaced = worker.ok("fs.write", write("a/b/c.txt", "two", Some(digest("one")))).await;
    assert_eq!(replaced, json!({ "digest": digest("two"), "size": 3, "created": false }));
    assert_eq!(worker.read("a/b/c.txt").await["digest"], json!(digest("two")));
    assert_eq!(worker.refused("fs.write", write("x/y", "two", Some(digest("")))).await, "file_not_found");
    assert_eq!(worker.refused("fs.write", write("a/b/c.txt/d", "two", None)).await, "not_a_folder");
    assert_eq!(worker.refused("fs.write", write("a/b", "two", None)).await, "not_a_file");
    assert_eq!(worker.ok("fs.write", write("empty", "", None)).await["size"], json!(0));
    assert_eq!(worker.ok("fs.write", write("empty", "not", Some(digest("")))).await["created"], json!(false));
    let found = everything(&place.mount());
    assert_eq!(found.len(), 4, "{found:?}");
}

#[tokio::test]
async fn an_integer_with_a_fraction_of_zero_is_an_integer() {
    let place = Place::new();
    place.write("file", "one\ntwo\nthree\n");
    let worker = place.coder().await;
    let read = worker.ok("fs.read", json!({ "path": "file", "first_line": 2.0, "lines": 1.0 })).await;
    assert_eq!(read["text"], json!("two\n"));
    worker.ok("fs.list", json!({ "limit": 5.0 })).await;
    for lines in [json!(1.5), json!(-1.0), json!(1e300)] {
        assert_eq!(worker.refused("fs.read", json!({ "path": "file", "lines": lines })).await, "invalid_input");
    }
}

#[tokio::test]
async fn a_number_out_of_its_range_is_refused_with_the_property_and_the_range() {
    let place = Place::new();
    place.write("file", "one\ntwo\n");
    // The bundle has no schema for the input.
    let profile =
        ("profiles/reader.toml", "tools_allow = [\"fs.list\", \"fs.read\"]\nrequires = [\"mount:repo:read\"]");
    let worker = declared(&place, "read", &[profile], "", "reader").await;
    let first_line = "`first_line`: expected a whole number from 1 to 9007199254740991";
    let lines = "`lines`: expected a whole number from 1 to 5000";
    for (tool, property, value, expected) in [
        ("fs.read", "first_line", json!(1e18), first_line),
        ("fs.read", "first_line", json!(9_007_199_254_740_992_u64), first_line),
        ("fs.read", "first_line", json!(u64::MAX), first_line),
        ("fs.read", "first_line", json!(0), first_line),
        ("fs.read", "first_line", json!(-3), first_line),
        ("fs.read", "first_line", json!("1"), first_line),
        ("fs.read", "lines", json!(2.5), lines),
        ("fs.read", "lines", json!(5001), lines),
        ("fs.list", "limit", json!(1e18), "`limit`: expected a whole number from 1 to 2000"),
    ] {
        let mut input = json!({ property: value });
        if tool == "fs.read" {
            input["path"] = json!("file");
        }
        assert_eq!(worker.refused(tool, input.clone()).await, "invalid_input");
        let error = worker.call(tool, input).await.expect_err("refused").to_string();
        assert!(error.contains(expected), "{property} {value}: {error}");
    }
    let behind =
        worker.ok("fs.read", json!({ "path": "file", "first_line": 9_007_199_254_740_991_u64, "lines": 5000 }));
    assert_eq!(behind.await["text"], json!(""));
    assert_eq!(worker.ok("fs.list", json!({ "limit": 2000 })).await["truncated"], json!(false));
}

#[tokio::test]
async fn a_text_of_the_largest_size_is_written_and_a_larger_one_is_not() {
    let place = Place::new();
    let worker = place.coder().await;
    let text = "ä".repeat(1 << 20);
    worker.ok("fs.write", json!({ "path": "large", "text": text })).await;
    assert_eq!(place.content("large").len(), 2 << 20);
    let code = worker.refused("fs.write", json!({ "path": "larger", "text": format!("{text}x") })).await;
    assert_eq!(code, "invalid_input");
    assert!(!place.mount().join("larger").exists());
}

#[tokio::test]
async fn a_replaced_file_keeps_its_mode_and_owner_and_a_read_only_one_is_not_replaced() {
    let place = Place::new();
    let mode = |path: &str, mode| {
        std::fs::set_permissions(place.mount().join(path), std::fs::Permissions::from_mode(mode)).expect("set");
    };
    let is = |path: &str| std::fs::metadata(place.mount().join(path)).expect("there").permissions().mode() & 0o7777;
    for (path, bits) in
        [("script", 0o755), ("private", 0o600), ("shared", 0o664), ("special", 0o4755), ("fixed", 0o444)]
    {
        place.write(path, "old");
        mode(path, bits);
    }
    let owner = std::os::unix::fs::chown(place.mount().join("shared"), Some(1000), Some(1000));
    let worker = place.coder().await;
    for (path, bits) in [("script", 0o755), ("private", 0o600), ("shared", 0o664), ("special", 0o755)] {
        worker.ok("fs.write", json!({ "path": path, "text": "new", "replaces": digest("old") })).await;
        assert_eq!((is(path), place.content(path).as_str()), (bits, "new"), "{path}");
    }
    if owner.is_ok() {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(place.mount().join("shared")).expect("there");
        assert_eq!((metadata.uid(), metadata.gid()), (1000, 1000));
    }
    let fixed = json!({ "path": "fixed", "text": "new", "replaces": digest("old") });
    assert_eq!(worker.refused("fs.write", fixed.clone()).await, "file_read_only");
    mode("fixed", 0o644);
    worker.ok("fs.write", fixed).await;
}

/// A POSIX access control list in the format of Linux: tag, permissions and id of each entry.
#[cfg(target_os = "linux")]
fn access_list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let entries = entries.iter().flat_map(|(tag, permissions, id)| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    });
    2_u32.to_le_bytes().into_iter().chain(entries).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_replaced_file_keeps_its_access_list_and_attributes_and_gains_none() {
    use rustix::fs::{XattrFlags, getxattr, setxattr};
    const NO_ID: u32 = u32::MAX;
    const ACCESS: &str = "system.posix_acl_access";
    let place = Place::new();
    let path = |file: &str| place.mount().join(file);
    let set = |file: &str, name: &str, value: &[u8]| setxattr(path(file), name, value, XattrFlags::empty());
    let get = |file: &str, name: &str| {
        let mut value = Vec::with_capacity(1 << 16);
        getxattr(path(file), name, rustix::buffer::spare_capacity(&mut value)).map(|_| value)
    };
    for file in ["listed", "plain", "default/plain"] {
        place.write(file, "old");
    }
    // user::rw, user:12345:rw, group::---, mask::rw, other::---
    let list = access_list(&[(1, 6, NO_ID), (2, 6, 12_345), (4, 0, NO_ID), (16, 6, NO_ID), (32, 0, NO_ID)]);
    if let Err(error) = set("listed", ACCESS, &list).and_then(|()| set("plain", "user.note", b"kept")) {
        eprintln!("skipped: this file system has no access control lists ({error})");
        return;
    }
    let everything = access_list(&[(1, 7, NO_ID), (2, 7, 12_345), (4, 7, NO_ID), (16, 7, NO_ID), (32, 7, NO_ID)]);
    set("default", "system.posix_acl_default", &everything).expect("a list for new files");
    std::fs::set_permissions(path("default/plain"), PermissionsExt::from_mode(0o640)).expect("a mode");
    let as_root = rustix::process::geteuid().is_root();
    if as_root {
        let capability = [0x0200_0001_u32, 1 << 7, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes());
        set("plain", "security.capability", &capability.collect::<Vec<u8>>()).expect("a capability");
    }
    let worker = place.coder().await;
    for file in ["listed", "plain", "default/plain"] {
        let before = std::fs::metadata(path(file)).expect("there").permissions().mode();
        worker.ok("fs.write", json!({ "path": file, "text": "new", "replaces": digest("old") })).await;
        let after = std::fs::metadata(path(file)).expect("there").permissions().mode();
        assert_eq!((place.content(file).as_str(), after), ("new", before), "{file}");
    }
    assert_eq!(get("listed", ACCESS), Ok(list), "an access control list is kept");
    assert_eq!(get("default/plain", ACCESS), Err(rustix::io::Errno::NODATA), "and none is inherited");
    assert_eq!(get("plain", "user.note").as_deref(), Ok(&b"kept"[..]));
    assert!(get("plain", "security.capability").is_err(), "new content has no rights of the old program");
    // A new file gets the access that the folder defines for new files.
    worker.ok("fs.write", json!({ "path": "default/new", "text": "new" })).await;
    assert!(get("default/new", ACCESS).is_ok());
}

#[tokio::test]
async fn temporary_files_are_not_listed_read_or_written() {
    let place = Place::new();
    let left = ".yoi-0123456789abcdef0123456789abcdef.tmp";
    place.write(left, "left by a crash");
    place.write(".yoi-notes.tmp", "a file");
    let worker = place.coder().await;
    assert_eq!(worker.paths(json!({})).await, [".yoi-notes.tmp"]);
    assert_eq!(worker.paths(json!({ "glob": "**" })).await, [".yoi-notes.tmp"]);
    assert_eq!(worker.refused("fs.read", json!({ "path": left })).await, "invalid_path");
    assert_eq!(worker.refused("fs.write", json!({ "path": left, "text": "" })).await, "invalid_path");
    assert_eq!(worker.read(".yoi-notes.tmp").await["text"], json!("a file"));
}

#[tokio::test]
async fn names_that_are_invalid_in_paths_set_truncated() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    place.write("plain", "");
    let worker = place.coder().await;
    assert_eq!(worker.paths(json!({})).await, ["plain"]);
    for odd in [&b"not-utf8-\xff"[..], b"line\nbreak", b"back\\slash"] {
        let path = place.mount().join(std::ffi::OsStr::from_bytes(odd));
        std::fs::write(&path, "").expect("written");
        let listing = worker.ok("fs.list", json!({})).await;
        assert_eq!((paths(&listing), &listing["truncated"]), (vec!["plain".to_owned()], &json!(true)));
        std::fs::remove_file(path).expect("removed");
    }
}

#[tokio::test]
async fn a_read_only_mount_is_not_written_to() {
    let place = Place::new();
    place.write("file", "old");
    // A worker that requires write access is refused if only read access is granted.
    let runtime = place.runtime("read", RuntimeLimits::default()).await;
    let coder = runtime.catalogue(&acme()).create(id("w"), CreateWorkerRequest::builtin(name("coder"))).await;
    assert_eq!(coder.expect_err("refused").code(), "denied");
    // A worker that only requests read access cannot write, even if write access is granted.
    let profile = (
        "profiles/reader.toml",
        "tools_allow = [\"fs.list\", \"fs.read\", \"fs.write\"]\nrequires = [\"mount:repo:read\"]",
    );
    let worker = declared(&place, "write", &[profile], "", "reader").await;
    assert_eq!(worker.read("file").await["text"], json!("old"));
    let write = json!({ "path": "file", "text": "new", "replaces": digest("old") });
    assert_eq!(worker.refused("fs.write", write).await, "not_granted");
    assert_eq!(place.content("file"), "old");
    // The bundle has no schema for the input, so the tool checks it itself.
    for (tool, input) in [
        ("fs.read", json!({ "path": 7 })),
        ("fs.read", json!({ "path": "file", "lines": 0 })),
        ("fs.read", json!({ "path": "file", "more": 1 })),
        ("fs.list", json!({ "limit": 2001 })),
        ("fs.write", json!({ "path": "file" })),
    ] {
        assert_eq!(worker.refused(tool, input).await, "invalid_input");
    }
    let write = json!({ "path": "new", "text": "x".repeat((1 << 20) + 1) });
    assert_eq!(worker.refused("fs.write", write).await, "text_too_large");
    for (mount, code) in [("other", "not_granted"), ("Repo", "invalid_input")] {
        let input = json!({ "mount": mount, "path": "file" });
        assert_eq!(worker.refused("fs.read", input).await, code);
    }
}

/// Returns a worker of a bundle that declares the tools itself, with `policy` for each.
async fn declared(place: &Place, access: &str, more: &[(&str, &str)], policy: &str, profile: &str) -> Worker {
    let runtime = place.runtime(access, RuntimeLimits { call_bytes: 4 << 20, ..RuntimeLimits::default() }).await;
    let tools: String = ["list", "read", "write"]
        .map(|tool| format!("[tools.\"fs.{tool}\"]\nsource = \"host\"\neffect = \"write\"\n{policy}\n"))
        .concat();
    let manifest = format!(
        "schema = \"yoi.config-bundle/1\"\nrevision = 1\ncreated_at = \"2026-06-25T15:49:30Z\"\nlanguage = \"en\"\n\
         [workspace]\nid = \"acme\"\n{tools}"
    );
    let files: Vec<(&str, &str)> = [("bundle.toml", manifest.as_str())]
        .into_iter()
        .chain(more.iter().copied())
        .chain([
            ("profiles/plain.toml", "instructions = [\"hello\"]"),
            ("profiles/trusted.toml", "extends = [\"plain\"]"),
        ])
        .collect();
    let digest = put(&runtime.content(&acme()), &bundle_of("acme", 1, &files)).await;
    let request = CreateWorkerRequest::of_bundle(name(profile), digest);
    runtime.catalogue(&acme()).create(id("w"), request).await.expect("a worker");
    Worker { runtime }
}

#[tokio::test]
async fn a_narrowed_grant_takes_effect_with_the_next_call() {
    let place = Place::new();
    place.write("file", "old");
    let profile = (
        "profiles/editor.toml",
        "tools_allow = [\"fs.read\", \"fs.write\"]\nrequires = [\"mount:repo:read\"]\nwants = [\"mount:repo:write\"]",
    );
    let worker = declared(&place, "write", &[profile], "", "editor").await;
    let write = |text: &str, replaces: &str| json!({ "path": "file", "text": text, "replaces": digest(replaces) });
    worker.ok("fs.write", write("new", "old")).await;
    let reload = async |access: &str| {
        let config = RuntimeConfig::from_toml(&place.config(access)).expect("a config");
        worker.runtime.management().reload(config).await.expect("reloaded");
    };
    reload("read").await;
    assert_eq!(worker.refused("fs.write", write("newer", "new")).await, "not_granted");
    assert_eq!((worker.read("file").await["text"].as_str(), place.content("file").as_str()), (Some("new"), "new"));
    reload("write").await;
    worker.ok("fs.write", write("newer", "new")).await;
    let elsewhere = Place::new();
    elsewhere.write("file", "elsewhere");
    worker
        .runtime
        .management()
        .reload(RuntimeConfig::from_toml(&elsewhere.config("write")).expect("a config"))
        .await
        .expect("reloaded");
    assert_eq!(worker.read("file").await["text"], json!("elsewhere"));
    std::fs::remove_dir_all(elsewhere.mount()).expect("removed");
    assert_eq!(worker.refused("fs.read", json!({ "path": "file" })).await, "mount_unavailable");
}

#[tokio::test]
async fn the_paths_of_the_bundle_apply_to_the_path_as_written_and_without_links() {
    let place = Place::new();
    for path in ["docs/a.md", "docs/deep/b.md", "docs/c.rs", "src/d.md", "secret.md"] {
        place.write(path, "text");
    }
    let link = |to: &str, at: &str| symlink(to, place.mount().join(at)).expect("a link");
    link("../src/d.md", "docs/leads-out.md");
    link("deep/b.md", "docs/stays.md");
    link("../src", "docs/folder.md");
    let profile = (
        "profiles/writer.toml",
        "tools_allow = [\"fs.list\", \"fs.read\", \"fs.write\"]\nrequires = [\"mount:repo:write\"]",
    );
    let worker = declared(&place, "write", &[profile], "policy = { paths = [\"docs/**/*.md\"] }", "writer").await;
    for path in ["docs/a.md", "docs/deep/b.md", "docs/stays.md"] {
        assert_eq!(worker.read(path).await["text"], json!("text"), "{path}");
    }
    for path in ["docs/c.rs", "src/d.md", "secret.md", "docs/leads-out.md", "docs", "src/nothing.md"] {
        assert_eq!(worker.refused("fs.read", json!({ "path": path })).await, "path_not_allowed", "{path}");
    }
    let write = |path: &str| json!({ "path": path, "text": "new" });
    for path in ["docs/new.rs", "new.md", "docs/folder.md/new.md"] {
        assert_eq!(worker.refused("fs.write", write(path)).await, "path_not_allowed", "{path}");
    }
    let replace = json!({ "path": "docs/leads-out.md", "text": "new", "replaces": digest("text") });
    assert_eq!(worker.refused("fs.write", replace).await, "path_not_allowed");
    worker.ok("fs.write", write("docs/more/new.md")).await;
    assert_eq!(worker.paths(json!({})).await, ["docs"]);
    let docs = ["docs/a.md", "docs/deep", "docs/folder.md", "docs/leads-out.md", "docs/more", "docs/stays.md"];
    assert_eq!(worker.paths(json!({ "path": "docs" })).await, docs);
    assert_eq!(worker.paths(json!({ "glob": "**" })).await, ["docs/a.md", "docs/deep/b.md", "docs/more/new.md"]);
    for path in ["src", "docs/folder.md"] {
        assert_eq!(worker.refused("fs.list", json!({ "path": path })).await, "path_not_allowed", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_concurrent_writers_succeeds_and_the_others_get_an_error() {
    let place = Place::new();
    let worker = place.coder().await;
    let mut current: Option<String> = None;
    for round in 0..20 {
        let calls = (0..8).map(|writer| {
            let worker = worker.clone();
            let mut input = json!({ "path": "new/file", "text": format!("{round} {writer}") });
            if let Some(current) = &current {
                input["replaces"] = json!(digest(current));
            }
            tokio::spawn(async move { worker.call("fs.write", input).await })
        });
        let mut won = Vec::new();
        for (writer, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
            match call.await.expect("ended") {
                Ok(_) => won.push(writer),
                Err(error) => assert!(["file_exists", "file_changed"].contains(&error.recorded_code()), "{error}"),
            }
        }
        assert_eq!(won.len(), 1, "round {round}");
        assert_eq!(place.content("new/file"), format!("{round} {}", won[0]));
        current = Some(place.content("new/file"));
    }
    assert_eq!(everything(&place.mount()).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_other_programs_write_is_not_overwritten() {
    let place = Place::new();
    place.write("file", "old");
    let worker = place.coder().await;
    // A program that writes repeatedly without a lock.
    let path = place.mount().join("file");
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let other = std::thread::spawn({
        let (path, stop) = (path.clone(), stop.clone());
        move || {
            let mut last = 0;
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                last += 1;
                let unfinished = path.with_extension("other");
                std::fs::write(&unfinished, format!("other {last}")).expect("written");
                std::fs::rename(&unfinished, &path).expect("renamed");
            }
        }
    });
    while place.content("file") == "old" {
        std::thread::yield_now();
    }
    for _ in 0..50 {
        let input = json!({ "path": "file", "text": "mine", "replaces": digest("old") });
        assert_eq!(worker.refused("fs.write", input).await, "file_changed");
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    other.join().expect("ended");
    assert!(place.content("file").starts_with("other"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_write_leaves_the_old_or_the_new_file_and_nothing_else() {
    const LAST: u32 = 200;
    let place = Place::new();
    let (old, new) = ("o".repeat(300_000), "n".repeat(1_000_000));
    let worker = place.coder().await;
    // The call is dropped at a time between its begin and its end, however long it takes here.
    let began = Instant::now();
    worker.ok("fs.write", json!({ "path": "file", "text": new })).await;
    let step_time = began.elapsed() / 60;
    let mut seen = [0, 0];
    for step in 0..=LAST {
        place.write("file", &old);
        let replaced = worker.call("fs.write", json!({ "path": "file", "text": new, "replaces": digest(&old) }));
        let made = worker.call("fs.write", json!({ "path": "made/for/it", "text": new }));
        let both = async { tokio::join!(replaced, made) };
        let mut both = Box::pin(both);
        // Timers are too coarse: the whole call may take less than one of their steps.
        let end = Instant::now() + step_time * step;
        let mut pending = true;
        while pending && (step == LAST || Instant::now() < end) {
            pending = poll_fn(|context| Poll::Ready(both.as_mut().poll(context).is_pending())).await;
            tokio::task::yield_now().await;
        }
        drop(both);
        // When the drop returns, the effect of the call is final.
        let content = place.content("file");
        assert!(content == old || content == new, "step {step}");
        seen[usize::from(content == new)] += 1;
        let there = place.mount().join("made/for/it").exists();
        let settled = Instant::now() + Duration::from_secs(10);
        let wanted = if there { 4 } else { 1 };
        while everything(&place.mount()).len() != wanted {
            assert!(Instant::now() < settled, "step {step}: {:?}", everything(&place.mount()));
            tokio::task::yield_now().await;
        }
        assert_eq!(place.content("file"), content, "step {step}");
        if there {
            assert_eq!(place.content("made/for/it"), new);
            std::fs::remove_dir_all(place.mount().join("made")).expect("removed");
        }
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

#[tokio::test]
async fn no_path_of_the_host_is_in_an_output_an_event_or_the_history() {
    let place = Place::new();
    place.write("file", "text");
    symlink(place.folder.path().join("outside.txt"), place.mount().join("link")).expect("a link");
    let worker = place.coder().await;
    worker.read("file").await;
    worker.ok("fs.list", json!({})).await;
    worker.ok("fs.write", json!({ "path": "new", "text": "x" })).await;
    for input in [json!({ "path": "link" }), json!({ "path": "nothing" }), json!({ "path": "file/x" })] {
        worker.refused("fs.read", input).await;
    }
    // A path of the host that the caller knows from elsewhere is not repeated in an error either.
    let error = worker.call("fs.read", json!({ "path": place.mount() })).await.expect_err("refused");
    assert!(!format!("{error} {error:?}").contains(CANARY), "{error}");
    let history = worker.runtime.observation(&acme()).history(&id("w"), 0, 1000).await.expect("a history");
    for entry in &history {
        if !matches!(entry.kind, EntryKind::CallBegan { .. }) {
            let told = format!("{entry:?} {}", serde_json::to_string(entry).expect("JSON"));
            assert!(!told.contains(CANARY), "{told}");
        }
    }
    assert!(!format!("{:?}", worker.runtime).contains(CANARY));
}

/// Generates text of the characters of paths and of characters that paths must not contain.
fn path_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop_oneof!["a", "b", "link", "file", "up", "root"].prop_map(String::from),
        2 => Just("..".to_owned()),
        1 => Just(".".to_owned()),
        1 => Just(String::new()),
        1 => Just("outside.txt".to_owned()),
        1 => "\\PC{0,8}",
        1 => any::<String>(),
    ];
    (any::<bool>(), proptest::collection::vec(piece, 0..8), prop_oneof![9 => Just("/"), 1 => Just("\\")])
        .prop_map(|(absolute, pieces, joint)| format!("{}{}", if absolute { "/" } else { "" }, pieces.join(joint)))
}

#[test]
fn any_path_stays_inside_or_is_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let place = Place::new();
    place.write("a/b/file", "inside");
    for (to, at) in [("..", "up"), ("../..", "a/up"), ("/", "root"), ("a/b", "link"), ("../../b", "a/b/link")] {
        symlink(to, place.mount().join(at)).expect("a link");
    }
    let outside = || {
        let beside = everything(place.folder.path());
        beside.into_iter().filter(|path| !path.starts_with(place.mount().to_str().expect("UTF-8"))).count()
    };
    assert_eq!(outside(), 1);
    let limits = RuntimeLimits { history_entries: 1 << 40, ..RuntimeLimits::default() };
    let worker = runtime.block_on(place.worker_with("write", "coder", limits));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(400)
    });
    let done = runner.run(&path_text(), |path| {
        runtime.block_on(async {
            for (tool, input) in [
                ("fs.read", json!({ "path": path })),
                ("fs.list", json!({ "path": path, "glob": "**" })),
                ("fs.write", json!({ "path": path, "text": "written" })),
            ] {
                match worker.call(tool, input).await {
                    Ok(answer) => {
                        prop_assert!(!answer.to_string().contains(CANARY), "{} {}", tool, answer);
                        if tool == "fs.list" {
                            for path in paths(&answer) {
                                prop_assert!(place.mount().join(&path).symlink_metadata().is_ok(), "{}", path);
                            }
                        }
                    }
                    Err(error) => {
                        let told = format!("{error} {error:?}");
                        prop_assert!(!told.contains(CANARY), "{}", told);
                        prop_assert!(error.code() != "file_unavailable", "{} {:?} {}", tool, path, told);
                    }
                }
            }
            prop_assert_eq!(outside(), 1);
            Ok(())
        })
    });
    done.unwrap_or_else(|error| panic!("{error}"));
    let canary = std::fs::read_to_string(place.folder.path().join("outside.txt")).expect("there");
    assert_eq!(canary, CANARY);
}
