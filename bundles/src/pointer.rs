//! JSON pointers (RFC 6901), which name places in a manifest or a resolution.

use std::fmt;

/// A place in a JSON document. Displays as `/profiles/coder/layers/0`.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pointer(String);

impl Pointer {
    /// Returns the pointer to the whole document.
    pub fn root() -> Self {
        Self::default()
    }

    /// Returns the pointer to a member.
    pub fn key(&self, key: impl AsRef<str>) -> Self {
        let mut text = String::with_capacity(self.0.len() + key.as_ref().len() + 1);
        text.push_str(&self.0);
        text.push('/');
        for c in key.as_ref().chars() {
            match c {
                '~' => text.push_str("~0"),
                '/' => text.push_str("~1"),
                c => text.push(c),
            }
        }
        Self(text)
    }

    /// Returns the pointer to an element.
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}/{index}", self.0))
    }

    /// Returns the pointer to a place inside the value: a JSON pointer that starts at the value.
    pub(crate) fn join(&self, inside: &str) -> Self {
        Self(format!("{}{inside}", self.0))
    }

    /// Returns the pointer as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the pointer to the enclosing value, or `None` for the whole document.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// `true` if the last member is `key`.
    pub fn ends_with(&self, key: &str) -> bool {
        self.0.rsplit_once('/').is_some_and(|(_, last)| last == key)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Pointer {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_inside_names_are_escaped() {
        let pointer = Pointer::root().key("prompts").key("a/b~c").index(0);
        assert_eq!(pointer.as_str(), "/prompts/a~1b~0c/0");
        assert_eq!(pointer.parent(), Some(Pointer::root().key("prompts").key("a/b~c")));
        assert_eq!(Pointer::root().parent(), None);
    }
}
