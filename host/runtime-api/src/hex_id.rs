//! Ids of a fixed number of lower-case hexadecimal digits.

/// Defines an id from its length in digits, the message of its error, and its description in the API.
///
/// The module that uses it imports `std::fmt`, `std::str::FromStr`, `serde::Serialize` and `serde::Deserialize`.
#[macro_export]
macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $invalid:ident, $digits:literal, $message:literal, $description:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Box<str>);

        #[doc = concat!("Error returned for a text that is not a [`", stringify!($name), "`].")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
        #[error($message)]
        pub struct $invalid;

        impl $name {
            /// Returns the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<[u8; $digits / 2]> for $name {
            fn from(bytes: [u8; $digits / 2]) -> Self {
                let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
                Self(digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect::<String>().into())
            }
        }

        impl FromStr for $name {
            type Err = $invalid;

            fn from_str(text: &str) -> Result<Self, $invalid> {
                let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                if is_hex && text.len() == $digits { Ok(Self(text.into())) } else { Err($invalid) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                bundles::openapi::text($description, Some(concat!("^[0-9a-f]{", $digits, "}$")), Some($digits))
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

pub(crate) use hex_id;
