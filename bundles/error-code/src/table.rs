//! The table of codes.

use crate::Class;

/// Creates [`Code`] from rows of a variant, its word, its class and, if the class has another one, its HTTP status.
macro_rules! codes {
    (@status $class:ident) => { Class::$class.http_status() };
    (@status $class:ident $status:literal) => { $status };
    ($($variant:ident = $word:literal: $class:ident $(, $status:literal)?;)*) => {
        /// A stable error code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = concat!("`", $word, "`")] $variant,)*
        }

        impl Code {
            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the word of the code.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Returns the class of the code.
            pub const fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class,)* }
            }

            /// Returns the status of an HTTP response with this code.
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$variant => codes!(@status $class $($status)?),)* }
            }
        }
    };
}

codes! {
    // The command line.
    AddressUnavailable = "address_unavailable": Failed;
    AlreadyThere = "already_there": Failed;
    EarlierTime = "earlier_time": Invalid;
    Failed = "failed": Failed;
    GrantWidens = "grant_widens": Denied;
    InvalidKey = "invalid_key": Invalid;
    NoCommit = "no_commit": Failed;
    NoToken = "no_token": Usage;
    NotCommitted = "not_committed": Failed;
    RestartNeeded = "restart_needed": Failed;
    SecretExposed = "secret_exposed": Invalid;
    TlsMissing = "tls_missing": Denied;
    UnknownFieldAsked = "unknown_field_asked": NotFound;
    Unreadable = "unreadable": Failed;
    Unwritable = "unwritable": Failed;
    Usage = "usage": Usage;

    // The client of the HTTP API.
    BlobsVanished = "blobs_vanished": Failed;
    InsecureUrl = "insecure_url": Invalid;
    Interrupted = "interrupted": Failed;
    InvalidToken = "invalid_token": Invalid;
    InvalidUrl = "invalid_url": Invalid;
    NoTls = "no_tls": Failed;
    TimedOut = "timed_out": Failed;
    UnexpectedAnswer = "unexpected_answer": Failed;
    Unreachable = "unreachable": Failed;

    // Requests over HTTP, and access.
    BodyIncomplete = "body_incomplete": Invalid, 400;
    BodyTooLarge = "body_too_large": Invalid, 413;
    BodyTooSlow = "body_too_slow": Failed, 408;
    Busy = "busy": Failed;
    DeadlineExceeded = "deadline_exceeded": Guest, 504;
    HostDenied = "host_denied": Denied, 421;
    InvalidRequest = "invalid_request": Invalid, 400;
    MethodNotAllowed = "method_not_allowed": Invalid, 405;
    NoEntropy = "no_entropy": Failed;
    NotFound = "not_found": NotFound;
    OriginDenied = "origin_denied": Denied;
    PreconditionFailed = "precondition_failed": Invalid, 412;
    RateLimited = "rate_limited": Failed, 429;
    ScopeMissing = "scope_missing": Denied;
    Stopping = "stopping": Failed;
    TokenExpired = "token_expired": Denied, 401;
    TokenNotFound = "token_not_found": NotFound;
    Unauthenticated = "unauthenticated": Denied, 401;
    UnsupportedMediaType = "unsupported_media_type": Invalid, 415;
    WorkspaceDenied = "workspace_denied": Denied;
    WorkspaceUnnamed = "workspace_unnamed": Usage;

    // Texts and JSON.
    ControlCharacter = "control_character": Invalid;
    DuplicateKey = "duplicate_key": Invalid;
    InvalidField = "invalid_field": Invalid;
    InvalidJson = "invalid_json": Invalid;
    NotCanonical = "not_canonical": Invalid;
    NotUtf8 = "not_utf8": Invalid;
    TooDeep = "too_deep": Invalid;
    TooLarge = "too_large": Invalid, 413;
    UnknownField = "unknown_field": Invalid;
    UnsafeNumber = "unsafe_number": Invalid;

    // Authoring and content of a bundle.
    DanglingName = "dangling_name": Invalid;
    DuplicateName = "duplicate_name": Invalid;
    HostPathInBundle = "host_path_in_bundle": Invalid;
    InheritanceConflict = "inheritance_conflict": Invalid;
    InheritanceCycle = "inheritance_cycle": Invalid;
    InvalidBundle = "invalid_bundle": Invalid;
    InvalidDigest = "invalid_digest": Invalid;
    InvalidName = "invalid_name": Invalid;
    InvalidPermission = "invalid_permission": Invalid;
    InvalidPointer = "invalid_pointer": Invalid;
    InvalidSchema = "invalid_schema": Invalid;
    InvalidToml = "invalid_toml": Invalid;
    InvalidType = "invalid_type": Invalid;
    InvalidValue = "invalid_value": Invalid;
    InvalidVersion = "invalid_version": Invalid;
    MissingBlobs = "missing_blobs": Invalid;
    MissingField = "missing_field": Invalid;
    MissingFile = "missing_file": Invalid;
    MissingSchema = "missing_schema": Invalid;
    NoBundle = "no_bundle": Invalid;
    NotABundle = "not_a_bundle": Invalid;
    NotAFile = "not_a_file": Invalid;
    SecretInBundle = "secret_in_bundle": Invalid;
    UnexpectedFile = "unexpected_file": Invalid;
    UnknownCondition = "unknown_condition": Invalid;
    UnknownRule = "unknown_rule": Invalid;
    UnknownSurface = "unknown_surface": Invalid;
    UnlistedBlob = "unlisted_blob": Invalid;
    UnsetIntoValue = "unset_into_value": Invalid;
    UnsetNothing = "unset_nothing": Invalid;
    UnsupportedSchema = "unsupported_schema": Invalid;
    UnusedAcceptance = "unused_acceptance": Invalid;
    UnusedDeclaration = "unused_declaration": Invalid;
    WrongSize = "wrong_size": Invalid;

    // URL permissions.
    DefaultPortWritten = "default_port_written": Invalid;
    HostNotNormal = "host_not_normal": Invalid;
    InvalidHost = "invalid_host": Invalid;
    InvalidMethod = "invalid_method": Invalid;
    InvalidPath = "invalid_path": Invalid;
    InvalidScheme = "invalid_scheme": Invalid;
    ListNotNormal = "list_not_normal": Invalid;
    MarkMissing = "mark_missing": Invalid;
    MarkWithoutMeaning = "mark_without_meaning": Invalid;
    MethodMissing = "method_missing": Invalid;
    MethodOnWebsocket = "method_on_websocket": Invalid;
    InvalidSubprotocol = "invalid_subprotocol": Invalid;
    SubprotocolOnRequest = "subprotocol_on_request": Invalid;
    PathMissing = "path_missing": Invalid;
    PortZero = "port_zero": Invalid;
    WildcardTooWide = "wildcard_too_wide": Invalid;

    // Signatures.
    BundleUnsigned = "bundle_unsigned": Denied;
    InvalidEnvelope = "invalid_envelope": Invalid;
    InvalidPublicKey = "invalid_public_key": Invalid;
    InvalidSigningKey = "invalid_signing_key": Invalid;
    NoSignaturePosture = "no_signature_posture": Denied;
    SignatureInvalid = "signature_invalid": Invalid;
    SigningKeyUnknown = "signing_key_unknown": Denied;

    // The host's config.
    DuplicateTool = "duplicate_tool": Failed;
    InvalidConfig = "invalid_config": Invalid;
    InvalidLimits = "invalid_limits": Invalid;

    // Stored content.
    BlobDamaged = "blob_damaged": Invalid, 500;
    BlobNotFound = "blob_not_found": NotFound;
    BundleDamaged = "bundle_damaged": Invalid, 500;
    BundleMissing = "bundle_missing": NotFound;
    BundleNotFound = "bundle_not_found": NotFound;
    BundleRevoked = "bundle_revoked": Denied, 409;
    Contended = "contended": Failed;
    DigestMismatch = "digest_mismatch": Invalid;
    GenerationOlder = "generation_older": Invalid, 409;
    InUse = "in_use": Failed, 409;
    RevisionConflict = "revision_conflict": Invalid, 409;
    RevisionOlder = "revision_older": Invalid, 409;

    // The data folder and its stores. `store_in_use` and `store_newer` keep their status 422, on which clients may depend.
    DataFolderMoved = "data_folder_moved": Failed;
    DataFolderNotAFolder = "data_folder_not_a_folder": Failed;
    DataFolderNotPrivate = "data_folder_not_private": Failed;
    MetadataDamaged = "metadata_damaged": Invalid, 500;
    MetadataForeign = "metadata_foreign": Invalid;
    StoreFull = "store_full": Failed, 507;
    StoreInUse = "store_in_use": Failed, 422;
    StoreNewer = "store_newer": Failed, 422;
    StoreUnavailable = "store_unavailable": Failed;

    // The sandbox and its compile cache.
    CacheDamaged = "cache_damaged": Failed;
    CacheNotAFolder = "cache_not_a_folder": Failed;
    CacheNotPrivate = "cache_not_private": Failed;
    CacheUnavailable = "cache_unavailable": Failed;
    CompilerFailed = "compiler_failed": Failed;
    NoClock = "no_clock": Failed;
    NoThreads = "no_threads": Failed;
    SandboxUnavailable = "sandbox_unavailable": Failed;

    // Components. `compile_limit_exceeded` refuses an upload, so its status is that of invalid content.
    CompileLimitExceeded = "compile_limit_exceeded": Guest, 422;
    ContractMismatch = "contract_mismatch": Invalid;
    CoreModule = "core_module": Invalid;
    ForeignImport = "foreign_import": Invalid;
    InvalidComponent = "invalid_component": Invalid;
    MalformedComponent = "malformed_component": Invalid;
    MissingExport = "missing_export": Invalid;
    NotWasm = "not_wasm": Invalid;
    OverBudget = "over_budget": Invalid;
    WasmText = "wasm_text": Invalid;

    // Resolvers and their answers.
    LimitExceeded = "limit_exceeded": Guest, 422;
    ChangesNotAccepted = "changes_not_accepted": Denied, 409;
    ComparisonNotFound = "comparison_not_found": NotFound;
    ComparisonRequired = "comparison_required": Denied, 409;
    NothingToCompare = "nothing_to_compare": Denied, 409;
    ResolverActive = "resolver_active": Failed, 409;
    ResolverMalformed = "resolver_malformed": Guest;
    ResolverMisbehaved = "resolver_misbehaved": Guest;
    ResolverNotFound = "resolver_not_found": NotFound;
    ResolverPinned = "resolver_pinned": Denied, 409;
    ResolverRevoked = "resolver_revoked": Denied, 409;
    ResolverTrapped = "resolver_trapped": Guest;
    ResolverUnavailable = "resolver_unavailable": Failed;

    // Plugins of a worker.
    ComponentRefused = "component_refused": Invalid;
    ComponentNotLoaded = "component_not_loaded": Failed;
    DescriptorMismatch = "descriptor_mismatch": Invalid;
    EffectNotGranted = "effect_not_granted": Denied;
    ExternalEffectNotGranted = "external_effect_not_granted": Denied;
    ImportNotAllowed = "import_not_allowed": Invalid;
    PackageDamaged = "package_damaged": Invalid;
    PackageInvalid = "package_invalid": Invalid;
    PackageMissing = "package_missing": NotFound;
    PluginConfigInvalid = "plugin_config_invalid": Invalid;
    PluginGrantOutdated = "plugin_grant_outdated": Denied;
    SurfaceNotGranted = "surface_not_granted": Denied;
    ToolNotGranted = "tool_not_granted": Denied;
    UnsupportedWorld = "unsupported_world": Invalid;

    // Calls of plugins.
    EgressUnavailable = "egress_unavailable": Denied;
    PluginMalformed = "plugin_malformed": Guest;
    PluginTrapped = "plugin_trapped": Guest;
    ServiceEnded = "service_ended": Guest;
    ServiceFailed = "service_failed": Guest;

    // Events for services of plugins. The first two are outcomes of deliveries, in a worker's history.
    EventDeferred = "event_deferred": Guest;
    EventRefused = "event_refused": Guest;
    IngressAmbiguous = "ingress_ambiguous": Failed, 409;
    IngressNotFound = "ingress_not_found": NotFound;
    IngressQueueFull = "ingress_queue_full": Failed, 429;

    // Plugin packages.
    NotAPackage = "not_a_package": Invalid;

    // Resolutions and enforcement.
    BundlePolicyDenied = "bundle_policy_denied": Denied;
    BundleRequired = "bundle_required": Denied;
    Denied = "denied": Denied;
    EgressNotGranted = "egress_not_granted": Denied;
    GitNotGranted = "git_not_granted": Denied;
    GitReadOnly = "git_read_only": Denied;
    ModelNotGranted = "model_not_granted": Denied;
    MountNotGranted = "mount_not_granted": Denied;
    MountReadOnly = "mount_read_only": Denied;
    NoModel = "no_model": Denied, 422;
    PluginNotGranted = "plugin_not_granted": Denied;
    SecretNotGranted = "secret_not_granted": Denied;
    ShellNotGranted = "shell_not_granted": Denied;
    ToolWithoutAuthority = "tool_without_authority": Denied;
    ToolWithoutPlugin = "tool_without_plugin": Denied;
    UnknownProfile = "unknown_profile": NotFound;
    UnmetCapability = "unmet_capability": Denied, 422;
    UnsupportedDeclaration = "unsupported_declaration": Denied, 422;

    // Egress of plugins.
    AddressNeverDialled = "address_never_dialled": Denied;
    AmbiguousUrl = "ambiguous_url": Invalid;
    EffectNotDeclared = "effect_not_declared": Denied;
    EventStreamRefused = "event_stream_refused": Denied;
    HeaderNameTooLong = "header_name_too_long": Denied;
    HeaderNotAllowed = "header_not_allowed": Denied;
    HeaderValueTooLong = "header_value_too_long": Denied;
    HeadersTooLarge = "headers_too_large": Denied;
    InvalidHeaderName = "invalid_header_name": Denied;
    InvalidHeaderValue = "invalid_header_value": Denied;
    InvalidSubprotocols = "invalid_subprotocols": Denied;
    LocalhostNotLoopback = "localhost_not_loopback": Denied;
    MalformedUrl = "malformed_url": Denied;
    NoAddress = "no_address": Denied;
    NotDeclared = "not_declared": Denied;
    NotDeclaredNorGranted = "not_declared_nor_granted": Denied;
    SchemeNotAllowed = "scheme_not_allowed": Denied;
    SecretEchoed = "secret_echoed": Denied;
    SecretNeedsTls = "secret_needs_tls": Denied;
    SecretNotDeclared = "secret_not_declared": Denied;
    SpecialAddressNotDeclared = "special_address_not_declared": Denied;
    SpecialAddressNotDeclaredNorGranted = "special_address_not_declared_nor_granted": Denied;
    SpecialAddressNotGranted = "special_address_not_granted": Denied;
    TooManyHeaders = "too_many_headers": Denied;
    UrlTooLong = "url_too_long": Denied;
    UserInfo = "user_info": Denied;

    // Workers.
    BundleUnnamed = "bundle_unnamed": Invalid;
    BundleUnwanted = "bundle_unwanted": Invalid;
    TooManyCapabilities = "too_many_capabilities": Invalid;
    WorkerExists = "worker_exists": Failed, 409;
    WorkerNotFound = "worker_not_found": NotFound;
    WorkerNotStopped = "worker_not_stopped": Failed, 409;
    WorkerStopped = "worker_stopped": Failed, 409;
    WorkerSuspended = "worker_suspended": Failed, 409;

    // Calls of tools, and secrets.
    CallsUsedUp = "calls_used_up": Denied, 409;
    ConfirmationRequired = "confirmation_required": Denied, 409;
    HistoryFull = "history_full": Failed, 409;
    InvalidInput = "invalid_input": Invalid;
    InvalidOutput = "invalid_output": Invalid, 502;
    MountUnavailable = "mount_unavailable": Failed, 502;
    NotGranted = "not_granted": Denied;
    SecretNotFound = "secret_not_found": NotFound, 502;
    SecretNotPrivate = "secret_not_private": Failed, 502;
    SecretUnavailable = "secret_unavailable": Failed, 502;
    SecretUnusable = "secret_unusable": Failed, 502;
    SecretsNotAFolder = "secrets_not_a_folder": Failed;
    SecretsNotPrivate = "secrets_not_private": Failed;
    SecretsReadOnly = "secrets_read_only": Denied;
    SecretsUnavailable = "secrets_unavailable": Failed;
    ToolNotFound = "tool_not_found": NotFound;
    ToolPanicked = "tool_panicked": Failed, 502;
    ToolRefused = "tool_refused": Failed, 422;

    // The Backend.
    CrossSiteRequest = "cross_site_request": Denied;
    FormOutdated = "form_outdated": Denied;
    LoginLinkInvalid = "login_link_invalid": NotFound;
    NoEarlierBundle = "no_earlier_bundle": NotFound;
    NoRollout = "no_rollout": Failed, 409;
    NoRuntime = "no_runtime": Failed;
    NothingDesired = "nothing_desired": NotFound;
    PullSuperseded = "pull_superseded": Failed, 409;
    RolloutHalted = "rollout_halted": Denied, 409;
    RuntimeInConfig = "runtime_in_config": Failed, 409;
    RuntimeNotAllowed = "runtime_not_allowed": Denied;
    RuntimeNotFound = "runtime_not_found": NotFound;
    RuntimeNotPulled = "runtime_not_pulled": Failed, 409;
    RuntimeTimedOut = "runtime_timed_out": Failed, 504;
    RuntimeUnauthorized = "runtime_unauthorized": Failed, 502;
    RuntimeUnreachable = "runtime_unreachable": Failed, 502;
    RuntimeUnsupported = "runtime_unsupported": Failed, 502;
    SessionEnded = "session_ended": Denied, 401;
    SessionNotFound = "session_not_found": NotFound;
    WorkspaceNotFound = "workspace_not_found": NotFound;
}
