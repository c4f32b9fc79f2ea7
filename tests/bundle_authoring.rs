//! Diagnostics of the builder: each refusal with its code, place and remedy, and for each a similar input that passes.

use bundles::{BuildOptions, BundleLimits, Diagnostic, Diagnostics, Folder, Severity, build};
use yoi_tests::fuzz::seeds;

use crate::bundle_fixture::{Files, says_nothing_of};

/// A mistake: the file, the original text, the mistake with its caret, a similar text that passes, and a part of the help.
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

/// Returns [`Files::full`] without the parts that cause warnings.
fn quiet() -> Files {
    let input = "\ninput = \"schemas/fs.read.input.json\"\n";
    Files::full()
        .edit(BUNDLE, "effect = \"external\"\n", &format!("effect = \"external\"{input}"))
        .edit(BUNDLE, "effect = \"none\"\n", &format!("effect = \"none\"{input}"))
        .edit(CODER, "plugins = [\"issues\"]", "plugins = [\"issues\", \"alerts\"]")
        .edit(CODER, "lacks:tool:browser", "lacks:gpu")
        .append(BASE, "[settings]\nverbose = true\neditor = { tabs = 4 }\n")
}

#[test]
fn valid_folders_build_without_diagnostics() {
    assert_eq!(quiet().passes().diagnostics.list, []);
    assert_eq!(Files::small().passes().diagnostics.list, []);
}

#[test]
fn unknown_field_is_refused_in_every_table_with_a_suggestion() {
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
        (ISSUES, "prefix = ", "‸prefx = \"x\"\nprefix = ", "prefix"),
    ] {
        Files::full().edit(file, from, wrong).refused("unknown_field", &meant(word));
    }
    // If no name is similar, the known names are listed. In a file without layers, the fields of a layer are known too.
    Files::full().edit(BASE, "models = [\"local\"]", "‸frobnicate = 1").refused("unknown_field", "`instructions`");
    Files::small().put("profiles/empty.toml", "‸instruction = []").refused("unknown_field", "`instructions`?");
}

#[test]
fn duplicate_key_is_refused() {
    each_is(
        "duplicate_key",
        &[
            [BUNDLE, "language = \"en\"", "language = \"en\"\n‸language = \"de\"", "language = \"de\"", "remove one"],
            [BUNDLE, "name = \"Acme engineering\"", "name = \"A\"\n‸name = \"B\"", "name = \"B\"", "remove one"],
            [CODER, "limit = 10", "limit = 10\n‸limit = 11", "limit = 11", "remove one"],
            [CODER, "{ limit = 20 }", "{ limit = 20, ‸limit = 21 }", "{ limit = 21 }", "remove one"],
        ],
    );
}

#[test]
fn invalid_toml_is_the_only_error_of_its_file() {
    Files::full().edit(BUNDLE, "language = \"en\"", "language = ‸en").refused("invalid_toml", "TOML");
    // A profile that cannot be read still exists for the profiles that extend it.
    Files::full().edit(BASE, "models = [\"local\"]", "models =‸= 1").refused("invalid_toml", "TOML");
    Files::full().edit(BASE, "models = [\"local\"]", "models = ‸1").refused("invalid_type", "list");
    // Errors after an open bracket are guesses, so only the first one is reported.
    let open = Files::full().edit(BASE, "models = [\"local\"]", "models = [\"local\"").build().expect_err("no TOML");
    assert_eq!(open.list.len(), 1, "{:#?}", open.list);
    Files::full().edit(BASE, "models = [\"local\"]", "models = [\n\"local\"\n]").passes();
}

#[test]
fn missing_required_field_is_reported() {
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
    let workflow = "[workflows.\"release/checks\"]";
    for (file, from, wrong, help) in [
        (BUNDLE, "[workspace]\nid = \"acme\"\n", "‸[workspace]\n", "id = \"my-team\""),
        (BUNDLE, "[models.local]\nprovider = \"ollama\"\n", "‸[models.local]\n", "provider ="),
        (BUNDLE, "[models.local]\nprovider = \"ollama\"\nmodel = ", "‸[models.local]\nprovider = \"a\"\n#", "model"),
        (BUNDLE, "[tools.\"shell.run\"]\nsource = \"host\"\n", "‸[tools.\"shell.run\"]\n", "source = \"host\""),
        (
            BUNDLE,
            "[tools.\"shell.run\"]\nsource = \"host\"\ne",
            "‸[tools.\"shell.run\"]\nsource = \"host\"\n#",
            "external",
        ),
        (BUNDLE, &format!("{workflow}\nreference"), &format!("‸{workflow}\n#"), "workflow://"),
        (ISSUES, "[[secrets]]\nname = \"issues-token\"\n", "‸[[secrets]]\n", "name the requested secret"),
        (
            ISSUES,
            "[[secrets]]\nname = \"issues-token\"\nheader",
            "‸[[secrets]]\nname = \"issues-token\"\n#",
            "header = ",
        ),
        (
            ISSUES,
            "[[secrets]]\nname = \"issues-token\"\nheader = \"authorization\"\nprefix = \"Bearer \"\nreason",
            "‸[[secrets]]\nname = \"issues-token\"\nheader = \"authorization\"\nprefix = \"Bearer \"\n#",
            "person who decides",
        ),
        (
            ISSUES,
            "[[websockets]]\nscheme = \"wss\"\nhost = \"stream.example.com\"\npath_prefixes = [\"/live\"]\nreason",
            "‸[[websockets]]\nscheme = \"wss\"\nhost = \"stream.example.com\"\npath_prefixes = [\"/live\"]\n#",
            "person who decides",
        ),
        (ISSUES, "package = { digest = ", "package = ‸{ #", "digest = "),
        (ISSUES, ", size = 148213 }", " }", "size = "),
        (ISSUES, "package = ", "#", "package = "),
    ] {
        if file == ISSUES && !wrong.contains('‸') {
            let (line, column) = if wrong == "#" { (1, 1) } else { (2, 11) };
            Files::full().edit(file, from, wrong).told_at(file, line, column).refused("missing_field", help);
        } else if wrong.ends_with("{ #") {
            let bare = Files::full().edit(
                file,
                "digest = \"sha256:174efe13f006c1a7203bffaeac82171ecaf76d485302b133f79ba73c3e2ad71d\", ",
                "",
            );
            bare.told_at(file, 2, 11).refused("missing_field", help);
        } else {
            Files::full().edit(file, from, wrong).refused("missing_field", help);
        }
    }
    let accept = "[[accept]]\nrule = \"host_path.home\"\n";
    Files::full().edit(BUNDLE, accept, "‸[[accept]]\n").refused_among_others("missing_field", "`rule`");
    Files::full().without(BUNDLE).refused("missing_file", "create a `bundle.toml`");
    let id = "[workspace]\nid = \"acme\"\n";
    Files::small().edit(BUNDLE, id, "").told_at(BUNDLE, 1, 1).refused("missing_field", "[workspace]");
}

#[test]
fn value_of_a_wrong_type_is_refused_at_its_place() {
    each_is(
        "invalid_type",
        &[
            [BUNDLE, "revision = 7", "revision = ‸\"7\"", "revision = 1_000", "whole number"],
            [BUNDLE, "revision = 7", "revision = ‸-7", "revision = 0x7", "whole number"],
            [BUNDLE, "revision = 7", "revision = ‸7.0", "revision = 7", "whole number"],
            [BUNDLE, "language = \"en\"", "language = ‸1", "language = 'en'", "a string"],
            [BUNDLE, "tier = \"production\"", "tier = ‸1", "tier = \"1\"", "quotes"],
            [BUNDLE, "max_calls = 40", "max_calls = ‸true", "max_calls = 41", "whole number"],
            [BUNDLE, "deny = [\"alerts\"]", "deny = ‸\"alerts\"", "deny = []", "a list of strings"],
            [BUNDLE, "deny = [\"alerts\"]", "deny = [\"alerts\", ‸1]", "deny = [\"alerts\", \"issues\"]", "a string"],
            [
                CODER,
                "description = \"Writes code, as in ~/book.\"",
                "description = ‸[\"~/book\"]",
                "description = \"~/book\"",
                "a string",
            ],
            [
                CODER,
                "unset = [\"/verbose\", \"/editor/tabs\"]",
                "unset = ‸\"/verbose\"",
                "unset = [\"/verbose\"]",
                "unset = [\"/key\"]",
            ],
            [CODER, "limit = 10", "limit = ‸2026-06-25T15:49:30Z", "limit = \"2026-06-25T15:49:30Z\"", "as a string"],
            [CODER, "limit = 10", "limit = [‸15:49:30]", "limit = [\"15:49\"]", "as a string"],
            [CODER, "{ limit = 20 }", "‸20", "{ limit = 21 }", "a table"],
            [
                ISSUES,
                "surfaces = [\"tools\", \"ingress\"]",
                "surfaces = ‸{ a = 1 }",
                "surfaces = [\"tools\"]",
                "a list",
            ],
            [ISSUES, "[[secrets]]\nname", "‸[secrets]\nname", "[[secrets]]\nname", "a list of tables"],
        ],
    );
    let lost = |files: Files, help: &str| files.refused_among_others("invalid_type", help);
    lost(Files::full().edit(BUNDLE, "id = \"acme\"", "id = ‸1"), "a string");
    lost(Files::full().edit(BUNDLE, "provider = \"ollama\"", "provider = ‸1"), "a string");
    lost(Files::full().edit(ISSUES, "version = \"1.4.0\"", "version = ‸1.4"), "a string");
}

#[test]
fn invalid_declaration_is_not_reported_again_where_it_is_referenced() {
    for (file, from, wrong, code) in [
        (BUNDLE, "provider = \"ollama\"", "provider = ‸\"Ollama\"", "invalid_name"),
        (BUNDLE, "effect = \"external\"", "effect = ‸\"all\"", "invalid_value"),
        (BUNDLE, "reference = \"workflow://", "reference = ‸\"file:///", "invalid_name"),
        (ISSUES, "world = \"", "world = ‸\"/", "invalid_name"),
        (ISSUES, "{ \"issues.search\" = \"none\"", "{ \"issues.search\" = ‸\"never\"", "invalid_value"),
        (ISSUES, "version = \"1.4.0\"", "version = ‸\"1.4\"", "invalid_version"),
        (ISSUES, "version = \"1.4.0\"", "version ‸\"1.4.0\"", "invalid_toml"),
    ] {
        Files::full().edit(file, from, wrong).refused(code, "");
    }
}

#[test]
fn target_with_a_scheme_of_the_other_list_is_refused() {
    Files::full()
        .edit(ISSUES, "[[websockets]]\nscheme", "‸[[requests]]\nscheme")
        .refused("invalid_scheme", "move the target to `[[websockets]]`");
    let request = "[[requests]]\nscheme = \"http\"";
    Files::full()
        .edit(ISSUES, request, "‸[[websockets]]\nscheme = \"http\"")
        .refused("invalid_scheme", "move the target to `[[requests]]`");
}

#[test]
fn unknown_enum_value_is_refused_with_the_known_ones() {
    each_is(
        "invalid_value",
        &[
            [ISSUES, "open\" = \"external\"", "open\" = ‸\"write\"", "open\" = \"read\"", "`none`, `read`, `external`"],
            [
                BUNDLE,
                "effect = \"external\"",
                "effect = ‸\"network\"",
                "effect = \"write\"",
                "`none`, `read`, `write`, `external`",
            ],
            [
                BUNDLE,
                "confirm = \"once\"",
                "confirm = ‸\"sometimes\"",
                "confirm = \"always\"",
                "`always`, `once`, `never`",
            ],
            [BUNDLE, "max_calls = 40", "max_calls = ‸4294967296", "max_calls = 4294967295", "below 2^32"],
            [ISSUES, "size = 148213", "size = ‸4294967296", "size = 148214", "below 2^32"],
        ],
    );
    let schema = "schema = \"yoi.config-bundle/1\"";
    Files::full().edit(BUNDLE, schema, "schema = ‸\"yoi.config-bundle/2\"").refused("unsupported_schema", schema);
}

#[test]
fn dangling_name_is_refused_in_every_list_with_a_suggestion() {
    each_is(
        "dangling_name",
        &[
            [
                BUNDLE,
                "\"schemas/fs.read.input.json\"",
                "‸\"schemas/nothing.json\"",
                "\"schemas/fs.read.output.json\"",
                "schemas/input.json",
            ],
            [
                BUNDLE,
                "\"schemas/fs.read.input.json\"",
                "‸\"prompts/base/conduct.md\"",
                "\"schemas/fs.read.output.json\"",
                "`schemas`",
            ],
            [
                BUNDLE,
                "source = \"plugin:issues\"",
                "source = ‸\"plugin:isues\"",
                "source = \"plugin:alerts\"",
                "did you mean `issues`?",
            ],
            [
                BUNDLE,
                "allow = [\"fs.read\", \"shell.run\",",
                "allow = [\"fs.read\", ‸\"shell.ru\",",
                "allow = [\"fs.read\",",
                "did you mean `shell.run`?",
            ],
            [BUNDLE, "deny = [\"shell.run\"]", "deny = [‸\"shell\"]", "deny = [\"fs.read\"]", "declare it, or remove"],
            [
                BUNDLE,
                "allow = [\"issues\"]",
                "allow = [\"issues\", ‸\"alert\"]",
                "allow = [\"issues\", \"alerts\"]",
                "did you mean `alerts`?",
            ],
            [BUNDLE, "deny = [\"alerts\"]", "deny = [‸\"other\"]", "deny = []", "declare it, or remove"],
            [CODER, "extends = [\"base\"]", "extends = [‸\"bas\"]", "extends = []", "did you mean `base`?"],
            [
                CODER,
                "models = { replace = [\"large\", \"local\"]",
                "models = { replace = [\"large\", ‸\"lokal\"]",
                "models = { replace = [\"large\"]",
                "did you mean `local`?",
            ],
            [
                CODER,
                "instructions = [\"coder/system\"]",
                "instructions = [‸\"coder/sytem\"]",
                "instructions = [\"base/conduct\"]",
                "did you mean `coder/system`?",
            ],
            [
                CODER,
                "tools_allow = [\"fs.read\", \"issues.search\"]",
                "tools_allow = [\"fs.read\", ‸\"issue.search\"]",
                "tools_allow = []",
                "did you mean `issues.search`?",
            ],
            [
                CODER,
                "tools_deny = { append = [\"shell.run\"]",
                "tools_deny = { append = [‸\"shell.rn\"]",
                "tools_deny = { append = [\"fs.read\"]",
                "did you mean `shell.run`?",
            ],
            [
                CODER,
                "plugins = [\"issues\"]",
                "plugins = [‸\"issue\"]",
                "plugins = [\"alerts\"]",
                "did you mean `issues`?",
            ],
            [
                CODER,
                "workflows = [\"release/checks\", \"change\"]",
                "workflows = [\"release/checks\", ‸\"chang\"]",
                "workflows = []",
                "did you mean `change`?",
            ],
            [
                CODER,
                "tools_allow = [\"shell.run\"]",
                "tools_allow = { replace = [‸\"shell-run\"] }",
                "tools_allow = { replace = [\"shell.run\"] }",
                "did you mean `shell.run`?",
            ],
        ],
    );
}

#[test]
fn inheritance_without_a_consistent_order_is_refused() {
    let profile = |parents: &str| format!("extends = {parents}\n");
    // A cycle is reported once, at its bytewise first profile. Profiles that lead to the cycle are not reported.
    let ring = Files::small()
        .put("profiles/c.toml", &profile("[\"a\"]"))
        .put("profiles/into.toml", &profile("[\"a\"]"))
        .put("profiles/b.toml", &profile("[\"c\"]"))
        .put("profiles/a.toml", &profile("‸[\"b\"]"));
    let told = ring.refused("inheritance_cycle", "remove one `extends` from the cycle");
    assert!(told.message.contains("`a` extends `b` extends `c` extends `a`"), "{}", told.message);
    Files::small().put("profiles/a.toml", &profile("‸[\"a\"]")).refused("inheritance_cycle", "remove one");
    ring.put("profiles/c.toml", &profile("[]")).passes();

    let order = |last: &str| {
        Files::small()
            .put("profiles/x.toml", "")
            .put("profiles/y.toml", "")
            .put("profiles/one.toml", &profile("[\"x\", \"y\"]"))
            .put("profiles/two.toml", &profile(last))
            .put("profiles/child.toml", &profile("[\"one\", \"two\"]"))
            .put("profiles/both.toml", &profile("‸[\"one\", \"two\"]"))
    };
    let told = order("[\"y\", \"x\"]").build().expect_err("no order");
    let errors: Vec<_> =
        told.list.iter().map(|one| (one.code.as_str(), one.file.as_str(), one.line, one.column)).collect();
    assert_eq!(
        errors,
        [("inheritance_conflict", "profiles/both.toml", 1, 11), ("inheritance_conflict", "profiles/child.toml", 1, 11)]
    );
    assert!(told.list[0].help.contains("in the order"), "{}", told.list[0].help);
    order("[\"x\", \"y\"]").passes();

    Files::full().edit(CODER, "[\"base\"]", "[\"base\", ‸\"base\"]").refused("duplicate_name", "keep one of the two");
}

#[test]
fn a_chain_of_thirty_three_profiles_is_too_deep() {
    let chain = |length: usize| {
        let mut files = Files::small().put("profiles/p1.toml", "");
        for index in 2..=length {
            files = files.put(&format!("profiles/p{index}.toml"), &format!("extends = ‸[\"p{}\"]\n", index - 1));
        }
        files
    };
    chain(33).refused("too_deep", "flatten the chain");
    chain(32).passes();
}

#[test]
fn settings_nested_too_deep_are_refused_at_their_place() {
    let nested = |levels: usize| format!("‸limit = {}1{}", "[".repeat(levels), "]".repeat(levels));
    let limit = |levels| Files::full().edit(CODER, "limit = 10", &nested(levels).replace("‸limit = ", "limit = ‸"));
    limit(27).refused("too_deep", "flatten");
    limit(26).passes();
    let parameters = |levels: usize| format!("stop = ‸{}1{}", "[".repeat(levels), "]".repeat(levels));
    let model = |levels| Files::full().edit(BUNDLE, "stop = [\"END\"]", &parameters(levels));
    model(29).refused("too_deep", "flatten");
    model(28).passes();
    // Nesting that could overflow the stack of a parser is refused at a much lower limit.
    let told = limit(100_000).build().expect_err("too deep").list;
    assert_eq!((told[0].code.as_str(), told[0].help.as_str()), ("too_deep", "flatten the value"));
    let unset = |levels: usize| format!("unset = [‸\"{}\", ", "/a".repeat(levels));
    let unset = |levels: usize| Files::full().edit(CODER, "unset = [", &unset(levels));
    unset(100_000).refused("invalid_pointer", "/key/inner");
    unset(26).passes();
    let dotted = Files::full().edit(CODER, "limit = 10", &format!("limit{} = 1", ".a".repeat(100_000)));
    assert!(dotted.build().is_err());
}

#[test]
fn ambiguous_amendments_and_empty_texts_are_refused() {
    each_is(
        "invalid_field",
        &[
            [
                CODER,
                "models = { replace = [\"large\", \"local\"] }",
                "models = ‸{ replace = [], append = [] }",
                "models = { replace = [] }",
                "keep one",
            ],
            [
                CODER,
                "models = { replace = [\"large\", \"local\"] }",
                "models = ‸{}",
                "models = { append = [] }",
                "keep one",
            ],
            [BUNDLE, "model = \"qwen3:8b\"", "model = ‸\"\"", "model = \"q\"", "the provider's name"],
            [
                BUNDLE,
                "reason = \"The folder is the one of a book that everybody knows.\"",
                "reason = ‸\" \"",
                "reason = \"A book.\"",
                "why it is not a leak",
            ],
            [
                ISSUES,
                "reason = \"Signs in to the issue tracker.\"",
                "reason = ‸\"\"",
                "reason = \"Signs in.\"",
                "person who decides",
            ],
        ],
    );
}

#[test]
fn keys_that_a_layer_both_sets_and_unsets_are_refused() {
    let unset = "unset = [\"/verbose\", \"/editor/tabs\"]";
    each_is(
        "invalid_pointer",
        &[
            [CODER, unset, "unset = [‸\"/limit\"]", "unset = [\"/limits\"]", "different keys"],
            [CODER, unset, "unset = [‸\"/editor\"]", "unset = [\"/editor/height\"]", "different keys"],
            [CODER, unset, "unset = [‸\"/name/inner\"]", "unset = [\"/other/inner\"]", "different keys"],
            [CODER, unset, "unset = [\"/a\", ‸\"/a\"]", "unset = [\"/a\", \"/b\"]", "different keys"],
            [CODER, unset, "unset = [‸\"verbose\"]", "unset = [\"/a~1b\"]", "/key"],
            [CODER, unset, "unset = [‸1]", "unset = []", "/key"],
        ],
    );
}

#[test]
fn numbers_that_json_readers_round_are_refused() {
    for (wrong, right) in [
        ("9007199254740992", "9007199254740991"),
        ("-9007199254740992", "-9007199254740991"),
        ("9223372036854775808", "\"9223372036854775808\""),
        ("1e300", "1e-300"),
        ("inf", "1.5"),
        ("-nan", "-1.5"),
        ("[0x7fffffffffffffff]", "[0x7fffffff]"),
    ] {
        let (caret, digits) = wrong.strip_prefix('[').map_or(("‸", wrong), |digits| ("[‸", digits));
        Files::full().edit(CODER, "limit = 10", &format!("limit = {caret}{digits}")).refused("unsafe_number", "2^53");
        Files::full().edit(CODER, "limit = 10", &format!("limit = {right}")).passes();
    }
}

#[test]
fn digests_and_versions_have_one_spelling() {
    let digest = "sha256:174efe13f006c1a7203bffaeac82171ecaf76d485302b133f79ba73c3e2ad71d";
    let other = digest.replace("174e", "0000");
    for wrong in
        [digest.to_uppercase(), digest.replace("sha256:", ""), digest.replace("sha256", "sha512"), format!("{digest}0")]
    {
        let files = Files::full().edit(ISSUES, &format!("\"{digest}\""), &format!("‸\"{wrong}\""));
        files.refused("invalid_digest", "sha256sum");
    }
    Files::full().edit(ISSUES, digest, &other).passes();
    for wrong in ["1.4", "v1.4.0", "1.4.0.0", "01.4.0", "", "latest"] {
        let files = Files::full().edit(ISSUES, "version = \"1.4.0\"", &format!("version = ‸\"{wrong}\""));
        files.refused("invalid_version", "1.4.0");
    }
    Files::full().edit(ISSUES, "version = \"1.4.0\"", "version = \"1.4.0-rc.1+build.5\"").passes();
}

#[test]
fn value_outside_its_grammar_is_refused_in_every_field() {
    each_is(
        "invalid_name",
        &[
            [
                BUNDLE,
                "revision = 7\ncreated_at = \"2026-06-25T15:49:30Z\"",
                "revision = 7\ncreated_at = ‸\"2026-06-25\"",
                "revision = 7\ncreated_at = \"2026-06-25T15:49:31Z\"",
                "write a time: RFC 3339",
            ],
            [
                BUNDLE,
                "language = \"en\"",
                "language = ‸\"english language\"",
                "language = \"de-CH\"",
                "write a language tag: ",
            ],
            [
                BUNDLE,
                "tier = \"production\"",
                "‸Tier = \"production\"",
                "tier-a = \"production\"",
                "write a label key: ",
            ],
            [
                BUNDLE,
                "commit = \"7d1f0c3a9b5e8264d0f1a7c3e5b9280d4f6a1c37\"",
                "commit = ‸\"HEAD\"",
                "commit = \"0d1f0c3a9b5e8264d0f1a7c3e5b9280d4f6a1c37\"",
                "write a commit: ",
            ],
            [
                BUNDLE,
                "provider = \"ollama\"",
                "provider = ‸\"Ollama!\"",
                "provider = \"ollama.local\"",
                "write a provider name: ",
            ],
            [
                BUNDLE,
                "secret = \"anthropic-api-key\"",
                "secret = ‸\"anthropic_api_key\"",
                "secret = \"anthropic\"",
                "write a secret reference: ",
            ],
            [
                BUNDLE,
                "[models.local]",
                "[models.‸Other]\nprovider = \"a\"\nmodel = \"a\"\n[models.local]",
                "[models.other]\nprovider = \"a\"\nmodel = \"a\"\n[models.local]",
                "write a model name: ",
            ],
            [
                BUNDLE,
                "[tools.\"shell.run\"]",
                "[tools.‸\"shell run\"]\nsource = \"host\"\neffect = \"none\"\n[tools.\"shell.run\"]",
                "[tools.\"shell.ran\"]\nsource = \"host\"\neffect = \"none\"\n[tools.\"shell.run\"]",
                "write a tool name: ",
            ],
            [
                BUNDLE,
                "source = \"plugin:issues\"",
                "source = ‸\"plugin/issues\"",
                "source = \"host\"",
                "did you mean `plugin:issues`?",
            ],
            [BUNDLE, "\"src/**/*.rs\"", "‸\"../src/*.rs\"", "\"src/*.rs\"", "write a glob: "],
            [
                BUNDLE,
                "[workflows.\"release/checks\"]",
                "[workflows.‸\"release checks\"]\nreference = \"workflow://x\"\n[workflows.\"release/checks\"]",
                "[workflows.release-checks]\nreference = \"workflow://x\"\n[workflows.\"release/checks\"]",
                "write a workflow name: ",
            ],
            [
                BUNDLE,
                "reference = \"workflow://release/checks\"",
                "reference = ‸\"https://a.example/x\"",
                "reference = \"workspace://checks\"",
                "write a resource reference: ",
            ],
            [BUNDLE, "\"mount:repo:write\", ", "‸\"mount:repo:rw\", ", "\"mount:repo:read\", ", "`mount:LABEL:read`"],
            [BUNDLE, "deny = [\"git:write\"]", "deny = [‸\"git\"]", "deny = [\"git:read\"]", "`git:read`"],
            [BUNDLE, "deny = [\"shell.run\"]", "deny = [‸\"shell/run\"]", "deny = []", "write a tool name: "],
            [BUNDLE, "deny = [\"alerts\"]", "deny = [‸\"al.erts\"]", "deny = []", "write a plugin name: "],
            [
                CODER,
                "extends = [\"base\"]",
                "extends = [\"base\", ‸\"../base\"]",
                "extends = [\"base\"]",
                "write a profile name: ",
            ],
            [CODER, "[\"large\", \"local\"]", "[\"large\", ‸\"Local\"]", "[\"large\"]", "write a model name: "],
            [CODER, "[\"coder/system\"]", "[‸\"coder/system/\"]", "[]", "write a prompt name: "],
            [CODER, "[\"fs.read\", \"issues.search\"]", "[‸\"fs_read!\"]", "[\"fs.read\"]", "write a tool name: "],
            [CODER, "{ append = [\"shell.run\"] }", "{ append = [‸\"\"] }", "{ append = [] }", "write a tool name: "],
            [CODER, "plugins = [\"issues\"]", "plugins = [‸\"1\"]", "plugins = []", "write a plugin name: "],
            [
                CODER,
                "\"release/checks\", \"change\"",
                "\"release/checks\", ‸\"ch nge\"",
                "\"release/checks\"",
                "write a workflow name: ",
            ],
            [CODER, "language = \"de-CH\"", "language = ‸\"de_CH!\"", "language = \"fr\"", "write a language tag: "],
            [
                CODER,
                "\"mount:repo:read\"]\nwants",
                "‸\"mount:/srv:read\"]\nwants",
                "\"mount:docs:read\"]\nwants",
                "write a mount label: ",
            ],
            [
                CODER,
                "\"egress:https://api.example.com/v1\", \"shell\"",
                "‸\"egress:https://api.example.com\"",
                "\"egress:https://api.example.com/\"",
                "write a URL prefix: ",
            ],
            [
                CODER,
                "drops = [\"mount:repo:read\"",
                "drops = [‸\"mount:repo\"",
                "drops = [\"mount:repo:write\"",
                "one of `secret:NAME`",
            ],
            [CODER, "\"has:shell\"", "‸\"has:Shell\"", "\"has:tool:fs.read\"", "write a capability: "],
            [CODER, "\"lacks:tool:browser\"", "‸\"without:browser\"", "\"lacks:browser\"", "`lacks:CAPABILITY`"],
            [CODER, "\"os:linux\"", "‸\"os:Linux\"", "\"os:macos\"", "write a platform: "],
            [CODER, "\"arch:x86_64\"", "‸\"arch:x86-64!\"", "\"arch:aarch64\"", "write a platform: "],
            [ISSUES, "\"tools\", \"ingress\"", "\"tools\", ‸\"in gress\"", "\"tools\"", "write a plugin surface: "],
            [
                ISSUES,
                "world = \"yoi:runtime/tool@1.0.0\"",
                "world = ‸\"YOI\"",
                "world = \"yoi:runtime/tool@2.0.0\"",
                "write a world: ",
            ],
            [
                ISSUES,
                "name = \"issues-token\"",
                "name = ‸\"issues/token\"",
                "name = \"issues\"",
                "write a secret reference: ",
            ],
            [ISSUES, "\"authorization\"", "‸\"Host\"", "\"x-api-key\"", "write a header name: "],
            [ISSUES, "\"Bearer \"", "‸\" Bearer\"", "\"token \"", "write a header prefix: "],
            [ISSUES, "\"webhook\"", "‸\"web/hook\"", "\"web-hook\"", "write an ingress name: "],
            [ISSUES, "\"issues.open\" =", "‸\"Issues.open\" =", "\"issues.close\" =", "write a tool name: "],
        ],
    );
    Files::small().edit(BUNDLE, "id = \"acme\"", "id = ‸\"Acme\"").refused("invalid_name", "write a workspace id: ");
    Files::small().edit(BUNDLE, "id = \"acme\"", "id = \"acme-2\"").passes();
}

#[test]
fn file_with_an_invalid_name_or_in_a_wrong_place_is_refused() {
    for (file, code, help) in [
        ("prompts/Upper.md", "invalid_name", "rename the file"),
        ("prompts/a b.md", "invalid_name", "rename the file"),
        ("prompts/notes.txt", "unexpected_file", "rename it, or move it"),
        ("profiles/Upper.toml", "invalid_name", "rename the file"),
        ("profiles/team/coder.toml", "invalid_name", "rename the file"),
        ("profiles/coder.json", "unexpected_file", "rename it, or move it"),
        ("plugins/my_plugin.toml", "invalid_name", "rename the file"),
        ("plugins/issues.wasm", "unexpected_file", "rename it, or move it"),
        ("workflows/-x.md", "invalid_name", "rename the file"),
        ("workflows/change.yaml", "duplicate_name", "rename one of the two"),
        ("workflows/change.md.orig", "unexpected_file", "move it out"),
        ("workflows/change.md.bak", "unexpected_file", "move it out"),
        ("workflows/change.md.rej", "unexpected_file", "move it out"),
        ("workflows/change.md~", "unexpected_file", "move it out"),
        ("workflows/change.swp", "unexpected_file", "move it out"),
        ("workflows/notes.docx", "unexpected_file", "move it out"),
        ("workflows/plain", "unexpected_file", "move it out"),
        ("workflows/#change.md#", "unexpected_file", "move it out"),
        ("workflows/Thumbs.db", "unexpected_file", "move it out"),
        ("prompts/base/conduct.md.orig", "unexpected_file", "move it out"),
        ("profiles/coder.toml.bak", "unexpected_file", "move it out"),
        ("plugins/issues.toml~", "unexpected_file", "move it out"),
        ("schemas/fs.read.input.json.orig", "unexpected_file", "move it out"),
        ("schemas/README.md", "unexpected_file", "move it out"),
        ("workflows/release/checks.md", "duplicate_name", "rename one of the two"),
    ] {
        Files::full().put(file, "").refused(code, help);
    }
    for file in [
        "prompts/upper.md",
        "prompts/a/b-c.d_e.md",
        "profiles/upper.toml",
        "workflows/x.yaml",
        "workflows/a/x.yml",
        "workflows/x.json",
        "workflows/x.toml",
        "workflows/x.txt",
        "workflows/v1.2.md",
        "schemas/unused.json",
    ] {
        Files::full().put(file, "").passes();
    }
    for file in [BUNDLE, CODER, ISSUES] {
        Files::full()
            .put_bytes(file, b"description = \"\xff\"")
            .refused_among_others("not_utf8", "save the file as UTF-8");
    }
    for file in ["prompts/base/conduct.md", "workflows/change.md", "schemas/fs.read.input.json"] {
        Files::full().put_bytes(file, b"\xff").refused("not_utf8", "save the file as UTF-8");
        Files::full().put(file, "{ \"title\": \"ü\" }").passes();
    }
}

#[test]
fn schema_that_is_not_a_json_object_is_refused_in_its_own_file() {
    let schema = |text: &str| Files::full().put("schemas/fs.read.input.json", text);
    schema("{\n  \"type\": ‸object }").refused("invalid_schema", "correct the file");
    schema("{ \"a\": 1, \"a‸\": 2 }").refused("invalid_schema", "correct the file");
    schema("{ \"maximum\": 1844674407370955161‸5 }").refused("invalid_schema", "correct the file");
    schema("true").refused("invalid_schema", "correct the file");
    schema(&format!("{{\"a\":{}{}}}", "[".repeat(32), "]".repeat(32))).refused("invalid_schema", "correct the file");
    schema("{}").passes();
    schema("{ \"b\" : 1.50, \"a\" : \"\\u0061\" }").passes();
}

#[test]
fn a_faulty_schema_is_refused_at_its_line_and_its_neighbour_passes() {
    let schema = |text: &str| Files::full().put("schemas/fs.read.input.json", text);
    for (faulty, help, neighbour) in [
        ("{\n \"pattern\": ‸\"(?=a)\" }", "correct the regular expression", "{ \"pattern\": \"(?:a)\" }"),
        ("{\n \"pattern\": ‸\"(a)\\\\1\" }", "correct the regular expression", "{ \"pattern\": \"(a)1\" }"),
        ("{\n \"pattern\": ‸\"[\" }", "correct the regular expression", "{ \"pattern\": \"[a]\" }"),
        ("{\n \"type\": ‸\"objekt\" }", "write one of the seven types", "{ \"type\": \"object\" }"),
        ("{\n \"required\": ‸\"path\" }", "write the keyword", "{ \"required\": [\"path\"] }"),
        (
            "{\n \"$ref\": ‸\"#/$defs/a\" }",
            "declare the schema",
            "{ \"$ref\": \"#/$defs/a\", \"$defs\": { \"a\": {} } }",
        ),
        ("{\n \"$ref\": ‸\"https://example.com/a\" }", "copy the remote schema", "{ \"items\": { \"$ref\": \"#\" } }"),
        ("‸{ \"$ref\": \"#\" }", "use recursive references", "{ \"properties\": { \"a\": { \"$ref\": \"#\" } } }"),
    ] {
        schema(faulty).refused("invalid_schema", help);
        schema(neighbour).passes();
    }
    let told = schema("{\n \"type\": \"objekt\",\n \"required\": \"path\" }").build().expect_err("two faults");
    let lines: Vec<_> = told.list.iter().map(|one| (one.code.as_str(), one.file.as_str(), one.line)).collect();
    let file = "schemas/fs.read.input.json";
    assert_eq!(lines, [("invalid_schema", file, 2), ("invalid_schema", file, 3)]);
    assert!(told.list[0].message.contains("`/type`: unknown type"), "{}", told.list[0].message);
}

#[test]
fn patterns_of_a_schema_that_take_too_much_memory_are_refused() {
    let patterns = |count: usize| {
        let each: Vec<String> =
            (0..count).map(|number| format!("{{\"pattern\":\"[\\\\pL]{{60}}x{number}\"}}")).collect();
        Files::full().put("schemas/fs.read.input.json", &format!("{{\"allOf\":[{}]}}", each.join(",")))
    };
    patterns(1).passes();
    let told = patterns(480).build().expect_err("too much");
    assert!(told.list[0].message.contains("`pattern_bytes`"), "{}", told.list[0].message);
}

#[test]
fn a_text_with_control_characters_is_refused() {
    each_is(
        "control_character",
        &[
            [
                BUNDLE,
                "name = \"Acme engineering\"",
                "name = ‸\"Acme\\u001b[31m\"",
                "name = \"Acmé \u{5d0}\u{200f} engineering\"",
                "on one line",
            ],
            [
                CODER,
                "description = \"Writes code, as in ~/book.\"",
                "description = ‸\"~/book \\u0000\"",
                "description = \"~/book\"",
                "on one line",
            ],
            [
                ISSUES,
                "description = \"Searches and opens tickets.\"",
                "description = ‸\"a\\r\\u0085\"",
                "description = \"a\"",
                "on one line",
            ],
            [
                CODER,
                "[settings]\nlimit = 10",
                "‸[settings]\n\"lim\\nit\" = 10",
                "[settings]\n\"lím\u{200f} it\" = 10",
                "on one line",
            ],
        ],
    );
}

#[test]
fn invalid_permission_is_refused_with_its_reason() {
    let port = "port = 8443\n";
    for (code, from, wrong, right) in [
        ("invalid_scheme", "scheme = \"wss\"", "scheme = \"gopher\"", "scheme = \"ws\""),
        ("invalid_host", "host = \"stream.example.com\"", "host = \"stream example\"", "host = \"Stream.example.com\""),
        ("mark_missing", "wildcard = \"subdomain\"\n", "", "wildcard = \"subdomain\"\nport = 81\n"),
        (
            "wildcard_too_wide",
            "host = \"*.mirror.example.com\"",
            "host = \"*.com\"",
            "host = \"*.mirrors.example.com\"",
        ),
        ("mark_without_meaning", port, "broad = true\n", "port = 443\n"),
        ("port_zero", port, "port = 0\n", "port = 1\n"),
        ("method_missing", "methods = [\"HEAD\"]", "methods = []", "methods = [\"PUT\", \"GET\"]"),
        ("invalid_method", "methods = [\"HEAD\"]", "methods = [\"TRACE\"]", "methods = [\"HEAD\", \"HEAD\"]"),
        (
            "method_on_websocket",
            "path_prefixes = [\"/live\"]",
            "path_prefixes = [\"/live\"]\nmethods = [\"GET\"]",
            "path_prefixes = [\"/b\", \"/a\"]",
        ),
        ("path_missing", "path_prefixes = [\"/live\"]", "", "path_prefixes = [\"/\"]"),
        ("invalid_path", "path_prefixes = [\"/live\"]", "path_prefixes = [\"/a/../b\"]", "path_prefixes = [\"/a/b\"]"),
        ("invalid_permission", port, "port = 65536\n", "port = 65535\n"),
        ("invalid_permission", "scheme = \"wss\"\n", "", "scheme = \"wss\"\nlocal = true\n"),
    ] {
        let files = Files::full().edit(ISSUES, from, wrong);
        // The caret is at the permission, which may start above the changed line.
        let change = files.text(ISSUES).find(wrong).expect("the change");
        let change = if wrong.is_empty() { Files::full().text(ISSUES).find(from).expect("the change") } else { change };
        let before = &files.text(ISSUES)[..change];
        let line = before
            .lines()
            .enumerate()
            .filter(|(_, line)| line.starts_with("[["))
            .last()
            .map_or(0, |(line, _)| line + 1);
        files.told_at(ISSUES, line, 1).refused(code, "path_prefixes");
        Files::full().edit(ISSUES, from, right).passes();
    }
}

/// Returns the default limits with a change.
fn limits(change: impl FnOnce(&mut BundleLimits)) -> BundleLimits {
    let mut limits = BundleLimits::default();
    change(&mut limits);
    limits
}

#[test]
fn content_above_a_limit_is_refused_with_the_name_of_the_limit() {
    let refused = |files: Files, limits: BundleLimits, name: &str| {
        let told = files.refused_within(&limits, "too_large", "");
        assert!(told.message.contains(&format!("`{name}`")), "{told:#?}");
    };
    let full = Files::full;
    let at = |file: &str, text: &str| {
        let files = full();
        let content = files.text(file);
        files.put(file, &content.replacen(text, &format!("‸{text}"), 1))
    };
    refused(full(), limits(|limits| limits.manifest_bytes = 4000), "manifest_bytes");
    let large = full().put("prompts/coder/system.md", &"a".repeat(100));
    refused(large, limits(|limits| limits.blob_bytes = 99), "blob_bytes");
    let package = limits(|limits| limits.package_bytes = 148_212);
    refused(at(ISSUES, "{ digest"), package, "package_bytes");
    refused(at(ISSUES, "{ \"issues.search\" = \"none\""), limits(|limits| limits.plugin_tools = 1), "plugin_tools");
    let packages = limits(|limits| limits.packages_bytes = 148_214);
    refused(at(ISSUES, "{ digest"), packages, "packages_bytes");
    refused(full(), limits(|limits| limits.blobs = 6), "blobs");
    refused(full(), limits(|limits| limits.bundle_bytes = 8000), "bundle_bytes");
    refused(full(), limits(|limits| limits.profiles = 1), "profiles");
    refused(at(CODER, "[\"base\"]"), limits(|limits| limits.parents = 0), "parents");
    refused(full().told_at(CODER, 0, 0), limits(|limits| limits.layers = 1), "layers");
    let text = "\"Sees whether a link in an issue still works.\"".len();
    let long = full().edit(BUNDLE, "\"Acme engineering\"", &format!("‸\"{}\"", "a".repeat(text + 60)));
    refused(long, limits(|limits| limits.text_bytes = text + 50), "text_bytes");
    let names: Vec<String> = (0..6).map(|index| format!("\"has:a{index}\"")).collect();
    let list =
        full().edit(CODER, "\"has:shell\", \"lacks:tool:browser\", \"os:linux\", \"arch:x86_64\"", &names.join(", "));
    let content = list.text(CODER);
    let list = list.put(CODER, &content.replace("when = [", "when = ‸["));
    refused(list, limits(|limits| limits.list_items = 5), "list_items");

    let key = full().edit(CODER, "editor = { width = 120 }", "editor = { a-longer-key = 1 }");
    let content = key.text(CODER);
    let key = key.put(CODER, &content.replace("[settings]", "‸[settings]"));
    refused(key, limits(|limits| limits.key_bytes = 11), "key_bytes");

    let deep = full().build_within(&limits(|limits| limits.json_depth = 7)).expect_err("too deep");
    assert!(deep.list.iter().all(|one| one.code == "too_deep" && one.message.contains("`json_depth`")), "{deep:#?}");
    let lineage = full().build_within(&limits(|limits| limits.lineage = 1)).expect_err("too long");
    assert!(lineage.list.iter().all(|one| one.code == "too_deep" && one.message.contains("`lineage`")), "{lineage:#?}");

    // The settings of all layers of a lineage are counted together, so `base` alone has fewer than `coder`.
    let settings = settings_of_coder();
    let together = full().build_within(&limits(|limits| limits.settings_bytes = settings - 1)).expect_err("too much");
    let told = &together.list[0];
    assert_eq!(
        (together.list.len(), told.code.as_str(), told.file.as_str()),
        (1, "too_large", CODER),
        "{:#?}",
        together.list
    );
    assert!(told.message.contains("`settings_bytes`"), "{}", told.message);

    let exact = BundleLimits {
        manifest_bytes: full().passes().bundle.manifest_bytes().len(),
        json_depth: 9,
        blob_bytes: 99,
        pattern_bytes: BundleLimits::default().pattern_bytes,
        plugin_toml_bytes: 0,
        component_bytes: 0,
        plugin_tools: 2,
        package_bytes: 148_213,
        packages_bytes: 148_215,
        blobs: 12,
        bundle_bytes: bundles::archive::pack(&full().passes().bundle).len(),
        profiles: 2,
        lineage: 2,
        parents: 1,
        layers: 2,
        list_items: 5,
        text_bytes: 60,
        key_bytes: 11,
        settings_bytes: settings,
        files: 10,
    };
    full().build_within(&exact).unwrap_or_else(|told| panic!("{:#?}", told.list));
}

/// Returns the bytes of the settings in the layers of `coder` and its ancestors.
fn settings_of_coder() -> usize {
    let bundle = Files::full().passes().bundle;
    let layers = bundle.manifest().profiles.values().flat_map(|profile| &profile.layers);
    let settings = layers.map(|layer| &layer.settings).filter(|settings| !settings.is_empty());
    settings.map(|settings| serde_json::to_string(settings).expect("JSON").len()).sum()
}

#[test]
fn finding_is_accepted_by_rule_and_field_and_an_unused_acceptance_is_reported() {
    let built = Files::full().passes();
    assert_eq!(built.accepted.len(), 1);
    assert_eq!(built.accepted[0].pointer.as_str(), "/profiles/coder/description");

    let field = "field = \"/profiles/coder/description\"";
    let elsewhere = Files::full().edit(BUNDLE, field, "field = \"/profiles/base/description\"");
    elsewhere
        .put(CODER, &Files::full().text(CODER).replace("\"Writes", "‸\"Writes"))
        .refused("host_path_in_bundle", "mount");
    let rule = Files::full().edit(BUNDLE, "rule = \"host_path.home\"", "rule = ‸\"host_path.house\"");
    rule.refused_among_others("unknown_rule", "lists the rules");
    Files::full().edit(BUNDLE, "rule = \"host_path.home\"", "rule = \"secret.aws\"").build().expect_err("another rule");

    let unused = quiet().edit(CODER, "as in ~/book", "as in a book").passes().diagnostics;
    assert_eq!(unused.list.len(), 1);
    let line = 1 + quiet().text(BUNDLE).lines().position(|line| line == "[[accept]]").expect("a line");
    let one = &unused.list[0];
    assert_eq!(
        (one.code.as_str(), one.severity, one.file.as_str(), one.line),
        ("unused_acceptance", Severity::Warning, BUNDLE, line)
    );
    assert!(one.help.contains("remove it"));

    // A finding in a key is accepted under the name by which the key is reported.
    let key = "\"~/notes\" = 1";
    let told = Files::full().edit(CODER, "limit = 10", &format!("‸{key}")).refused("host_path_in_bundle", "mount");
    assert!(told.message.contains("/settings/(withheld)"), "{}", told.message);
    let accept = "\n[[accept]]\nrule = \"host_path.home\"\nfield = \"/profiles/coder/layers/0/settings/(withheld)\"\nreason = \"A folder of every system.\"\n";
    Files::full().edit(CODER, "limit = 10", key).append(BUNDLE, accept).passes();
    // An acceptance cannot contain another path.
    let field_of_none = Files::full()
        .append(BUNDLE, &accept.replace("\"/profiles/coder/layers/0/settings/(withheld)\"", "‸\"/home/alice/notes\""));
    let told = field_of_none.refused("dangling_name", "as in the finding");
    assert!(!told.message.contains("alice"), "{}", told.message);
}

/// Returns a value that looks like a credential. It is concatenated, so that no file contains it.
fn credential() -> String {
    ["AKIA", "IOSFODNN7", "ABCDEFG"].concat()
}

const HOST_PATH: &str = "/home/alice/projects/notes";

/// Fields with free text: the file, the original text, and the text with the value and its caret.
fn free_fields(value: &str) -> Vec<(&'static str, &'static str, String)> {
    let quoted = |text: &str| text.replace("VALUE", value);
    let mut fields = vec![
        (BUNDLE, "name = \"Acme engineering\"", quoted("name = ‸\"VALUE\"")),
        (BUNDLE, "tier = \"production\"", quoted("tier = ‸\"VALUE\"")),
        (BUNDLE, "source = \"agents of the platform team\"", quoted("source = ‸\"built from VALUE\"")),
        (BUNDLE, "repository = \"https://git.example.com/acme/agents\"", quoted("repository = ‸\"VALUE\"")),
        (BUNDLE, "builder = \"yoi 0.1.0\"", quoted("builder = ‸\"VALUE\"")),
        (BUNDLE, "model = \"qwen3:8b\"", quoted("model = ‸\"VALUE\"")),
        (BUNDLE, "temperature = 0.25", quoted("temperature = ‸\"VALUE\"")),
        (BUNDLE, "stop = [\"END\"]", quoted("stop = [\"END\", { a = ‸\"VALUE\" }]")),
        (BUNDLE, "temperature = 0.25", quoted("‸\"VALUE\" = 1")),
        (BUNDLE, "description = \"Reads a text file of a mount.\"", quoted("description = ‸\"Reads VALUE\"")),
        (BUNDLE, "reason = \"The folder is", quoted("reason = ‸\"VALUE The folder is")),
        (CODER, "description = \"Writes code, as in ~/book.\"", quoted("description = ‸\"Writes VALUE ~/book\"")),
        (CODER, "name = \"calm\"", quoted("name = ‸\"VALUE\"")),
        (CODER, "name = \"calm\"", quoted("‸\"VALUE\" = \"calm\"")),
        (CODER, "list = [1, \"two\", { three = 3 }]", quoted("list = [1, \"two\", { three = ‸\"VALUE\" }]")),
        (CODER, "editor = { width = 120 }", quoted("editor = { width = ‸\"\"\"\n1\nVALUE\"\"\" }")),
        (CODER, "{ limit = 20 }", quoted("{ limit = ‸\"VALUE\" }")),
        (ISSUES, "description = \"Searches and opens tickets.\"", quoted("description = ‸\"VALUE\"")),
        (ISSUES, "reason = \"Signs in", quoted("reason = ‸\"VALUE Signs in")),
        (ISSUES, "reason = \"Reads issues", quoted("reason = ‸\"VALUE Reads issues")),
        (ISSUES, "reason = \"Receives new", quoted("reason = ‸\"VALUE Receives new")),
        ("prompts/base/conduct.md", "Be kind and brief.", quoted("Bé kind\nand read ‸VALUE first.")),
        ("workflows/change.md", "2. Write.", quoted("2. Write ‸VALUE.")),
        ("schemas/fs.read.input.json", "\"type\": \"object\"", quoted("\"title\": \"‸VALUE\", \"type\": \"object\"")),
        ("schemas/fs.read.output.json", "\"string\"", quoted("\"string\", \"title\": \"‸VALUE\"")),
    ];
    fields.retain(|(file, from, _)| {
        seeds::folder().iter().any(|(name, text)| name == file && String::from_utf8_lossy(text).contains(from))
    });
    fields
}

/// Returns the text of all diagnostics in every form.
fn all_of(told: &Diagnostics) -> String {
    let lines = told.list.iter().map(|one| format!("{one:?} {} {}\n", one.message, one.help));
    lines.chain(told.sources.iter().map(|source| source.masked.clone())).collect()
}

#[test]
fn secrets_and_host_paths_are_refused_in_every_field_and_never_repeated() {
    for (value, code, help) in
        [(credential(), "secret_in_bundle", "revoke"), (HOST_PATH.to_owned(), "host_path_in_bundle", "mount")]
    {
        let fields = free_fields(&value);
        assert_eq!(fields.len(), 25, "a field is no longer in the folder");
        for (file, from, wrong) in fields {
            let told = Files::full().edit(file, from, &wrong).refused_among_others(code, help);
            says_nothing_of(&value, &all_of(&told));
            let rules = told.list.iter().filter(|one| one.code == code);
            assert!(rules.clone().all(|one| one.message.contains("(rule `")), "{file}: {:#?}", told.list);
            Files::full().edit(file, from, &wrong.replace(&value, "an ordinary word").replace('‸', "")).passes();
        }
    }
}

#[test]
fn permission_or_wish_may_contain_a_remote_path_and_no_secret() {
    let secret = credential();
    for (file, from, wrong) in [
        (ISSUES, "path_prefixes = [\"/live\"]", format!("path_prefixes = [\"/live/{secret}\"]")),
        (
            ISSUES,
            "host = \"stream.example.com\"",
            format!("host = \"{}.example.com\"", "sk-ant-api03-ab3def8hij4lmno9qrst2vwx"),
        ),
        (
            ISSUES,
            "subprotocols = [\"issues.v1\"",
            format!("subprotocols = [\"{}\"", "sk-ant-api03-ab3def8hij4lmno9qrst2vwx"),
        ),
        (CODER, "egress:https://api.example.com/v1", format!("egress:https://api.example.com/{secret}")),
        (BUNDLE, "egress:https://api.example.com/v1", format!("egress:https://api.example.com/{secret}")),
    ] {
        let told = Files::full().edit(file, from, &wrong).build().expect_err("a secret");
        assert!(told.list.iter().any(|one| one.code == "secret_in_bundle" && one.file == file), "{:#?}", told.list);
        says_nothing_of(&secret, &all_of(&told));
        Files::full()
            .edit(
                file,
                from,
                &wrong.replace(&secret, "home/feed").replace("sk-ant-api03-ab3def8hij4lmno9qrst2vwx", "a"),
            )
            .passes();
    }
}

#[test]
fn secret_in_place_of_a_name_is_not_repeated() {
    let secret = credential();
    let lower = "sk-ant-api03-ab3def8hij4lmno9qrst2vwx";
    for value in [secret.as_str(), lower] {
        for (file, from) in [
            (BUNDLE, "\"acme\""),
            (BUNDLE, "\"https://git.example.com/acme/agents\""),
            (BUNDLE, "\"7d1f0c3a9b5e8264d0f1a7c3e5b9280d4f6a1c37\""),
            (BUNDLE, "\"ollama\""),
            (BUNDLE, "secret = \"anthropic-api-key\""),
            (BUNDLE, "\"plugin:issues\""),
            (BUNDLE, "\"schemas/fs.read.input.json\""),
            (BUNDLE, "\"once\""),
            (BUNDLE, "\"external\""),
            (BUNDLE, "\"docs/*.md\""),
            (BUNDLE, "\"host_path.home\""),
            (BUNDLE, "\"/profiles/coder/description\""),
            (BUNDLE, "labels = { team"),
            (BUNDLE, "[models.local]"),
            (BUNDLE, "\"yoi.config-bundle/1\""),
            (CODER, "[\"base\"]"),
            (CODER, "[\"coder/system\"]"),
            (CODER, "plugins = [\"issues\"]"),
            (CODER, "\"has:shell\""),
            (CODER, "\"os:linux\""),
            (CODER, "\"de-CH\""),
            (CODER, "\"shell\"]"),
            (CODER, "\"/verbose\""),
            (CODER, "drops ="),
            (ISSUES, "\"1.4.0\""),
            (ISSUES, "\"sha256:174efe13f006c1a7203bffaeac82171ecaf76d485302b133f79ba73c3e2ad71d\""),
            (ISSUES, "\"yoi:runtime/tool@1.0.0\""),
            (ISSUES, "\"ingress\""),
            (ISSUES, "\"issues-token\""),
            (ISSUES, "\"HEAD\""),
            (ISSUES, "\"wss\""),
            (ISSUES, "\"stream.example.com\""),
        ] {
            let word = from.rsplit_once('"').map_or(from, |(word, _)| word).trim_start_matches("secret = ");
            let word = word.trim_start_matches("plugins = [").trim_start_matches('[').trim_start_matches('"');
            let word = word
                .trim_start_matches("labels = { ")
                .trim_end_matches(" =")
                .trim_end_matches(']')
                .trim_start_matches("models.");
            let wrong = from.replace(
                word,
                if from.contains('=') && !from.contains('"') || from.contains("models.") { "QUOTED" } else { value },
            );
            let wrong = wrong.replace("QUOTED", &format!("\"{value}\""));
            let broken = Files::full().edit(file, from, &wrong);
            match broken.build() {
                Err(told) => says_nothing_of(value, &all_of(&told)),
                // A host name is lower case, and in lower case this is not a credential.
                Ok(_) if from == "\"stream.example.com\"" && value == secret => {}
                Ok(_) => panic!("{file}: `{from}` has room for a secret"),
            }
        }
    }
}

#[test]
fn secret_in_invalid_toml_is_not_repeated() {
    let secret = credential();
    for wrong in [
        format!("password = {secret}"),
        format!("{secret} = "),
        format!("{secret} {secret}"),
        format!("[{secret}"),
        format!("a = \"{secret}"),
        format!("a = \"\\q {secret}\""),
        format!("a = '''{secret}"),
        format!("\"{secret}\" = 1\n\"{secret}\" = 2"),
        format!("{secret}.a = 1\n{secret} = 2"),
        format!("a = [\"{secret}\", {secret}]"),
    ] {
        let told = Files::full().edit(CODER, "limit = 10", &wrong).build().expect_err("no TOML");
        says_nothing_of(&secret, &all_of(&told));
    }
}

#[test]
fn unknown_plugin_surface_is_refused_with_a_suggestion() {
    let written = "surfaces = [\"tools\", \"ingress\"]";
    let right = "surfaces = [\"service\"]";
    each_is(
        "unknown_surface",
        &[
            [ISSUES, written, "surfaces = [\"tools\", ‸\"kernel\"]", right, "`tools`, `service`, `ingress`"],
            [ISSUES, written, "surfaces = [‸\"tool\"]", right, "did you mean `tools`?"],
            [ISSUES, written, "surfaces = [\"ingress\", ‸\"services\"]", right, "did you mean `service`?"],
            [ISSUES, written, "surfaces = [‸\"Tools\"]", right, "did you mean `tools`?"],
            [ISSUES, written, "surfaces = [\"tools\", ‸\"INGRESS\"]", right, "did you mean `ingress`?"],
            [ISSUES, written, "surfaces = [‸\"Kernel\"]", right, "`tools`, `service`, `ingress`"],
        ],
    );
    let twice = "surfaces = [\"tools\", \"ingress\", ‸\"tools\"]";
    each_is("duplicate_name", &[[ISSUES, written, twice, right, "remove one of the two"]]);
    each_is(
        "invalid_field",
        &[[ISSUES, written, "surfaces = ‸[]", right, "name one of `tools`, `service`, `ingress`"]],
    );
}

#[test]
fn all_mistakes_are_reported_together_in_order_of_file_and_place() {
    let files = Files::full().edit(BUNDLE, "language = \"en\"", "language = \"english language\"\nlangauge = 1").edit(
        BUNDLE,
        "effect = \"external\"",
        "effect = \"all\"",
    );
    let told = files.build().expect_err("many mistakes");
    assert!(told.list.len() >= 3, "{:#?}", told.list);
    let files = Files::full()
        .edit(ISSUES, "surfaces = [\"tools\"", "surfaces = [\"Tools\"")
        .edit(CODER, "plugins = [\"issues\"]", "plugins = [\"isues\"]")
        .edit(CODER, "language = \"de-CH\"", "language = \"de_CH!\"")
        .put("prompts/Upper.md", "")
        .edit(BASE, "models = [\"local\"]", "models = [\"lokal\"]");
    let told = files.build().expect_err("many mistakes");
    let places: Vec<_> = told.list.iter().map(|one| (one.file.clone(), one.line, one.column)).collect();
    assert_eq!(places.len(), 5, "{:#?}", told.list);
    assert!(places.is_sorted(), "{places:?}");
    assert!(told.list.iter().all(|one| told.source_of(one).is_some()), "a source is missing");
}

#[test]
fn number_of_diagnostics_is_bounded() {
    let wrong: String = (0..5000).map(|index| format!("key-{index} = 1\n")).collect();
    let told = Files::full().put(BASE, &wrong).build().expect_err("unknown fields");
    assert!(told.list.len() >= 1000 && told.list.len() <= 1001, "{}", told.list.len());
    let leaks: String = (0..5000).map(|index| format!("key-{index} = \"~/a\"\n")).collect();
    let told = Files::full().put(BASE, &format!("[settings]\n{leaks}")).build().expect_err("host paths");
    assert!(told.list.len() >= 1000 && told.list.len() <= 1001, "{}", told.list.len());
}

/// Asserts that a folder builds with one warning, and returns the warning.
#[track_caller]
fn warned(files: &Files, code: &str, help: &str) -> Diagnostic {
    let told = files.passes().diagnostics.list;
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!((told[0].code.as_str(), told[0].severity), (code, Severity::Warning), "{told:#?}");
    assert!(told[0].help.contains(help), "{told:#?}");
    told[0].clone()
}

#[test]
fn condition_that_no_host_fulfils_is_a_warning_with_a_suggestion() {
    let when = |condition: &str| {
        quiet().append(BASE, &format!("\n[[layer]]\nwhen = [{condition:?}]\ntools_deny = [\"shell.run\"]\n"))
    };
    for (condition, help) in [
        ("has:modles", "did you mean `models`?"),
        ("lacks:shel", "did you mean `shell`?"),
        ("has:gitt", "did you mean `git`?"),
        ("has:tool:shell.rn", "did you mean `tool:shell.run`?"),
        ("has:tools:shell.run", "did you mean `tool:shell.run`?"),
        ("has:shell.run", "did you mean `tool:shell.run`?"),
        ("has:wrld:yoi:runtime/tool@1.0.0", "did you mean `world:yoi:runtime/tool@1.0.0`?"),
        ("has:world:yoi:runtime/tool", "did you mean `world:yoi:runtime/tool@1.0.0`?"),
        ("lacks:world:yoi:runtime/tool@1", "did you mean `world:yoi:runtime/tool@1.0.0`?"),
        ("has:world:yoi:runtime/tol@1.0.0", "did you mean `world:yoi:runtime/tool@1.0.0`?"),
        ("has:world:yoi:runtme/service@1.2.0", "did you mean `world:yoi:runtime/service@1.2.0`?"),
        ("has:world:yio:runtime/tool@1.0.0", "did you mean `world:yoi:runtime/tool@1.0.0`?"),
        ("has:world:x", "`world:NAMESPACE:PACKAGE/WORLD@VERSION`"),
        ("has:world:acme:tools@1.0.0", "`world:NAMESPACE:PACKAGE/WORLD@VERSION`"),
        ("has:world:acme/tools@1.0.0", "`world:NAMESPACE:PACKAGE/WORLD@VERSION`"),
        ("has:world:acme:tools/a/b@1.0.0", "`world:NAMESPACE:PACKAGE/WORLD@VERSION`"),
        ("has:world:yoi:kernel/panic@1.0.0", "`world:NAMESPACE:PACKAGE/WORLD@VERSION`"),
        ("has:mount:repo", "write one of"),
        ("has:secret:github-token", "write one of"),
        ("has:plugin:issues", "write one of"),
        ("has:tool:nothing.like.it", "write one of"),
        ("os:linx", "did you mean `linux`?"),
        ("os:darwin", "did you mean `macos`?"),
        ("arch:amd64", "did you mean `x86_64`?"),
        ("arch:arm64", "did you mean `aarch64`?"),
        ("arch:pentium", "write one of"),
    ] {
        let told = warned(&when(condition), "unknown_condition", help);
        assert_eq!((told.file.as_str(), told.column > 1), (BASE, true), "{told:#?}");
    }
    for condition in [
        "has:models",
        "lacks:shell",
        "has:git",
        "has:gpu",
        "has:tool:shell.run",
        "lacks:tool:fs.read",
        "os:macos",
        "os:windows",
        "arch:x86_64",
        "arch:riscv64",
        "has:world:yoi:runtime/tool@1.0.0",
        "has:world:yoi:runtime/tool@2.1.0-rc.1",
        "lacks:world:acme:tools/calendar@0.3.0",
    ] {
        assert_eq!(when(condition).passes().diagnostics.list, [], "{condition}");
    }
}

#[test]
fn unused_declaration_is_a_warning() {
    let with = |more: &str| quiet().append(BUNDLE, more);
    let model = "\n[models.spare]\nprovider = \"ollama\"\nmodel = \"q\"\n";
    let told = warned(&with(model), "unused_declaration", "remove");
    assert!(told.file == BUNDLE && told.line > 1 && told.message.contains("`spare`"), "{told:#?}");
    let tool = "\n[tools.spare]\nsource = \"host\"\neffect = \"none\"\n";
    let input = "input = \"schemas/fs.read.input.json\"\n";
    warned(&with(&format!("{tool}{input}")), "unused_declaration", "remove");
    let told = warned(&quiet().put("prompts/spare.md", "Spare."), "unused_declaration", "remove");
    assert_eq!(told.file, "prompts/spare.md");
    warned(&quiet().put("workflows/spare.md", "Spare."), "unused_declaration", "remove");
    let told = warned(&quiet().put("schemas/spare.json", "{}"), "unused_declaration", "remove");
    assert_eq!(told.file, "schemas/spare.json");
    // A selected tool without an input schema.
    let used = with(tool).append(BASE, "\n[[layer]]\ntools_allow = [\"spare\"]\n");
    warned(&used, "missing_schema", "input = ");
    let checked = with(&format!("{tool}{input}")).append(BASE, "\n[[layer]]\ntools_allow = [\"spare\"]\n");
    assert_eq!(checked.passes().diagnostics.list, []);
    // A tool that is only denied can never be used.
    let denied = with(&format!("{tool}{input}")).append(BASE, "\n[[layer]]\ntools_deny = [\"spare\"]\n");
    warned(&denied, "unused_declaration", "remove");
}

#[test]
fn built_bundle_has_the_warnings_of_its_folder() {
    let files = quiet().append(BASE, "\n[[layer]]\nwhen = [\"has:modles\"]\nlanguage = \"de\"\n");
    let built = files.passes();
    let told = bundles::warnings(built.bundle.manifest());
    let texts = |list: &[Diagnostic]| list.iter().map(|one| (one.code, one.message.clone())).collect::<Vec<_>>();
    assert_eq!(built.diagnostics.list.len(), 1);
    assert_eq!(texts(&told.list), texts(&built.diagnostics.list));
    assert!(told.is_ok());
}

#[test]
fn unset_inside_a_value_is_an_error_or_a_warning() {
    let small = |base: &str, child: &str| {
        let child = format!("extends = [\"base\"]\n{child}");
        Files::small().put("profiles/base.toml", base).put("profiles/child.toml", &child)
    };
    let refused = |base: &str, child: &str| small(base, child).refused("unset_into_value", "as a whole");
    let warned_of = |base: &str, child: &str, code: &str| warned(&small(base, child), code, "");
    let list = "[settings]\nsteps = [\"a\", \"b\"]\n";
    assert!(refused(list, "unset = [‸\"/steps/0\"]").message.contains("`/steps` holds a list"));
    assert!(
        refused("[settings]\ntone = \"plain\"\n", "unset = [‸\"/tone/accent\"]").message.contains("holds a scalar")
    );
    refused("[settings]\na = { b = 1 }\n", "unset = [‸\"/a/b/c\"]");
    refused("[settings]\na = true\n", "unset = [‸\"/a/b/c\"]");
    // In the layers of one profile, and if every order gives a value.
    Files::small()
        .put("profiles/one.toml", &format!("{list}[[layer]]\nunset = [‸\"/steps/1\"]\n"))
        .refused("unset_into_value", "as a whole");
    refused("[settings]\na = 1\n[[layer]]\nwhen = [\"has:shell\"]\nsettings = { a = [] }\n", "unset = [‸\"/a/b\"]");
    // The value may be an object, or absent.
    warned_of(
        "[settings]\na = { b = 1 }\n[[layer]]\nwhen = [\"has:shell\"]\nsettings = { a = [] }\n",
        "unset = [\"/a/b\"]",
        "unset_into_value",
    );
    warned_of("[[layer]]\nwhen = [\"has:shell\"]\nsettings = { a = 1 }\n", "unset = [\"/a/b\"]", "unset_into_value");
    // A key that no layer sets is most likely mistyped.
    warned_of("[settings]\ntone = \"plain\"\n", "unset = [\"/tome\"]", "unset_nothing");
    warned_of("[settings]\ntone = { a = 1 }\n", "unset = [\"/tone/b\"]", "unset_nothing");
    warned_of("[settings]\ntone = { a = 1 }\n", "unset = [\"/tune/a\"]", "unset_nothing");
    for (base, child) in [
        ("[settings]\ntone = { accent = 1 }\n", "unset = [\"/tone/accent\"]"),
        (list, "unset = [\"/steps\"]"),
        ("[settings]\na = { b = { c = 1 } }\n", "unset = [\"/a/b/c\"]"),
        // The same layer sets an object.
        ("[settings]\ntone = { accent = 1 }\n", "unset = [\"/tone/accent\"]\n[settings]\ntone = { colour = 2 }\n"),
        // A later layer sets an object again.
        ("[settings]\na = 1\n[[layer]]\nsettings = { a = { b = 1 } }\n", "unset = [\"/a/b\"]"),
        // The conditions of the two layers exclude each other.
        (
            "[settings]\na = { b = 1 }\n[[layer]]\nwhen = [\"has:shell\"]\nsettings = { a = 1 }\n",
            "[[layer]]\nwhen = [\"lacks:shell\"]\nunset = [\"/a/b\"]",
        ),
    ] {
        assert_eq!(small(base, child).passes().diagnostics.list, [], "{base} {child}");
    }
    // A mixin changes a value of its sibling, in the profile that extends both.
    let mixin = |sibling: &str| {
        Files::small()
            .put("profiles/sibling.toml", sibling)
            .put("profiles/both.toml", "extends = [\"mixin\", \"sibling\"]\n")
            .put("profiles/mixin.toml", "unset = [‸\"/a/b\"]\n")
    };
    assert_eq!(mixin("[settings]\na = { b = 1 }\n").passes().diagnostics.list, []);
    warned(&mixin("[settings]\na = 1\n"), "unset_into_value", "as a whole");
}

#[test]
fn placeholder_in_a_prefix_is_refused_with_its_encoding() {
    let requires = |prefix: &str| Files::small().put("profiles/one.toml", &format!("requires = [‸\"{prefix}\"]\n"));
    requires("egress:https://api.example.com/repos/{owner}").refused("invalid_name", "`{` as `%7B`, `}` as `%7D`");
    requires("egress:https://api.example.com/repos/%7Bowner%7D").passes();
    requires("egress:https://api.example.com/a b").refused("invalid_name", "` ` as `%20`");
    let path =
        |path: &str| Files::full().edit(ISSUES, "path_prefixes = [\"/live\"]", &format!("path_prefixes = [{path:?}]"));
    let told = path("/repos/{owner}").build().expect_err("no prefix");
    assert!(told.list.iter().any(|one| one.message.contains("`{` as `%7B`")), "{:#?}", told.list);
    path("/repos/%7Bowner%7D").passes();
}

#[test]
fn byte_order_mark_of_an_authored_file_is_ignored() {
    let digest = |files: &Files| files.passes().bundle.digest();
    let plain = Files::full();
    let marked = plain.names().into_iter().fold(Files::full(), |files, name| {
        let text = format!("\u{feff}{}", plain.text(&name));
        files.put(&name, &text)
    });
    assert_eq!(digest(&marked), digest(&plain));
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for name in [BUNDLE, CODER, ISSUES, "prompts/base/conduct.md", "workflows/change.md", "schemas/fs.read.input.json"]
    {
        for text in [format!("\u{feff}{}", plain.text(name)), plain.text(name)] {
            let told =
                Files::full().put_bytes(name, &wide(&text)).refused_among_others("not_utf8", "save the file as UTF-8");
            assert!(told.list.iter().any(|one| one.file == name && one.message.contains("UTF-16")), "{:#?}", told.list);
        }
    }
}

mod folders {
    //! Folders on disk.

    use super::*;
    use cap_std::ambient_authority;
    use cap_std::fs::Dir;

    fn written(files: &Files) -> (tempfile::TempDir, Dir) {
        let place = tempfile::tempdir().expect("a folder");
        let dir = Dir::open_ambient_dir(place.path(), ambient_authority()).expect("a folder");
        for (name, bytes) in files.folder().iter() {
            if let Some((parent, _)) = name.rsplit_once('/') {
                dir.create_dir_all(parent).expect("a folder");
            }
            dir.write(name, bytes).expect("a file");
        }
        (place, dir)
    }

    fn code(dir: &Dir, limits: &BundleLimits) -> &'static str {
        match Folder::read(dir, limits) {
            // An entry that is not a file is reported with the other mistakes.
            Ok(folder) if !folder.is_complete() => {
                let told = build(&folder, &BuildOptions::default(), &BundleLimits::default()).expect_err("no bundle");
                assert!(told.list.iter().all(|one| one.code == told.list[0].code), "{:#?}", told.list);
                told.list[0].code.as_str()
            }
            Ok(_) => "ok",
            Err(error) => {
                assert!(!error.help().is_empty(), "{error}");
                let place = std::env::temp_dir();
                assert!(!error.to_string().contains(&*place.to_string_lossy()), "{error}");
                error.code().as_str()
            }
        }
    }

    #[test]
    fn folder_is_read_without_hidden_and_unrelated_files() {
        let (_place, dir) = written(&Files::full());
        for beside in [".git", "notes", "prompts/.hidden"] {
            dir.create_dir_all(beside).expect("a folder");
        }
        for beside in ["README.md", ".git/config", "notes/x.md", "prompts/.hidden/x.md", "prompts/.DS_Store"] {
            dir.write(beside, b"\xff").expect("a file");
        }
        assert_eq!(Folder::read(&dir, &BundleLimits::default()).expect("a folder"), Files::full().folder());
    }

    #[test]
    fn folder_without_a_bundle_file_is_not_a_bundle() {
        let (_place, dir) = written(&Files::full());
        assert_eq!(code(&dir, &BundleLimits::default()), "ok");
        dir.remove_file("bundle.toml").expect("gone");
        assert_eq!(code(&dir, &BundleLimits::default()), "no_bundle");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_refused_wherever_they_lead() {
        let outside = tempfile::tempdir().expect("a folder");
        std::fs::write(outside.path().join("x.md"), "from outside").expect("a file");
        type Target<'a> = &'a dyn Fn(&std::path::Path) -> std::path::PathBuf;
        let links: [(&str, Target<'_>); 4] = [
            ("prompts/link.md", &|_| outside.path().join("x.md")),
            ("prompts/link.md", &|place| place.join("prompts/base/conduct.md")),
            ("prompts/folder", &|_| outside.path().to_owned()),
            ("prompts/link.md", &|_| "nowhere".into()),
        ];
        for (name, target) in links {
            let (place, dir) = written(&Files::full());
            std::os::unix::fs::symlink(target(place.path()), place.path().join(name)).expect("a link");
            assert_eq!(code(&dir, &BundleLimits::default()), "not_a_file", "{name}");
        }
        for name in ["bundle.toml", "prompts", "schemas"] {
            let (place, dir) = written(&Files::full());
            let path = place.path().join(name);
            let moved = outside.path().join(format!("moved-{name}"));
            std::fs::rename(&path, &moved).expect("moved");
            std::os::unix::fs::symlink(&moved, &path).expect("a link");
            assert_eq!(code(&dir, &BundleLimits::default()), "not_a_file", "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn link_is_reported_with_the_other_mistakes() {
        let (place, dir) = written(&Files::full().edit(BASE, "models = [\"local\"]", "model = [\"local\"]"));
        let link = |from: &str| {
            let path = place.path().join(from);
            let _ = std::fs::remove_file(&path);
            std::os::unix::fs::symlink("elsewhere", path).expect("a link");
        };
        for name in ["prompts/base/conduct.md", "schemas/fs.read.input.json", "workflows/change.md"] {
            link(name);
        }
        dir.write("prompts/notes.txt", "x").expect("a file");
        let folder = Folder::read(&dir, &BundleLimits::default()).expect("a folder");
        let told = build(&folder, &BuildOptions::default(), &BundleLimits::default()).expect_err("no bundle");
        let told: Vec<_> = told.list.iter().map(|one| (one.file.as_str(), one.code.as_str())).collect();
        let expected = [
            ("profiles/base.toml", "unknown_field"),
            ("prompts/base/conduct.md", "not_a_file"),
            ("prompts/notes.txt", "unexpected_file"),
            ("schemas/fs.read.input.json", "not_a_file"),
            ("workflows/change.md", "not_a_file"),
        ];
        assert_eq!(told, expected);
    }

    #[cfg(unix)]
    #[test]
    fn file_name_that_cannot_be_shown_is_refused() {
        use std::os::unix::ffi::OsStrExt;
        for name in [&b"a\x1b[2J.md"[..], b"a\n.md", b"a\xff.md"] {
            let (place, dir) = written(&Files::full());
            std::fs::write(place.path().join("prompts").join(std::ffi::OsStr::from_bytes(name)), "x").expect("a file");
            assert_eq!(code(&dir, &BundleLimits::default()), "invalid_name");
        }
        let (_place, dir) = written(&Files::full().put("prompts/\u{fc}.md", ""));
        assert_eq!(code(&dir, &BundleLimits::default()), "ok");
    }

    #[test]
    fn folder_above_a_limit_is_refused() {
        let (_place, dir) = written(&Files::full());
        let files = |most| limits(|limits| limits.files = most);
        assert_eq!(code(&dir, &files(10)), "ok");
        assert_eq!(code(&dir, &files(9)), "too_large");
        let bytes: usize = Files::full().folder().iter().map(|(_, bytes)| bytes.len()).sum();
        assert_eq!(code(&dir, &limits(|limits| limits.bundle_bytes = bytes)), "ok");
        assert_eq!(code(&dir, &limits(|limits| limits.bundle_bytes = bytes - 1)), "too_large");
        let small = limits(|limits| (limits.blob_bytes, limits.manifest_bytes) = (100, 100));
        assert_eq!(code(&dir, &small), "too_large");
        let deep = "prompts/".to_owned() + &"a/".repeat(7);
        dir.create_dir_all(&deep).expect("a folder");
        dir.write(deep + "x.md", "x").expect("a file");
        assert_eq!(code(&dir, &BundleLimits::default()), "ok");
        dir.create_dir_all("prompts/".to_owned() + &"b/".repeat(8)).expect("a folder");
        assert_eq!(code(&dir, &BundleLimits::default()), "too_large");
    }
}
