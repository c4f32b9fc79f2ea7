//! Wraps core code in the world `resolver`, so that each hostile component states only its own behaviour.

use super::answer::Answer;

/// The world as text with placeholders.
const WORLD: &str = include_str!("world.wat.in");

/// Bytes of a memory page.
const PAGE: usize = 64 << 10;

/// A builder of a component. Without changes it is honest and returns the given answer.
pub(super) struct Code {
    places: Vec<(&'static str, String)>,
}

impl Code {
    /// Creates a component with the given text of a core module as `$main`.
    pub(super) fn of(main: impl Into<String>) -> Self {
        let places = [
            ("version", "1.0.0"),
            ("imports_before", ""),
            ("imports_after", ""),
            ("bundle", ""),
            ("declares", "(list bool)"),
            ("pages", "4"),
            ("heap", "131072"),
            ("realloc", BUMP),
            ("post_return", ""),
            ("resolved", "$resolution"),
            ("function", "resolve"),
            ("instances", ""),
            ("exports", ""),
        ];
        let mut places: Vec<_> = places.map(|(place, text)| (place, text.to_owned())).into();
        places.push(("main", main.into()));
        Self { places }
    }

    /// Creates a component that looks up its profile, drops its handle, and returns this answer for every request.
    pub(super) fn answers(answer: &Answer) -> Self {
        let (address, data) = answer.image();
        Self::returns(address, &[(data.0, data.1)])
    }

    /// Creates a component that looks up its profile, drops its handle, and returns an address. The memory holds the
    /// given bytes at the given addresses.
    pub(super) fn returns(address: u32, data: &[(u32, Vec<u8>)]) -> Self {
        let mut segments = String::new();
        let mut end = 0;
        for (at, bytes) in data {
            segments.push_str(&format!("(data (i32.const {at}) \"{}\")", escaped(bytes)));
            end = end.max(*at as usize + bytes.len());
        }
        let body = format!(
            ";; The request begins with the name of the profile, and so is a list of one name itself.
            (call $profiles
                (i32.load offset=16 (local.get $request)) (local.get $request) (i32.const 1) (i32.const 16))
            (call $drop (i32.load offset=16 (local.get $request)))
            (i32.const {address})"
        );
        Self::with_data(&segments, end, &body)
    }

    /// Creates a component whose memory has these data segments, which end at `end`, and whose function `resolve` has this
    /// body.
    fn with_data(segments: &str, end: usize, body: &str) -> Self {
        let heap = end.max(2 * PAGE).next_multiple_of(8);
        Self::of(format!(
            "(core module $main
                (import \"libc\" \"memory\" (memory 0))
                (import \"host\" \"profiles\" (func $profiles (param i32 i32 i32 i32)))
                (import \"host\" \"drop\" (func $drop (param i32)))
                {segments}
                (func (export \"resolve\") (param $request i32) (result i32)
                    {body}))"
        ))
        .with("pages", (heap / PAGE + 2).to_string())
        .with("heap", heap.to_string())
    }

    /// Creates a component that answers by the two digits at the end of a profile's name of three characters. The second
    /// answer is for requests that require a capability.
    pub(super) fn dispatches(cases: &[([u8; 2], Answer, Answer)]) -> Self {
        let (mut segments, mut branches, mut base) = (String::new(), String::new(), super::answer::BASE);
        for (digits, plain, capable) in cases {
            let mut addresses = Vec::new();
            for answer in [plain, capable] {
                let (address, (at, bytes)) = answer.image_at(base);
                segments.push_str(&format!("(data (i32.const {at}) \"{}\")", escaped(&bytes)));
                base = (at + bytes.len() as u32).next_multiple_of(8);
                addresses.push(address);
            }
            branches.push_str(&format!(
                "(if (i32.eq (local.get $digits) (i32.const {}))
                    (then (return (select (i32.const {}) (i32.const {}) (i32.load offset=12 (local.get $request))))))",
                u16::from_le_bytes(*digits),
                addresses[1],
                addresses[0],
            ));
        }
        let body = format!(
            "(local $digits i32)
            (call $drop (i32.load offset=16 (local.get $request)))
            (local.set $digits (i32.load16_u offset=1 (i32.load (local.get $request))))
            {branches}
            unreachable"
        );
        Self::with_data(&segments, base as usize, &body)
    }

    /// Replaces the text of a placeholder.
    pub(super) fn with(mut self, place: &'static str, text: impl Into<String>) -> Self {
        for (name, old) in &mut self.places {
            if *name == place {
                *old = text.into();
                return self;
            }
        }
        panic!("the world has no place `{place}`");
    }

    /// Returns the text of the component.
    pub(super) fn text(&self) -> String {
        self.places.iter().fold(WORLD.to_owned(), |world, (place, text)| world.replace(&format!("{{{place}}}"), text))
    }

    /// Returns the binary component.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let text = self.text();
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }
}

/// A bump allocator that grows the memory.
const BUMP: &str = "
    (local $at i32)
    (local.set $at (i32.and
        (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (block $enough
        (br_if $enough (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
        (br_if $enough (i32.ge_s
            (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))) (i32.const 0)))
        unreachable)
    (local.get $at)";

/// Escapes bytes for a string of the text format.
fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}
