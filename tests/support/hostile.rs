//! Hostile and broken resolvers, one for each kind of attack or fault.
//!
//! All are built from source. They resolve [`fixtures::simple`](crate::fixtures::simple) with the facts of
//! [`fixtures::simple_facts`](crate::fixtures::simple_facts): profile `main` has one layer that appends model `m` and
//! instruction `hello`, sets `{"a":1}` and has the optional wish `mount:repo:read`. A lying resolver changes one value in
//! an otherwise honest answer.

#[path = "../guests/hostile/acts.rs"]
mod acts;
#[path = "../guests/hostile/answer.rs"]
mod answer;
#[path = "../guests/hostile/component.rs"]
mod component;
#[path = "../guests/hostile/failures.rs"]
mod failures;
#[path = "../guests/hostile/lies.rs"]
mod lies;
#[path = "../guests/hostile/returns.rs"]
mod returns;
#[path = "../guests/hostile/worlds.rs"]
mod worlds;

use answer::{Answer, Resolution};
use component::Code;

/// A resolver with its expected outcome.
pub struct Hostile {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub expect: Expect,
}

/// The expected outcome of a resolver: its class and its details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The answer is honest. The resolver may waste resources.
    Resolved,
    /// The resolver reports a valid failure with this code.
    Failed(&'static str),
    /// The answer is false in a field that starts with this text.
    Misbehaved(&'static str),
    /// The component fails the structure check with this code.
    RefusedLoad(&'static str),
    /// The component does not fit the contract's types.
    RefusedLink,
    /// The call exceeds the limit with this name.
    Limit(&'static str),
    /// The call traps, or returns a value that does not fit the contract's types.
    Trap,
}

impl Expect {
    /// Returns the class of the outcome, as printed by `yoi resolver run`.
    pub fn class(self) -> &'static str {
        match self {
            Self::Resolved => "resolved",
            Self::Failed(_) => "failed",
            Self::Misbehaved(_) => "misbehaved",
            Self::RefusedLoad(_) => "refused_load",
            Self::RefusedLink => "refused_link",
            Self::Limit(_) => "limit",
            Self::Trap => "trap",
        }
    }

    /// Returns the prefix of the expected code, field or limit.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Failed(detail) | Self::Misbehaved(detail) | Self::RefusedLoad(detail) | Self::Limit(detail) => detail,
            Self::Resolved | Self::RefusedLink | Self::Trap => "",
        }
    }
}

/// Returns the text of a file in the folder of guests.
macro_rules! source {
    ($name:literal) => {
        include_str!(concat!($name, ".wat"))
    };
}
use source;

/// A resolver that is honest for profiles `p00` to `p11` of one layer with the prompt `hello`, and that ignores that a second
/// layer drops the optional wish `secret:token` of the first one: for `always` in each request, and for `capable` in requests
/// that require a capability.
pub fn ignores_drops(always: Option<u8>, capable: Option<u8>) -> Vec<u8> {
    let answer = |number: u8, ignores: bool| {
        let profile = format!("p{number:02}");
        let origin = |field: &str| (field.to_owned(), profile.clone(), 0);
        let mut resolution = Resolution {
            lineage: vec![profile.clone()],
            model: None,
            wishes: Vec::new(),
            settings: b"{}".to_vec(),
            origins: vec![origin("/instructions/0")],
            ..Resolution::default()
        };
        if ignores {
            resolution.wishes = vec![(answer::Authority::Secret("token".to_owned()), answer::OPTIONAL)];
            resolution.origins.push(origin("/wishes/0"));
        }
        Answer::Resolved(resolution)
    };
    let case = |number: u8| {
        let is_always = always == Some(number);
        let is_capable = is_always || capable == Some(number);
        ([b'0' + number / 10, b'0' + number % 10], answer(number, is_always), answer(number, is_capable))
    };
    let cases: Vec<_> = (0..12).map(case).collect();
    Code::dispatches(&cases).bytes()
}

/// Returns all hostile resolvers, and one honest resolver that is built in the same way.
pub fn all() -> Vec<Hostile> {
    let mut all = vec![Hostile {
        name: "honest",
        bytes: Code::answers(&Answer::Resolved(Resolution::default())).bytes(),
        expect: Expect::Resolved,
    }];
    for group in [
        acts::loops,
        acts::growth,
        acts::traps,
        acts::handles,
        returns::returns,
        lies::names,
        lies::wishes,
        lies::settings,
        lies::origins,
        failures::failures,
        failures::leaks,
        worlds::worlds,
        worlds::bytes,
    ] {
        group(&mut all);
    }
    all
}

fn add(all: &mut Vec<Hostile>, name: &'static str, code: Code, expect: Expect) {
    all.push(Hostile { name, bytes: code.bytes(), expect });
}

/// Returns a component whose `$main` has the given fields.
fn main(fields: &str) -> Code {
    Code::of(format!(
        "(core module $main
            (import \"libc\" \"memory\" (memory 0))
            (import \"libc\" \"realloc\" (func $realloc (param i32 i32 i32 i32) (result i32)))
            (import \"host\" \"profiles\" (func $profiles (param i32 i32 i32 i32)))
            (import \"host\" \"declares\" (func $declares (param i32 i32 i32 i32 i32)))
            (import \"host\" \"drop\" (func $drop (param i32)))
            {fields})"
    ))
}

/// Returns a component that runs the given code when it is called.
fn does(body: &str) -> Code {
    main(&format!("(func (export \"resolve\") (param $request i32) (result i32) {body})"))
}

/// Returns a data segment with an answer, and the answer's address.
fn laid_out(answer: &Answer) -> (u32, String) {
    let (address, (at, bytes)) = answer.image();
    let text: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    (address, format!("(data (i32.const {at}) \"{text}\")"))
}

/// Returns an honest answer with one change.
fn resolving(change: impl FnOnce(&mut Resolution)) -> Code {
    let mut resolution = Resolution::default();
    change(&mut resolution);
    Code::answers(&Answer::Resolved(resolution))
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn origin(field: &str) -> (String, String, u32) {
    (text(field), text("main"), 0)
}
