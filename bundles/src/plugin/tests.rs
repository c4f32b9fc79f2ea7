//! Tests of `plugin.toml`: each refusal, and the allowed text beside it.

use super::*;
use crate::{BundleLimits, Diagnostic, Diagnostics};

/// A manifest in which every field is used.
pub(crate) const SAMPLE: &str = include_str!("sample.toml");

pub(crate) fn parse(text: &str) -> Result<PluginManifest, Diagnostics> {
    PluginManifest::parse(text.as_bytes(), &BundleLimits::default())
}

fn edit(from: &str, to: &str) -> String {
    assert_eq!(SAMPLE.matches(from).count(), 1, "`{from}` is not in the sample once");
    SAMPLE.replace(from, to)
}

/// Asserts that the text is refused with one error at the mark `‸`, and returns the error.
#[track_caller]
fn refused(marked: &str, code: &str, help: &str) -> Diagnostic {
    let at = marked.find('‸').expect("a mark");
    let error = parse(&marked.replace('‸', "")).expect_err(marked);
    let [one] = error.list.as_slice() else { panic!("{code}: {:#?}", error.list) };
    let (line, column) = crate::diagnostic::line_and_column(marked, at);
    assert_eq!((one.code.as_str(), one.line, one.column), (code, line, column), "{one:#?}");
    assert!(one.help.contains(help), "{help}: {one:#?}");
    assert_eq!(one.file, MANIFEST);
    one.clone()
}

#[test]
fn sample_states_everything() {
    let manifest = parse(SAMPLE).unwrap_or_else(|error| panic!("{:#?}", error.list));
    assert_eq!((manifest.name().as_str(), manifest.world()), ("issue-tracker", PluginWorld::Service));
    assert_eq!(manifest.tools().len(), 2);
    let search = &manifest.tools()["issues.search"];
    assert_eq!(search.effect(), crate::manifest::Effect::Read);
    assert_eq!(search.input()["properties"]["limit"]["maximum"], 50);
    assert_eq!(manifest.permissions().requests.len(), 2);
    assert_eq!(manifest.permissions().websockets.len(), 1);
    let placement = manifest.permissions().secrets[0].placement.as_ref().expect("a placement");
    assert_eq!(placement.to_string(), "authorization: Bearer …");
    assert_eq!(manifest.ingress().len(), 1);
    assert!(manifest.config().is_some());
}

#[test]
fn smallest_manifest_has_a_purpose_only() {
    let text = "schema = \"yoi.plugin/1\"\nname = \"a\"\nversion = \"1.0.0\"\nworld = \"yoi:runtime/tool@1.0.0\"\n\
                description = \"Does nothing.\"\n";
    let manifest = parse(text).unwrap_or_else(|error| panic!("{:#?}", error.list));
    assert!(manifest.surfaces().is_empty() && manifest.config().is_none());
}

#[test]
fn missing_and_unknown_fields_are_refused_at_their_place() {
    for (line, help) in [
        ("schema = \"yoi.plugin/1\"\n", "yoi.plugin/1"),
        ("name = \"issue-tracker\"\n", "name = "),
        ("version = \"1.4.0\"\n", "1.4.0"),
        ("world = \"yoi:runtime/service@1.0.0\"\n", "yoi:runtime/tool@1.0.0"),
        ("description = \"Searches and opens tickets in the issue tracker.\"\n", "sentence"),
    ] {
        refused(&format!("‸{}", edit(line, "")), "missing_field", help);
    }
    let search = "[tools.\"issues.search\"]\ndescription = \"Search tickets by words.\"\neffect = \"read\"\n";
    refused(&edit(search, &format!("‸{}", search.replace("effect = \"read\"\n", ""))), "missing_field", "`external`");
    refused(&edit("[[ingress]]\nname", "‸[[ingress]]\n#"), "missing_field", "name the ingress");
    refused(
        &edit("output = { type = \"object\" }", "‸outptu = {}\noutput = { type = \"object\" }"),
        "unknown_field",
        "output",
    );
    refused(&edit("surfaces = [", "‸mounts = []\nsurfaces = ["), "unknown_field", "`requests`");
}

#[test]
fn values_out_of_their_grammar_are_refused_and_their_neighbours_pass() {
    for (from, wrong, right, code, help) in [
        ("\"yoi.plugin/1\"", "‸\"yoi.plugin/2\"", "\"yoi.plugin/1\"", "unsupported_schema", "yoi.plugin/1"),
        ("\"issue-tracker\"", "‸\"Issues\"", "\"issues\"", "invalid_name", "write a plugin name"),
        ("\"1.4.0\"", "‸\"1.4\"", "\"1.4.1\"", "invalid_version", "semantic version"),
        ("service@1.0.0", "‸", "service@1.0.0", "unsupported_world", ""),
        ("\"read\"", "‸\"write\"", "\"none\"", "invalid_value", "`none`, `read`, `external`"),
        ("\"tools\", ", "\"tools\", ‸\"kernel\", ", "\"tools\", ", "unknown_surface", "`ingress`"),
        ("\"tools\", ", "\"tools\", \"tools\", ", "\"tools\", ", "duplicate_name", "remove one"),
        ("\"authorization\"", "‸\"host\"", "\"x-api-key\"", "invalid_name", "write a header name"),
        ("prefix = \"Bearer \"", "prefix = ‸\"\"", "", "invalid_name", "write a header prefix"),
        ("\"webhook\"", "‸\"web_hook\"", "\"web-hook\"", "invalid_name", "write an ingress name"),
        ("\"wss\"", "\"https\"", "\"ws\"", "method_missing", ""),
        ("\"Finds tickets.\"", "‸\"\"", "\"Finds.\"", "invalid_field", "person who decides"),
        ("\"Open a ticket.\"", "‸\" \"", "\"Open.\"", "invalid_field", "sentence"),
        ("\"Open a ticket.\"", "‸\"Open\\na ticket.\"", "\"Open ä ticket.\"", "control_character", "one line"),
        (
            "items = { type = \"string\" }",
            "items = { type = ‸\"text\" }",
            "items = true",
            "invalid_schema",
            "seven types",
        ),
        (
            "items = {",
            "items = { \"$ref\" = ‸\"https://example.com/a.json\",",
            "items = {",
            "invalid_schema",
            "`$defs`",
        ),
        ("items = {", "items = { \"$ref\" = ‸\"a.json\",", "items = { \"$ref\" = \"#\",", "invalid_schema", "`$defs`"),
        ("{2,8}", "(?=a)", "{2,9}", "invalid_schema", "look-around"),
        ("type = \"array\"", "type = ‸1979-05-27", "type = \"array\"", "invalid_type", "string"),
    ] {
        let wrong = edit(from, wrong);
        if wrong.contains('‸') && code != "unsupported_world" {
            refused(&wrong, code, help);
        } else {
            let error = parse(&wrong.replace('‸', "")).expect_err(code);
            assert!(error.list.iter().any(|one| one.code == code && one.help.contains(help)), "{:#?}", error.list);
        }
        parse(&edit(from, right)).unwrap_or_else(|error| panic!("{right}: {:#?}", error.list));
    }
}

#[test]
fn surfaces_world_and_fields_agree() {
    let surfaces = "surfaces = [\"tools\", \"service\", \"ingress\"]";
    for (wrong, help) in [
        ("surfaces = ‸[\"service\", \"ingress\"]", "add `tools`"),
        ("surfaces = ‸[\"tools\", \"ingress\"]", "add `service`"),
        ("surfaces = ‸[\"tools\", \"service\"]", "add `ingress`"),
    ] {
        refused(&edit(surfaces, wrong), "invalid_field", help);
    }
    let webhook = "[[ingress]]\nname = \"webhook\"\ndescription = \"Changes of tickets, as the tracker sends them.\"\n";
    refused(
        &edit(webhook, "").replace(surfaces, "surfaces = ‸[\"tools\", \"service\", \"ingress\"]"),
        "invalid_field",
        "remove `ingress`",
    );
    let error = parse(&edit("runtime/service", "runtime/tool")).expect_err("a tool with ingress");
    let messages: Vec<_> = error.list.iter().map(|one| one.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "`ingress` requires the world of a service",
            "surface `service` is declared without use",
            "`config` requires the world of a service"
        ]
    );
}

#[test]
fn duplicates_are_refused() {
    let secret = "[[secrets]]\nname = \"issue-tracker-token\"\nheader = \"x-other\"\nreason = \"Again.\"\n\n";
    refused(&edit("[[ingress]]", &format!("‸{secret}[[ingress]]")), "duplicate_name", "one placement");
    let target = "[[requests]]\nscheme = \"https\"\nhost = \"tracker.example.com\"\nmethods = [\"GET\"]\n\
                  path_prefixes = [\"/api/v2/search\"]\nreason = \"Again.\"\n\n";
    refused(&edit("[[websockets]]", &format!("‸{target}[[websockets]]")), "duplicate_name", "remove one");
    let ingress = "[[ingress]]\nname = \"webhook\"\ndescription = \"Again.\"\n\n";
    refused(&edit("[config]", &format!("‸{ingress}[config]")), "duplicate_name", "remove one");
    refused(&edit("effect = \"read\"", "effect = \"read\"\n‸effect = \"none\""), "duplicate_key", "remove one");
}

#[test]
fn credential_or_host_path_is_refused_everywhere_also_in_comments_and_never_repeated() {
    let key = ["AKIA", "IOSFODNN7", "ABCDEFG"].concat();
    let path = ["/home", "/alice", "/notes"].concat();
    for (value, code) in [(key.as_str(), "secret_in_bundle"), (path.as_str(), "host_path_in_bundle")] {
        for (from, to) in [
            ("\"Search tickets by words.\"", format!("‸\"Search {value}\"")),
            ("\"Finds tickets.\"", format!("‸\"Finds {value}\"")),
            ("as the tracker sends them.\"", format!("in {value}\"")),
            ("maxLength = 200", format!("default = ‸\"{value}\"")),
            ("[config]\n", format!("[config]\ntitle = ‸\"{value}\"\n")),
            ("# Ticket tracker", format!("# Ticket ‸{value} tracker")),
            ("effect = \"external\"", format!("effect = \"external\" # see ‸{value}")),
        ] {
            let marked = edit(from, &to);
            let error = if marked.contains('‸') {
                refused(&marked, code, "");
                parse(&marked.replace('‸', "")).expect_err("a leak")
            } else {
                parse(&marked).expect_err("a leak")
            };
            let said = format!("{:?} {:?}", error.list, error.sources);
            assert!(!said.contains(value) && error.list[0].code == code, "{said}");
        }
    }
    // Names of secrets and paths of remote hosts are no leaks.
    parse(&edit("maxLength = 200", "default = \"token\"")).expect("an ordinary word");
    parse(&edit("\"/api/v2/search\"", "\"/home/alice\"")).expect("a path of the remote host");
}

#[test]
fn every_limit_is_named_in_its_error() {
    type Change = fn(&mut BundleLimits);
    let changes: [(&str, Change, &str); 8] = [
        ("plugin_toml_bytes", |limits| limits.plugin_toml_bytes = SAMPLE.len() - 1, "too_large"),
        ("plugin_tools", |limits| limits.plugin_tools = 1, "too_large"),
        ("list_items", |limits| limits.list_items = 1, "too_large"),
        ("text_bytes", |limits| limits.text_bytes = 47, "too_large"),
        ("json_depth", |limits| limits.json_depth = 2, "too_deep"),
        ("blob_bytes", |limits| limits.blob_bytes = 100, "too_large"),
        ("pattern_bytes", |limits| limits.pattern_bytes = 10, "invalid_schema"),
        ("plugin_toml_bytes", |limits| limits.plugin_toml_bytes = 0, "too_large"),
    ];
    for (name, change, code) in changes {
        let mut limits = BundleLimits::default();
        change(&mut limits);
        let error = PluginManifest::parse(SAMPLE.as_bytes(), &limits).expect_err(name);
        let is_named = |one: &Diagnostic| one.code == code && one.message.contains(&format!("`{name}`"));
        assert!(error.list.iter().all(is_named), "{name}: {:#?}", error.list);
    }
    let exact = BundleLimits {
        plugin_toml_bytes: SAMPLE.len(),
        plugin_tools: 2,
        list_items: 2,
        text_bytes: 48,
        json_depth: 3,
        ..BundleLimits::default()
    };
    PluginManifest::parse(SAMPLE.as_bytes(), &exact).unwrap_or_else(|error| panic!("{:#?}", error.list));
}

#[test]
fn text_that_is_not_toml_or_not_utf8_is_refused() {
    refused(&edit("effect = \"read\"", "effect = ‸read"), "invalid_toml", "TOML");
    for bytes in [&b"\xff"[..], b"a = \"\xff\"", b"\x00", &[b'['; 100_000]] {
        let error = PluginManifest::parse(bytes, &BundleLimits::default()).expect_err("no manifest");
        assert!(!error.is_ok());
    }
    let marked = [crate::encoding::MARK, SAMPLE.as_bytes()].concat();
    PluginManifest::parse(&marked, &BundleLimits::default()).expect("a byte order mark is ignored");
}
