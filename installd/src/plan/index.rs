//! The active set, ready to be planned against.

use std::collections::BTreeMap;

use model::{Digest, PackagePath};
use resolve::loader::Rules;
use resolve::{Characteristics, Package};

/// What an index is built from.
#[derive(Debug, Clone, Default)]
pub struct Active {
    /// The list as it is kept ([`super::Plan::list`]).
    pub list: Vec<Package>,
    /// Objects that differ from what the manifests name ([`super::Plan::kept`]).
    pub kept: BTreeMap<PackagePath, Digest>,
    /// What the node is.
    pub node: Characteristics,
    /// The loader's cache and the processor's level.
    pub rules: Rules,
}

/// The active set's tree, its ELF files and who loads what.
#[derive(Debug)]
pub struct ActiveIndex {
    active: Active,
}

impl ActiveIndex {
    /// Composes the tree and resolves every library need in it.
    pub fn build(active: Active) -> Self {
        Self { active }
    }

    /// What it was built from.
    pub fn active(&self) -> &Active {
        &self.active
    }
}
