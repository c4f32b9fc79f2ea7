//! Answers in the memory layout of a guest, valid or malformed.

/// Address of an answer. The memory below is scratch space.
pub(super) const BASE: u32 = 1024;

/// A proposed authority.
#[derive(Clone)]
pub(super) enum Authority {
    Secret(String),
    Mount(String, u8),
    Egress(String),
    Shell,
    Git(u8),
    /// An undefined case.
    Case(u8),
}

pub(super) const READ: u8 = 0;
pub(super) const WRITE: u8 = 1;
pub(super) const REQUIRED: u8 = 0;
pub(super) const OPTIONAL: u8 = 1;

/// A proposed resolution. The default is the honest one for profile `main`.
#[derive(Clone)]
pub(super) struct Resolution {
    pub(super) lineage: Vec<String>,
    pub(super) model: Option<String>,
    pub(super) instructions: Vec<String>,
    pub(super) tools: Vec<String>,
    pub(super) plugins: Vec<String>,
    pub(super) workflows: Vec<String>,
    pub(super) language: Option<String>,
    pub(super) wishes: Vec<(Authority, u8)>,
    pub(super) settings: Vec<u8>,
    pub(super) origins: Vec<(String, String, u32)>,
}

impl Default for Resolution {
    fn default() -> Self {
        let origin = |field: &str| (field.to_owned(), "main".to_owned(), 0);
        Self {
            lineage: vec!["main".to_owned()],
            model: Some("m".to_owned()),
            instructions: vec!["hello".to_owned()],
            tools: Vec::new(),
            plugins: Vec::new(),
            workflows: Vec::new(),
            language: None,
            wishes: vec![(Authority::Mount("repo".to_owned(), READ), OPTIONAL)],
            settings: br#"{"a":1}"#.to_vec(),
            origins: ["/instructions/0", "/model", "/settings/a", "/wishes/0"].map(origin).into(),
        }
    }
}

/// A reported failure.
#[derive(Clone)]
pub(super) enum Failure {
    UnknownProfile(String),
    InheritanceCycle(Vec<String>),
    InheritanceConflict(String),
    UnsupportedDeclaration(String),
    UnmetCapability(Vec<String>),
    NoModel(Vec<String>),
    DanglingReference(u8, String),
    /// An undefined case.
    Case(u8),
}

/// The result of `resolve`.
#[allow(clippy::large_enum_variant, reason = "a few hundred are made, one at a time")]
pub(super) enum Answer {
    Resolved(Resolution),
    Failed(Failure),
    /// An undefined discriminant.
    Case(u8),
}

impl Answer {
    /// Returns the address of the answer, and the bytes of the memory with their address.
    pub(super) fn image(&self) -> (u32, (u32, Vec<u8>)) {
        self.image_at(BASE)
    }

    /// Like [`image`](Self::image), with the bytes from another address, which is a multiple of 8.
    pub(super) fn image_at(&self, base: u32) -> (u32, (u32, Vec<u8>)) {
        let mut image = Image { base, bytes: Vec::new() };
        let mut out = Vec::new();
        match self {
            Self::Resolved(resolution) => {
                out.extend([0, 0, 0, 0]);
                image.resolution(&mut out, resolution);
            }
            Self::Failed(failure) => {
                out.extend([1, 0, 0, 0]);
                image.failure(&mut out, failure);
            }
            Self::Case(case) => out.extend([*case, 0, 0, 0]),
        }
        // The host reads the largest record in full for every discriminant.
        out.resize(out.len().max(92), 0);
        let at = image.put(&out);
        (at, (base, image.bytes))
    }
}

/// The bytes of the memory from an address.
struct Image {
    base: u32,
    bytes: Vec<u8>,
}

impl Image {
    /// Appends bytes with the largest alignment and returns their address. Empty input has the address 0.
    fn put(&mut self, bytes: &[u8]) -> u32 {
        if bytes.is_empty() {
            return 0;
        }
        let at = self.bytes.len().next_multiple_of(8);
        self.bytes.resize(at, 0);
        self.bytes.extend_from_slice(bytes);
        self.base + at as u32
    }

    fn word(out: &mut Vec<u8>, word: u32) {
        out.extend(word.to_le_bytes());
    }

    fn slice(&mut self, out: &mut Vec<u8>, bytes: &[u8]) {
        let at = self.put(bytes);
        Self::word(out, at);
        Self::word(out, bytes.len() as u32);
    }

    fn elements(&mut self, out: &mut Vec<u8>, elements: &[Vec<u8>]) {
        let at = self.put(&elements.concat());
        Self::word(out, at);
        Self::word(out, elements.len() as u32);
    }

    fn texts(&mut self, out: &mut Vec<u8>, texts: &[String]) {
        let mut elements = Vec::new();
        for text in texts {
            let mut element = Vec::new();
            self.slice(&mut element, text.as_bytes());
            elements.push(element);
        }
        self.elements(out, &elements);
    }

    fn option(&mut self, out: &mut Vec<u8>, text: Option<&String>) {
        Self::word(out, u32::from(text.is_some()));
        self.slice(out, text.map_or(b"", |text| text.as_bytes()));
    }

    fn resolution(&mut self, out: &mut Vec<u8>, resolution: &Resolution) {
        self.texts(out, &resolution.lineage);
        self.option(out, resolution.model.as_ref());
        self.texts(out, &resolution.instructions);
        self.texts(out, &resolution.tools);
        self.texts(out, &resolution.plugins);
        self.texts(out, &resolution.workflows);
        self.option(out, resolution.language.as_ref());
        let wishes: Vec<_> = resolution.wishes.iter().map(|(authority, need)| self.wish(authority, *need)).collect();
        self.elements(out, &wishes);
        self.slice(out, &resolution.settings);
        let mut origins = Vec::new();
        for (field, profile, layer) in &resolution.origins {
            let mut origin = Vec::new();
            self.slice(&mut origin, field.as_bytes());
            self.slice(&mut origin, profile.as_bytes());
            Self::word(&mut origin, *layer);
            origins.push(origin);
        }
        self.elements(out, &origins);
    }

    fn wish(&mut self, authority: &Authority, need: u8) -> Vec<u8> {
        let mut out = Vec::new();
        let (case, text, access) = match authority {
            Authority::Secret(name) => (0, name.as_str(), None),
            Authority::Mount(label, access) => (1, label.as_str(), Some(*access)),
            Authority::Egress(prefix) => (2, prefix.as_str(), None),
            Authority::Shell => (3, "", None),
            Authority::Git(access) => {
                // The access has the position where other cases have their text.
                out.extend([4, 0, 0, 0, *access, 0, 0, 0]);
                out.resize(16, 0);
                out.extend([need, 0, 0, 0]);
                return out;
            }
            Authority::Case(case) => (*case, "", None),
        };
        Self::word(&mut out, case.into());
        self.slice(&mut out, text.as_bytes());
        out.extend([access.unwrap_or(0), 0, 0, 0, need, 0, 0, 0]);
        out
    }

    fn failure(&mut self, out: &mut Vec<u8>, failure: &Failure) {
        let case = match failure {
            Failure::UnknownProfile(_) => 0,
            Failure::InheritanceCycle(_) => 1,
            Failure::InheritanceConflict(_) => 2,
            Failure::UnsupportedDeclaration(_) => 3,
            Failure::UnmetCapability(_) => 4,
            Failure::NoModel(_) => 5,
            Failure::DanglingReference(..) => 6,
            Failure::Case(case) => *case,
        };
        Self::word(out, case.into());
        match failure {
            Failure::UnknownProfile(text)
            | Failure::InheritanceConflict(text)
            | Failure::UnsupportedDeclaration(text) => self.slice(out, text.as_bytes()),
            Failure::InheritanceCycle(names) | Failure::UnmetCapability(names) | Failure::NoModel(names) => {
                self.texts(out, names);
            }
            Failure::DanglingReference(kind, name) => {
                Self::word(out, (*kind).into());
                self.slice(out, name.as_bytes());
            }
            Failure::Case(_) => {}
        }
    }
}
