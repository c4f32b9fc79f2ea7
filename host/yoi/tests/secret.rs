use serde_json::json;

use crate::support::{Place, snapshot};

const VALUE: &str = "canary-value-5d1c";

fn mode(path: &std::path::Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::symlink_metadata(path).expect("there").permissions().mode() & 0o7777
}

#[test]
fn a_secret_is_set_listed_and_removed_and_never_shown() {
    let place = Place::new();
    let folder = place.path().join("kept/secrets");
    let mut said = String::new();
    let mut yoi = |input: &str, arguments: &[&str]| {
        let arguments = [&["secret"], arguments, &["--secrets", "kept/secrets"]].concat();
        let one = place.yoi_given(input, &arguments);
        said.push_str(&format!("$ yoi {}\n{}{}[{}]\n\n", arguments.join(" "), one.stdout, one.stderr, one.code));
        one.code
    };
    assert_eq!(yoi("", &["list"]), 0);
    assert_eq!(yoi(&format!("{VALUE}\n"), &["set", "github-token"]), 0);
    assert_eq!(std::fs::read_to_string(folder.join("github-token")).expect("there"), VALUE);
    assert_eq!((mode(&folder), mode(&folder.join("github-token"))), (0o700, 0o600));
    place.write("value.txt", format!("{VALUE}-2\r\n"));
    assert_eq!(yoi("not this", &["set", "github-token", "--from-file", "value.txt"]), 0);
    assert_eq!(std::fs::read_to_string(folder.join("github-token")).expect("there"), format!("{VALUE}-2"));
    assert_eq!(yoi(VALUE, &["set", "api-key"]), 0);
    assert_eq!(yoi("", &["list"]), 0);
    assert_eq!(yoi("", &["rm", "api-key"]), 0);
    assert_eq!(yoi("", &["rm", "api-key"]), 5);
    assert_eq!(yoi("", &["list", "--format", "json"]), 0);
    assert!(!said.contains(VALUE), "{said}");
    snapshot!("secret", said);
}

#[test]
fn invalid_value_and_shared_folder_are_refused() {
    let place = Place::new();
    let large = "x".repeat((64 << 10) + 1);
    let fits = large.strip_suffix('x').expect("one less");
    let latin = b"caf\xe9".as_slice();
    for input in [b"".as_slice(), b"\n", b"\r\n", latin, large.as_bytes()] {
        let said = place.yoi_given(input, &["secret", "set", "token", "--secrets", "s"]);
        assert_eq!(said.code, 3, "{}", said.stderr);
        assert!(said.stderr.starts_with("error[invalid_value]"), "{}", said.stderr);
        assert!(!place.path().join("s/token").exists());
    }
    assert_eq!(place.yoi_given(fits, &["secret", "set", "token", "--secrets", "s"]).code, 0);
    // A value cannot be an argument, and an invalid name is refused.
    for arguments in [&["secret", "set", "token", VALUE, "--secrets", "s"][..], &["secret", "set", "../token"]] {
        assert_eq!(place.yoi_given("x", arguments).code, 2);
    }
    let (error, code) = place.json(&["secret", "set", "token", "--secrets", "s", "--from-file", "nothing"]);
    assert_eq!((code, error["code"].as_str()), (5, Some("not_found")));
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(place.path().join("s"), std::fs::Permissions::from_mode(0o755)).expect("set");
    let said = place.yoi(&["secret", "list", "--secrets", "s"]);
    assert_eq!(said.code, 1);
    snapshot!("secret_not_private", said.stderr);
    place.write("file", "");
    let (error, code) = place.json(&["secret", "list", "--secrets", "file"]);
    assert_eq!((code, error["code"].as_str()), (1, Some("secrets_not_a_folder")));
}

#[test]
fn documents_name_their_schema() {
    let place = Place::new();
    let set = |input: &str| {
        let said = place.yoi_given(input, &["secret", "set", "token", "--secrets", "s", "--format", "json"]);
        serde_json::from_str::<serde_json::Value>(&said.stdout).expect("JSON")
    };
    assert_eq!(set("one"), json!({ "schema": "yoi.secret-set/1", "name": "token", "created": true }));
    assert_eq!(set("two"), json!({ "schema": "yoi.secret-set/1", "name": "token", "created": false }));
    let (list, _) = place.json(&["secret", "list", "--secrets", "s"]);
    assert_eq!(list, json!({ "schema": "yoi.secrets/1", "secrets": ["token"] }));
    let (rm, _) = place.json(&["secret", "rm", "token", "--secrets", "s"]);
    assert_eq!(rm, json!({ "schema": "yoi.secret-rm/1", "name": "token" }));
}
