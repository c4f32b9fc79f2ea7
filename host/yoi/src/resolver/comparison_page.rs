//! A comparison of two resolvers as one HTML page, without scripts and without references to other files.

use std::collections::BTreeSet;

use host_policy::ResolutionChange;
use maud::{DOCTYPE, html};
use runtime_api::comparison::{ComparedCase, Comparison, Objection};

use super::compare::{sentence, values};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}\
    table{border-collapse:collapse;width:100%}th,td{border:1px solid #8888;padding:.4rem .6rem;text-align:left;\
    vertical-align:top}td code{overflow-wrap:anywhere}.grew,.newly-fails{color:#a40000}:root{color-scheme:light dark}\
    @media(prefers-color-scheme:dark){.grew,.newly-fails{color:#ff9a9a}}code{font-size:.9em}";

/// Renders a comparison.
pub(super) fn render(comparison: &Comparison, objections: &BTreeSet<Objection>) -> String {
    let Comparison { before, after, snapshot, cases, changed_cases, cost, change_set, changes } = comparison;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Comparison of two resolvers" }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                h1 { "Comparison of two resolvers" }
                @if objections.is_empty() {
                    p { "Nothing speaks against the later resolver." }
                } @else {
                    p.grew { @for one in objections { strong { (sentence(one.as_str())) } ". " } }
                }
                table {
                    tr { th scope="row" { "Before" } td { code { (before) } } }
                    tr { th scope="row" { "After" } td { code { (after) } } }
                    tr { th scope="row" { "Snapshot" } td { code { (snapshot) } } }
                    tr { th scope="row" { "Changes" } td { code { (change_set) } } }
                    tr {
                        th scope="row" { "Cases" }
                        td {
                            (cases.same) " the same, " (cases.different) " different, " (cases.newly_failing)
                            " newly failing, " (cases.newly_succeeding) " newly succeeding, " (cases.skipped)
                            " not repeatable"
                        }
                    }
                    tr { th scope="row" { "Fuel" } td { (cost.fuel_before) " → " (cost.fuel_after) } }
                    tr {
                        th scope="row" { "Peak memory in bytes" }
                        td { (cost.memory_bytes_before) " → " (cost.memory_bytes_after) }
                    }
                }
                h2 { "Changes" }
                @if changes.is_empty() {
                    p { "The resolvers give the same resolutions." }
                } @else {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Effect" }
                                th scope="col" { "Profile" }
                                th scope="col" { "Field" }
                                th scope="col" { "Values" }
                            }
                        }
                        tbody { @for change in changes { (row(change)) } }
                    }
                    h2 { "Cases with a change" }
                    @let all = cases.different + cases.newly_failing + cases.newly_succeeding;
                    @if all > changed_cases.len() as u64 {
                        p { "The first " (changed_cases.len()) " of " (all) "." }
                    }
                    table {
                        thead {
                            tr {
                                th scope="col" { "Case" }
                                th scope="col" { "Profile" }
                                th scope="col" { "Result" }
                                th scope="col" { "Fuel" }
                                th scope="col" { "Peak memory in bytes" }
                            }
                        }
                        tbody { @for case in changed_cases { (case_row(case)) } }
                    }
                }
            }
        }
    };
    page.into_string()
}

fn case_row(case: &ComparedCase) -> maud::Markup {
    let cost = &case.cost;
    html! {
        tr {
            td { code { (case.case) } }
            td { code { (case.profile) } }
            td { (case.result.as_str()) }
            td { (cost.fuel_before) " → " (cost.fuel_after) }
            td { (cost.memory_bytes_before) " → " (cost.memory_bytes_after) }
        }
    }
}

fn row(change: &ResolutionChange) -> maud::Markup {
    let word = change.effect.as_str();
    html! {
        tr class=(word.replace(' ', "-")) {
            td { (word) }
            td { code { (change.profile) } }
            td { code { (change.field) } }
            td { code { (values(change)) } }
        }
    }
}
