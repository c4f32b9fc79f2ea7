//! Writes actual values into a file with cases. Comments and everything that need not change stay.

use bundles::canonical::to_canonical;
use serde_json::{Map, Number, Value as Json};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::{Case, CaseFile, Field, Observation};

/// Maximum length of a list on one line.
const MAX_LINE_CHARS: usize = 100;

/// Error returned if the expectations of a case cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlessError {
    /// The file was read as cases, and its text is not a document with these cases.
    #[error("the text of the file does not have its cases")]
    OtherText,
    /// TOML cannot represent an actual value.
    #[error("case `{case}`: TOML cannot represent the actual value of `{field}`")]
    NoToml {
        /// Name of the case.
        case: String,
        /// The field.
        field: Field,
    },
}

impl CaseFile {
    /// Returns the text of the file with the actual values of these cases, which are named by their index.
    ///
    /// A field that a case states gets the actual value, and is removed if the outcome does not have it. A case without
    /// expectations gets all fields of the outcome.
    pub fn blessed<'o>(
        &self,
        observations: impl IntoIterator<Item = (usize, &'o Observation)>,
    ) -> Result<String, BlessError> {
        let mut document: DocumentMut = self.text.parse().map_err(|_| BlessError::OtherText)?;
        for (index, observation) in observations {
            let case = self.cases.get(index).ok_or(BlessError::OtherText)?;
            let written = written_case(&mut document, index).ok_or(BlessError::OtherText)?;
            bless_case(written, case, observation)?;
        }
        Ok(document.to_string())
    }
}

/// Returns the table of a case.
fn written_case(document: &mut DocumentMut, index: usize) -> Option<&mut dyn TableLike> {
    match document.get_mut("case")? {
        Item::ArrayOfTables(tables) => tables.get_mut(index).map(|table| table as &mut dyn TableLike),
        Item::Value(Value::Array(list)) => {
            list.get_mut(index)?.as_inline_table_mut().map(|table| table as &mut dyn TableLike)
        }
        _ => None,
    }
}

fn bless_case(written: &mut dyn TableLike, case: &Case, actual: &Observation) -> Result<(), BlessError> {
    if !written.contains_key("expect") {
        written.insert("expect", toml_edit::table());
    }
    let expect = written.get_mut("expect").ok_or(BlessError::OtherText)?;
    // Only a table with a header can have tables with headers.
    let has_header = expect.as_table().is_some_and(|table| !table.is_dotted());
    let expect = expect.as_table_like_mut().ok_or(BlessError::OtherText)?;
    let stated: Vec<Field> = case.expect.iter().flatten().map(|one| one.field).collect();
    for field in stated.iter().filter(|field| actual.value(**field).is_none()) {
        expect.remove(field.as_str());
    }
    let is_kept = |field: Field| stated.contains(&field) && actual.value(field).is_some();
    let fails = actual.value(Field::Failure).is_some();
    // A case that states nothing of this outcome, or not that it is a failure, states what a new case does.
    let says_enough = match fails {
        true => is_kept(Field::Failure) || is_kept(Field::Refused),
        false => Field::ALL.into_iter().any(is_kept),
    };
    let is_stated = |field: Field| is_kept(field) || !says_enough && actual.stated().any(|(one, _)| one == field);
    for field in Field::ALL.into_iter().filter(|field| is_stated(*field)) {
        let Some(value) = actual.value(field) else { continue };
        if case.expectation(field).is_some_and(|expected| expected.value == *value) {
            continue;
        }
        let order = if matches!(field, Field::Instructions | Field::Settings) { Order::Fixed } else { Order::Free };
        let is_new = !expect.contains_key(field.as_str());
        set(expect, field.as_str(), value, order)
            .ok_or_else(|| BlessError::NoToml { case: case.name.clone(), field })?;
        if is_new && has_header {
            give_header(expect, field.as_str());
        }
    }
    Ok(())
}

/// Meaning of the order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Elements that are kept stay in the order of the file.
    Free,
    Fixed,
}

/// Sets a value of a table, with as few changes as possible. Returns `None` if TOML cannot represent the value.
fn set(table: &mut dyn TableLike, key: &str, wanted: &Json, order: Order) -> Option<()> {
    if table.get(key).and_then(item_json).is_some_and(|found| is_same(&found, wanted)) {
        return Some(());
    }
    match (table.get_mut(key), wanted) {
        (Some(item), Json::Object(map)) if item.is_table_like() => {
            let inner = item.as_table_like_mut()?;
            let unwanted: Vec<String> =
                inner.iter().map(|(key, _)| key.to_owned()).filter(|key| !map.contains_key(key)).collect();
            for key in unwanted {
                inner.remove(&key);
            }
            map.iter().try_for_each(|(key, wanted)| set(inner, key, wanted, order))
        }
        (Some(Item::Value(value)), wanted) => {
            let mut new = match (&*value, wanted) {
                (Value::Array(list), Json::Array(wanted)) => Value::Array(updated(list, wanted, order)?),
                _ => new_value(wanted)?,
            };
            *new.decor_mut() = value.decor().clone();
            *value = new;
            Some(())
        }
        _ => {
            table.insert(key, Item::Value(new_value(wanted)?));
            Some(())
        }
    }
}

/// Turns a long inline table into a table with a header. An inline table cannot have several lines.
fn give_header(table: &mut dyn TableLike, key: &str) {
    let Some(Item::Value(Value::InlineTable(inline))) = table.get(key) else { return };
    if inline.to_string().chars().count() > MAX_LINE_CHARS {
        let inline = inline.clone();
        table.remove(key);
        table.insert(key, Item::Table(inline.into_table()));
    }
}

/// An element of a list of several lines, with the text around it.
struct Line {
    /// Text from the end of the line before to the value: comments on lines of their own, and the indent.
    lead: String,
    value: Value,
    /// Text after the comma up to the end of the line: a comment about the value.
    tail: String,
}

/// Returns the text up to the first line break, and the rest.
fn split_line(text: &str) -> (String, String) {
    let (line, rest) = text.split_at(text.find('\n').unwrap_or(text.len()));
    (line.to_owned(), rest.to_owned())
}

/// Returns the text after the opening bracket, the elements, and the text before the closing bracket.
fn lines(list: &Array) -> (String, Vec<Line>, String) {
    let (mut opening, mut lines) = (String::new(), Vec::<Line>::new());
    for value in list {
        let (tail, lead) = split_line(&raw(value.decor().prefix()));
        match lines.last_mut() {
            Some(before) => before.tail = tail,
            None => opening = tail,
        }
        lines.push(Line { lead, value: value.clone(), tail: String::new() });
    }
    // Without a comma at the end, the rest of the list belongs to the last value.
    let mut end = raw(Some(list.trailing()));
    if let Some(last) = lines.last_mut() {
        if !list.trailing_comma() {
            end = format!("{}{end}", raw(last.value.decor().suffix()));
            last.value.decor_mut().set_suffix("");
        }
        (last.tail, end) = split_line(&end);
    }
    (opening, lines, end)
}

/// Returns the list with the wanted elements. In a list of several lines, comments stay.
fn updated(list: &Array, wanted: &[Json], order: Order) -> Option<Array> {
    let mut new: Vec<&Json> = wanted.iter().collect();
    let mut is_kept = |value: &Value| {
        let found = new.iter().position(|wanted| json(value).is_some_and(|json| is_same(&json, wanted)));
        found.map(|index| new.remove(index)).is_some()
    };
    let (opening, lines, end) = lines(list);
    let lines: Vec<(Line, bool)> =
        lines.into_iter().map(|line| (is_kept(&line.value), line)).map(|(is, line)| (line, is)).collect();
    let Some((first, _)) = lines.iter().find(|(line, _)| line.lead.contains('\n')) else {
        let kept = lines.iter().filter(|(_, is_kept)| *is_kept).filter_map(|(line, _)| json(&line.value));
        let elements: Vec<Json> = kept.chain(new.into_iter().cloned()).collect();
        return new_list(if order == Order::Free { &elements } else { wanted });
    };
    let indent = format!("\n{}", first.lead.rsplit('\n').next().unwrap_or_default());
    let mut entries: Vec<Line> = Vec::new();
    // Comments of elements that are removed. A person decides about them.
    let mut comments = String::new();
    for (Line { lead, value, tail }, is_kept) in lines {
        if is_kept {
            entries.push(Line { lead: format!("{}{lead}", std::mem::take(&mut comments)), value, tail });
            continue;
        }
        if lead.contains('#') {
            comments.push_str(lead.trim_end());
        }
        if tail.contains('#') {
            comments.push_str(&format!("{indent}{}", tail.trim()));
        }
    }
    for value in new {
        let lead = format!("{}{indent}", std::mem::take(&mut comments));
        entries.push(Line { lead, value: new_value(value)?.decorated("", ""), tail: String::new() });
    }
    if order == Order::Fixed {
        let mut sorted = Vec::new();
        for wanted in wanted {
            let found = entries.iter().position(|line| json(&line.value).is_some_and(|json| is_same(&json, wanted)));
            sorted.push(entries.remove(found?));
        }
        entries = sorted;
    }
    let joined = |tail: &str, rest: &str| {
        let tail = if rest.starts_with('\n') { tail.trim_end() } else { tail };
        format!("{tail}{rest}")
    };
    let (mut updated, mut before) = (Array::new(), opening);
    for Line { lead, mut value, tail } in entries {
        value.decor_mut().set_prefix(joined(&before, &lead));
        updated.push_formatted(value);
        before = tail;
    }
    let is_bare = updated.is_empty() && comments.is_empty() && !before.contains('#');
    updated.set_trailing(if is_bare { String::new() } else { joined(&before, &format!("{comments}{end}")) });
    updated.set_trailing_comma(list.trailing_comma() && !updated.is_empty());
    Some(updated)
}

/// `true` if two values have the same canonical form. `1` and `1.0` do.
fn is_same(one: &Json, two: &Json) -> bool {
    one == two || to_canonical(one).ok().zip(to_canonical(two).ok()).is_some_and(|(one, two)| one == two)
}

fn raw(text: Option<&toml_edit::RawString>) -> String {
    text.and_then(|text| text.as_str()).unwrap_or_default().to_owned()
}

/// Returns the JSON value of an item; `None` if it has a date.
fn item_json(item: &Item) -> Option<Json> {
    let of_table = |table: &Table| {
        let entries = table.iter().map(|(key, item)| Some((key.to_owned(), item_json(item)?)));
        Some(Json::Object(entries.collect::<Option<Map<_, _>>>()?))
    };
    match item {
        Item::None => None,
        Item::Value(value) => json(value),
        Item::Table(table) => of_table(table),
        Item::ArrayOfTables(tables) => Some(Json::Array(tables.iter().map(of_table).collect::<Option<_>>()?)),
    }
}

/// Returns the JSON value of a TOML value; `None` for a date.
fn json(value: &Value) -> Option<Json> {
    Some(match value {
        Value::String(text) => Json::from(text.value().as_str()),
        Value::Integer(number) => Json::from(*number.value()),
        Value::Float(number) => Json::from(*number.value()),
        Value::Boolean(flag) => Json::from(*flag.value()),
        Value::Array(list) => Json::Array(list.iter().map(json).collect::<Option<_>>()?),
        Value::InlineTable(table) => {
            let entries = table.iter().map(|(key, value)| Some((key.to_owned(), json(value)?)));
            Json::Object(entries.collect::<Option<Map<_, _>>>()?)
        }
        Value::Datetime(_) => return None,
    })
}

fn new_value(value: &Json) -> Option<Value> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => new_number(number)?,
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(list) => Value::Array(new_list(list)?),
        Json::Object(map) => {
            let mut table = InlineTable::new();
            for (key, value) in map {
                table.insert(key, new_value(value)?);
            }
            Value::InlineTable(table)
        }
    })
}

fn new_number(number: &Number) -> Option<Value> {
    match number.as_i64() {
        Some(number) => Some(Value::from(number)),
        None => number.as_f64().map(Value::from),
    }
}

/// Returns a list on one line, or on several lines if it is long.
fn new_list(elements: &[Json]) -> Option<Array> {
    let mut list = Array::new();
    for element in elements {
        list.push(new_value(element)?);
    }
    if list.to_string().chars().count() > MAX_LINE_CHARS {
        for element in list.iter_mut() {
            element.decor_mut().set_prefix("\n    ");
        }
        list.set_trailing("\n");
        list.set_trailing_comma(true);
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use error_code::Code;
    use serde_json::json;

    use super::super::CaseSubject;
    use super::*;

    fn observation(values: &[(Field, Json)]) -> Observation {
        Observation::made_up(values.iter().cloned())
    }

    /// Returns the text after the only case has been blessed. The case then passes.
    fn blessed(text: &str, actual: &Observation) -> String {
        let file = CaseFile::parse("a.toml", text, CaseSubject::Bundle).expect("cases");
        let after = file.blessed([(0, actual)]).expect("blessed");
        let again = CaseFile::parse("a.toml", &after, CaseSubject::Bundle).expect(&after);
        assert_eq!(again.cases()[0].compare(actual), [], "{after}");
        assert!(!again.cases()[0].is_unfinished());
        assert_eq!(again.blessed([(0, actual)]).as_deref(), Ok(after.as_str()), "a second time");
        after
    }

    const HEAD: &str = "[[case]]\nname = \"a\" # why\nprofile = \"p\"\n";

    #[test]
    fn comments_and_matching_values_stay() {
        let text = "# file\n[[case]]\nname = \"a\" # why\nprofile = \"p\"\n\n[case.expect] # values\n# the tools\ntools = [\n    \"b\", # second letter\n    # gone\n    \"c\", # third\n    \"a\",\n] # end\nlanguage   =   'en' # stays\nmodel = \"old\" # changes\n\n[case.expect.settings]\n# steps\nmax = 3\nold = 1\n";
        let actual = observation(&[
            (Field::Tools, json!(["a", "b", "d"])),
            (Field::Language, json!("en")),
            (Field::Model, json!("new")),
            (Field::Settings, json!({ "max": 4, "tone": "plain" })),
        ]);
        let after = blessed(text, &actual);
        let expected = "# file\n[[case]]\nname = \"a\" # why\nprofile = \"p\"\n\n[case.expect] # values\n# the tools\ntools = [\n    \"b\", # second letter\n    # gone\n    # third\n    \"a\",\n    \"d\",\n] # end\nlanguage   =   'en' # stays\nmodel = \"new\" # changes\n\n[case.expect.settings]\n# steps\nmax = 4\ntone = \"plain\"\n";
        assert_eq!(after, expected);
    }

    #[test]
    fn comment_stays_with_its_element() {
        let after = |list: &str, actual: Json| {
            let text = format!("{HEAD}expect.instructions = {list}\nexpect.language = \"en\"\n");
            let actual = observation(&[(Field::Instructions, actual), (Field::Language, json!("en"))]);
            let after = blessed(&text, &actual);
            let after = after.strip_prefix(HEAD).and_then(|rest| rest.strip_prefix("expect.instructions = "));
            after.and_then(|rest| rest.strip_suffix("\nexpect.language = \"en\"\n")).expect("the list").to_owned()
        };
        let list = "[\n    \"a\", # x\n    \"b\", # y\n]";
        let added = "[\n    \"a\", # x\n    \"b\", # y\n    \"c\",\n]";
        assert_eq!(after(list, json!(["a", "b", "c"])), added);
        let inserted = "[\n    \"a\", # x\n    \"c\",\n    \"b\", # y\n]";
        assert_eq!(after(list, json!(["a", "c", "b"])), inserted);
        assert_eq!(after(list, json!(["b", "a"])), "[\n    \"b\", # y\n    \"a\", # x\n]");
        let open = "[\n    \"a\", # x\n    \"b\" # y\n]";
        assert_eq!(after(open, json!(["a", "b", "c"])), "[\n    \"a\", # x\n    \"b\", # y\n    \"c\"\n]");
        assert_eq!(after(open, json!(["a"])), "[\n    \"a\" # x\n    # y\n]");
    }

    #[test]
    fn settings_that_match_stay_as_they_are() {
        let rules = "[[case.expect.settings.rules]] # first\nname = \"r\" # why\nweight = 1.0\n";
        let text = |max: u8| format!("{HEAD}[case.expect.settings]\nmax = {max}\n\n{rules}");
        let settings = json!({ "max": 4, "rules": [{ "name": "r", "weight": 1 }] });
        assert_eq!(blessed(&text(3), &observation(&[(Field::Settings, settings)])), text(4));
    }

    #[test]
    fn new_case_gets_every_field_of_its_outcome() {
        let resolved = observation(&[
            (Field::Model, json!("")),
            (Field::Tools, json!(["a"])),
            (Field::Settings, json!({ "a.b": 1 })),
        ]);
        let after = blessed(HEAD, &resolved);
        assert_eq!(
            after,
            format!("{HEAD}\n[case.expect]\nmodel = \"\"\ntools = [\"a\"]\nsettings = {{ \"a.b\" = 1 }}\n")
        );
        // An empty table expects only that the profile resolves.
        let empty = format!("{HEAD}expect = {{}}\n");
        let file = CaseFile::parse("a.toml", &empty, CaseSubject::Bundle).expect("cases");
        assert_eq!(file.cases()[0].compare(&resolved), []);
    }

    #[test]
    fn long_table_gets_a_header() {
        let settings: Map<String, Json> = (0..12).map(|number| (format!("key-{number:02}"), json!("value"))).collect();
        let actual = observation(&[
            (Field::Tools, json!(["a"])),
            (Field::Refused, json!({ "secret:a": "secret_not_granted" })),
            (Field::Settings, Json::Object(settings)),
        ]);
        let text = format!("{HEAD}config = 'c'\n");
        let after = blessed(&format!("{text}\n[[case]]\nname = \"b\"\nprofile = \"p\"\n"), &actual);
        let start = "\n[case.expect]\nrefused = { \"secret:a\" = \"secret_not_granted\" }\ntools = [\"a\"]\n\n[case.expect.settings]\nkey-00 = \"value\"\n";
        assert!(after.starts_with(&format!("{text}{start}")), "{after}");
        assert!(after.ends_with("key-11 = \"value\"\n\n[[case]]\nname = \"b\"\nprofile = \"p\"\n"), "{after}");
    }

    #[test]
    fn another_kind_of_outcome_replaces_the_expectations() {
        let failure = Observation::of_failure(Code::NoModel, "no model");
        let after = blessed(&format!("{HEAD}expect = {{ tools = [\"a\"] }} # inline\n"), &failure);
        assert_eq!(after, format!("{HEAD}expect = {{ failure = \"no_model\" }} # inline\n"));
        let resolved = observation(&[(Field::Tools, json!([]))]);
        let after = blessed(&format!("{HEAD}expect.failure = \"no_model\"\n"), &resolved);
        assert_eq!(after, format!("{HEAD}expect.tools = []\n"));
    }

    #[test]
    fn order_of_instructions_is_written_and_that_of_tools_stays() {
        let text = format!("{HEAD}expect.instructions = [\"b\", \"a\"]\nexpect.tools = [\"b\", \"a\"]\n");
        let actual = observation(&[(Field::Instructions, json!(["a", "b"])), (Field::Tools, json!(["a", "b", "c"]))]);
        let after = blessed(&text, &actual);
        assert!(
            after.contains("instructions = [\"a\", \"b\"]") && after.contains("tools = [\"b\", \"a\", \"c\"]"),
            "{after}"
        );
    }

    #[test]
    fn value_without_a_toml_form_is_an_error() {
        let file = CaseFile::parse("a.toml", HEAD, CaseSubject::Bundle).expect("cases");
        let actual = observation(&[(Field::Settings, json!({ "a": [null] }))]);
        let error = file.blessed([(0, &actual)]).expect_err("null");
        assert_eq!(error.to_string(), "case `a`: TOML cannot represent the actual value of `settings`");
    }
}
