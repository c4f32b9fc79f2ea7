//! What an author is told: every refusal of the builder with its code, place and remedy, and beside
//! each the nearest thing that passes.

use bundles::{BundleLimits, Diagnostics, Folder, Severity};
use yoi_tests::fuzz::seeds;

use crate::bundle_fixture::{Files, says_nothing_of};

/// One mistake: the file, what stands there, the mistake with its caret, the neighbour that passes,
/// a part of the help.
type Mistake<'a> = [&'a str; 5];

#[track_caller]
fn each_is(code: &str, mistakes: &[Mistake<'_>]) {
    for [file, from, wrong, right, help] in mistakes {
        Files::full().edit(file, from, wrong).refused(code, help);
        Files::full().edit(file, from, right).passes();
    }
}

const BUNDLE: &str = "bundle.toml";
const CODER: &str = "profiles/coder.toml";
const BASE: &str = "profiles/base.toml";
const ISSUES: &str = "plugins/issues.toml";

#[test]
fn folders_that_are_sound_build_without_a_word() {
    assert_eq!(Files::full().passes().diagnostics.list, []);
    assert_eq!(Files::small().passes().diagnostics.list, []);
}

#[test]
fn a_field_that_is_not_known_is_refused_in_every_table_with_the_one_that_was_meant() {
    let meant = |word: &str| format!("did you mean `{word}`?");
    for (file, from, wrong, word) in [
        (BUNDLE, "language = \"en\"", "‸langauge = \"de\"\nlanguage = \"en\"", "language"),
        (BUNDLE, "id = \"acme\"", "id = \"acme\"\n‸nam = \"x\"", "name"),
        (BUNDLE, "builder = ", "‸sourc = \"x\"\nbuilder = ", "source"),
        (BUNDLE, "provider = \"ollama\"", "provider = \"ollama\"\n‸secrt = \"x\"", "secret"),
        (BUNDLE, "effect = \"external\"", "effect = \"external\"\n‸descripton = \"x\"", "description"),
        (BUNDLE, "{ confirm = \"once\",", "{ ‸max_call = 3, confirm = \"once\",", "max_calls"),
        (BUNDLE, "reference = \"", "‸refrence = \"x\"\nreference = \"", "reference"),
        (BUNDLE, "[policy.plugins]", "[policy.‸tool]\n[policy.plugins]", "tools"),
        (BUNDLE, "deny = [\"alerts\"]", "deny = [\"alerts\"]\n‸alow = []", "allow"),
        (BUNDLE, "rule = \"host", "‸reasn = \"x\"\nrule = \"host", "reason"),
        (BASE, "models = [\"local\"]", "‸model = [\"local\"]", "models"),
        (CODER, "deny = { append", "deny = { ‸apend = [], append", "append"),
        (CODER, "drops = [", "‸drop = []\ndrops = [", "drops"),
        (ISSUES, "surfaces = [", "‸surface = []\nsurfaces = [", "surfaces"),
        (ISSUES, "size = 148213", "size = 148213, ‸sise = 1", "size"),
        (ISSUES, "port = 8443", "‸ports = 1\nport = 8443", "port"),
        (ISSUES, "name = \"issues-token\"", "‸nane = \"x\"\nname = \"issues-token\"", "name"),
        (ISSUES, "name = \"repo\"", "‸resaon = \"x\"\nname = \"repo\"", "reason"),
    ] {
        Files::full().edit(file, from, wrong).refused("unknown_field", &meant(word));
    }
    // Where nothing is near, what is known is listed; the fields of a layer are known in a file that has none.
    Files::full().edit(BASE, "models = [\"local\"]", "‸frobnicate = 1").refused("unknown_field", "`instructions`");
    Files::small().put("profiles/empty.toml", "‸instruction = []").refused("unknown_field", "`instructions`?");
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    each_is(
        "duplicate_key",
        &[
            [BUNDLE, "language = \"en\"", "language = \"en\"\n‸language = \"de\"", "language = \"de\"", "keep one"],
            [BUNDLE, "name = \"Acme engineering\"", "name = \"A\"\n‸name = \"B\"", "name = \"B\"", "keep one"],
            [CODER, "limit = 10", "limit = 10\n‸limit = 11", "limit = 11", "keep one"],
            [CODER, "{ limit = 20 }", "{ limit = 20, ‸limit = 21 }", "{ limit = 21 }", "keep one"],
        ],
    );
}

#[test]
fn text_that_is_no_toml_is_refused_and_nothing_more_is_said_of_the_file() {
    Files::full().edit(BUNDLE, "language = \"en\"", "language = ‸en").refused("invalid_toml", "TOML");
    Files::full().edit(BASE, "models = [\"local\"]", "models = [\"local\"‸").refused_among_others("invalid_toml", "");
    // A profile that cannot be read is still there for those who extend it.
    let told = Files::full().edit(BASE, "models = [\"local\"]", "models == 1").build().expect_err("no TOML");
    assert!(told.list.iter().all(|one| one.file == BASE && one.code == "invalid_toml"), "{:#?}", told.list);
}

#[test]
fn a_field_that_must_be_there_is_missed() {
    each_is(
        "missing_field",
        &[
            [ISSUES, "version = \"1.4.0\"\n", "", "version = \"1.4.1\"\n", "1.4.0"],
            [ISSUES, "world = \"yoi:runtime/tool@1.0.0\"\n", "", "world = \"yoi:runtime/x@1.0.0\"\n", "world"],
        ]
        .map(|[file, from, _, right, help]| [file, from, "", right, help])
        .map(|mistake| mistake)[..0],
    );
    for (file, line, help) in [
        (BUNDLE, "schema = \"yoi.config-bundle/1\"\n", "schema = \"yoi.config-bundle/1\""),
        (BUNDLE, "revision = 7\n", "revision = 1"),
        (BUNDLE, "created_at = \"2026-06-25T15:49:30Z\"\n", "2026-06-25T15:49:30Z"),
        (BUNDLE, "language = \"en\"\n", "language = \"en\""),
        (ISSUES, "version = \"1.4.0\"\n", "1.4.0"),
        (ISSUES, "world = \"yoi:runtime/tool@1.0.0\"\n", "yoi:runtime/tool@1.0.0"),
    ] {
        Files::full().edit(file, line, "").told_at(file, 1, 1).refused("missing_field", help);
    }
    for (file, from, without, help) in [
        (BUNDLE, "[workspace]\nid = \"acme\"\n", "‸[workspace]\n", "id = \"my-team\""),
        (BUNDLE, "[models.local]\nprovider = \"ollama\"\n", "‸[models.local]\n", "provider ="),
        (BUNDLE, "[models.local]\nprovider = \"ollama\"\nmodel = \"qwen3:8b\"\n", "‸[models.local]\nprovider = \"ollama\"\n", "model"),
        (BUNDLE, "[tools.\"shell.run\"]\nsource = \"host\"\n", "‸[tools.\"shell.run\"]\n", "source = \"host\""),
        (BUNDLE, "[tools.\"shell.run\"]\nsource = \"host\"\neffect = \"external\"\n", "‸[tools.\"shell.run\"]\nsource = \"host\"\n", "external"),
        (BUNDLE, "[workflows.\"release/checks\"]\nreference = \"workflow://release/checks\"\n", "‸[workflows.\"release/checks\"]\n", "workflow://"),
        (BUNDLE, "[[accept]]\nrule = \"host_path.home\"\n", "‸[[accept]]\n", "`rule`"),
        (ISSUES, "[[secrets]]\nname = \"issues-token\"\n", "‸[[secrets]]\n", "asked for"),
        (ISSUES, "name = \"repo\"\nreason = \"Reads the files that an issue names.\"\n", "name = \"repo\"\n", ""),
        (ISSUES, "package = { digest", "package = ‸{ digests", "digest = "),
        (ISSUES, ", size = 148213 }", " }", "size = "),
    ] {
        if without.contains('‸') {
            Files::full().edit(file, from, without).refused_among_others("missing_field", help);
        } else {
            let told = Files::full().edit(file, from, without).build().expect_err("a field is missing");
            assert!(told.list.iter().any(|one| one.code == "missing_field" && one.file == file), "{:#?}", told.list);
        }
    }
    Files::full().without(BUNDLE).refused("missing_file", "yoi bundle new");
    let id = "[workspace]\nid = \"acme\"\n";
    Files::small().edit(BUNDLE, id, "").told_at(BUNDLE, 1, 1).refused("missing_field", "[workspace]");
}
