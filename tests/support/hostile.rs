//! Resolvers that mean harm, or are only broken: one for each thing that a resolver could do.
//!
//! All are made here from source. They are asked about [`fixtures::simple`](crate::fixtures::simple) with the facts of
//! [`fixtures::simple_facts`](crate::fixtures::simple_facts): profile `main` has one layer that appends model `m` and
//! instruction `hello`, sets `{"a":1}` and wishes for `mount:repo:read`, optional. What a liar changes is one thing in
//! an answer that is otherwise true.

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

/// A resolver, and how asking it must end.
pub struct Hostile {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub expect: Expect,
}

/// How asking a resolver ends: the class of the outcome, and which of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// It answers truly, or does nothing worse than waste.
    Resolved,
    /// It fails as the contract lets it, with this code.
    Failed(&'static str),
    /// It lies, in the field of its answer that begins like this.
    Misbehaved(&'static str),
    /// It is refused by its bytes alone, with this code.
    RefusedLoad(&'static str),
    /// It does not fit the contract's types.
    RefusedLink,
    /// It runs into the limit of this name.
    Limit(&'static str),
    /// It ends in a trap, or what it hands over is no value of the contract's types.
    Trap,
}

impl Expect {
    /// The class of the outcome, as `yoi resolver run` prints it.
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

    /// How the code, field or limit begins that tells which of its class it is.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Failed(detail) | Self::Misbehaved(detail) | Self::RefusedLoad(detail) | Self::Limit(detail) => detail,
            Self::Resolved | Self::RefusedLink | Self::Trap => "",
        }
    }
}

/// The text of a file beside the other guests.
macro_rules! source {
    ($name:literal) => {
        include_str!(concat!($name, ".wat"))
    };
}
use source;

/// Every hostile resolver, and one honest one made the same way.
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

/// A component whose `$main` has these fields.
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

/// A component that does this when it is asked, and nothing more.
fn does(body: &str) -> Code {
    main(&format!("(func (export \"resolve\") (param $request i32) (result i32) {body})"))
}

/// A data segment with an answer, and its address.
fn laid_out(answer: &Answer) -> (u32, String) {
    let (address, (at, bytes)) = answer.image();
    let text: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    (address, format!("(data (i32.const {at}) \"{text}\")"))
}

/// An answer that is true but for one change.
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
