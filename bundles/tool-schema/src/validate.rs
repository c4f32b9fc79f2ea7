//! Validation of values, with the cost of each step counted before the step.
//!
//! A subschema is applied once for each path of references that leads to it, so a schema of a few hundred bytes can
//! require 2^40 applications. [`Work`] limits them. Every recursion uses work and counts its depth.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Number, Value};

use crate::keyword::{Bound, Dependency, Keyword, Node, NodeId, PatternId, Properties, ResourceId, Schema, Types};
use crate::number::{Numeric, is_multiple};
use crate::pattern::Matcher;
use crate::value::{duplicate, equal};
use crate::work::{IncompleteValidation, Work};

/// Limit on nested applications of subschemas. Without optimisation, a level uses about 2 KB of stack.
const MAX_DEPTH: usize = 512;

/// The first mismatch between a value and its schema. It contains keys of the value and of the schema, but no other
/// part of the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// JSON pointer to the place in the value.
    pub pointer: String,
    /// The violated rule of the schema.
    pub reason: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Error returned when a value is invalid or could not be validated completely.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValidationError {
    /// The value does not match the schema.
    #[error("{0}")]
    Mismatch(Mismatch),
    /// The validation ended without a result.
    #[error(transparent)]
    Incomplete(#[from] IncompleteValidation),
}

impl Schema {
    /// Validates a value.
    pub fn validate(&self, value: &Value, work: &mut Work) -> Result<(), ValidationError> {
        let matchers = self.patterns.iter().map(|_| None).collect();
        let mut validation = Validation { schema: self, work, matchers, scope: Vec::new(), depth: 0 };
        match validation.apply(0, value, Some(&Path::Root), None) {
            Ok(()) => Ok(()),
            Err(Failure::Incomplete(incomplete)) => Err(incomplete.into()),
            Err(Failure::Mismatch(mismatch)) => Err(ValidationError::Mismatch(mismatch.map_or_else(
                || Mismatch { pointer: String::new(), reason: "the value does not match the schema".to_owned() },
                |mismatch| *mismatch,
            ))),
        }
    }
}

/// Error of applying a subschema.
enum Failure {
    /// The value does not match. The details exist only if the caller passed a path.
    Mismatch(Option<Box<Mismatch>>),
    Incomplete(IncompleteValidation),
}

impl From<IncompleteValidation> for Failure {
    fn from(incomplete: IncompleteValidation) -> Self {
        Self::Incomplete(incomplete)
    }
}

type ApplyResult = Result<(), Failure>;

/// The path from the whole value to a part of it, as a linked list on the stack. Below `not` and in alternatives there
/// is no path, because a mismatch there is not an error.
#[derive(Clone, Copy)]
enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

type OptionalPath<'p> = Option<&'p Path<'p>>;

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(parent, key) => write!(f, "{parent}/{}", key.replace('~', "~0").replace('/', "~1")),
            Self::Index(parent, index) => write!(f, "{parent}/{index}"),
        }
    }
}

/// Returns a mismatch, with the reason if there is a path.
fn mismatch(at: OptionalPath<'_>, reason: impl FnOnce() -> String) -> ApplyResult {
    Err(Failure::Mismatch(at.map(|path| Box::new(Mismatch { pointer: path.to_string(), reason: reason() }))))
}

/// Returns a mismatch unless `matches` is `true`.
fn ensure(matches: bool, at: OptionalPath<'_>, reason: impl FnOnce() -> String) -> ApplyResult {
    if matches { Ok(()) } else { mismatch(at, reason) }
}

/// The properties and items that keywords have evaluated. `unevaluated…` keywords apply to the others.
#[derive(Default)]
struct EvaluatedParts<'v> {
    properties: BTreeSet<&'v str>,
    all_properties: bool,
    /// All items before this index are evaluated.
    items_before: usize,
    /// Further evaluated items.
    items: BTreeSet<usize>,
}

impl<'v> EvaluatedParts<'v> {
    fn merge(&mut self, other: Self, work: &mut Work) -> Result<(), IncompleteValidation> {
        work.charge(1 + 4 * (other.properties.len() + other.items.len()) as u64)?;
        self.properties.extend(other.properties);
        self.all_properties |= other.all_properties;
        self.items_before = self.items_before.max(other.items_before);
        self.items.extend(other.items);
        Ok(())
    }
}

/// The state of one validation.
struct Validation<'s, 'w> {
    schema: &'s Schema,
    work: &'w mut Work,
    /// Automata by pattern, each built on first use.
    matchers: Vec<Option<Matcher>>,
    /// The entered resources, the outermost first.
    scope: Vec<ResourceId>,
    depth: usize,
}

impl<'s> Validation<'s, '_> {
    /// Applies a subschema to a value. If the value matches, adds the evaluated parts to `evaluated`.
    fn apply<'v>(
        &mut self,
        id: NodeId,
        value: &'v Value,
        at: OptionalPath<'_>,
        evaluated: Option<&mut EvaluatedParts<'v>>,
    ) -> ApplyResult {
        self.work.charge(1)?;
        let schema = self.schema;
        let Some(node) = schema.nodes.get(id as usize) else { return Ok(()) };
        if self.depth >= MAX_DEPTH {
            return Err(IncompleteValidation::Depth { limit: MAX_DEPTH }.into());
        }
        let is_new_resource = self.scope.last() != Some(&node.resource);
        if is_new_resource {
            self.scope.push(node.resource);
        }
        self.depth += 1;
        let result = if node.tracks_evaluated {
            self.apply_tracked(node, value, at, evaluated)
        } else {
            self.apply_keywords(node, value, at, evaluated)
        };
        self.depth -= 1;
        if is_new_resource {
            self.scope.pop();
        }
        result
    }

    fn apply_keywords<'v>(
        &mut self,
        node: &'s Node,
        value: &'v Value,
        at: OptionalPath<'_>,
        mut evaluated: Option<&mut EvaluatedParts<'v>>,
    ) -> ApplyResult {
        for keyword in &node.keywords {
            self.work.charge(1)?;
            self.keyword(keyword, value, at, evaluated.as_deref_mut())?;
        }
        Ok(())
    }

    /// Applies the keywords of a node with an `unevaluated…` keyword.
    fn apply_tracked<'v>(
        &mut self,
        node: &'s Node,
        value: &'v Value,
        at: OptionalPath<'_>,
        evaluated: Option<&mut EvaluatedParts<'v>>,
    ) -> ApplyResult {
        let mut own = EvaluatedParts::default();
        self.apply_keywords(node, value, at, Some(&mut own))?;
        match evaluated {
            Some(evaluated) => Ok(evaluated.merge(own, self.work)?),
            None => Ok(()),
        }
    }

    fn keyword<'v>(
        &mut self,
        keyword: &'s Keyword,
        value: &'v Value,
        at: OptionalPath<'_>,
        evaluated: Option<&mut EvaluatedParts<'v>>,
    ) -> ApplyResult {
        match keyword {
            Keyword::Never => mismatch(at, || match at {
                Some(Path::Key(_, key)) => format!("property `{key}` is not allowed"),
                _ => "no value is allowed here".to_owned(),
            }),
            Keyword::Type(types) => {
                let found = Types::of(value);
                ensure(types.overlaps(found), at, || format!("expected {types}, found {}", kind(value)))
            }
            Keyword::Enum(values) => self.enumeration(values, value, at),
            Keyword::Const(wanted) => {
                let equal = equal(wanted, value, self.work)?;
                ensure(equal, at, || "the value differs from `const`".to_owned())
            }
            Keyword::MultipleOf(divisor) => number(value, |number| {
                self.work.charge(16)?;
                ensure(is_multiple(number, divisor), at, || format!("the number is not a multiple of {divisor}"))
            }),
            Keyword::Bound(bound, limit) => number(value, |number| within(*bound, limit, number, at)),
            Keyword::Length { is_minimum, characters } => self.length(*is_minimum, *characters, value, at),
            Keyword::Pattern(pattern) => self.pattern(*pattern, value, at),
            Keyword::Required(names) => match value.as_object() {
                Some(members) => self.required(names, members, at),
                None => Ok(()),
            },
            Keyword::PropertyCount { .. } | Keyword::Count { .. } => count(keyword, value, at),
            Keyword::DependentRequired(dependencies) => self.dependent_required(dependencies, value, at),
            Keyword::UniqueItems => match value.as_array() {
                Some(values) => {
                    let duplicate = duplicate(values, self.work)?;
                    ensure(duplicate.is_none(), at, || {
                        let (one, two) = duplicate.unwrap_or_default();
                        format!("items {one} and {two} are equal")
                    })
                }
                None => Ok(()),
            },
            Keyword::Items { prefix, rest } => self.items(prefix, *rest, value, at, evaluated),
            Keyword::Contains { .. } => self.contains(keyword, value, at, evaluated),
            Keyword::Properties(properties) => self.properties(properties, value, at, evaluated),
            Keyword::PropertyNames(node) => self.property_names(*node, value, at),
            Keyword::DependentSchemas(schemas) => self.dependent_schemas(schemas, value, at, evaluated),
            Keyword::AllOf(nodes) => self.all_of(nodes, value, at, evaluated),
            Keyword::AnyOf(nodes) => self.any_of(nodes, value, at, evaluated),
            Keyword::OneOf(nodes) => self.one_of(nodes, value, at, evaluated),
            Keyword::Not(node) => {
                let matched = self.matches_schema(*node, value)?;
                ensure(!matched, at, || "the value matches the schema in `not`".to_owned())
            }
            Keyword::If { condition, then, otherwise } => {
                self.conditional([Some(*condition), *then, *otherwise], value, at, evaluated)
            }
            Keyword::Ref(node) => self.apply(*node, value, at, evaluated),
            Keyword::DynamicRef { initial, anchor } => {
                let node = self.dynamic_target(*initial, anchor)?;
                self.apply(node, value, at, evaluated)
            }
            Keyword::UnevaluatedItems(node) => self.unevaluated_items(*node, value, at, evaluated),
            Keyword::UnevaluatedProperties(node) => self.unevaluated_properties(*node, value, at, evaluated),
        }
    }

    /// `true` if the value matches. Evaluated parts are not recorded.
    fn matches_schema(&mut self, node: NodeId, value: &Value) -> Result<bool, Failure> {
        match self.apply(node, value, None, None) {
            Ok(()) => Ok(true),
            Err(Failure::Mismatch(_)) => Ok(false),
            Err(incomplete) => Err(incomplete),
        }
    }

    /// `true` if the value matches. If it does, its evaluated parts are added to `evaluated`.
    fn matches_and_tracks<'v>(
        &mut self,
        node: NodeId,
        value: &'v Value,
        evaluated: Option<&mut EvaluatedParts<'v>>,
    ) -> Result<bool, Failure> {
        let Some(evaluated) = evaluated else { return self.matches_schema(node, value) };
        let mut own = EvaluatedParts::default();
        match self.apply(node, value, None, Some(&mut own)) {
            Ok(()) => {
                evaluated.merge(own, self.work)?;
                Ok(true)
            }
            Err(Failure::Mismatch(_)) => Ok(false),
            Err(incomplete) => Err(incomplete),
        }
    }

    fn enumeration(&mut self, values: &[Value], value: &Value, at: OptionalPath<'_>) -> ApplyResult {
        for one in values {
            if equal(one, value, self.work)? {
                return Ok(());
            }
        }
        mismatch(at, || "the value is not one of the values in `enum`".to_owned())
    }

    fn length(&mut self, is_minimum: bool, characters: u64, value: &Value, at: OptionalPath<'_>) -> ApplyResult {
        let Some(text) = value.as_str() else { return Ok(()) };
        self.work.charge_text(text.len())?;
        let actual = text.chars().count() as u64;
        if is_minimum {
            ensure(actual >= characters, at, || format!("found {actual} characters, expected at least {characters}"))
        } else {
            ensure(actual <= characters, at, || format!("found {actual} characters, expected at most {characters}"))
        }
    }

    fn is_match(&mut self, pattern: PatternId, text: &str) -> Result<bool, IncompleteValidation> {
        let index = pattern as usize;
        let (Some(pattern), Some(matcher)) = (self.schema.patterns.get(index), self.matchers.get_mut(index)) else {
            return Ok(false);
        };
        let matcher = match matcher {
            Some(matcher) => matcher,
            None => matcher.insert(pattern.compile(self.work)?),
        };
        matcher.is_match(text, self.work)
    }

    fn pattern(&mut self, pattern: PatternId, value: &Value, at: OptionalPath<'_>) -> ApplyResult {
        let Some(text) = value.as_str() else { return Ok(()) };
        let matched = self.is_match(pattern, text)?;
        ensure(matched, at, || "the string does not match `pattern`".to_owned())
    }

    fn required(&mut self, names: &[Box<str>], members: &Map<String, Value>, at: OptionalPath<'_>) -> ApplyResult {
        for name in names {
            self.work.charge_text(name.len())?;
            if !members.contains_key(name.as_ref()) {
                return mismatch(at, || format!("property `{name}` is missing"));
            }
        }
        Ok(())
    }

    fn dependent_required(&mut self, dependencies: &[Dependency], value: &Value, at: OptionalPath<'_>) -> ApplyResult {
        let Some(members) = value.as_object() else { return Ok(()) };
        for Dependency { property, required } in dependencies {
            self.work.charge_text(property.len())?;
            if members.contains_key(property.as_ref()) {
                self.required(required, members, at)?;
            }
        }
        Ok(())
    }

    fn dependent_schemas<'v>(
        &mut self,
        schemas: &'s [(Box<str>, NodeId)],
        value: &'v Value,
        at: OptionalPath<'_>,
        mut evaluated: Option<&mut EvaluatedParts<'v>>,
    ) -> ApplyResult {
        let Some(members) = value.as_object() else { return Ok(()) };
        for (property, node) in schemas {
            self.work.charge_text(property.len())?;
            if members.contains_key(property.as_ref()) {
                self.apply(*node, value, at, evaluated.as_deref_mut())?;
            }
        }
        Ok(())
    }

    fn items<'v>(
        &mut self,
        prefix: &[NodeId],
        rest: Option<NodeId>,
        value: &'v Value,
        at: OptionalPath<'_>,
        evaluated: Option<&mut EvaluatedParts<'v>>,
    ) -> ApplyResult {
        let Some(values) = value.as_array() else { return Ok(()) };
        for (index, value) in values.iter().enumerate() {
            let Some(node) = prefix.get(index).copied().or(rest) else { break };
            self.item(node, index, value, at)?;
        }
        if let Some(evaluated) = evaluated {
            let count = if rest.is_some() { usize::MAX } else { prefix.len() };
            evaluated.items_before = evaluated.items_before.max(count);
        }
        Ok(())
    }

    fn item(&mut self, node: NodeId, index: usize, value: &Value, at: OptionalPath<'_>) -> ApplyResult {
        match at {
            Some(path) => self.apply(node, value, Some(&Path::Index(path, index)), None),
            None => self.apply(node, value, None, None),
        }
    }

    fn member(&mut self, node: NodeId, key: &str, value: &Value, at: OptionalPath<'_>) -> ApplyResult {
        match at {
            Some(path) => self.apply(node, value, Some(&Path::Key(path, key)), None),
            None => self.apply(node, value, None, None),
        }
    }

    fn contains<'v>(
        &mut self,
        keyword: &Keyword,
        value: &'v Value,
        at: OptionalPath<'_>,
        mut evaluated: Option<&mut EvaluatedParts<'v>>,
    ) -> ApplyResult {
        let (Keyword::Contains { node, min, max, evaluates }, Some(values)) = (keyword, value.as_array()) else {
            return Ok(());
        };
        let mut found = 0;
        for (index, value) in values.iter().enumerate() {
            if self.matches_schema(*node, value)? {
                found += 1;
                if *evaluates && let Some(evaluated) = evaluated.as_deref_mut() {
                    self.work.charge(4)?;
                    evaluated.items.insert(index);
                }
            }
        }
        ensure(found >= *min && max.is_none_or(|max| found <= max), at, || {
            let max = max.map(|max| format!(" and at most {max}")).unwrap_or_default();
            format!("{found} items match `contains`, expected at least {min}{max}")
        })
    }

    fn properties<'v>(
        &mut self,
        properties: &Properties,
        value: &'v Value,
        at: OptionalPath<'_>,
        mut evaluated: Option<&mut EvaluatedParts<'v>>,
    ) -> ApplyResult {
        let Some(members) = value.as_object() else { return Ok(()) };
        for (key, value) in members {
            self.work.charge_text(key.len())?;
            let mut known = false;
            if let Some(node) = properties.named.get(key.as_str()) {
                known = true;
                self.member(*node, key, value, at)?;
            }
            for (pattern, node) in &properties.patterns {
                if self.is_match(*pattern, key)? {
                    known = true;
                    self.member(*node, key, value, at)?;
                }
            }
            if let Some(node) = properties.additional.filter(|_| !known) {
                known = true;
                self.member(node, key, value, at)?;
            }
            if known && let Some(evaluated) = evaluated.as_deref_mut() {
                self.work.charge(4)?;
                evaluated.properties.insert(key);
            }
        }
        Ok(())
    }

    fn property_names(&mut self, node: NodeId, value: &Value, at: OptionalPath<'_>) -> ApplyResult {
        let Some(members) = value.as_object() else { return Ok(()) };
        for key in members.keys() {
            self.work.charge_text(key.len())?;
            let matched = self.matches_schema(node, &Value::String(key.clone()))?;
            ensure(matched, at, || "a property name does not match `propertyNames`".to_owned())?;
        }
        Ok(())
    }

    fn all_of<'v>(
        &mut self,
        nodes: &[NodeId],
        value: &'v Value,
        at: OptionalPath<'_>,
        mut evaluated: Option<&mut EvaluatedParts<'v>>,
    ) -> ApplyResult {
        nodes.iter().try_for_each(|node| self.apply(*node, value, at, evaluated.as_deref_mut()))
    }

    fn any_of<'v>(
        &mut self,
        nodes: &[NodeId],
        value: &'v Value,
        at: OptionalPath<'_>,
        mut evaluated: Option<&mut EvaluatedParts<'v>>,
    ) -> ApplyResult {
        let mut any = false;
        for node in nodes {
            any |= self.matches_and_tracks(*node, value, evaluated.as_deref_mut())?;
            // The remaining alternatives matter only for tracking evaluated parts.
            if any && evaluated.is_none() {
                break;
            }
        }
        ensure(any, at, || "the value matches none of the schemas in `anyOf`".to_owned())
    }

    fn one_of<'v>(
        &mut self,
        nodes: &[NodeId],
        value: &'v Value,
        at: OptionalPath<'_>,
        mut evaluated: Option<&mut EvaluatedParts<'v>>,
    ) -> ApplyResult {
        let mut found = 0;
        for node in nodes {
            if self.matches_and_tracks(*node, value, evaluated.as_deref_mut())? {
                found += 1;
            }
            if found > 1 {
                return mismatch(at, || "the value matches more than one of the schemas in `oneOf`".to_owned());
            }
        }
        ensure(found == 1, at, || "the value matches none of the schemas in `oneOf`".to_owned())
    }

    fn conditional<'v>(
        &mut self,
        [condition, then, otherwise]: [Option<NodeId>; 3],
        value: &'v Value,
        at: OptionalPath<'_>,
        mut evaluated: Option<&mut EvaluatedParts<'v>>,
    ) -> ApplyResult {
        let Some(condition) = condition else { return Ok(()) };
        let holds = self.matches_and_tracks(condition, value, evaluated.as_deref_mut())?;
        match if holds { then } else { otherwise } {
            Some(node) => self.apply(node, value, at, evaluated),
            None => Ok(()),
        }
    }

    /// Resolves a dynamic reference.
    fn dynamic_target(&mut self, initial: NodeId, anchor: &str) -> Result<NodeId, IncompleteValidation> {
        for resource in &self.scope {
            self.work.charge_text(anchor.len())?;
            if let Some(node) = self.schema.dynamic_anchors.get(&(*resource, Box::from(anchor))) {
                return Ok(*node);
            }
        }
        Ok(initial)
    }

    fn unevaluated_items(
        &mut self,
        node: NodeId,
        value: &Value,
        at: OptionalPath<'_>,
        evaluated: Option<&mut EvaluatedParts<'_>>,
    ) -> ApplyResult {
        let (Some(values), Some(evaluated)) = (value.as_array(), evaluated) else { return Ok(()) };
        for (index, value) in values.iter().enumerate().skip(evaluated.items_before) {
            self.work.charge(1)?;
            if !evaluated.items.contains(&index) {
                self.item(node, index, value, at)?;
            }
        }
        evaluated.items_before = usize::MAX;
        Ok(())
    }

    fn unevaluated_properties(
        &mut self,
        node: NodeId,
        value: &Value,
        at: OptionalPath<'_>,
        evaluated: Option<&mut EvaluatedParts<'_>>,
    ) -> ApplyResult {
        let (Some(members), Some(evaluated)) = (value.as_object(), evaluated) else { return Ok(()) };
        if evaluated.all_properties {
            return Ok(());
        }
        for (key, value) in members {
            self.work.charge_text(key.len())?;
            if !evaluated.properties.contains(key.as_str()) {
                self.member(node, key, value, at)?;
            }
        }
        evaluated.all_properties = true;
        Ok(())
    }
}

fn number(value: &Value, check: impl FnOnce(&Number) -> ApplyResult) -> ApplyResult {
    match value {
        Value::Number(number) => check(number),
        _ => Ok(()),
    }
}

fn within(bound: Bound, limit: &Number, number: &Number, at: OptionalPath<'_>) -> ApplyResult {
    let order = Numeric::from(number).compare(limit.into());
    let (is_within, relation) = match bound {
        Bound::Minimum => (order.is_ge(), "of at least"),
        Bound::Maximum => (order.is_le(), "of at most"),
        Bound::ExclusiveMinimum => (order.is_gt(), "greater than"),
        Bound::ExclusiveMaximum => (order.is_lt(), "less than"),
    };
    ensure(is_within, at, || format!("expected a number {relation} {limit}"))
}

/// Checks the number of items or properties.
fn count(keyword: &Keyword, value: &Value, at: OptionalPath<'_>) -> ApplyResult {
    let (is_minimum, limit, actual, noun) = match (keyword, value) {
        (Keyword::Count { is_minimum, items }, Value::Array(values)) => (*is_minimum, *items, values.len(), "items"),
        (Keyword::PropertyCount { is_minimum, properties }, Value::Object(members)) => {
            (*is_minimum, *properties, members.len(), "properties")
        }
        _ => return Ok(()),
    };
    let actual = actual as u64;
    if is_minimum {
        ensure(actual >= limit, at, || format!("found {actual} {noun}, expected at least {limit}"))
    } else {
        ensure(actual <= limit, at, || format!("found {actual} {noun}, expected at most {limit}"))
    }
}

/// Returns the type of a value, for messages.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
