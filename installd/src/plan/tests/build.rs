//! Small packages, built by hand, and a node that runs them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::change::{Action, Request};
use model::elf::ElfFacts;
use model::manifest::{DlopenUse, FileEntry, FileType, Manifest, Node as TreeNode, RegularFile};
use model::process::{Kind, ProcessSpec};
use model::{Digest, Generation, PackageName};
use resolve::deps::Shelf;
use resolve::loader::Rules;
use resolve::{Characteristics, Package};

use crate::plan::{
    Active, ActiveIndex, KeptGeneration, Plan, Running, RunningSet, Selected, World, by_path, plan,
};

pub(super) const LIB: &str = "/usr/lib/x86_64-linux-gnu";

/// A file to be put into a package.
#[derive(Debug, Clone)]
pub(super) struct File(pub(super) FileEntry);

/// A package being made.
#[derive(Debug, Clone)]
pub(super) struct Made(pub(super) Manifest);

pub(super) fn package(name: &str, version: &str) -> Made {
    Made(Manifest::new(
        name.parse().unwrap(),
        version.parse().unwrap(),
    ))
}

/// A package `name` with a program that a Simple process of that name runs.
pub(super) fn program(name: &str, needed: &[&str]) -> Made {
    let file = elf(&format!("/usr/bin/{name}")).needs(needed);
    package(name, "1")
        .file(file)
        .process(name, &format!("/usr/bin/{name}"))
}

/// An ELF executable.
pub(super) fn elf(path: &str) -> File {
    let facts = ElfFacts {
        machine: "x86_64".into(),
        ..ElfFacts::default()
    };
    regular(path, FileType::Executable, Some(facts))
}

/// A shared library in the usual place, with its file name as its soname.
pub(super) fn lib(name: &str) -> File {
    lib_at(&format!("{LIB}/{name}"))
}

pub(super) fn lib_at(path: &str) -> File {
    let soname = path.rsplit('/').next().map(str::to_owned);
    let facts = ElfFacts {
        machine: "x86_64".into(),
        soname,
        ..ElfFacts::default()
    };
    regular(path, FileType::SharedLibrary, Some(facts))
}

pub(super) fn data(path: &str) -> File {
    regular(path, FileType::Data, None)
}

pub(super) fn link(path: &str, target: &str) -> File {
    let node = TreeNode::Link {
        target: target.to_owned(),
    };
    File(FileEntry {
        path: path.parse().unwrap(),
        mode: 0,
        owner: None,
        group: None,
        node,
    })
}

fn regular(path: &str, file_type: FileType, facts: Option<ElfFacts>) -> File {
    let digest = Digest::of(path.as_bytes());
    let file = RegularFile {
        digest,
        size: 100,
        signature: digest.to_string().parse().unwrap(),
        file_type,
        function: None,
        architecture: facts.as_ref().map(|one| one.machine.clone()),
        capabilities: None,
        provides_apis: Vec::new(),
        consumes_apis: Vec::new(),
        elf: facts.map(Box::new),
        uses: None,
        interpreter: None,
    };
    let node = TreeNode::File(Box::new(file));
    File(FileEntry {
        path: path.parse().unwrap(),
        mode: 0o755,
        owner: None,
        group: None,
        node,
    })
}

impl File {
    pub(super) fn edit(mut self, edit: impl FnOnce(&mut RegularFile)) -> Self {
        if let TreeNode::File(file) = &mut self.0.node {
            edit(file);
        }
        self
    }

    pub(super) fn facts(self, edit: impl FnOnce(&mut ElfFacts)) -> Self {
        self.edit(|file| edit(file.elf.as_mut().unwrap()))
    }

    pub(super) fn needs(self, names: &[&str]) -> Self {
        self.facts(|facts| facts.needed = names.iter().map(|&one| one.to_owned()).collect())
    }

    pub(super) fn runpath(self, directories: &[&str]) -> Self {
        self.facts(|facts| facts.runpath = directories.iter().map(|&one| one.to_owned()).collect())
    }

    /// Other bytes of the same substance.
    pub(super) fn rebuilt(self) -> Self {
        self.edit(|file| file.digest = Digest::of(file.digest.as_bytes()))
    }

    /// Other substance.
    pub(super) fn changed(self) -> Self {
        self.rebuilt().edit(|file| {
            let other = Digest::of(file.signature.as_bytes());
            file.signature = other.to_string().parse().unwrap();
        })
    }

    pub(super) fn mode(mut self, mode: u32) -> Self {
        self.0.mode = mode;
        self
    }

    pub(super) fn script(self, interpreter: &str) -> Self {
        self.edit(|file| {
            file.elf = None;
            file.interpreter = Some(interpreter.to_owned());
        })
    }
}

impl Made {
    pub(super) fn file(mut self, file: File) -> Self {
        self.0.files.push(file.0);
        self.0.files.sort_by(|a, b| a.path.cmp(&b.path));
        self
    }

    pub(super) fn version(mut self, version: &str) -> Self {
        self.0.version = version.parse().unwrap();
        self
    }

    pub(super) fn edit(mut self, edit: impl FnOnce(&mut Manifest)) -> Self {
        edit(&mut self.0);
        self
    }

    pub(super) fn requires(self, requirement: &str) -> Self {
        self.edit(|manifest| manifest.requires.push(requirement.parse().unwrap()))
    }

    pub(super) fn process(self, name: &str, exec: &str) -> Self {
        let spec = ProcessSpec::new(name.parse().unwrap(), vec![exec.to_owned()]);
        self.edit(|manifest| manifest.processes.push(spec))
    }

    pub(super) fn spec(self, edit: impl FnOnce(&mut ProcessSpec)) -> Self {
        self.edit(|manifest| edit(manifest.processes.last_mut().unwrap()))
    }

    pub(super) fn self_managing(self) -> Self {
        self.spec(|spec| spec.kind = Kind::SelfManaging)
    }

    pub(super) fn opens(self, file: &str, libraries: &[&str]) -> Self {
        let libraries = libraries.iter().map(|&one| one.to_owned()).collect();
        let one = DlopenUse {
            file: file.parse().unwrap(),
            libraries,
        };
        self.edit(|manifest| manifest.dlopen.push(one))
    }

    pub(super) fn done(&self) -> Package {
        let bytes = self.0.to_bytes().unwrap();
        Package::new(self.0.id(&bytes), Arc::new(self.0.clone()))
    }
}

/// A node and what is in its store.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) world: World,
    rules: Rules,
    /// Who runs, and what each has mapped.
    running: Vec<(Running, Vec<String>)>,
}

impl Node {
    /// A node whose set these packages are, in this order.
    pub(super) fn running(packages: &[Made]) -> Self {
        Self::with_rules(packages, Rules::default())
    }

    pub(super) fn with_rules(packages: &[Made], rules: Rules) -> Self {
        let list: Vec<Package> = packages.iter().map(Made::done).collect();
        let store = Shelf::new(list.iter().cloned());
        let node = Characteristics::of_arch("x86_64");
        let kept = KeptGeneration {
            list: list.iter().map(|one| one.id.clone()).collect(),
            ..KeptGeneration::default()
        };
        let active = Active {
            list,
            kept: BTreeMap::new(),
            node,
            rules: rules.clone(),
        };
        let world = World {
            index: Arc::new(ActiveIndex::build(active)),
            store: Arc::new(store),
            previous: BTreeMap::new(),
            automatic: Arc::default(),
            running: Arc::default(),
            active: Generation(1),
            committed: Generation(1),
            generations: BTreeMap::from([(Generation(1), kept)]),
            keep: 10,
            pinned: BTreeSet::new(),
            snapshots: BTreeSet::new(),
            free: None,
            trial_max: u64::MAX,
        };
        Self {
            world,
            rules,
            running: Vec::new(),
        }
    }

    /// With this package in the store.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "reads better where it is called"
    )]
    pub(super) fn with(mut self, package: Made) -> Self {
        let mut store = Shelf::clone(&self.world.store);
        store.put(package.done());
        self.world.store = Arc::new(store);
        self
    }

    /// With `process` running, and `path` among the files that it has mapped.
    pub(super) fn mapped(mut self, process: &str, path: &str) -> Self {
        let mut known = self.running.iter_mut();
        match known.find(|(one, _)| one.name.as_str() == process) {
            Some((_, mapped)) => mapped.push(path.to_owned()),
            None => self.running.push((
                Running {
                    name: process.parse().unwrap(),
                    generation: Generation(1),
                    registered: false,
                },
                vec![path.to_owned()],
            )),
        }
        let all = self.running.iter().map(|(one, _)| one.clone()).collect();
        let mapped = by_path(self.running.iter().map(|(_, mapped)| mapped));
        self.world.running = Arc::new(RunningSet::new(&self.world.index, all, mapped));
        self
    }

    /// The node when a plan has been carried out, as the engine keeps it.
    pub(super) fn after(&self, plan: &Plan) -> Self {
        let mut world = self.world.clone();
        world.index = Arc::new(ActiveIndex::build(plan.active(&self.world)));
        for gone in &plan.leaving {
            if plan.entering.iter().any(|one| one.id.name == gone.id.name) {
                world
                    .previous
                    .entry(gone.id.name.clone())
                    .or_default()
                    .push(gone.id.clone());
            }
        }
        world.automatic = Arc::new((*plan.automatic).clone());
        world.active = Generation(world.active.0 + 1);
        world.committed = world.active;
        let kept = KeptGeneration {
            list: plan.list.iter().map(|one| one.id.clone()).collect(),
            kept: (*plan.kept).clone(),
            automatic: (*plan.automatic).clone(),
        };
        world.generations.insert(world.active, kept);
        Self {
            world,
            rules: self.rules.clone(),
            running: self.running.clone(),
        }
    }

    /// The tree of a kept generation, as it was made.
    pub(super) fn tree_of(&self, generation: Generation) -> Vec<Selected> {
        let kept = &self.world.generations[&generation];
        let packages = kept.list.iter().map(|id| self.world.store.get(id).unwrap());
        let node = Characteristics::of_arch("x86_64");
        let list: Vec<Package> = packages.cloned().collect();
        let plan = Plan {
            order: resolve::order::effective(&list, &node).into(),
            kept: kept.kept.clone().into(),
            ..Plan::default()
        };
        plan.tree(&self.world)
    }

    /// The plan of `+name=version` and `-name=version` words.
    pub(super) fn plan(&self, words: &[&str]) -> Plan {
        self.asked(&self.request(words))
    }

    /// The plan of a request.
    pub(super) fn asked(&self, request: &Request) -> Plan {
        plan(&self.world, request)
    }

    /// The request of `+name=version` and `-name=version` words.
    #[expect(clippy::unused_self, reason = "reads as the plan does")]
    pub(super) fn request(&self, words: &[&str]) -> Request {
        let action = |word: &&str| match word.split_at(1) {
            ("+", reference) => Action::Activate(reference.parse().unwrap()),
            (_, reference) => Action::Deactivate(reference.parse().unwrap()),
        };
        Request {
            actions: words.iter().map(action).collect(),
            ..Request::default()
        }
    }

    /// As [`Self::plan`], which must be possible: process and verdict.
    pub(super) fn verdicts(&self, words: &[&str]) -> Vec<(String, String)> {
        let plan = self.plan(words);
        assert_eq!(plan.report.unmet, [], "{words:?}");
        let processes = plan.report.processes.iter();
        processes
            .map(|one| (one.name.to_string(), one.verdict.to_string()))
            .collect()
    }

    /// The shortest chain of a process.
    pub(super) fn chain(&self, words: &[&str], process: &str) -> Vec<String> {
        let plan = self.plan(words);
        let found = plan
            .report
            .processes
            .iter()
            .find(|one| one.name.as_str() == process);
        found.unwrap().because.first().cloned().unwrap_or_default()
    }
}

pub(super) fn name(text: &str) -> PackageName {
    text.parse().unwrap()
}

/// `a none, b restart` as [`Node::verdicts`] answers.
pub(super) fn expect(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(", ").filter_map(|pair| pair.split_once(' '));
    pairs
        .map(|(name, verdict)| (name.to_owned(), verdict.to_owned()))
        .collect()
}
