//! Which files the processes of a node have mapped: each file once, with all who have it. Processes
//! share nearly all of their libraries, and whoever asks mostly asks who has one of a few files.

use serde::{Deserialize, Serialize};

use crate::ids::{Generation, ProcessName};

/// What is mapped, by file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Mappings {
    /// Every process of every supervised process's control group; those of one supervised process
    /// stand together.
    pub processes: Vec<Mapper>,
    /// Every file that one of them has mapped, in no order.
    pub files: Vec<MappedFile>,
}

/// A process that has files mapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Mapper {
    /// The supervised process that it belongs to.
    pub process: ProcessName,
    /// Its number.
    pub pid: u32,
    /// The generation that it runs in.
    pub generation: Generation,
}

/// A file, and who has it mapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MappedFile {
    /// Its path, as it is in the view of those who have it mapped.
    pub path: String,
    /// Its device, as `stat` has it.
    pub dev: u64,
    /// Its inode.
    pub inode: u64,
    /// Places in [`Mappings::processes`], each once, sorted.
    pub by: Vec<u32>,
}

impl Mappings {
    /// Who has a file mapped.
    pub fn holders(&self, file: &MappedFile) -> impl Iterator<Item = &Mapper> {
        let all = file.by.iter();
        all.filter_map(|at| self.processes.get(*at as usize))
    }
}
