//! Text of a review: sentences, and the lists of permissions.

use host_policy::{PermissionLists, PluginReview, SecretGrant, Standing};

use crate::text::Rows;

/// Adds the sentences, the dangerous ones first. With `is_compared`, each has a note about the grant.
pub(super) fn statements(rows: &mut Rows, review: &PluginReview, is_compared: bool) {
    let (dangerous, other): (Vec<_>, Vec<_>) = review.statements().iter().partition(|one| one.danger.is_some());
    for (label, list) in [("dangerous", dangerous), ("other", other)] {
        let standing = |standing: Standing| match standing {
            _ if !is_compared => "",
            Standing::Granted => "[granted]",
            Standing::Partial => "[granted in part]",
            Standing::Missing => "[not granted]",
        };
        or_none(rows, label, list.into_iter().map(|one| (&one.text, standing(one.standing))));
    }
}

/// One kind of permission in all lists of a review.
pub(super) struct Kind {
    items: fn(&PermissionLists) -> Vec<String>,
}

pub(super) const TOOLS: Kind = Kind { items: |lists| texts(&lists.tools) };
pub(super) const EFFECTS: Kind =
    Kind { items: |lists| lists.effects.iter().map(|effect| effect.as_str().to_owned()).collect() };
pub(super) const REQUESTS: Kind = Kind { items: |lists| texts(&lists.requests) };
pub(super) const WEBSOCKETS: Kind = Kind { items: |lists| texts(&lists.websockets) };
pub(super) const SECRETS: Kind = Kind { items: |lists| lists.secrets.iter().map(secret).collect() };
pub(super) const SURFACES: Kind = Kind { items: |lists| texts(&lists.surfaces) };
pub(super) const INGRESS: Kind = Kind { items: |lists| texts(&lists.ingress) };

/// All kinds with the label of their rows.
pub(super) const KINDS: [(&str, Kind); 7] = [
    ("tools", TOOLS),
    ("effects", EFFECTS),
    ("request targets", REQUESTS),
    ("websocket targets", WEBSOCKETS),
    ("secrets", SECRETS),
    ("surfaces", SURFACES),
    ("ingress", INGRESS),
];

impl Kind {
    /// Adds the rows below the requested permissions of the kind. Without `is_compared`, only what is broad.
    pub(super) fn compared(&self, rows: &mut Rows, review: &PluginReview, is_compared: bool) {
        let items = self.items;
        if is_compared && !(items(review.requested()).is_empty() && items(review.grant_only()).is_empty()) {
            or_none(rows, "  granted", unnoted(items(review.granted())));
            or_none(rows, "  missing", unnoted(items(review.missing())));
            rows.list("  grant-only", items(review.grant_only()));
        }
        rows.list("  broad", items(review.broad()));
    }

    /// Adds the rows of the kind.
    pub(super) fn all(&self, rows: &mut Rows, label: &str, review: &PluginReview, is_compared: bool) {
        or_none(rows, label, unnoted((self.items)(review.requested())));
        self.compared(rows, review, is_compared);
    }
}

/// Returns each permission with its kind, on one line.
pub(super) fn items(lists: &PermissionLists) -> Vec<String> {
    let of_kind = |(label, kind): &(&str, Kind)| {
        let noun = label.strip_suffix('s').unwrap_or(label).to_owned();
        (kind.items)(lists).into_iter().map(move |item| format!("{noun} {item}"))
    };
    KINDS.iter().flat_map(of_kind).collect()
}

fn unnoted(items: Vec<String>) -> impl Iterator<Item = (String, &'static str)> {
    items.into_iter().map(|item| (item, ""))
}

fn texts<'a, T: ToString + 'a>(items: impl IntoIterator<Item = &'a T>) -> Vec<String> {
    items.into_iter().map(ToString::to_string).collect()
}

fn secret(grant: &SecretGrant) -> String {
    format!("{}, sent as `{}`", grant.name, grant.placement())
}

/// Adds a row for each value, or the row `none`. A missing row could be overlooked.
pub(super) fn or_none<T: std::fmt::Display, N: std::fmt::Display>(
    rows: &mut Rows,
    label: &str,
    values: impl Iterator<Item = (T, N)>,
) {
    let mut values = values.peekable();
    match values.peek() {
        Some(_) => rows.noted_list(label, values),
        None => rows.row(label, "none"),
    }
}
