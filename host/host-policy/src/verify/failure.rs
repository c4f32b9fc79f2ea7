//! Verification of a failure that a resolver reports. The host must reach the same conclusion.

use bundles::manifest::{Amend, Manifest};
use bundles::{Capability, ModelName, ProfileName};

use super::InvalidAnswer;
use super::order::{AmendedList, Claim, first_impossible};
use crate::facts::Facts;
use crate::reach::Reach;
use crate::request::Request;
use crate::resolution::{Failure, ProposedFailure};

/// Declarations that a resolver may report as unsupported, as named by the resolver contract.
const DECLARATIONS: [&str; 13] = [
    "profile",
    "extends",
    "layer",
    "when",
    "models",
    "instructions",
    "tools",
    "plugins",
    "workflows",
    "language",
    "wishes",
    "drops",
    "settings",
];

/// Verifies a failure and adds a suggestion where one exists.
pub fn verify_failure(
    manifest: &Manifest,
    facts: &Facts,
    request: &Request,
    failure: &ProposedFailure,
) -> Result<Failure, InvalidAnswer> {
    let invalid = |problem: &str| InvalidAnswer::new("/failure", problem);
    match failure {
        ProposedFailure::UnknownProfile(name) => {
            // In a verified bundle every parent exists, so only the selected profile can be unknown.
            if name != request.profile().as_str() || manifest.profiles.contains_key(request.profile()) {
                return Err(invalid("reports a known profile as unknown"));
            }
            Ok(unknown_profile(manifest, request.profile()))
        }
        ProposedFailure::UnmetCapability(names) => {
            let lacking: Vec<&Capability> =
                request.required_capabilities().iter().filter(|name| !facts.capabilities.contains(*name)).collect();
            let found: Option<Vec<Capability>> = names
                .iter()
                .map(|name| lacking.iter().find(|lacking| lacking.as_str() == name).map(|name| (*name).clone()))
                .collect();
            match found {
                Some(capabilities) if !capabilities.is_empty() && distinct(&capabilities) => {
                    Ok(Failure::UnmetCapability { capabilities })
                }
                _ => Err(invalid("reports capabilities as unmet that are not required or not missing")),
            }
        }
        ProposedFailure::NoModel(names) => no_model(manifest, facts, request, names)
            .ok_or_else(|| invalid("reports models as missing that are offered or not written")),
        ProposedFailure::UnsupportedDeclaration(word) => {
            // A free word could carry the facts into a log, so only words of the contract pass.
            match DECLARATIONS.iter().find(|known| *known == word) {
                Some(known) => Ok(Failure::UnsupportedDeclaration { declaration: (*known).to_owned() }),
                None => Err(invalid("reports an unsupported declaration that the contract does not have")),
            }
        }
        ProposedFailure::InheritanceCycle(_) | ProposedFailure::InheritanceConflict(_) => {
            Err(invalid("reports an inheritance fault, but the host has verified the inheritance"))
        }
        ProposedFailure::DanglingReference(_) => Err(invalid("reports a declared name as undeclared")),
    }
}

/// Returns the failure for a profile that does not exist, with the most similar profile name.
pub(crate) fn unknown_profile(manifest: &Manifest, profile: &ProfileName) -> Failure {
    let suggestion = bundles::nearest(profile.as_str(), manifest.profiles.keys().map(ProfileName::as_str));
    Failure::UnknownProfile { profile: profile.clone(), suggestion: suggestion.and_then(|name| name.parse().ok()) }
}

/// Returns the failure if some order of the active layers leaves only `names` and no offered model.
fn no_model(manifest: &Manifest, facts: &Facts, request: &Request, names: &[String]) -> Option<Failure> {
    let reach = Reach::of(manifest, request.profile(), facts).ok()?;
    let written: Vec<&ModelName> =
        reach.layers().iter().filter_map(|layer| layer.layer.models.as_ref()).flat_map(Amend::names).collect();
    let missing = |name: &String| {
        let found = written.iter().find(|model| model.as_str() == name)?;
        (!facts.models.contains(*found)).then(|| (*found).clone())
    };
    let models: Vec<ModelName> = names.iter().map(missing).collect::<Option<_>>()?;
    let offered = written.iter().filter(|model| facts.models.contains(**model));
    let mut claims: Vec<Claim<'_>> = offered.map(|model| Claim::Lacks(AmendedList::Models, model.as_str())).collect();
    claims.extend(models.iter().map(|model| Claim::Holds(AmendedList::Models, model.as_str())));
    let honest = !models.is_empty() && distinct(&models) && first_impossible(reach.layers(), &claims).is_none();
    honest.then_some(Failure::NoModel { models })
}

fn distinct<T: Ord>(list: &[T]) -> bool {
    list.iter().collect::<std::collections::BTreeSet<_>>().len() == list.len()
}
