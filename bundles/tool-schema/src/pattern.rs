//! Patterns: the subset of ECMA-262 that matches in linear time.
//!
//! A pattern is estimated before anything of it is built, from its syntax tree: `[\p{L}]{60}` is eleven bytes of text
//! and becomes an automaton of about 1 MB. Each validation builds the automata that it needs and drops them at its end,
//! because a Runtime keeps about a thousand parsed schemas in memory.

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

use crate::fault::Problem;
use crate::work::{Exhausted, Work};

/// The default of `pattern_bytes`, the estimated bytes that all patterns of one schema may become. Compiling as much
/// takes 30 ms.
pub const DEFAULT_PATTERN_BYTES: usize = 8 << 20;

/// Deepest nesting of groups and repetitions.
const NESTING: u32 = 64;

/// Bytes of an automaton beside its states.
const BASE: usize = 1024;

/// Bytes of one state of an automaton.
const STATE: usize = 32;

/// Bytes that a range of characters beyond ASCII becomes: sequences of ranges of UTF-8 bytes.
const RANGE: usize = 512;

/// Bytes that a class by Unicode property becomes. `\p{L}` becomes 16 KB and `\p{Grapheme_Base}`, the largest, 20 KB.
const UNICODE_CLASS: usize = 24 << 10;

/// A factor for patterns with inline flags: `(?i)` adds every letter's other cases, and finding them takes long.
const FLAGS: usize = 16;

/// A pattern that is known to match in linear time.
#[derive(Debug)]
pub(crate) struct Pattern {
    hir: Hir,
    /// Estimated bytes when compiled.
    bytes: usize,
}

/// The automaton of a pattern, with room to run it.
pub(crate) struct Matcher {
    vm: PikeVM,
    cache: Cache,
}

impl Pattern {
    /// Parses a pattern and takes its estimated size out of `left`.
    pub(crate) fn parse(pattern: &str, left: &mut usize, allowed: usize) -> Result<Self, Problem> {
        let too_large = Problem::PatternBytes { allowed };
        // The syntax tree takes some hundred bytes for each byte of the pattern.
        *left = left.checked_sub(pattern.len().saturating_mul(STATE)).ok_or(too_large.clone())?;
        let pattern = escape_class_syntax(pattern);
        let invalid = |reason: String| Problem::Pattern { reason };
        let mut ast = ParserBuilder::new()
            .nest_limit(NESTING)
            .build()
            .parse(&pattern)
            .map_err(|error| invalid(error.kind().to_string()))?;
        let mut estimate = Estimate { flags: false };
        let bytes = estimate.ast(&mut ast).saturating_add(BASE);
        let bytes = if estimate.flags { bytes.saturating_mul(FLAGS) } else { bytes };
        *left = left.checked_sub(bytes).ok_or(too_large)?;
        let hir = TranslatorBuilder::new()
            .build()
            .translate(&pattern, &ast)
            .map_err(|error| invalid(error.kind().to_string()))?;
        Ok(Self { hir, bytes })
    }

    /// Builds the automaton.
    pub(crate) fn compile(&self, work: &mut Work) -> Result<Matcher, Exhausted> {
        work.charge(1 + self.bytes as u64 / 64)?;
        let vm = build(&self.hir, self.bytes).ok_or(work.exhausted())?;
        Ok(Matcher { cache: vm.create_cache(), vm })
    }
}

impl Matcher {
    /// `true` if the pattern matches anywhere in `text`.
    pub(crate) fn is_match(&mut self, text: &str, work: &mut Work) -> Result<bool, Exhausted> {
        // Each byte may have to move every state, which takes up to 30 ns.
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

/// Escapes what has a meaning in classes of Rust patterns and none in those of ECMA-262: `[` and the operators `&&` and
/// `~~`.
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

/// Estimates what a syntax tree becomes, and gives `\d` and `\w` the meaning of ECMA-262: ASCII.
struct Estimate {
    flags: bool,
}

impl Estimate {
    fn ast(&mut self, ast: &mut Ast) -> usize {
        match ast {
            Ast::Empty(_) | Ast::Assertion(_) => STATE,
            Ast::Flags(_) => {
                self.flags = true;
                STATE
            }
            Ast::Literal(literal) => literal.c.len_utf8() * STATE,
            Ast::Dot(_) => RANGE,
            Ast::ClassUnicode(_) => UNICODE_CLASS,
            Ast::ClassPerl(class) => {
                let Some(item) = ascii(class) else { return RANGE * 8 };
                let bytes = if item.negated { RANGE } else { 4 * STATE };
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
                let once = self.ast(&mut repetition.ast).saturating_add(STATE);
                once.saturating_mul(usize::try_from(times).unwrap_or(usize::MAX)).saturating_add(STATE)
            }
            Ast::Group(group) => {
                self.flags |= group.flags().is_some_and(|flags| !flags.items.is_empty());
                self.ast(&mut group.ast).saturating_add(STATE)
            }
            Ast::Alternation(alternation) => self.all(&mut alternation.asts),
            Ast::Concat(concat) => self.all(&mut concat.asts),
        }
    }

    fn all(&mut self, asts: &mut [Ast]) -> usize {
        asts.iter_mut().map(|ast| self.ast(ast).saturating_add(STATE)).fold(STATE, usize::saturating_add)
    }

    fn bracketed(&self, class: &mut ClassBracketed) -> usize {
        // The complement of ASCII characters has ranges beyond them.
        let base = if class.negated { RANGE } else { 2 * STATE };
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
            let bytes = if class.negated { RANGE } else { 4 * STATE };
            *item = ClassSetItem::Ascii(class);
            return bytes;
        }
        match item {
            ClassSetItem::Empty(_) => 0,
            ClassSetItem::Literal(literal) => width(literal),
            ClassSetItem::Range(range) => width(&range.end),
            ClassSetItem::Ascii(class) => {
                if class.negated {
                    RANGE
                } else {
                    2 * STATE
                }
            }
            ClassSetItem::Perl(_) => RANGE * 8,
            ClassSetItem::Unicode(_) => UNICODE_CLASS,
            ClassSetItem::Bracketed(class) => self.bracketed(class),
            ClassSetItem::Union(union) => {
                union.items.iter_mut().map(|item| self.item(item)).fold(0, usize::saturating_add)
            }
        }
    }
}

/// Bytes of a class that ends at a literal.
fn width(end: &Literal) -> usize {
    if end.c.is_ascii() { STATE } else { RANGE }
}

/// The ASCII class of `\d` and `\w`. `\s` has the same characters in both languages, but for two that are rare.
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

    fn parse(pattern: &str) -> Result<Pattern, Problem> {
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
            assert!(matches!(parse(pattern), Err(Problem::Pattern { .. })), "{pattern}");
        }
        for pattern in
            [r"^(a|b)+\/$", "(?:a)", "(?<n>a)", r"^\p{Script=Greek}{2}$", "[[a]", "[a&&b]", r"[\d\-]", r"[^\0-\x1f]"]
        {
            let refused = parse(pattern).err();
            assert!(refused.is_none() || pattern.contains(r"\0"), "{pattern}: {refused:?}");
        }
    }

    #[test]
    fn pattern_means_what_ecma_262_says() {
        assert!(matches(r"^\d+$", "09") && !matches(r"^\d+$", "\u{665}"));
        assert!(matches(r"^\w$", "_") && !matches(r"^\w$", "\u{e9}") && matches(r"^[^\w]$", "\u{e9}"));
        assert!(matches(r"^[\D]$", "\u{665}") && !matches(r"^[\D]$", "5"));
        assert!(matches("^[[a]+$", "[a") && matches("^[a&&b]+$", "a&b") && !matches("^[a&&b]$", "c"));
        assert!(matches("b", "abc"), "a pattern is not anchored");
        assert!(matches(r"^\p{L}+$", "\u{e9}t\u{e9}"));
    }

    #[test]
    fn estimate_is_not_below_what_is_built() {
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
    fn patterns_share_one_bound() {
        let mut left = DEFAULT_PATTERN_BYTES;
        let mut parse = |pattern: &str| Pattern::parse(pattern, &mut left, DEFAULT_PATTERN_BYTES);
        assert!(parse(r"^[\p{L}\p{N} _-]{1,64}$").is_ok());
        let refused = (0..100).find_map(|_| parse(r"[\pL]{60}x0").err());
        assert_eq!(refused, Some(Problem::PatternBytes { allowed: DEFAULT_PATTERN_BYTES }));
        assert!(matches!(super::tests::parse(r"((\pL{1000}){1000}){1000}"), Err(Problem::PatternBytes { .. })));
    }
}
