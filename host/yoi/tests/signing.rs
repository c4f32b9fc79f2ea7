use serde_json::{Value, json};

use crate::support::{Place, snapshot};

/// Creates a place with a built bundle `b.yoi` and keys `one.key` and `two.key`.
fn place() -> (Place, [String; 2]) {
    let place = Place::new();
    place.example("minimal");
    assert_eq!(place.yoi(&["bundle", "build", "minimal", "-o", "b.yoi"]).code, 0);
    let keys = ["one.key", "two.key"].map(|file| {
        let (new, _) = place.json(&["key", "new", "--out", file]);
        new["public_key"].as_str().expect("a key").to_owned()
    });
    (place, keys)
}

fn key_id(place: &Place, key: &str) -> Value {
    place.json(&["key", "show", key]).0["key_id"].clone()
}

#[test]
fn signed_bundle_keeps_its_digest_and_names_its_signers() {
    let (place, [one, two]) = place();
    let (before, _) = place.json(&["bundle", "show", "b.yoi"]);
    assert_eq!(before["signatures"], json!([]));
    let (signed, code) = place.json(&["bundle", "sign", "b.yoi", "--key", "one.key"]);
    assert_eq!((code, &signed["digest"], signed["path"].as_str()), (0, &before["digest"], Some("b.yoi")));
    let (shown, _) = place.json(&["bundle", "show", "b.yoi"]);
    assert_eq!(shown["signatures"], json!([{ "key_id": key_id(&place, "one.key") }]));
    assert_eq!((&shown["digest"], &shown["manifest"]), (&before["digest"], &before["manifest"]));
    // A second key adds a signature. Signing again with the same key changes nothing.
    let text = place.yoi(&["bundle", "sign", "b.yoi", "--key", "two.key"]).stdout;
    snapshot!("bundle_sign", text);
    let bytes = std::fs::read(place.path().join("b.yoi")).expect("signed");
    let (signed, _) = place.json(&["bundle", "sign", "b.yoi", "--key", "two.key"]);
    assert_eq!(signed["signatures"].as_array().map(Vec::len), Some(2));
    assert_eq!(std::fs::read(place.path().join("b.yoi")).expect("signed"), bytes);
    let (check, code) = place.json(&["bundle", "check", "b.yoi", "--signed-by", &one, "--signed-by", &two]);
    assert_eq!(code, 0, "{check}");
    let verified = |check: &Value| -> Vec<_> {
        check["signatures"].as_array().expect("a list").iter().map(|one| one["verified"].as_bool()).collect()
    };
    assert_eq!(verified(&check), [Some(true); 2]);
    let (check, _) = place.json(&["bundle", "check", "b.yoi", "--signed-by", "two.key"]);
    assert_eq!(verified(&check), [Some(false), Some(true)]);
    let (check, _) = place.json(&["bundle", "check", "b.yoi"]);
    assert_eq!(verified(&check), [Some(false); 2]);
    let lines = |said: String| {
        said.lines()
            .filter(|line| line.contains("[") || line.contains("sha256:"))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    let check = lines(place.yoi(&["bundle", "check", "b.yoi", "--signed-by", &one]).stdout);
    snapshot!("bundle_check_signed", check);
    snapshot!("bundle_show_signed", place.yoi(&["bundle", "show", "b.yoi"]).stdout);
    // Other commands accept the signed bundle.
    let (report, code) = place.json(&["resolve", "b.yoi", "-p", "assistant"]);
    assert_eq!((code, &report["digests"]["bundle"]), (0, &before["digest"]), "{report}");
}

#[test]
fn folders_and_built_bundles_can_be_signed_alike() {
    let (place, _) = place();
    assert_eq!(place.yoi(&["bundle", "build", "minimal", "--layout", "-o", "folder"]).code, 0);
    let mut signed = Vec::new();
    for (bundle, out) in [("b.yoi", "1.yoi"), ("folder", "2.yoi"), ("minimal", "3.yoi")] {
        let (document, code) = place.json(&["bundle", "sign", bundle, "--key", "one.key", "--out", out]);
        assert_eq!(code, 0, "{document}");
        signed.push(std::fs::read(place.path().join(out)).expect("written"));
    }
    assert!(signed.iter().all(|bytes| *bytes == signed[0]), "one bundle and one signer are one file");
    let (document, _) = place.json(&["bundle", "sign", "minimal", "--key", "one.key"]);
    assert_eq!(document["path"].as_str(), Some("minimal-1.yoi"));
    // In a built folder, the envelope is found beside the manifest.
    let out = "folder/signature.dsse.json";
    assert_eq!(place.yoi(&["bundle", "sign", "folder", "--key", "one.key", "--detached", "--out", out]).code, 0);
    let (check, code) = place.json(&["bundle", "check", "folder", "--signed-by", "one.key"]);
    assert_eq!((code, &check["signatures"][0]["verified"]), (0, &json!(true)));
}

#[test]
fn detached_envelope_is_verified() {
    let (place, _) = place();
    let (document, code) = place.json(&["bundle", "sign", "b.yoi", "--key", "one.key", "--detached"]);
    assert_eq!((code, document["path"].as_str()), (0, Some("minimal-1.dsse.json")), "{document}");
    let envelope = std::fs::read(place.path().join("minimal-1.dsse.json")).expect("written");
    let envelope: Value = serde_json::from_slice(&envelope).expect("JSON");
    assert_eq!(envelope["payloadType"], "application/vnd.yoi.config-bundle.v1+json");
    let (error, code) = place.json(&["bundle", "check", "b.yoi", "--signed-by", "one.key"]);
    assert_eq!((code, error["code"].as_str()), (4, Some("bundle_unsigned")));
    let apart = ["--signed-by", "one.key", "--signature", "minimal-1.dsse.json"];
    let (check, code) = place.json(&[&["bundle", "check", "b.yoi"], &apart[..]].concat());
    assert_eq!((code, &check["signatures"][0]["verified"]), (0, &json!(true)), "{check}");
    let (error, code) = place.json(&[&["bundle", "check", "builtin"], &apart[..]].concat());
    assert_eq!((code, error["code"].as_str()), (3, Some("signature_invalid")));
}

#[test]
fn each_refusal_has_its_code_and_a_remedy() {
    let (place, [one, two]) = place();
    let mut said = String::new();
    let mut refuse = |arguments: &[&str], word: &str, exit: i32| {
        let (error, code) = place.json(arguments);
        assert_eq!((code, error["code"].as_str()), (exit, Some(word)), "{arguments:?}: {error}");
        let shown = arguments.iter().map(|one| if one.starts_with("ed25519:") { "KEY" } else { one });
        said.push_str(&format!("$ yoi {}\n{}\n", shown.collect::<Vec<_>>().join(" "), place.yoi(arguments).stderr));
    };
    refuse(&["bundle", "check", "b.yoi", "--signed-by", &one], "bundle_unsigned", 4);
    assert_eq!(place.yoi(&["bundle", "sign", "b.yoi", "--key", "one.key", "-o", "signed.yoi"]).code, 0);
    refuse(&["bundle", "check", "signed.yoi", "--signed-by", &two], "signing_key_unknown", 4);
    refuse(&["bundle", "check", "signed.yoi", "--signed-by", &one, "--signed-by", &two], "bundle_unsigned", 4);
    refuse(&["bundle", "check", "signed.yoi", "--signed-by", &one, "--signed-by", &one], "usage", 2);
    // A signature by another key with the id of this key.
    let id = |key| key_id(&place, key).as_str().expect("an id").to_owned();
    assert_eq!(place.yoi(&["bundle", "sign", "b.yoi", "--key", "two.key", "--detached", "-o", "e.json"]).code, 0);
    let json = std::fs::read_to_string(place.path().join("e.json")).expect("written");
    place.write("forged.json", json.replace(&id("two.key"), &id("one.key")));
    refuse(&["bundle", "check", "b.yoi", "--signature", "forged.json", "--signed-by", &one], "signature_invalid", 3);
    place.write("other.json", json.replace("config-bundle", "other-bundle"));
    refuse(&["bundle", "check", "b.yoi", "--signature", "other.json"], "invalid_envelope", 3);
    refuse(&["bundle", "check", "b.yoi", "--signature", "one.key"], "invalid_json", 3);
    refuse(&["bundle", "sign", "b.yoi", "--key", "no-such.key"], "not_found", 5);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let set = |file: &str, mode| {
            std::fs::set_permissions(place.path().join(file), std::fs::Permissions::from_mode(mode)).expect("set");
        };
        set("one.key", 0o640);
        refuse(&["bundle", "sign", "b.yoi", "--key", "one.key"], "secret_exposed", 3);
        place.write("one.pub", &one);
        set("one.pub", 0o600);
        set("b.yoi", 0o600);
        refuse(&["bundle", "sign", "b.yoi", "--key", "one.pub"], "invalid_signing_key", 3);
        refuse(&["bundle", "sign", "minimal", "--key", "b.yoi"], "invalid_signing_key", 3);
    }
    snapshot!("bundle_sign_refused", said);
}

#[test]
fn a_signing_key_in_a_bundle_is_found() {
    let (place, _) = place();
    let key = std::fs::read_to_string(place.path().join("one.key")).expect("written");
    place.write("minimal/prompts/leaky.md", format!("Sign with {key}"));
    let (error, code) = place.json(&["bundle", "check", "minimal"]);
    assert_eq!((code, error["code"].as_str()), (3, Some("secret_in_bundle")));
    assert!(!error.to_string().contains(key.trim_end().rsplit(':').next().expect("base64")));
}
