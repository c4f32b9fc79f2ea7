//! Reader of one TOML table. Keys that are not read are reported as unknown.

use std::ops::Range;
use std::str::FromStr;

use error_code::Code;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{FileReader, MAX_DIAGNOSTICS, nearest};
use crate::names::{InvalidName, shown};
use crate::pointer::Pointer;

/// A table and its known keys.
pub(super) struct Section<'d> {
    table: &'d DeTable<'d>,
    span: Range<usize>,
    what: String,
    known: Vec<&'static str>,
}

impl<'d> Section<'d> {
    pub(super) fn new(table: &'d DeTable<'d>, span: Range<usize>, what: impl Into<String>) -> Self {
        Self { table, span, what: what.into(), known: Vec::new() }
    }

    fn get(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    /// `true` if the table has one of these keys.
    pub(super) fn has_any(&self, keys: &[&str]) -> bool {
        self.table.keys().any(|name| keys.contains(&name.get_ref().as_ref()))
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }
}

/// A value and its span.
pub(super) struct Spot<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

impl FileReader<'_, '_> {
    /// Reports every key that was not read.
    pub(super) fn finish(&mut self, section: Section<'_>) {
        for key in section.table.keys() {
            if self.author.diagnostics.len() >= MAX_DIAGNOSTICS {
                return;
            }
            let name = key.get_ref();
            if !section.known.contains(&name.as_ref()) {
                let help = match nearest(name, section.known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!(
                        "write one of {}",
                        section.known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
                    ),
                };
                self.report(
                    key.span(),
                    Code::UnknownField,
                    format!("unknown field `{}` in {}", shown(name), section.what),
                    help,
                );
            }
        }
    }

    pub(super) fn expected(&mut self, value: &Spanned<DeValue<'_>>, what: &str) {
        let message = format!("expected {what}, found {}", value.get_ref().type_str());
        self.report(value.span(), Code::InvalidType, message, format!("write {what}"));
    }

    pub(super) fn missing(&mut self, section: &Section<'_>, key: &str, help: &str) {
        self.report(
            section.span(),
            Code::MissingField,
            format!("missing field `{key}` in {}", section.what),
            help.to_owned(),
        );
    }

    /// Reads a string.
    pub(super) fn text(&mut self, section: &mut Section<'_>, key: &'static str, at: &Pointer) -> Option<String> {
        let spot = self.spot(section, key)?;
        self.place(at.key(key), spot.span);
        Some(spot.value)
    }

    pub(super) fn spot(&mut self, section: &mut Section<'_>, key: &'static str) -> Option<Spot<String>> {
        let value = section.get(key)?;
        self.string(value)
    }

    pub(super) fn string(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Spot<String>> {
        match value.get_ref().as_str() {
            Some(text) => Some(Spot { value: text.to_owned(), span: value.span() }),
            None => {
                self.expected(value, "a string");
                None
            }
        }
    }

    /// Reads and parses a string.
    pub(super) fn parsed<T: FromStr<Err = InvalidName>>(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        at: &Pointer,
    ) -> Option<T> {
        let spot = self.spot(section, key)?;
        self.place(at.key(key), spot.span.clone());
        self.grammar(&spot.value, spot.span)
    }

    /// Reads and parses a mandatory string.
    pub(super) fn needed<T: FromStr<Err = InvalidName>>(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        at: &Pointer,
        help: &str,
    ) -> Option<T> {
        if !section.has_any(&[key]) {
            self.missing(section, key, help);
        }
        self.parsed(section, key, at)
    }

    pub(super) fn grammar<T: FromStr<Err = InvalidName>>(&mut self, text: &str, span: Range<usize>) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.report(span, Code::InvalidName, error.problem(), error.remedy());
                None
            }
        }
    }

    /// Reads an unsigned integer.
    pub(super) fn number(&mut self, section: &mut Section<'_>, key: &'static str, at: &Pointer) -> Option<u64> {
        let value = section.get(key)?;
        self.place(at.key(key), value.span());
        let number = value
            .get_ref()
            .as_integer()
            .and_then(|number| u64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok());
        if number.is_none() {
            self.expected(value, "a whole number that is not negative");
        }
        number
    }

    /// Reads an unsigned integer below 2^32.
    pub(super) fn number_32(&mut self, section: &mut Section<'_>, key: &'static str, at: &Pointer) -> Option<u32> {
        let number = self.number(section, key, at)?;
        let fits = u32::try_from(number).ok();
        if fits.is_none()
            && let Some(value) = section.get(key)
        {
            let message = "number is too large".to_owned();
            self.report(value.span(), Code::InvalidValue, message, "write a number below 2^32");
        }
        fits
    }

    /// Reads and parses a list of strings. `at` is the place of the list in the manifest.
    pub(super) fn list<T: FromStr<Err = InvalidName>>(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        at: &Pointer,
    ) -> Option<Vec<T>> {
        let value = section.get(key)?;
        self.list_value(value, at)
    }

    pub(super) fn list_value<T: FromStr<Err = InvalidName>>(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        at: &Pointer,
    ) -> Option<Vec<T>> {
        let Some(array) = value.get_ref().as_array() else {
            self.expected(value, "a list of strings");
            return None;
        };
        self.place(at.clone(), value.span());
        let mut list = Vec::new();
        for item in array.iter() {
            match item.get_ref().as_str() {
                Some(text) => {
                    if let Some(parsed) = self.grammar(text, item.span()) {
                        self.place(at.index(list.len()), item.span());
                        list.push(parsed);
                    }
                }
                None => self.expected(item, "a string"),
            }
        }
        Some(list)
    }

    pub(super) fn value<'d>(
        &mut self,
        section: &mut Section<'d>,
        key: &'static str,
    ) -> Option<&'d Spanned<DeValue<'d>>> {
        section.get(key)
    }

    /// Reads a table.
    pub(super) fn section<'d>(&mut self, section: &mut Section<'d>, key: &'static str) -> Option<Section<'d>> {
        let value = section.get(key)?;
        self.section_of(value, format!("`{key}`"))
    }

    pub(super) fn section_of<'d>(&mut self, value: &'d Spanned<DeValue<'d>>, what: String) -> Option<Section<'d>> {
        match value.get_ref().as_table() {
            Some(table) => Some(Section::new(table, value.span(), what)),
            None => {
                self.expected(value, "a table");
                None
            }
        }
    }

    /// Reads a list of tables.
    pub(super) fn sections<'d>(&mut self, section: &mut Section<'d>, key: &'static str) -> Vec<Section<'d>> {
        let Some(value) = section.get(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.expected(value, "a list of tables");
            return Vec::new();
        };
        array.iter().filter_map(|item| self.section_of(item, format!("`{key}`"))).collect()
    }

    /// Reads a table of tables with parsed keys.
    pub(super) fn named<'d, T: FromStr<Err = InvalidName>>(
        &mut self,
        section: &mut Section<'d>,
        key: &'static str,
        at: &Pointer,
    ) -> Vec<(T, Section<'d>)> {
        let Some(value) = section.get(key) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.expected(value, "a table of tables");
            return Vec::new();
        };
        let mut named = Vec::new();
        for (name, value) in table.iter() {
            let parsed = self.grammar::<T>(name.get_ref(), name.span());
            let inner = self.section_of(value, format!("`{key}.{}`", shown(name.get_ref())));
            let inner = self.declared(&at.key(name.get_ref()), inner);
            if let (Some(parsed), Some(inner)) = (parsed, inner) {
                self.place(at.key(name.get_ref()), name.span());
                named.push((parsed, inner));
            }
        }
        named
    }
}

impl FileReader<'_, '_> {
    /// Reads any value as JSON.
    pub(super) fn json_value(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        at: &Pointer,
    ) -> Option<serde_json::Value> {
        let value = self.value(section, key)?;
        self.json(value, &at.key(key))
    }
}
