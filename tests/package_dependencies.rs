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
