//! Inputs of cases: bundles, configs, facts and resolvers. Each file is read once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bundles::Digest;
use component_host::{BundleView, Resolver, Sandbox};
use host_policy::{Facts, HostPolicy, RuntimeConfig};
use resolver_testkit::case::{BundleSource, Case, FactsSource, Observation, ResolverSource, observe};
use runtime_api::Code;
use worker_runtime::{Inputs, shipped};

use crate::bundle_source::{self, Source};
use crate::config_file;
use crate::error::CliError;
use crate::files;
use crate::resolve::{read_facts, workspace};

/// The inputs that all cases of a run share, and those that cases name.
pub(crate) struct CaseInputs {
    sandbox: Sandbox,
    /// The tested bundle. A case of a resolver names its bundle itself.
    bundle: Option<Rc<OpenBundle>>,
    /// Resolver of the cases that name none.
    resolver: Resolver,
    bundles: BTreeMap<PathBuf, Rc<OpenBundle>>,
    configs: BTreeMap<PathBuf, Rc<RuntimeConfig>>,
    facts: BTreeMap<PathBuf, Facts>,
    resolvers: BTreeMap<ResolverKey, Resolver>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum ResolverKey {
    Digest(Digest),
    Path(PathBuf),
}

struct OpenBundle {
    source: Source,
    view: BundleView,
}

impl From<Source> for OpenBundle {
    fn from(source: Source) -> Self {
        Self { view: BundleView::new(source.bundle.clone()), source }
    }
}

impl CaseInputs {
    /// Creates inputs with the tested bundle, if a bundle is tested, and with the resolver of cases that name none.
    pub(crate) fn new(sandbox: Sandbox, bundle: Option<Source>, resolver: Resolver) -> Self {
        Self {
            sandbox,
            bundle: bundle.map(|source| Rc::new(source.into())),
            resolver,
            bundles: BTreeMap::new(),
            configs: BTreeMap::new(),
            facts: BTreeMap::new(),
            resolvers: BTreeMap::new(),
        }
    }

    /// Runs a case. `folder` is the folder of its file.
    pub(super) async fn observe(&mut self, case: &Case, folder: &Path) -> Result<Observation, CliError> {
        let bundle = self.bundle(case.bundle(), folder)?;
        let config = match case.config() {
            Some(path) => Some(self.config(&path.below(folder))?),
            None => None,
        };
        let config = config.as_deref();
        if let Some(config) = config
            && let Err(refused) = bundle_source::as_host(&bundle.source.bundle, config, &self.sandbox.limits().bundle)
        {
            return Ok(Observation::of_failure(refused.code, refused.message));
        }
        let workspace = workspace(None, &bundle.source, config).map_err(|error| {
            let help = "write a config with one workspace for the case";
            CliError::new(error.code, error.message, help)
        })?;
        let facts = match case.facts() {
            FactsSource::Inline(facts) => facts.clone(),
            FactsSource::File(path) => self.facts(&path.below(folder))?,
            FactsSource::Derived => FactsSource::derived(config, &workspace)
                .map_err(|error| CliError::new(Code::Failed, error.to_string(), "state the `facts` of the case"))?,
        };
        let resolver = self.resolver(case.resolver(), folder).await?;
        let builtin = bundle.source.builtin;
        let policy = config.map(|config| HostPolicy { config, workspace: &workspace, builtin, package_faults: None });
        Ok(observe(&resolver, &bundle.view, &Inputs::new(facts, case.request()), policy).await?)
    }

    fn bundle(&mut self, named: Option<&BundleSource>, folder: &Path) -> Result<Rc<OpenBundle>, CliError> {
        let path = match (named, &self.bundle) {
            (None, Some(bundle)) => return Ok(bundle.clone()),
            (None, None) => {
                return Err(CliError::new(Code::MissingField, "no bundle", "name the `bundle` of the case"));
            }
            (Some(BundleSource::Builtin), _) => PathBuf::from("builtin"),
            // A folder `builtin` beside the file is not the built-in bundle.
            (Some(BundleSource::Path(path)), _) => Path::new(".").join(path.below(folder)),
        };
        if let Some(bundle) = self.bundles.get(&path) {
            return Ok(bundle.clone());
        }
        if !path.is_dir() && !bundle_source::is_builtin(&path) {
            require_file(&path, "bundle")?;
        }
        let bundle = Rc::new(OpenBundle::from(bundle_source::open(&path, &self.sandbox.limits().bundle)?));
        self.bundles.insert(path, bundle.clone());
        Ok(bundle)
    }

    fn config(&mut self, path: &Path) -> Result<Rc<RuntimeConfig>, CliError> {
        if let Some(config) = self.configs.get(path) {
            return Ok(config.clone());
        }
        require_file(path, "config")?;
        let config = Rc::new(config_file::read(path)?);
        self.configs.insert(path.to_owned(), config.clone());
        Ok(config)
    }

    fn facts(&mut self, path: &Path) -> Result<Facts, CliError> {
        if let Some(facts) = self.facts.get(path) {
            return Ok(facts.clone());
        }
        require_file(path, "facts file")?;
        let facts = read_facts(path)?;
        self.facts.insert(path.to_owned(), facts.clone());
        Ok(facts)
    }

    async fn resolver(&mut self, named: Option<&ResolverSource>, folder: &Path) -> Result<Resolver, CliError> {
        let key = match named {
            None => return Ok(self.resolver.clone()),
            Some(ResolverSource::Digest(digest)) if *digest == self.resolver.digest() => {
                return Ok(self.resolver.clone());
            }
            Some(ResolverSource::Digest(digest)) => ResolverKey::Digest(*digest),
            Some(ResolverSource::File(path)) => ResolverKey::Path(path.below(folder)),
        };
        if let Some(resolver) = self.resolvers.get(&key) {
            return Ok(resolver.clone());
        }
        let resolver = match &key {
            ResolverKey::Digest(digest) if *digest == Digest::of(shipped::RESOLVER) => {
                self.sandbox.load(shipped::RESOLVER).await?
            }
            ResolverKey::Digest(digest) => {
                let help = "name the file of the component, or pass the component with `--resolver`";
                return Err(CliError::new(Code::NotFound, format!("resolver `{digest}` not found"), help));
            }
            ResolverKey::Path(path) => {
                require_file(path, "component")?;
                let max_bytes = usize::try_from(self.sandbox.limits().structure.bytes).unwrap_or(usize::MAX);
                self.sandbox.load(&files::read_within(path, ("bytes", max_bytes), "component")?).await?
            }
        };
        self.resolvers.insert(key, resolver.clone());
        Ok(resolver)
    }
}

/// Refuses a path that is not a file. A FIFO would block the command.
pub(super) fn require_file(path: &Path, what: &str) -> Result<(), CliError> {
    let metadata = std::fs::metadata(path).map_err(|error| files::unreadable(path, what, &error))?;
    if metadata.is_file() {
        return Ok(());
    }
    let message = format!("{what} `{}` is not a file", files::shown(path));
    Err(CliError::new(Code::NotAFile, message, "name a regular file"))
}
