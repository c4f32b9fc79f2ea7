use crate::support::{Place, snapshot};

/// Returns the error message of `yoi resolve` for a config.
fn told(place: &Place, config: &str) -> String {
    place.write("runtime.toml", config);
    let arguments = ["resolve", "builtin", "-p", "coder", "--config", "runtime.toml"];
    let (error, code) = place.json(&arguments);
    assert_eq!((code, error["code"].as_str()), (3, Some("invalid_config")), "{error}");
    let first = &error["details"]["diagnostics"][0];
    assert_eq!(first["file"], "runtime.toml");
    assert!(first["line"].as_u64().is_some_and(|line| line > 0), "{error}");
    let said = place.yoi(&arguments);
    assert_eq!(said.stdout, "");
    said.stderr
}

#[test]
fn mistake_in_a_config_is_reported_with_line_caret_and_remedy() {
    let place = Place::new();
    let mut said = String::new();
    for config in [
        "[workspaces.acme]\nshel = true\n",
        "[workspaces.acme]\nshell = \"yes\"\n",
        "[workspaces.acme]\nsecrets = [\"github-token\", \"Hunter 2\"]\n",
        "[workspaces.acme]\nmounts.repo = { path = \"srv/acme\", access = \"read\" }\n",
        "[workspaces.acme]\nsignatures = { posture = \"required\", keys = [\"ed25519:AAAA\"] }\n",
        "[workspaces.acme]\nsignatures = { posture = \"required\" }\n",
        "[workspaces.acme]\nsignatures = \"none\"\n",
        "[workspaces.acme\nshell = true\n",
        "[host]\nmodels = [\"large\"]\nmodels = [\"small\"]\n",
    ] {
        said.push_str(&told(&place, config));
        said.push('\n');
    }
    snapshot!("config_mistakes", said);
}

#[test]
fn no_value_of_a_config_is_repeated() {
    let place = Place::new();
    for wrong in [
        "shell = 'CANARY'",
        "shell = CANARY",
        "secrets = ['CANARY']",
        "mounts.repo = { path = 'CANARY/x', access = 'read' }",
        "mounts.repo = { path = '/CANARY', access = 'all' }",
        "signatures = { posture = 'required', keys = ['yoi-signing-key-ed25519:CANARY'] }",
        "password CANARY",
        "'CANARY",
        "a = 'x' # CANARY",
    ] {
        let said = told(&place, &format!("[workspaces.acme]\n{wrong}\n"));
        assert!(!said.contains("CANARY"), "{said}");
    }
}

#[test]
fn resolve_accepts_a_config_with_or_without_a_signature_posture() {
    let place = Place::new();
    let (new, _) = place.json(&["key", "new"]);
    let required = format!("signatures = {{ posture = \"required\", keys = [{}] }}\n", new["public_key"]);
    for posture in ["", "signatures = { posture = \"none\" }\n", required.as_str()] {
        place.write("runtime.toml", format!("[host]\nmodels = [\"large\"]\n[workspaces.builtin]\n{posture}"));
        let (error, code) = place.json(&["resolve", "builtin", "-p", "companion", "--config", "runtime.toml"]);
        assert_ne!(code, 3, "{error}");
    }
}

#[test]
fn the_name_of_an_unknown_table_is_withheld_in_message_and_snippet_if_it_may_be_a_secret() {
    let place = Place::new();
    let key = ["AKIA", "IOSFODNN7", "ABCDEFG"].concat();
    for config in [
        format!("[{key}]\nshell = true\n"),
        format!("[[{key}]]\n"),
        format!("{key} = 1\n"),
        format!("[workspaces.acme.{key}]\n"),
        format!("[workspaces.acme]\n\"{key}\".path = \"/srv\"\n"),
        format!("[service.{key}]\n"),
        format!("[limits]\n{key} = 1\n"),
    ] {
        let said = told(&place, &config);
        assert!(said.contains("unknown field `(withheld)`") && said.contains("***"), "{config}: {said}");
        assert!(!said.contains("FODNN7"), "{said}");
        let (error, _) = place.json(&["resolve", "builtin", "-p", "coder", "--config", "runtime.toml"]);
        assert!(!error.to_string().contains("FODNN7"), "{error}");
    }
    // An ordinary name is shown in the message and in the snippet.
    let said = told(&place, "[workspces.acme]\nshell = true\n");
    assert!(said.contains("unknown field `workspces`") && said.contains("[workspces.acme]"), "{said}");
    assert!(said.contains("did you mean `workspaces`?"), "{said}");
}
