use serde_json::json;
use worker_runtime::token::Scope;

use crate::foreign_text::{MOVING, is_harmless};
use crate::served::{TestService, team};
use crate::support::{Place, snapshot};

#[test]
fn a_bundle_is_sent_listed_and_removed() {
    let served = TestService::new();
    let mut said = String::new();
    let mut yoi = |arguments: &[&str]| said.push_str(&served.transcript(arguments));
    yoi(&["runtime", "bundles"]);
    yoi(&["runtime", "put", "team"]);
    yoi(&["runtime", "put", "team"]);
    team(&served.place, 2);
    yoi(&["runtime", "put", "team"]);
    yoi(&["runtime", "bundles"]);
    let digest = served.put();
    yoi(&["runtime", "who-uses", &digest]);
    yoi(&["worker", "create", "desk", "--profile", "plain", "--bundle", &digest]);
    yoi(&["runtime", "remove", &digest]);
    yoi(&["worker", "create", "back-office", "--profile", "plain", "--bundle", &digest]);
    yoi(&["runtime", "who-uses", &digest]);
    yoi(&["runtime", "remove", &digest]);
    yoi(&["worker", "stop", "desk"]);
    yoi(&["worker", "stop", "back-office"]);
    yoi(&["runtime", "remove", &digest]);
    yoi(&["runtime", "remove", &digest]);
    yoi(&["runtime", "put", "builtin"]);
    yoi(&["runtime", "put", "nothing"]);
    snapshot!("remote", said);
}

#[test]
fn bundle_of_any_form_is_sent_to_its_workspace() {
    let served = TestService::new();
    let place = &served.place;
    for arguments in [
        &["bundle", "build", "team", "-o", "team.yoi"][..],
        &["key", "new", "--out", "team.key"],
        &["bundle", "sign", "team", "--key", "team.key", "--out", "signed.yoi"],
        &["bundle", "sign", "team", "--key", "team.key", "--detached", "--out", "team.dsse.json"],
    ] {
        assert_eq!(place.yoi(arguments).code, 0, "{arguments:?}");
    }
    let digest = served.put();
    for arguments in [
        &["runtime", "put", "team.yoi"][..],
        &["runtime", "put", "signed.yoi"],
        &["runtime", "put", "team", "--signature", "team.dsse.json"],
    ] {
        let (put, code) = served.json(arguments);
        assert_eq!((code, &put["known"], &put["sent"]), (0, &json!(true), &json!([])), "{put}");
        assert_eq!((put["bundle"]["digest"].as_str(), &put["workspace"]), (Some(digest.as_str()), &json!("team")));
    }
    // The token serves two workspaces. The workspace of the bundle is used.
    let both = served.token(&Scope::ALL, &["team", "other"]);
    let said = served.with_env(&["runtime", "put", "team"], &[("YOI_TOKEN", &both)]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let said = served.with_env(&["runtime", "put", "team"], &[("YOI_TOKEN", &both), ("YOI_WORKSPACE", "other")]);
    assert!(said.code == 4 && said.stderr.starts_with("error[workspace_denied]"), "{}", said.stderr);
}

/// Writes the folders `reader`, a plugin, and `team`, a bundle that uses it and the plugin `writer`.
fn plugged(place: &Place) {
    let text = "schema = \"yoi.plugin/1\"\nname = \"reader\"\nversion = \"1.0.0\"\nworld = \"yoi:runtime/tool@1.0.0\"\n\
                description = \"Reads.\"\nsurfaces = [\"tools\"]\n[tools.read]\ndescription = \"Read.\"\n\
                effect = \"none\"\ninput = {}\noutput = {}\n";
    place.write("reader/plugin.toml", text);
    place.write("reader/component.wasm", b"\0asm\x0d\0\x01\0");
    place.write("writer/plugin.toml", text.replace("\"reader\"", "\"writer\""));
    place.write("writer/component.wasm", b"\0asm\x0d\0\x01\0");
    team(place, 7);
    for (plugin, package) in [("reader", "reader"), ("writer", "writer.tar")] {
        place.write(&format!("team/plugins/{plugin}.toml"), format!("package = \"{package}\"\n"));
    }
    place.write("team/profiles/reading.toml", "plugins = [\"reader\", \"writer\"]\n");
    for file in ["plugin.toml", "component.wasm"] {
        let bytes = std::fs::read(place.path().join("reader").join(file)).expect("read");
        place.write(&format!("team/plugins/reader/{file}"), bytes);
    }
    assert_eq!(place.yoi(&["plugin", "pack", "writer", "-o", "team/plugins/writer.tar"]).code, 0);
}

#[test]
fn packages_of_a_folder_are_sent_once_before_the_bundle() {
    let served = TestService::new();
    plugged(&served.place);
    let said = served.transcript(&["runtime", "put", "team"]) + &served.transcript(&["runtime", "put", "team"]);
    snapshot!("remote_packages", said);
    let (put, _) = served.json(&["runtime", "put", "team"]);
    let states: Vec<_> = put["packages"].as_array().expect("packages").iter().map(|one| &one["state"]).collect();
    assert_eq!(states, [&json!("known"), &json!("known")]);
    // The blobs of the bundle and the packages are counted separately.
    assert_eq!(put["sent"], json!([]));
}

#[test]
fn packages_beside_a_built_bundle_are_sent_and_missing_ones_are_named() {
    let served = TestService::new();
    let place = &served.place;
    plugged(place);
    let moved = |from: &str, to: &str| {
        std::fs::create_dir_all(place.path().join("built/plugins")).expect("made");
        std::fs::rename(place.path().join(from), place.path().join(to)).expect("moved");
    };
    place.write("built/plugins/notes.txt", "Not a package.");
    assert_eq!(place.yoi(&["bundle", "build", "team", "-o", "built/team.yoi"]).code, 0);
    assert_eq!(place.yoi(&["bundle", "build", "team", "--layout", "-o", "built/layout"]).code, 0);
    let states = |put: &serde_json::Value| -> Vec<(String, String)> {
        let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
        let packages = put["packages"].as_array().expect("packages");
        let mut states: Vec<_> = packages.iter().map(|one| (text(&one["plugin"]), text(&one["state"]))).collect();
        states.sort();
        states
    };
    let expected = |reader: &str, writer: &str| {
        [("reader", reader), ("writer", writer)].map(|(name, state)| (name.to_owned(), state.to_owned()))
    };

    // A packed file of the right size with another content is not the package.
    let size = std::fs::metadata(place.path().join("team/plugins/writer.tar")).expect("there").len();
    place.write("built/plugins/other.tar", vec![7; usize::try_from(size).expect("small")]);
    moved("team/plugins/reader", "built/plugins/any-name");
    let said = served.yoi(&["runtime", "put", "built/team.yoi"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    snapshot!("remote_packages_missing", said.stdout + &said.stderr);

    // A token without the scope `read` cannot find out, so the packages that are here are sent.
    let blind = served.token(&[Scope::Bundles], &["team"]);
    let arguments = ["runtime", "put", "built/team.yoi", "--format", "json"];
    let said = served.with_env(&arguments, &[("YOI_TOKEN", &blind)]);
    let put = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(states(&put), expected("known", "unknown"), "{}", said.stderr);
    assert!(said.stderr.contains("does not tell"), "{}", said.stderr);

    moved("team/plugins/writer.tar", "built/plugins/writer-1.0.0.tar");
    let (put, code) = served.json(&["runtime", "put", "built/layout"]);
    assert_eq!((code, states(&put)), (0, expected("known", "sent").to_vec()));
    // A package above the limit is not read.
    let other = TestService::new();
    let place = other.place.path().join("built");
    std::fs::rename(served.place.path().join("built"), &place).expect("moved");
    other.place.write("limits.toml", "[bundle]\npackage_bytes = 100\n");
    let (refused, code) = other.json(&["runtime", "put", "built/team.yoi", "--limits", "limits.toml"]);
    assert_eq!((code, &refused["code"]), (3, &json!("too_large")), "{refused}");
}

#[test]
fn documents_name_their_schema() {
    let served = TestService::new();
    let (put, _) = served.json(&["runtime", "put", "team"]);
    assert_eq!((&put["schema"], &put["known"]), (&json!("yoi.runtime-put/1"), &json!(false)));
    assert_eq!(put["sent"].as_array().map(Vec::len), Some(2), "{put}");
    let digest = put["bundle"]["digest"].as_str().expect("a digest");
    let (bundles, _) = served.json(&["runtime", "bundles"]);
    assert_eq!(bundles, json!({ "schema": "yoi.runtime-bundles/1", "bundles": [put["bundle"]] }));
    let (users, _) = served.json(&["runtime", "who-uses", digest]);
    assert_eq!(users, json!({ "schema": "yoi.runtime-users/1", "digest": digest, "users": [] }));
    let (created, _) = served.json(&["worker", "create", "desk", "-p", "plain", "-b", digest]);
    assert_eq!(created["created"], json!(true));
    let (users, _) = served.json(&["runtime", "who-uses", digest]);
    assert_eq!(users["users"], json!(["worker:desk"]));
    let unknown = format!("sha256:{}", "7".repeat(64));
    let (error, code) = served.json(&["runtime", "who-uses", &unknown]);
    assert_eq!((code, &error["code"]), (5, &json!("bundle_not_found")), "{error}");
    let (error, code) = served.json(&["runtime", "remove", digest]);
    assert_eq!((code, &error["code"], &error["details"]), (1, &json!("in_use"), &json!({ "users": ["worker:desk"] })));
    served.json(&["worker", "stop", "desk"]);
    let (removed, code) = served.json(&["runtime", "remove", digest]);
    assert_eq!((code, removed), (0, json!({ "schema": "yoi.runtime-remove/1", "digest": digest })));
}

#[test]
fn status_shows_only_what_the_token_may_read() {
    let served = TestService::new();
    let mut said = served.transcript(&["runtime", "status"]);
    let reader = served.token(&[Scope::Read], &["team"]);
    for token in ["", reader.as_str()] {
        let status = served.with_env(&["runtime", "status"], &[("YOI_TOKEN", token)]);
        said.push_str(&format!("{}{}[{}]\n\n", status.stdout, status.stderr, status.code));
    }
    snapshot!("remote_status", said);
    let (status, _) = served.json(&["runtime", "status"]);
    assert_eq!((&status["schema"], &status["ready"]), (&json!("yoi.runtime-status/1"), &json!(true)));
    assert_eq!(status["runtime"]["workspaces"], json!(["other", "team"]));
    assert_eq!(status["capabilities"]["tools"], json!(["echo"]));
    let wrong = served.with_env(&["runtime", "status"], &[("YOI_TOKEN", "yoi_CANARY")]);
    assert!(wrong.code == 4 && wrong.stderr.starts_with("error[unauthenticated]"), "{}", wrong.stderr);
}

#[test]
fn status_of_a_runtime_that_is_not_ready_names_the_failed_check() {
    let checks = json!([{ "name": "metadata", "outcome": "ok" }, { "name": "blobs", "outcome": "store_unavailable" }]);
    let url = answering(503, "application/json", &json!({ "ready": false, "checks": checks }));
    let status =
        |format: &str| Place::new().with_env(&["runtime", "status", "--format", format], &[("YOI_URL", url.as_str())]);
    let said = status("text");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stdout.starts_with("state    not ready\nfailed   blobs store_unavailable\n"), "{}", said.stdout);
    let document: serde_json::Value = serde_json::from_str(&status("json").stdout).expect("JSON");
    assert_eq!((&document["ready"], &document["checks"], &document["runtime"]), (&json!(false), &checks, &json!(null)));
}

#[test]
fn failure_to_use_a_runtime_is_reported_with_a_remedy() {
    let served = TestService::new();
    let place = &served.place;
    let token = served.token.as_str();
    let mut said = String::new();
    let mut refuse = |what: &str, more: &[(&str, &str)], word: &str, exit: i32| {
        let said_here = served.with_env(&["worker", "list"], more);
        assert_eq!((said_here.code, said_here.stdout.as_str()), (exit, ""), "{what}: {}", said_here.stderr);
        assert!(said_here.stderr.starts_with(&format!("error[{word}]")), "{what}: {}", said_here.stderr);
        assert!(!said_here.stderr.contains("CANARY") && !said_here.stderr.contains(token));
        said.push_str(&format!("{what}\n{}\n", said_here.stderr));
        let document = served.with_env(&["worker", "list", "--format", "json"], more);
        let document: serde_json::Value = serde_json::from_str(&document.stdout).expect("JSON");
        assert_eq!((&document["schema"], &document["code"]), (&json!("yoi.error/1"), &json!(word)));
    };
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    refuse("nobody there", &[("YOI_URL", &format!("http://{nobody}"))], "unreachable", 1);
    refuse("no token", &[("YOI_TOKEN", "")], "no_token", 2);
    refuse("a wrong token", &[("YOI_TOKEN", "yoi_CANARY")], "unauthenticated", 4);
    refuse("no token at all", &[("YOI_TOKEN", "CANARY with spaces")], "invalid_token", 3);
    refuse("a token without the scope", &[("YOI_TOKEN", &served.token(&[Scope::Call], &["team"]))], "scope_missing", 4);
    let both = served.token(&Scope::ALL, &["team", "other"]);
    refuse("a token for two workspaces", &[("YOI_TOKEN", &both)], "workspace_unnamed", 2);
    refuse("another machine", &[("YOI_URL", "http://runtime.example.com")], "insecure_url", 3);
    refuse("a password in the URL", &[("YOI_URL", "https://me:CANARY@runtime.example.com")], "invalid_url", 3);
    refuse("no URL", &[("YOI_URL", "runtime")], "invalid_url", 3);
    let named = served.url.replace("127.0.0.1", "localhost");
    let port = named.rsplit(':').next().expect("a port");
    refuse("another name", &[("YOI_URL", &format!("http://localhost:{port}"))], "host_denied", 4);
    refuse("no token file", &[("YOI_TOKEN_FILE", "nothing")], "not_found", 5);
    place.write("exposed", "yoi_CANARY\n");
    refuse("a token file that others can read", &[("YOI_TOKEN_FILE", "exposed")], "secret_exposed", 3);
    private(place, "empty", "\n");
    refuse("an empty token file", &[("YOI_TOKEN_FILE", "empty")], "invalid_token", 3);
    snapshot!("remote_refused", said);

    // Similar requests that succeed.
    private(place, "token", &format!("{token}\r\n"));
    let alone = [("YOI_TOKEN", "yoi_other"), ("YOI_TOKEN_FILE", "token")];
    assert_eq!(served.with_env(&["worker", "list"], &alone).code, 0);
    assert_eq!(served.with_env(&["worker", "list", "--workspace", "team"], &[("YOI_TOKEN", &both)]).code, 0);
    // There is no argument for a token.
    assert_eq!(served.yoi(&["worker", "list", "--token", token]).code, 2);
}

#[cfg(unix)]
fn private(place: &Place, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = place.write(name, text);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("set");
}

/// Starts a server that sends this response to every request, and returns its URL.
fn answering(status: u16, kind: &str, body: &serde_json::Value) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let body = body.to_string();
    let head = format!("HTTP/1.1 {status} No\r\nContent-Type: {kind}\r\nContent-Length: {}", body.len());
    let answer = format!("{head}\r\nConnection: close\r\n\r\n{body}");
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("a connection");
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && connection.read(&mut byte).is_ok_and(|read| read == 1) {
                head.push(byte[0]);
            }
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}")
}

#[test]
fn control_characters_of_a_response_are_shown_escaped() {
    let place = Place::new();
    for moving in MOVING {
        let text = format!("a{moving}\nerror[forged]: b");
        let refusal = json!({ "subject": text, "need": "required", "rule": text, "reason": text, "remedy": text });
        for (code, details) in [
            ("denied", json!({ "refusals": [refusal] })),
            ("denied", json!({ "refusals": text })),
            ("in_use", json!({ "users": [text, text] })),
            ("tool_refused", json!({ "tool_code": text })),
            ("a_code_of_another_version", json!(text)),
        ] {
            let problem = json!({ "status": 403, "code": code, "detail": text, "help": text, "details": details });
            let url = answering(403, "application/problem+json", &problem);
            for format in ["text", "json"] {
                let environment = [("YOI_URL", url.as_str()), ("YOI_TOKEN", "yoi_token")];
                let said = place.with_env(&["runtime", "bundles", "--format", format], &environment);
                assert_ne!(said.code, 0);
                assert!(is_harmless(&said.stdout) && is_harmless(&said.stderr), "{:?} {:?}", said.stdout, said.stderr);
                assert!(!said.stderr.lines().any(|line| line.starts_with("error[forged]")), "{}", said.stderr);
            }
        }
    }
}

#[test]
fn empty_variables_count_as_unset_and_a_token_is_trimmed() {
    let served = TestService::new();
    served.put();
    let token = format!("  {}\r\n", served.token);
    let empty = ["YOI_WORKSPACE", "YOI_FORMAT", "YOI_TOKEN_FILE", "YOI_ALLOW_HTTP"].map(|name| (name, ""));
    let said = served.with_env(&["worker", "list"], &[&empty[..], &[("YOI_TOKEN", &token)]].concat());
    assert_eq!(said.code, 0, "{}", said.stderr);
    let create = ["worker", "create", "desk", "--profile", "plain", "--bundle", "newest"];
    let empty = ["YOI_PROFILE", "YOI_REQUIRE", "YOI_INTENT", "YOI_NAME", "YOI_ALLOW_OLDER", "YOI_RESOLVER_DIGEST"];
    let said = served.with_env(&create, &empty.map(|name| (name, "")));
    assert_eq!(said.code, 0, "{}", said.stderr);
    // A variable that is not empty is used.
    let said = served.with_env(&["worker", "list"], &[("YOI_WORKSPACE", "Not an id")]);
    assert_eq!(said.code, 2, "{}", said.stderr);
    for blank in ["", " ", "\r\n"] {
        let said = served.with_env(&["worker", "list"], &[("YOI_TOKEN", blank)]);
        assert!(said.stderr.starts_with("error[no_token]"), "{}", said.stderr);
    }
}

#[test]
fn a_token_file_and_a_call_input_may_begin_with_a_byte_order_mark() {
    let served = TestService::new();
    served.put();
    served.yoi(&["worker", "create", "desk", "-p", "plain", "-b", "newest"]);
    let file = served.place.write("token", format!("\u{feff}{}\r\n", served.token));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("set");
    }
    let said = served.with_env(&["worker", "list", "--token-file", "token"], &[("YOI_TOKEN", "")]);
    assert_eq!((said.code, file.exists()), (0, true), "{}", said.stderr);
    served.place.write("marked.json", "\u{feff}{ \"text\": \"a\" }");
    let said = served.yoi(&["worker", "call", "desk", "echo", "@marked.json"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let wide: Vec<u8> = "{ \"text\": \"a\" }".encode_utf16().flat_map(u16::to_le_bytes).collect();
    served.place.write("wide.json", wide);
    let said = served.yoi(&["worker", "call", "desk", "echo", "@wide.json"]);
    assert!(said.code == 3 && said.stderr.contains("UTF-16"), "{}", said.stderr);
}

#[test]
fn https_to_a_service_without_tls_is_reported_as_such() {
    let served = TestService::new();
    let https = served.url.replace("http://", "https://");
    let said = served.with_env(&["worker", "list"], &[("YOI_URL", &https)]);
    assert!(said.code == 1 && said.stderr.starts_with("error[unreachable]"), "{}", said.stderr);
    assert!(said.stderr.contains("without TLS") && said.stderr.contains("`http://`"), "{}", said.stderr);
    assert!(!said.stderr.contains("certificate"), "{}", said.stderr);
}
