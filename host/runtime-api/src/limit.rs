//! Invalid limits of a config.

/// A limit with a value that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidLimit {
    /// Name of the limit.
    pub name: &'static str,
    /// Description of the valid values.
    pub expected: String,
}

impl InvalidLimit {
    /// Returns the first limit that is less than its minimum. Each item is a name, a value and a minimum.
    pub fn below(limits: impl IntoIterator<Item = (&'static str, u64, u64)>) -> Option<Self> {
        let found = limits.into_iter().find(|(_, value, minimum)| value < minimum);
        found.map(|(name, _, minimum)| Self { name, expected: format!("a whole number of at least {minimum}") })
    }
}
