//! Origins: the layer that set each value.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};

use crate::Origin;

/// One layer of one profile. The index counts all layers of the profile, including inactive ones.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) profile: &'a str,
    pub(crate) layer: u32,
}

impl Place<'_> {
    /// Returns this layer as the origin of the value at `field`, an RFC 6901 pointer into the resolution.
    pub(crate) fn origin_of(self, field: String) -> Origin {
        Origin { field, profile: self.profile.to_owned(), layer: self.layer }
    }
}

/// Returns the pointer of an element of a list in the resolution.
pub(crate) fn element(list: &str, index: usize) -> String {
    let index = index.to_string();
    let mut pointer = String::with_capacity(list.len() + index.len() + 2);
    pointer.push('/');
    pointer.push_str(list);
    pointer.push('/');
    pointer.push_str(&index);
    pointer
}

/// Appends the key of an object to a pointer and escapes `~` and `/`.
pub(crate) fn push_key(pointer: &mut String, key: &str) {
    pointer.push('/');
    for character in key.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            _ => pointer.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;

    use super::{element, push_key};

    #[test]
    fn an_element_is_named_by_list_and_index() {
        assert_eq!(element("tools", 0), "/tools/0");
        assert_eq!(element("wishes", 120), "/wishes/120");
    }

    #[test]
    fn a_key_is_escaped_once_and_in_one_pass() {
        let mut pointer = "/settings".to_owned();
        push_key(&mut pointer, "a/b~c");
        push_key(&mut pointer, "~1");
        push_key(&mut pointer, "");
        assert_eq!(pointer, "/settings/a~1b~0c/~01/");
    }
}
