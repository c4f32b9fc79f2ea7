//! Packages have only the dependencies on each other that `ARCHITECTURE.md` lists.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use yoi_tests::root;

type Dependencies = BTreeMap<String, BTreeSet<String>>;

/// Reads the table below the heading `Dependencies`. Each row has a package and the packages that it may depend on.
fn documented() -> Dependencies {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the document");
    let (_, section) = text.split_once("\n## Dependencies\n").expect("the section");
    let section = section.split("\n## ").next().expect("its end");
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (package, rest) = row.split_once('`').expect("a name");
        (package.to_owned(), names(rest))
    })
    .collect()
}

/// Reads the dependencies between packages of this workspace, without those of tests and build scripts.
fn declared() -> Dependencies {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let declared = packages.iter().map(|package| {
        let dependencies = package["dependencies"].as_array().expect("dependencies").iter();
        let normal = dependencies.filter(|dependency| dependency["kind"].is_null() && !dependency["path"].is_null());
        let names = normal.map(|dependency| dependency["name"].as_str().expect("a name").to_owned()).collect();
        (package["name"].as_str().expect("a name").to_owned(), names)
    });
    declared.collect()
}

#[test]
fn packages_depend_on_each_other_as_documented() {
    let (documented, declared) = (documented(), declared());
    assert!(declared.len() > 10, "{declared:?}");
    assert_eq!(documented.keys().collect::<Vec<_>>(), declared.keys().collect::<Vec<_>>(), "packages in the table");
    for (package, dependencies) in &declared {
        let undocumented: Vec<_> = dependencies.difference(&documented[package]).collect();
        assert!(undocumented.is_empty(), "`{package}` depends on {undocumented:?}, which the table does not allow");
        let unused: Vec<_> = documented[package].difference(dependencies).collect();
        assert!(unused.is_empty(), "`{package}` does not depend on {unused:?}, which the table names");
    }
}

/// Types and functions that open a connection or look up a name, and the only files of libraries and programs that use them.
const CONNECTING: [(&str, &[&str]); 7] = [
    ("TcpStream::connect", &["host/egress/src/dial.rs"]),
    ("reqwest::Client::builder", &["host/http-client/src/lib.rs"]),
    ("TcpSocket", &[]),
    ("UdpSocket", &[]),
    ("UnixStream", &[]),
    ("lookup_host", &[]),
    ("to_socket_addrs", &[]),
];

fn rust_files(folder: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        // Tests, benchmarks and examples are peers of the program.
        match path.is_dir() {
            true if !matches!(name.as_str(), "target" | "tests" | "benches" | "examples") => rust_files(&path, files),
            false if name.ends_with(".rs") => files.push(path),
            _ => {}
        }
    }
}

#[test]
fn connections_are_opened_in_one_place_for_plugins_and_in_one_for_clients() {
    let mut files = Vec::new();
    for folder in ["bundles", "host", "resolver-guest"] {
        rust_files(&root().join(folder), &mut files);
    }
    assert!(files.len() > 300, "{}", files.len());
    let mut found: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for path in &files {
        let text = std::fs::read_to_string(path).expect("a file");
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let name = path.strip_prefix(root()).expect("in the project").to_str().expect("UTF-8").replace('\\', "/");
        for (word, _) in CONNECTING.iter().filter(|(word, _)| text.contains(word)) {
            found.entry(word).or_default().insert(name.clone());
        }
    }
    for (word, allowed) in CONNECTING {
        let allowed: BTreeSet<String> = allowed.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(found.remove(word).unwrap_or_default(), allowed, "files that use `{word}`");
    }
}
