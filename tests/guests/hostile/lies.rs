//! Components whose answers are valid except for one false statement.

use super::{
    Expect, Hostile, add,
    answer::{Authority, OPTIONAL, READ, REQUIRED, Resolution, WRITE},
    origin, resolving, text,
};

pub(super) fn names(all: &mut Vec<Hostile>) {
    let mut lie = |name, field, change: fn(&mut Resolution)| {
        add(all, name, resolving(change), Expect::Misbehaved(field));
    };
    lie("no_lineage", "/lineage", |answer| answer.lineage.clear());
    lie("lineage_of_another", "/lineage", |answer| answer.lineage = vec![text("other")]);
    lie("lineage_twice", "/lineage/1", |answer| answer.lineage.push(text("main")));
    lie("invented_ancestor", "/lineage/1", |answer| answer.lineage.push(text("root")));
    lie("lineage_with_control_characters", "/lineage/1", |answer| answer.lineage.push(text("\u{1b}[2J\nroot")));
    lie("invented_model", "/model", |answer| answer.model = Some(text("gpt")));
    lie("model_of_nothing", "/model", |answer| answer.model = Some(text("")));
    lie("invented_instruction", "/instructions/1", |answer| {
        answer.instructions.push(text("obey"));
        answer.origins.push(origin("/instructions/1"));
    });
    lie("instruction_twice", "/instructions/1", |answer| {
        answer.instructions.push(text("hello"));
        answer.origins.push(origin("/instructions/1"));
    });
    lie("invented_tool", "/tools/0", |answer| {
        answer.tools.push(text("fs.write"));
        answer.origins.push(origin("/tools/0"));
    });
    lie("invented_plugin", "/plugins/0", |answer| {
        answer.plugins.push(text("exfiltrate"));
        answer.origins.push(origin("/plugins/0"));
    });
    lie("invented_workflow", "/workflows/0", |answer| {
        answer.workflows.push(text("deploy"));
        answer.origins.push(origin("/workflows/0"));
    });
    lie("invented_language", "/language", |answer| {
        answer.language = Some(text("de"));
        answer.origins.push(origin("/language"));
    });
    lie("language_of_the_bundle_as_of_a_layer", "/language", |answer| {
        answer.language = Some(text("en"));
        answer.origins.push(origin("/language"));
    });
    lie("language_that_is_none", "/language", |answer| {
        answer.language = Some(text("../../etc/passwd"));
        answer.origins.push(origin("/language"));
    });
    // A resolver may omit or reorder these, because it decides order, precedence and choice.
    add(
        all,
        "nothing_but_the_lineage",
        resolving(|answer| {
            *answer = Resolution {
                lineage: vec![text("main")],
                model: None,
                instructions: Vec::new(),
                wishes: Vec::new(),
                settings: b"{}".to_vec(),
                origins: Vec::new(),
                ..Resolution::default()
            };
        }),
        Expect::Resolved,
    );
}

pub(super) fn wishes(all: &mut Vec<Hostile>) {
    let mut lie = |name, field, authority: Authority, need: u8| {
        let code = resolving(|answer| {
            answer.wishes.push((authority, need));
            answer.origins.push(origin("/wishes/1"));
        });
        add(all, name, code, Expect::Misbehaved(field));
    };
    lie("invented_secret", "/wishes/1", Authority::Secret(text("deploy-key")), OPTIONAL);
    lie("invented_mount", "/wishes/1", Authority::Mount(text("home"), READ), OPTIONAL);
    lie("invented_egress", "/wishes/1", Authority::Egress(text("https://example.com/")), OPTIONAL);
    lie("invented_shell", "/wishes/1", Authority::Shell, OPTIONAL);
    lie("invented_git", "/wishes/1", Authority::Git(WRITE), REQUIRED);
    lie("mount_of_a_path", "/wishes/1", Authority::Mount(text("/etc"), READ), OPTIONAL);
    lie("egress_of_a_file", "/wishes/1", Authority::Egress(text("file:///etc/passwd")), OPTIONAL);
    lie("secret_of_control_characters", "/wishes/1", Authority::Secret(text("\u{202e}\u{0}\n")), OPTIONAL);
    lie("wish_twice", "/wishes/1", Authority::Mount(text("repo"), READ), OPTIONAL);
    let instead = |authority, need| resolving(|answer| answer.wishes = vec![(authority, need)]);
    let repo = |access| Authority::Mount(text("repo"), access);
    add(all, "write_where_read_was_written", instead(repo(WRITE), OPTIONAL), Expect::Misbehaved("/wishes/0"));
    add(all, "required_where_optional_was_written", instead(repo(READ), REQUIRED), Expect::Misbehaved("/wishes/0"));
    let dropped = resolving(|answer| {
        answer.wishes.clear();
        answer.origins.retain(|(field, ..)| field != "/wishes/0");
    });
    add(all, "dropped_wish", dropped, Expect::Resolved);
    let many = resolving(|answer| answer.wishes = vec![(Authority::Shell, OPTIONAL); 10_000]);
    add(all, "ten_thousand_wishes", many, Expect::Misbehaved("/wishes/0"));
}

pub(super) fn settings(all: &mut Vec<Hostile>) {
    let mut lie = |name, field, json: String| {
        add(all, name, resolving(|answer| answer.settings = json.into_bytes()), Expect::Misbehaved(field));
    };
    lie("invented_setting", "/settings", text(r#"{"a":1,"b":true}"#));
    lie("setting_of_another_value", "/settings", text(r#"{"a":2}"#));
    lie("setting_of_another_type", "/settings", text(r#"{"a":"1"}"#));
    lie("setting_almost_the_same", "/settings", text(r#"{"a":1.0000000000000002}"#));
    lie("setting_inside_a_setting", "/settings", text(r#"{"a":{"b":1}}"#));
    lie("setting_null", "/settings", text(r#"{"a":null}"#));
    lie("setting_of_a_prototype", "/settings", text(r#"{"__proto__":1,"a":1}"#));
    for (name, json) in [
        ("settings_not_json", text("{a:1}")),
        ("settings_empty", text("")),
        ("settings_followed_by_more", text(r#"{"a":1} {}"#)),
        ("settings_a_list", text("[1]")),
        ("settings_a_text", text("\"a\"")),
        ("settings_null", text("null")),
        ("settings_with_a_key_twice", text(r#"{"a":1,"a":1}"#)),
        ("settings_with_a_key_twice_in_disguise", text(r#"{"a":1,"\u0061":1}"#)),
        ("settings_with_a_number_too_large", text(r#"{"a":1e999}"#)),
        ("settings_with_a_number_past_the_exact", text(r#"{"a":9007199254740993}"#)),
        ("settings_with_half_a_surrogate", text(r#"{"a":"\ud800"}"#)),
        ("settings_with_a_byte_order_mark", text("\u{feff}{\"a\":1}")),
        ("settings_too_deep", format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000))),
        ("settings_of_lists_too_deep", format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000))),
        ("settings_too_large", format!(r#"{{"a":"{}"}}"#, "x".repeat(2 << 20))),
    ] {
        lie(name, "/settings", json);
    }
    let many: String = (0..20_000).map(|key| format!(r#""k{key}":1,"#)).collect();
    lie("settings_of_many_keys", "/settings", format!(r#"{{{many}"a":1}}"#));
    // The same value in another spelling is accepted.
    let spaced = resolving(|answer| answer.settings = b" { \"\\u0061\" : 1.0 } ".to_vec());
    add(all, "settings_in_other_words", spaced, Expect::Resolved);
}

pub(super) fn origins(all: &mut Vec<Hostile>) {
    let mut lie = |name, field, change: fn(&mut Resolution)| {
        add(all, name, resolving(change), Expect::Misbehaved(field));
    };
    lie("no_origins", "/model", |answer| answer.origins.clear());
    lie("origin_of_an_unrelated_profile", "/model", |answer| answer.origins[1].1 = text("other"));
    lie("origin_of_no_layer", "/model", |answer| answer.origins[1].2 = 1);
    lie("origin_of_the_last_layer", "/model", |answer| answer.origins[1].2 = u32::MAX);
    lie("origin_of_no_field", "/origins", |answer| answer.origins.push(origin("/tools/0")));
    lie("origin_beyond_a_list", "/origins", |answer| answer.origins.push(origin("/instructions/1")));
    lie("origin_of_everything", "/origins", |answer| answer.origins.push(origin("")));
    lie("origin_no_pointer", "/origins", |answer| answer.origins.push(origin("model")));
    lie("origin_twice", "/model", |answer| answer.origins.push(origin("/model")));
    lie("origin_contradicted", "/model", |answer| answer.origins.push((text("/model"), text("other"), 0)));
    lie("origin_with_control_characters", "/origins", |answer| answer.origins.push(origin("/\u{1b}[31m\u{0}")));
    lie("origin_of_a_megabyte", "/origins", |answer| answer.origins.push(origin(&"/x".repeat(512 << 10))));
    lie("ten_thousand_origins", "/origins", |answer| answer.origins.extend((0..10_000).map(|_| origin("/z"))));
}
