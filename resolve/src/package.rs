//! A package as the decisions see it, and what a node is.

use std::ops::Deref;
use std::sync::Arc;

use model::change::PackageRef;
use model::manifest::{Node, RegularFile, RequiresWhen};
use model::requirement::Requirement;
use model::{Manifest, PackageId, PackagePath};

/// One exact package with its manifest. Cheap to clone: sets are copied and edited often.
#[derive(Debug, Clone)]
pub struct Package(Arc<Parts>);

/// What a [`Package`] gives access to.
#[derive(Debug)]
pub struct Parts {
    /// Its identity.
    pub id: PackageId,
    /// What it says of itself.
    pub manifest: Arc<Manifest>,
    apis: Apis,
}

impl Deref for Package {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The APIs that a package's files declare, gathered once: sets are asked for them often.
#[derive(Debug, Default)]
struct Apis {
    provided: Vec<String>,
    consumed: Vec<(String, PackagePath)>,
}

impl Apis {
    fn of(manifest: &Manifest) -> Self {
        let mut apis = Self::default();
        for entry in &manifest.files {
            if let Node::File(file) = &entry.node {
                apis.provided.extend(file.provides_apis.iter().cloned());
                let consumed = file.consumes_apis.iter();
                apis.consumed
                    .extend(consumed.map(|api| (api.clone(), entry.path.clone())));
            }
        }
        apis
    }
}

impl PartialEq for Package {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Package {}

impl Package {
    /// The package of this identity.
    pub fn new(id: PackageId, manifest: Arc<Manifest>) -> Self {
        let apis = Apis::of(&manifest);
        Self(Arc::new(Parts { id, manifest, apis }))
    }

    /// The APIs that its files provide, by declaration.
    pub fn provides_apis(&self) -> &[String] {
        &self.apis.provided
    }

    /// The APIs that its files consume, each with the file.
    pub fn consumed_apis(&self) -> &[(String, PackagePath)] {
        &self.apis.consumed
    }

    /// Whether a person who writes `reference` may mean it.
    pub fn is_meant_by(&self, reference: &PackageRef) -> bool {
        reference.means(&self.manifest)
    }

    /// What it requires on a node like this, in the manifest's order.
    pub fn requirements<'a>(
        &'a self,
        node: &'a Characteristics,
    ) -> impl Iterator<Item = &'a Requirement> {
        let conditional = self
            .manifest
            .requires_when
            .iter()
            .filter(|when| node.matches(when));
        self.manifest
            .requires
            .iter()
            .chain(conditional.flat_map(|when| &when.packages))
    }
}

/// What a node is: decides which dependencies hold and which files are chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Characteristics {
    /// ELF machine name: `x86_64`, `aarch64`, …
    pub arch: String,
    /// The node's type, where it has one.
    pub node_type: Option<String>,
    /// The classes that it is in.
    pub classes: Vec<String>,
    /// The features that it has.
    pub features: Vec<String>,
    /// Where it is.
    pub location: Option<String>,
}

impl Characteristics {
    /// A node of this architecture and nothing else known of it.
    pub fn of_arch(arch: &str) -> Self {
        Self {
            arch: arch.to_owned(),
            ..Self::default()
        }
    }

    /// Whether dependencies under this condition hold on the node: every field given agrees.
    pub fn matches(&self, when: &RequiresWhen) -> bool {
        let among = |wanted: &Option<String>, have: &[String]| {
            wanted.as_ref().is_none_or(|wanted| have.contains(wanted))
        };
        let same =
            |wanted: &Option<String>, have: &Option<String>| wanted.is_none() || wanted == have;
        when.arch.as_ref().is_none_or(|arch| *arch == self.arch)
            && same(&when.node_type, &self.node_type)
            && among(&when.class, &self.classes)
            && among(&when.feature, &self.features)
            && same(&when.location, &self.location)
    }

    /// Whether programs of this ELF machine run here.
    pub fn runs(&self, machine: &str) -> bool {
        machine.is_empty() || machine == self.arch || (self.arch == "x86_64" && machine == "i386")
    }

    /// Whether a file is for a node like this.
    pub fn takes(&self, file: &RegularFile) -> bool {
        file.architecture
            .as_ref()
            .is_none_or(|machine| self.runs(machine))
    }
}
