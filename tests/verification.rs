//! Verification of a resolver's answer: a valid answer that is changed in one place is refused with that place.

use std::sync::OnceLock;

use bundles::{Bundle, BundleLimits, Folder, Need};
use component_host::BundleView;
use host_policy::{Facts, Proposal, ProposedFailure, ProposedOrigin, Request, RuntimeConfig, verify, verify_failure};
use yoi_tests::{fixtures, root, sandboxes};

struct Honest {
    bundle: Bundle,
    facts: Facts,
    request: Request,
    proposal: Proposal,
}

/// Returns the built-in resolver's answer for a profile of the example, which has values in every field.
fn honest() -> &'static Honest {
    static HONEST: OnceLock<Honest> = OnceLock::new();
    HONEST.get_or_init(|| {
        let dir = root().join("bundles/examples");
        let folder = read_folder(&dir.join("acme"));
        let built =
            bundles::build(&folder, &bundles::BuildOptions::default(), &BundleLimits::default()).expect("a bundle");
        let config = std::fs::read_to_string(dir.join("acme.runtime.toml")).expect("read");
        let config = RuntimeConfig::from_toml(&config).expect("a config");
        let platform = |text: &str| text.parse().expect("a platform");
        let facts = config.facts(
            &built.bundle.manifest().workspace.id,
            platform("linux"),
            platform("x86_64"),
            &component_host::WORLDS,
        );
        let request = fixtures::request("infra-dev");
        let view = BundleView::new(built.bundle.clone());
        let run = sandboxes::wait(sandboxes::shipped().resolve(&view, &facts, &request));
        let proposal = run.answer.expect("an answer").expect("a resolution");
        Honest { bundle: built.bundle, facts, request, proposal }
    })
}

fn read_folder(path: &std::path::Path) -> Folder {
    let mut files = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).expect("read") {
            let entry = entry.expect("an entry").path();
            if entry.is_dir() {
                open.push(entry);
            } else {
                let name = entry.strip_prefix(path).expect("inside").to_str().expect("UTF-8").to_owned();
                files.push((name, std::fs::read(&entry).expect("read")));
            }
        }
    }
    Folder::from_files(files)
}

fn check(proposal: Proposal) -> Result<host_policy::Resolution, String> {
    let honest = honest();
    verify(honest.bundle.manifest(), &honest.facts, &honest.request, &BundleLimits::default(), proposal)
        .map_err(|misbehaved| misbehaved.field)
}

/// Returns the field for which a changed proposal is refused.
fn refused(change: impl FnOnce(&mut Proposal)) -> String {
    let mut proposal = honest().proposal.clone();
    change(&mut proposal);
    assert_ne!(proposal, honest().proposal, "nothing was changed");
    check(proposal).expect_err("an invalid answer was accepted")
}

fn origin(proposal: &mut Proposal, field: &str) -> &'static mut ProposedOrigin {
    let origin = proposal.origins.iter().find(|origin| origin.field == field).cloned();
    Box::leak(Box::new(origin.unwrap_or_else(|| panic!("no origin for {field}"))))
}

fn set_origin(proposal: &mut Proposal, field: &str, change: impl FnOnce(&mut ProposedOrigin)) {
    let changed = origin(proposal, field);
    change(changed);
    let place = proposal.origins.iter().position(|origin| origin.field == field).expect("there");
    proposal.origins[place] = changed.clone();
}

#[test]
fn honest_answer_is_accepted() {
    let resolution = check(honest().proposal.clone()).expect("honest");
    assert!(!resolution.tools().is_empty() && !resolution.wishes().is_empty() && !resolution.settings().is_empty());
    assert!(resolution.origins().windows(2).all(|pair| pair[0].field < pair[1].field), "origins are sorted");
    assert!(resolution.wishes().windows(2).all(|pair| pair[0].authority < pair[1].authority), "wishes are sorted");
}

#[test]
fn invented_lineage_is_refused() {
    assert_eq!(refused(|p| p.lineage.push("nobody".into())), format!("/lineage/{}", honest().proposal.lineage.len()));
    assert_eq!(
        refused(|p| p.lineage.push("backend-dev".into())),
        format!("/lineage/{}", honest().proposal.lineage.len())
    );
    assert_eq!(refused(|p| p.lineage.reverse()), "/lineage");
    assert_eq!(refused(|p| p.lineage.clear()), "/lineage");
    assert_eq!(refused(|p| p.lineage[1] = p.lineage[0].clone()), "/lineage/1");
}

#[test]
fn invented_or_repeated_name_is_refused_in_every_list() {
    type List = fn(&mut Proposal) -> &mut Vec<String>;
    let lists: [(&str, List); 4] = [
        ("instructions", |p| &mut p.instructions),
        ("tools", |p| &mut p.tools),
        ("plugins", |p| &mut p.plugins),
        ("workflows", |p| &mut p.workflows),
    ];
    for (field, list) in lists {
        assert_eq!(refused(|p| list(p)[0] = "no-such-name".into()), format!("/{field}/0"));
        assert_eq!(refused(|p| list(p)[0] = "../etc".into()), format!("/{field}/0"));
        let next = list(&mut honest().proposal.clone()).len();
        assert_eq!(
            refused(|p| {
                let first = list(p)[0].clone();
                list(p).push(first)
            }),
            format!("/{field}/{next}"),
            "without an origin"
        );
        assert_eq!(
            refused(|p| {
                let first = list(p)[0].clone();
                list(p).push(first);
                let mut same = origin(p, &format!("/{field}/0")).clone();
                same.field = format!("/{field}/{next}");
                p.origins.push(same);
            }),
            format!("/{field}/{next}"),
            "with one"
        );
    }
}

#[test]
fn declared_name_that_no_active_layer_writes_is_refused() {
    // Declared by the bundle, written by another profile.
    assert_eq!(refused(|p| p.tools[0] = "git.commit".into()), "/tools/0");
    assert_eq!(refused(|p| p.model = Some("small".into())), "/model");
    assert_eq!(refused(|p| p.model = Some("invented".into())), "/model");
}

#[test]
fn resolver_may_choose_any_offered_model_of_the_profile() {
    let mut other = honest().proposal.clone();
    other.model = Some("local-small".into());
    assert_ne!(other, honest().proposal);
    check(other).expect("the same layer names it, and the host offers it");
}

#[test]
fn invented_wish_is_refused() {
    let next = format!("/wishes/{}", honest().proposal.wishes.len());
    let with_origin = |authority: &'static str, need| {
        move |p: &mut Proposal| {
            let mut same = origin(p, "/wishes/0").clone();
            same.field = format!("/wishes/{}", p.wishes.len());
            p.wishes.push((authority.into(), need));
            p.origins.push(same);
        }
    };
    for authority in
        ["secret:invented", "mount:home:write", "egress:https://evil.example.com/", "no authority", "mount:/etc:read"]
    {
        assert_eq!(refused(with_origin(authority, Need::Optional)), next, "{authority}");
    }
    let read = honest()
        .proposal
        .wishes
        .iter()
        .position(|(authority, _)| authority.ends_with(":read") && authority.starts_with("mount:"));
    let read = read.expect("a wish to read");
    assert_eq!(refused(|p| p.wishes[read].0 = p.wishes[read].0.replace(":read", ":write")), format!("/wishes/{read}"));
    let optional =
        honest().proposal.wishes.iter().position(|(_, need)| *need == Need::Optional).expect("an optional wish");
    assert_eq!(refused(|p| p.wishes[optional].1 = Need::Required), format!("/wishes/{optional}"));
}

#[test]
fn answer_may_omit_an_optional_wish() {
    let mut less = honest().proposal.clone();
    let last = less.wishes.len() - 1;
    assert_eq!(less.wishes.pop().map(|(_, need)| need), Some(Need::Optional));
    less.origins.retain(|origin| origin.field != format!("/wishes/{last}"));
    check(less).expect("an optional wish may be missing");
}

#[test]
fn invented_settings_are_refused() {
    let settings = &honest().proposal.settings;
    let changed = |from: &str, to: &str| {
        let (from, to) = (from.to_owned(), to.to_owned());
        assert!(settings.contains(&from), "{settings}");
        refused(move |p| p.settings = p.settings.replacen(&from, &to, 1))
    };
    assert_eq!(changed("\"max_turns\":120", "\"max_turns\":121"), "/settings/max_turns");
    assert_eq!(changed("{", "{\"canary\":true,"), "/settings/…");
    for broken in
        ["", "[]", "null", "{", "{\"a\":1,\"a\":2}", "{\"a\":1e999}", "{\"a\":9007199254740993}", "{} {}", "\u{feff}{}"]
    {
        assert_eq!(refused(|p| p.settings = broken.into()), "/settings", "{broken}");
    }
    let deep = format!("{}1{}", "{\"a\":".repeat(40), "}".repeat(40));
    assert_eq!(refused(|p| p.settings = deep), "/settings");
    assert_eq!(refused(|p| p.settings = format!("{{\"a\":\"{}\"}}", "x".repeat(2 << 20))), "/settings");
}

#[test]
fn invented_origin_is_refused() {
    for field in ["/tools/0", "/instructions/0", "/model", "/wishes/0", "/settings/max_turns"] {
        assert_eq!(refused(|p| set_origin(p, field, |origin| origin.layer = 99)), field);
        assert_eq!(refused(|p| set_origin(p, field, |origin| origin.profile = "nobody".into())), field);
        assert_eq!(refused(|p| set_origin(p, field, |origin| origin.profile = "backend-dev".into())), field);
        assert_eq!(refused(|p| p.origins.retain(|origin| origin.field != field)), field, "none at all");
        assert_eq!(
            refused(|p| {
                let twice = origin(p, field).clone();
                p.origins.push(twice)
            }),
            field,
            "two of them"
        );
    }
    for field in ["/tools/999", "/nothing", "", "/language", "/settings", "/lineage/0", "/wishes/01"] {
        let invented = ProposedOrigin { field: field.into(), profile: honest().proposal.lineage[0].clone(), layer: 0 };
        assert_eq!(refused(|p| p.origins.push(invented.clone())), "/origins", "{field}");
    }
}

#[test]
fn origin_in_an_inactive_layer_is_refused() {
    // `base`, layer 2 names models under the condition that there is a GPU, which does not hold.
    assert_eq!(
        refused(|p| set_origin(p, "/model", |origin| {
            origin.profile = "base".into();
            origin.layer = 2
        })),
        "/model"
    );
}

#[test]
fn invented_language_is_refused() {
    assert_eq!(refused(|p| p.language = Some("tlh".into())), "/language");
}

#[test]
fn failure_that_the_host_does_not_confirm_is_refused() {
    let honest = honest();
    let refuse = |failure: ProposedFailure| {
        verify_failure(honest.bundle.manifest(), &honest.facts, &honest.request, &failure)
            .expect_err("an invalid answer was accepted");
    };
    let text = || "canary".to_owned();
    refuse(ProposedFailure::UnknownProfile("infra-dev".into()));
    refuse(ProposedFailure::UnknownProfile(text()));
    refuse(ProposedFailure::InheritanceCycle(vec!["infra-dev".into()]));
    refuse(ProposedFailure::InheritanceConflict("infra-dev".into()));
    refuse(ProposedFailure::DanglingReference("fs.read".into()));
    refuse(ProposedFailure::UnmetCapability(vec![text()]));
    refuse(ProposedFailure::UnmetCapability(vec![]));
    refuse(ProposedFailure::NoModel(vec!["large".into()]));
    refuse(ProposedFailure::NoModel(vec![text()]));
    refuse(ProposedFailure::NoModel(vec![]));
    refuse(ProposedFailure::UnsupportedDeclaration("a sentence of its own making".into()));
    refuse(ProposedFailure::UnsupportedDeclaration("x".repeat(100)));
    refuse(ProposedFailure::UnsupportedDeclaration("anthropic-api-key".into()));
}

#[test]
fn error_does_not_repeat_long_text_of_the_resolver() {
    let canary = "canary".repeat(40);
    let mut proposal = honest().proposal.clone();
    proposal.tools[0] = canary.clone();
    let error =
        verify(honest().bundle.manifest(), &honest().facts, &honest().request, &BundleLimits::default(), proposal)
            .expect_err("refused");
    assert!(error.to_string().len() < 200, "{error}");
}
