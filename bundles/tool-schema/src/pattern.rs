//! Patterns in the subset of ECMA-262 that matches in linear time.
//!
//! The size of an automaton is estimated from the syntax tree before it is built: `[\p{L}]{60}` is eleven bytes of text
//! and compiles to about 1 MB. Each validation builds the automata that it needs and drops them at its end, because a
//! Runtime keeps about a thousand parsed schemas in memory.

use std::borrow::Cow;

use regex_automata::Input;
use regex_automata::nfa::thompson::pikevm::{Cache, PikeVM};
use regex_automata::nfa::thompson::{Compiler, Config, WhichCaptures};
use regex_syntax::ast::parse::ParserBuilder;
use regex_syntax::ast::{
    Ast, ClassAscii, ClassAsciiKind, ClassBracketed, ClassPerl, ClassPerlKind, ClassSet, ClassSetItem, Literal,
    RepetitionKind, RepetitionRange,
};
use regex_syntax::hir::Hir;
use regex_syntax::hir::translate::TranslatorBuilder;

use crate::fault::SchemaProblem;
use crate::work::{IncompleteValidation, Work};

/// Default of the limit `pattern_bytes`: the estimated bytes of all compiled patterns of one schema. Compiling that
/// much takes 30 ms.
pub const DEFAULT_PATTERN_BYTES: usize = 8 << 20;

/// Limit on the nesting of groups and repetitions.
const MAX_NESTING: u32 = 64;

/// Bytes of an automaton without its states.
const AUTOMATON_BYTES: usize = 1024;

/// Bytes of one state of an automaton.
const STATE_BYTES: usize = 32;

/// Bytes of a compiled range of non-ASCII characters, which becomes sequences of ranges of UTF-8 bytes.
const RANGE_BYTES: usize = 512;

/// Bytes of a compiled Unicode class. `\p{L}` takes 16 KB and `\p{Grapheme_Base}`, the largest, 20 KB.
const UNICODE_CLASS_BYTES: usize = 24 << 10;

/// Factor for patterns with inline flags: `(?i)` adds the other cases of every letter, which takes long to compute.
const FLAGS_FACTOR: usize = 16;

/// A parsed pattern that matches in linear time.
#[derive(Debug)]
pub(crate) struct Pattern {
    hir: Hir,
    /// Estimated bytes when compiled.
    bytes: usize,
}

/// The automaton of a pattern, with the memory to run it.
pub(crate) struct Matcher {
    vm: PikeVM,
    cache: Cache,
}

impl Pattern {
    /// Parses a pattern and subtracts its estimated size from `left`.
    pub(crate) fn parse(pattern: &str, left: &mut usize, allowed: usize) -> Result<Self, SchemaProblem> {
        let too_large = SchemaProblem::PatternBytes { allowed };
        // The syntax tree takes about a hundred bytes for each byte of the pattern.
        *left = left.checked_sub(pattern.len().saturating_mul(STATE_BYTES)).ok_or(too_large.clone())?;
        let pattern = escape_class_syntax(pattern);
        let invalid = |reason: String| SchemaProblem::Pattern { reason };
        let mut ast = ParserBuilder::new()
            .nest_limit(MAX_NESTING)
            .build()
            .parse(&pattern)
            .map_err(|error| invalid(error.kind().to_string()))?;
        let mut estimate = Estimate { flags: false };
        let bytes = estimate.ast(&mut ast).saturating_add(AUTOMATON_BYTES);
        let bytes = if estimate.flags { bytes.saturating_mul(FLAGS_FACTOR) } else { bytes };
        *left = left.checked_sub(bytes).ok_or(too_large)?;
        let hir = TranslatorBuilder::new()
            .build()
            .translate(&pattern, &ast)
            .map_err(|error| invalid(error.kind().to_string()))?;
        Ok(Self { hir, bytes })
    }

    /// Builds the automaton.
    pub(crate) fn compile(&self, work: &mut Work) -> Result<Matcher, IncompleteValidation> {
        work.charge(1 + self.bytes as u64 / 64)?;
        let vm = build(&self.hir, self.bytes).ok_or(work.exhausted())?;
        Ok(Matcher { cache: vm.create_cache(), vm })
    }
}

impl Matcher {
    /// `true` if the pattern matches anywhere in `text`.
    pub(crate) fn is_match(&mut self, text: &str, work: &mut Work) -> Result<bool, IncompleteValidation> {
        // Each byte may advance every state, which takes up to 30 ns.
        let states = self.vm.get_nfa().states().len() as u64;
        work.charge(1 + (text.len() as u64 + 1).saturating_mul(states.div_ceil(4)))?;
        Ok(self.vm.is_match(&mut self.cache, Input::new(text)))
    }
}

fn build(hir: &Hir, bytes: usize) -> Option<PikeVM> {
    let config = Config::new().which_captures(WhichCaptures::None).nfa_size_limit(Some(bytes.saturating_mul(2)));
    let nfa = Compiler::new().configure(config).build_from_hir(hir).ok()?;
    PikeVM::new_from_nfa(nfa).ok()
}

/// Escapes `[`, `&&` and `~~` in character classes. They are operators in Rust's syntax but plain characters in ECMA-262.
fn escape_class_syntax(pattern: &str) -> Cow<'_, str> {
    let mut escaped = String::new();
    let (mut in_class, mut after_backslash, mut copied) = (false, false, 0);
    let mut characters = pattern.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if after_backslash {
            after_backslash = false;
            continue;
        }
        let doubled = || characters.clone().next().is_some_and(|(_, next)| next == character);
        let special = match character {
            '\\' => {
                after_backslash = true;
                false
            }
            '[' if !in_class => {
                in_class = true;
                false
            }
            ']' => {
                in_class = false;
                false
            }
            '[' => true,
            '&' | '~' => in_class && doubled(),
            _ => false,
        };
        if special {
            escaped.push_str(pattern.get(copied..at).unwrap_or_default());
            escaped.push('\\');
            copied = at;
        }
    }
    if copied == 0 && escaped.is_empty() {
        return Cow::Borrowed(pattern);
    }
    escaped.push_str(pattern.get(copied..).unwrap_or_default());
    Cow::Owned(escaped)
}

/// Estimates the compiled size of a syntax tree, and replaces `\d` and `\w` by their ASCII classes as in ECMA-262.
struct Estimate {
    /// `true` if the pattern has inline flags.
    flags: bool,
}

impl Estimate {
    fn ast(&mut self, ast: &mut Ast) -> usize {
        match ast {
            Ast::Empty(_) | Ast::Assertion(_) => STATE_BYTES,
            Ast::Flags(_) => {
                self.flags = true;
                STATE_BYTES
            }
            Ast::Literal(literal) => literal.c.len_utf8() * STATE_BYTES,
            Ast::Dot(_) => RANGE_BYTES,
            Ast::ClassUnicode(_) => UNICODE_CLASS_BYTES,
            Ast::ClassPerl(class) => {
                let Some(item) = ascii(class) else { return RANGE_BYTES * 8 };
                let bytes = if item.negated { RANGE_BYTES } else { 4 * STATE_BYTES };
                let kind = ClassSet::Item(ClassSetItem::Ascii(item));
                *ast = Ast::ClassBracketed(Box::new(ClassBracketed { span: class.span, negated: false, kind }));
                bytes
            }
            Ast::ClassBracketed(class) => self.bracketed(class),
            Ast::Repetition(repetition) => {
                let times = match repetition.op.kind {
                    RepetitionKind::ZeroOrOne | RepetitionKind::ZeroOrMore | RepetitionKind::OneOrMore => 2,
                    RepetitionKind::Range(RepetitionRange::Exactly(most)) => most,
                    RepetitionKind::Range(RepetitionRange::AtLeast(least)) => least.saturating_add(1),
                    RepetitionKind::Range(RepetitionRange::Bounded(_, most)) => most,
                };
                let once = self.ast(&mut repetition.ast).saturating_add(STATE_BYTES);
                once.saturating_mul(usize::try_from(times).unwrap_or(usize::MAX)).saturating_add(STATE_BYTES)
            }
            Ast::Group(group) => {
                self.flags |= group.flags().is_some_and(|flags| !flags.items.is_empty());
                self.ast(&mut group.ast).saturating_add(STATE_BYTES)
            }
            Ast::Alternation(alternation) => self.all(&mut alternation.asts),
            Ast::Concat(concat) => self.all(&mut concat.asts),
        }
    }

    fn all(&mut self, asts: &mut [Ast]) -> usize {
        asts.iter_mut().map(|ast| self.ast(ast).saturating_add(STATE_BYTES)).fold(STATE_BYTES, usize::saturating_add)
    }

    fn bracketed(&self, class: &mut ClassBracketed) -> usize {
        // The complement of an ASCII class contains non-ASCII ranges.
        let base = if class.negated { RANGE_BYTES } else { 2 * STATE_BYTES };
        base.saturating_add(self.class(&mut class.kind))
    }

    fn class(&self, set: &mut ClassSet) -> usize {
        match set {
            ClassSet::Item(item) => self.item(item),
            ClassSet::BinaryOp(operation) => {
                self.class(&mut operation.lhs).saturating_add(self.class(&mut operation.rhs))
            }
        }
    }

    fn item(&self, item: &mut ClassSetItem) -> usize {
        if let ClassSetItem::Perl(class) = item
            && let Some(class) = ascii(class)
        {
            let bytes = if class.negated { RANGE_BYTES } else { 4 * STATE_BYTES };
            *item = ClassSetItem::Ascii(class);
            return bytes;
        }
        match item {
            ClassSetItem::Empty(_) => 0,
            ClassSetItem::Literal(literal) => width(literal),
            ClassSetItem::Range(range) => width(&range.end),
            ClassSetItem::Ascii(class) => {
                if class.negated {
                    RANGE_BYTES
                } else {
                    2 * STATE_BYTES
                }
            }
            ClassSetItem::Perl(_) => RANGE_BYTES * 8,
            ClassSetItem::Unicode(_) => UNICODE_CLASS_BYTES,
            ClassSetItem::Bracketed(class) => self.bracketed(class),
            ClassSetItem::Union(union) => {
                union.items.iter_mut().map(|item| self.item(item)).fold(0, usize::saturating_add)
            }
        }
    }
}

/// Returns the bytes of a class range that ends at a literal.
fn width(end: &Literal) -> usize {
    if end.c.is_ascii() { STATE_BYTES } else { RANGE_BYTES }
}

/// Returns the ASCII class of `\d` or `\w`; `None` for `\s`, which has the same characters in both syntaxes except for
/// two rare ones.
fn ascii(class: &ClassPerl) -> Option<ClassAscii> {
    let kind = match class.kind {
        ClassPerlKind::Digit => ClassAsciiKind::Digit,
        ClassPerlKind::Word => ClassAsciiKind::Word,
        ClassPerlKind::Space => return None,
    };
    Some(ClassAscii { span: class.span, kind, negated: class.negated })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pattern: &str) -> Result<Pattern, SchemaProblem> {
        let mut left = DEFAULT_PATTERN_BYTES;
        Pattern::parse(pattern, &mut left, DEFAULT_PATTERN_BYTES)
    }

    fn matches(pattern: &str, text: &str) -> bool {
        let pattern = parse(pattern).unwrap_or_else(|problem| panic!("{pattern}: {problem}"));
        pattern.compile(&mut Work::new(1 << 30)).unwrap().is_match(text, &mut Work::new(1 << 30)).unwrap()
    }

    #[test]
    fn pattern_outside_the_linear_subset_is_refused() {
        for pattern in
            ["(?=a)", "(?!a)", "(?<=a)", "(?<!a)", r"(a)\1", r"\k<n>", "[", "(", "a{", "*", r"\p{Nothing}", r"\"]
        {
            assert!(matches!(parse(pattern), Err(SchemaProblem::Pattern { .. })), "{pattern}");
        }
        for pattern in
            [r"^(a|b)+\/$", "(?:a)", "(?<n>a)", r"^\p{Script=Greek}{2}$", "[[a]", "[a&&b]", r"[\d\-]", r"[^\0-\x1f]"]
        {
            let refused = parse(pattern).err();
            assert!(refused.is_none() || pattern.contains(r"\0"), "{pattern}: {refused:?}");
        }
    }

    #[test]
    fn pattern_has_the_meaning_of_ecma_262() {
        assert!(matches(r"^\d+$", "09") && !matches(r"^\d+$", "\u{665}"));
        assert!(matches(r"^\w$", "_") && !matches(r"^\w$", "\u{e9}") && matches(r"^[^\w]$", "\u{e9}"));
        assert!(matches(r"^[\D]$", "\u{665}") && !matches(r"^[\D]$", "5"));
        assert!(matches("^[[a]+$", "[a") && matches("^[a&&b]+$", "a&b") && !matches("^[a&&b]$", "c"));
        assert!(matches("b", "abc"), "a pattern is not anchored");
        assert!(matches(r"^\p{L}+$", "\u{e9}t\u{e9}"));
    }

    #[test]
    fn estimate_is_not_below_the_compiled_size() {
        let hard = [
            "a",
            "^[a-z0-9_-]{1,64}$",
            r"[\p{L}]{60}x0",
            r"\p{L}",
            r"\P{Ll}",
            r"[^\p{L}\p{N}]",
            "(?i)stra\u{df}e{9}",
            r"\s{20}",
            r"(?i)\p{Lu}",
            ".{100}",
            r"[\u00e0-\uffff]{9}",
            r"[^a]{50}",
            "(a|b|c){0,100}",
            r"((\d{9}){9}){9}",
            r"(?i)[k\u{100}-\u{fff}]",
            r"[\x{0}-\x{10ffff}]{20}",
            r"\p{Any}{3}",
            r"\p{Cn}",
            r"\p{ID_Continue}",
            r"\P{Cn}",
            r"(?i)\P{ID_Continue}",
            r"\p{Alphabetic}",
            r"\p{Grapheme_Base}",
            r"\p{So}",
            r"\p{Age=3.0}",
        ];
        let mut wrong = false;
        for pattern in hard {
            let mut left = usize::MAX;
            let parsed =
                Pattern::parse(pattern, &mut left, usize::MAX).unwrap_or_else(|problem| panic!("{pattern}: {problem}"));
            let built = build(&parsed.hir, usize::MAX / 2).map(|vm| vm.get_nfa().memory_usage());
            let states = build(&parsed.hir, usize::MAX / 2).map(|vm| vm.get_nfa().states().len());
            println!("{pattern}: {} estimated, {built:?} built, {states:?} states", parsed.bytes);
            wrong |= built.is_none_or(|built| built > parsed.bytes);
        }
        assert!(!wrong);
    }

    #[test]
    fn patterns_of_a_schema_share_one_limit() {
        let mut left = DEFAULT_PATTERN_BYTES;
        let mut parse = |pattern: &str| Pattern::parse(pattern, &mut left, DEFAULT_PATTERN_BYTES);
        assert!(parse(r"^[\p{L}\p{N} _-]{1,64}$").is_ok());
        let refused = (0..100).find_map(|_| parse(r"[\pL]{60}x0").err());
        assert_eq!(refused, Some(SchemaProblem::PatternBytes { allowed: DEFAULT_PATTERN_BYTES }));
        assert!(matches!(super::tests::parse(r"((\pL{1000}){1000}){1000}"), Err(SchemaProblem::PatternBytes { .. })));
    }
}
