//! A failure is believed as little as a resolution: the host must find the same.

use bundles::manifest::{Amend, Manifest};
use bundles::{Capability, ModelName, ProfileName};

use super::Misbehaved;
use super::order::{Claim, List, first_impossible};
use crate::facts::Facts;
use crate::reach::Reach;
use crate::request::Request;
use crate::resolution::{Failure, ProposedFailure};

/// What a resolver may find itself unable to understand, in the contract's words.
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

/// Checks a failure, and adds what helps a person.
pub fn verify_failure(
    manifest: &Manifest,
    facts: &Facts,
    request: &Request,
    failure: &ProposedFailure,
) -> Result<Failure, Misbehaved> {
    let lie = |problem: &str| Misbehaved::new("/failure", problem);
    match failure {
        ProposedFailure::UnknownProfile(name) => {
            // In a verified bundle every parent is there, so only the selected one can be unknown.
            if name != request.profile().as_str() || manifest.profiles.contains_key(request.profile()) {
                return Err(lie("calls a profile unknown that is not"));
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
                _ => Err(lie("calls capabilities unmet that are not")),
            }
        }
        ProposedFailure::NoModel(names) => {
            no_model(manifest, facts, request, names).ok_or_else(|| lie("calls models missing that are not"))
        }
        ProposedFailure::UnsupportedDeclaration(word) => {
            // A free word could carry what the resolver was shown: only the contract's own are told.
            match DECLARATIONS.iter().find(|known| *known == word) {
                Some(known) => Ok(Failure::UnsupportedDeclaration { declaration: (*known).to_owned() }),
                None => Err(lie("speaks of no declaration")),
            }
        }
        ProposedFailure::InheritanceCycle(_) | ProposedFailure::InheritanceConflict(_) => {
            Err(lie("calls an inheritance unsound that the host has verified"))
        }
        ProposedFailure::DanglingReference(_) => Err(lie("calls a name undeclared that is not")),
    }
}

/// The failure for a profile that is not there, with the nearest that is.
pub(crate) fn unknown_profile(manifest: &Manifest, profile: &ProfileName) -> Failure {
    let suggestion = bundles::nearest(profile.as_str(), manifest.profiles.keys().map(ProfileName::as_str));
    Failure::UnknownProfile { profile: profile.clone(), suggestion: suggestion.and_then(|name| name.parse().ok()) }
}

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
    let mut claims: Vec<Claim<'_>> = offered.map(|model| Claim::Lacks(List::Models, model.as_str())).collect();
    claims.extend(models.iter().map(|model| Claim::Holds(List::Models, model.as_str())));
    let honest = !models.is_empty() && distinct(&models) && first_impossible(reach.layers(), &claims).is_none();
    honest.then_some(Failure::NoModel { models })
}

fn distinct<T: Ord>(list: &[T]) -> bool {
    list.iter().collect::<std::collections::BTreeSet<_>>().len() == list.len()
}
