//! Validation: a schema applied to a value, each step charged before it is done.
//!
//! Subschemas are applied again wherever a path of references leads to them, so a few hundred bytes of schema can ask
//! for 2^40 applications. [`Work`] ends them. Nothing here recurses without charging and counting its depth.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Number, Value};

use crate::keyword::{Bound, Dependency, Keyword, Node, NodeId, PatternId, Properties, ResourceId, Schema, Types};
use crate::number::{Numeric, is_multiple};
use crate::pattern::Matcher;
use crate::value::{duplicate, equal};
use crate::work::{Exhausted, Work};

/// Deepest nesting of applications of subschemas. A level takes about 2 KB of stack without optimisation.
const MAX_DEPTH: usize = 512;

/// The first place at which a value does not fit its schema. It names the keys of the value and of the schema, and
/// repeats no other value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The JSON pointer of the place in the value.
    pub pointer: String,
    /// What the schema says about it.
    pub reason: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Error returned when a value is not known to fit a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The value does not fit.
    #[error("{0}")]
    Mismatch(Mismatch),
    /// The validation ended without a verdict.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
}

impl Schema {
    /// Validates a value.
    pub fn validate(&self, value: &Value, work: &mut Work) -> Result<(), Invalid> {
        let matchers = self.patterns.iter().map(|_| None).collect();
        let mut run = Run { schema: self, work, matchers, scope: Vec::new(), depth: 0 };
        match run.apply(0, value, Some(&Path::Root), None) {
            Ok(()) => Ok(()),
            Err(Stop::Exhausted(exhausted)) => Err(exhausted.into()),
            Err(Stop::Mismatch(told)) => Err(Invalid::Mismatch(told.map_or_else(
                || Mismatch { pointer: String::new(), reason: "the value does not fit".to_owned() },
                |told| *told,
            ))),
        }
    }
}

/// The end of an application that did not succeed.
enum Stop {
    /// The value does not fit; told only where somebody asks for the reason.
    Mismatch(Option<Box<Mismatch>>),
    Exhausted(Exhausted),
}

impl From<Exhausted> for Stop {
    fn from(exhausted: Exhausted) -> Self {
        Self::Exhausted(exhausted)
    }
}

type Applied = Result<(), Stop>;

/// The way from the whole value to a part of it, kept on the stack. There is none below `not` and among alternatives,
/// where a mismatch is no error.
#[derive(Clone, Copy)]
enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

type At<'p> = Option<&'p Path<'p>>;

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(parent, key) => write!(f, "{parent}/{}", key.replace('~', "~0").replace('/', "~1")),
            Self::Index(parent, index) => write!(f, "{parent}/{index}"),
        }
    }
}

/// Ends an application because the value does not fit.
fn mismatch(at: At<'_>, reason: impl FnOnce() -> String) -> Applied {
    Err(Stop::Mismatch(at.map(|path| Box::new(Mismatch { pointer: path.to_string(), reason: reason() }))))
}

fn fits(fits: bool, at: At<'_>, reason: impl FnOnce() -> String) -> Applied {
    if fits { Ok(()) } else { mismatch(at, reason) }
}

/// The properties and items that keywords evaluated, for those that apply to the rest.
#[derive(Default)]
struct Evaluated<'v> {
    properties: BTreeSet<&'v str>,
    all_properties: bool,
    /// Items before this one.
    items_before: usize,
    items: BTreeSet<usize>,
}

impl<'v> Evaluated<'v> {
    fn merge(&mut self, other: Self, work: &mut Work) -> Result<(), Exhausted> {
        work.charge(1 + 4 * (other.properties.len() + other.items.len()) as u64)?;
        self.properties.extend(other.properties);
        self.all_properties |= other.all_properties;
        self.items_before = self.items_before.max(other.items_before);
        self.items.extend(other.items);
        Ok(())
    }
}

struct Run<'s, 'w> {
    schema: &'s Schema,
    work: &'w mut Work,
    /// Automata by pattern, each built when it is needed.
    matchers: Vec<Option<Matcher>>,
    /// The resources that were entered, the outermost first.
    scope: Vec<ResourceId>,
    depth: usize,
}

impl<'s> Run<'s, '_> {
    /// Applies a subschema to a value. What it evaluated is in `evaluated` if it fits.
    fn apply<'v>(
        &mut self,
        id: NodeId,
        value: &'v Value,
        at: At<'_>,
        evaluated: Option<&mut Evaluated<'v>>,
    ) -> Applied {
        self.work.charge(1)?;
        let schema = self.schema;
        let Some(node) = schema.nodes.get(id as usize) else { return Ok(()) };
        if self.depth >= MAX_DEPTH {
            return Err(Exhausted::Depth { limit: MAX_DEPTH }.into());
        }
        let enters = self.scope.last() != Some(&node.resource);
        if enters {
            self.scope.push(node.resource);
        }
        self.depth += 1;
        let applied =
            if node.tracks { self.tracked(node, value, at, evaluated) } else { self.all(node, value, at, evaluated) };
        self.depth -= 1;
        if enters {
            self.scope.pop();
        }
        applied
    }

    fn all<'v>(
        &mut self,
        node: &'s Node,
        value: &'v Value,
        at: At<'_>,
        mut evaluated: Option<&mut Evaluated<'v>>,
    ) -> Applied {
        for keyword in &node.keywords {
            self.work.charge(1)?;
            self.keyword(keyword, value, at, evaluated.as_deref_mut())?;
        }
        Ok(())
    }

    /// The same where a keyword looks at what the others evaluated.
    fn tracked<'v>(
        &mut self,
        node: &'s Node,
        value: &'v Value,
        at: At<'_>,
        evaluated: Option<&mut Evaluated<'v>>,
    ) -> Applied {
        let mut own = Evaluated::default();
        self.all(node, value, at, Some(&mut own))?;
        match evaluated {
            Some(evaluated) => Ok(evaluated.merge(own, self.work)?),
            None => Ok(()),
        }
    }

    fn keyword<'v>(
        &mut self,
        keyword: &'s Keyword,
        value: &'v Value,
        at: At<'_>,
        evaluated: Option<&mut Evaluated<'v>>,
    ) -> Applied {
        match keyword {
            Keyword::Never => mismatch(at, || match at {
                Some(Path::Key(_, key)) => format!("property `{key}` is not allowed"),
                _ => "no value is allowed here".to_owned(),
            }),
            Keyword::Type(types) => {
                let found = Types::of(value);
                fits(types.overlaps(found), at, || format!("expected {types}, found {}", kind(value)))
            }
            Keyword::Enum(values) => self.one_of_values(values, value, at),
            Keyword::Const(wanted) => {
                let equal = equal(wanted, value, self.work)?;
                fits(equal, at, || "the value is not the one that `const` says".to_owned())
            }
            Keyword::MultipleOf(divisor) => number(value, |number| {
                self.work.charge(16)?;
                fits(is_multiple(number, divisor), at, || format!("the number is not a multiple of {divisor}"))
            }),
            Keyword::Bound(bound, limit) => number(value, |number| within(*bound, limit, number, at)),
            Keyword::Length { least, characters } => self.length(*least, *characters, value, at),
            Keyword::Pattern(pattern) => self.matches(*pattern, value, at),
            Keyword::Required(names) => match value.as_object() {
                Some(members) => self.required(names, members, at),
                None => Ok(()),
            },
            Keyword::PropertyCount { .. } | Keyword::Count { .. } => count(keyword, value, at),
            Keyword::DependentRequired(dependencies) => self.dependent_required(dependencies, value, at),
            Keyword::UniqueItems => match value.as_array() {
                Some(values) => {
                    let duplicate = duplicate(values, self.work)?;
                    fits(duplicate.is_none(), at, || {
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
                let fitted = self.holds(*node, value)?;
                fits(!fitted, at, || "the value fits a schema that it must not fit (`not`)".to_owned())
            }
            Keyword::If { condition, then, otherwise } => {
                self.conditional([Some(*condition), *then, *otherwise], value, at, evaluated)
            }
            Keyword::Ref(node) => self.apply(*node, value, at, evaluated),
            Keyword::DynamicRef { initial, anchor } => {
                let node = self.outermost(*initial, anchor)?;
                self.apply(node, value, at, evaluated)
            }
            Keyword::UnevaluatedItems(node) => self.unevaluated_items(*node, value, at, evaluated),
            Keyword::UnevaluatedProperties(node) => self.unevaluated_properties(*node, value, at, evaluated),
        }
    }

    /// `true` if the value fits. What is evaluated on the way does not count.
    fn holds(&mut self, node: NodeId, value: &Value) -> Result<bool, Stop> {
        match self.apply(node, value, None, None) {
            Ok(()) => Ok(true),
            Err(Stop::Mismatch(_)) => Ok(false),
            Err(exhausted) => Err(exhausted),
        }
    }

    /// `true` if the value fits. What is evaluated on the way counts if it does.
    fn holds_with<'v>(
        &mut self,
        node: NodeId,
        value: &'v Value,
        evaluated: Option<&mut Evaluated<'v>>,
    ) -> Result<bool, Stop> {
        let Some(evaluated) = evaluated else { return self.holds(node, value) };
        let mut own = Evaluated::default();
        match self.apply(node, value, None, Some(&mut own)) {
            Ok(()) => {
                evaluated.merge(own, self.work)?;
                Ok(true)
            }
            Err(Stop::Mismatch(_)) => Ok(false),
            Err(exhausted) => Err(exhausted),
        }
    }

    fn one_of_values(&mut self, values: &[Value], value: &Value, at: At<'_>) -> Applied {
        for one in values {
            if equal(one, value, self.work)? {
                return Ok(());
            }
        }
        mismatch(at, || "the value is none of those that `enum` lists".to_owned())
    }

    fn length(&mut self, least: bool, characters: u64, value: &Value, at: At<'_>) -> Applied {
        let Some(text) = value.as_str() else { return Ok(()) };
        self.work.charge_text(text.len())?;
        let actual = text.chars().count() as u64;
        if least {
            fits(actual >= characters, at, || format!("{actual} characters are fewer than {characters}"))
        } else {
            fits(actual <= characters, at, || format!("{actual} characters are more than {characters}"))
        }
    }

    fn is_match(&mut self, pattern: PatternId, text: &str) -> Result<bool, Exhausted> {
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

    fn matches(&mut self, pattern: PatternId, value: &Value, at: At<'_>) -> Applied {
        let Some(text) = value.as_str() else { return Ok(()) };
        let matched = self.is_match(pattern, text)?;
        fits(matched, at, || "the text does not match `pattern`".to_owned())
    }

    fn required(&mut self, names: &[Box<str>], members: &Map<String, Value>, at: At<'_>) -> Applied {
        for name in names {
            self.work.charge_text(name.len())?;
            if !members.contains_key(name.as_ref()) {
                return mismatch(at, || format!("property `{name}` is missing"));
            }
        }
        Ok(())
    }

    fn dependent_required(&mut self, dependencies: &[Dependency], value: &Value, at: At<'_>) -> Applied {
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
        at: At<'_>,
        mut evaluated: Option<&mut Evaluated<'v>>,
    ) -> Applied {
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
        at: At<'_>,
        evaluated: Option<&mut Evaluated<'v>>,
    ) -> Applied {
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

    fn item(&mut self, node: NodeId, index: usize, value: &Value, at: At<'_>) -> Applied {
        match at {
            Some(path) => self.apply(node, value, Some(&Path::Index(path, index)), None),
            None => self.apply(node, value, None, None),
        }
    }

    fn member(&mut self, node: NodeId, key: &str, value: &Value, at: At<'_>) -> Applied {
        match at {
            Some(path) => self.apply(node, value, Some(&Path::Key(path, key)), None),
            None => self.apply(node, value, None, None),
        }
    }

    fn contains<'v>(
        &mut self,
        keyword: &Keyword,
        value: &'v Value,
        at: At<'_>,
        mut evaluated: Option<&mut Evaluated<'v>>,
    ) -> Applied {
        let (Keyword::Contains { node, least, most, evaluates }, Some(values)) = (keyword, value.as_array()) else {
            return Ok(());
        };
        let mut found = 0;
        for (index, value) in values.iter().enumerate() {
            if self.holds(*node, value)? {
                found += 1;
                if *evaluates && let Some(evaluated) = evaluated.as_deref_mut() {
                    self.work.charge(4)?;
                    evaluated.items.insert(index);
                }
            }
        }
        fits(found >= *least && most.is_none_or(|most| found <= most), at, || {
            let most = most.map(|most| format!(" and at most {most}")).unwrap_or_default();
            format!("{found} items fit `contains`: expected at least {least}{most}")
        })
    }

    fn properties<'v>(
        &mut self,
        properties: &Properties,
        value: &'v Value,
        at: At<'_>,
        mut evaluated: Option<&mut Evaluated<'v>>,
    ) -> Applied {
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

    fn property_names(&mut self, node: NodeId, value: &Value, at: At<'_>) -> Applied {
        let Some(members) = value.as_object() else { return Ok(()) };
        for key in members.keys() {
            self.work.charge_text(key.len())?;
            let fitted = self.holds(node, &Value::String(key.clone()))?;
            fits(fitted, at, || "a property's name does not fit `propertyNames`".to_owned())?;
        }
        Ok(())
    }

    fn all_of<'v>(
        &mut self,
        nodes: &[NodeId],
        value: &'v Value,
        at: At<'_>,
        mut evaluated: Option<&mut Evaluated<'v>>,
    ) -> Applied {
        nodes.iter().try_for_each(|node| self.apply(*node, value, at, evaluated.as_deref_mut()))
    }

    fn any_of<'v>(
        &mut self,
        nodes: &[NodeId],
        value: &'v Value,
        at: At<'_>,
        mut evaluated: Option<&mut Evaluated<'v>>,
    ) -> Applied {
        let mut any = false;
        for node in nodes {
            any |= self.holds_with(*node, value, evaluated.as_deref_mut())?;
            // Only where somebody counts what is evaluated do the others matter.
            if any && evaluated.is_none() {
                break;
            }
        }
        fits(any, at, || "the value fits none of the alternatives (`anyOf`)".to_owned())
    }

    fn one_of<'v>(
        &mut self,
        nodes: &[NodeId],
        value: &'v Value,
        at: At<'_>,
        mut evaluated: Option<&mut Evaluated<'v>>,
    ) -> Applied {
        let mut found = 0;
        for node in nodes {
            if self.holds_with(*node, value, evaluated.as_deref_mut())? {
                found += 1;
            }
            if found > 1 {
                return mismatch(at, || "the value fits more than one of the alternatives (`oneOf`)".to_owned());
            }
        }
        fits(found == 1, at, || "the value fits none of the alternatives (`oneOf`)".to_owned())
    }

    fn conditional<'v>(
        &mut self,
        [condition, then, otherwise]: [Option<NodeId>; 3],
        value: &'v Value,
        at: At<'_>,
        mut evaluated: Option<&mut Evaluated<'v>>,
    ) -> Applied {
        let Some(condition) = condition else { return Ok(()) };
        let holds = self.holds_with(condition, value, evaluated.as_deref_mut())?;
        match if holds { then } else { otherwise } {
            Some(node) => self.apply(node, value, at, evaluated),
            None => Ok(()),
        }
    }

    /// The subschema that a dynamic reference leads to.
    fn outermost(&mut self, initial: NodeId, anchor: &str) -> Result<NodeId, Exhausted> {
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
        at: At<'_>,
        evaluated: Option<&mut Evaluated<'_>>,
    ) -> Applied {
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
        at: At<'_>,
        evaluated: Option<&mut Evaluated<'_>>,
    ) -> Applied {
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

fn number(value: &Value, check: impl FnOnce(&Number) -> Applied) -> Applied {
    match value {
        Value::Number(number) => check(number),
        _ => Ok(()),
    }
}

fn within(bound: Bound, limit: &Number, number: &Number, at: At<'_>) -> Applied {
    let order = Numeric::from(number).compare(limit.into());
    let (inside, wanted) = match bound {
        Bound::Minimum => (order.is_ge(), "at least"),
        Bound::Maximum => (order.is_le(), "at most"),
        Bound::ExclusiveMinimum => (order.is_gt(), "more than"),
        Bound::ExclusiveMaximum => (order.is_lt(), "less than"),
    };
    fits(inside, at, || format!("expected a number of {wanted} {limit}"))
}

/// Counts items and properties.
fn count(keyword: &Keyword, value: &Value, at: At<'_>) -> Applied {
    let (least, wanted, actual, what) = match (keyword, value) {
        (Keyword::Count { least, items }, Value::Array(values)) => (*least, *items, values.len(), "items"),
        (Keyword::PropertyCount { least, properties }, Value::Object(members)) => {
            (*least, *properties, members.len(), "properties")
        }
        _ => return Ok(()),
    };
    let actual = actual as u64;
    if least {
        fits(actual >= wanted, at, || format!("{actual} {what} are fewer than {wanted}"))
    } else {
        fits(actual <= wanted, at, || format!("{actual} {what} are more than {wanted}"))
    }
}

/// The type of a value, for messages.
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
