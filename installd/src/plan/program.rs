//! What a process runs: its program, the interpreter of that, and what is loaded into it.

use model::PackagePath;
use model::manifest::Node;
use model::path::merged_usr;
use model::process::ProcessSpec;
use resolve::loader::{Context, View, follow};

use super::graph::{Builder, NodeId, Via, facts};

/// A process's program in one tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Program {
    /// The path that is run, as the declaration has it; empty where there is none.
    pub(super) exec: String,
    /// The files that are its program, the one that is run first: a script and its interpreter.
    pub(super) files: Vec<String>,
    /// What the loader loads: the program or interpreter, then preloaded libraries, then what its
    /// scripts are declared to open.
    pub(super) roots: Vec<NodeId>,
    /// What its scripts are declared to open (`[[dlopen]]`): a script is no node of the graph.
    pub(super) opened: Vec<Opened>,
    /// Why it cannot run, with what to do.
    pub(super) lacks: Option<(String, String)>,
}

/// A file that a script is declared to open: a wrapper's daemon, a library of an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opened {
    /// The script.
    pub(super) script: String,
    /// The path or name as it is declared.
    pub(super) name: String,
    /// The file that this leads to, and its node; absent: it is not there.
    pub(super) file: Option<(String, NodeId)>,
}

impl Opened {
    /// The link of a reason chain.
    pub(super) fn describe(&self) -> String {
        Via::Opens.describe(&self.script, &self.name)
    }
}

impl Program {
    /// The declared opening that led to this node.
    pub(super) fn opening(&self, root: NodeId) -> Option<&Opened> {
        let leads = |one: &&Opened| one.file.as_ref().is_some_and(|(_, node)| *node == root);
        self.opened.iter().find(leads)
    }
}

/// What the packages of a set declare that files open, asked by file.
pub(super) trait Declared {
    /// The names and paths that it is declared to open.
    fn opened_by(&self, file: &str) -> Vec<String>;
}

/// Interpreters of interpreters, as many as the kernel follows.
const MAX_INTERPRETERS: usize = 4;

/// Finds programs in the tree of a graph.
pub(super) struct ProgramOf<'b, 'a, V, D> {
    builder: &'b mut Builder<'a, V>,
    declared: &'b D,
}

/// The absolute path of a command line's program, without systemd's prefixes.
pub(super) fn program_path(spec: &ProcessSpec) -> &str {
    spec.exec.first().map_or("", |word| split_prefix(word).1)
}

/// systemd's prefixes of a command line's program, and the program.
fn split_prefix(word: &str) -> (&str, &str) {
    let path = word.trim_start_matches(['-', '@', ':', '+', '!']);
    (word.strip_suffix(path).unwrap_or_default(), path)
}

impl<'b, 'a, V: View, D: Declared> ProgramOf<'b, 'a, V, D> {
    pub(super) fn new(builder: &'b mut Builder<'a, V>, declared: &'b D) -> Self {
        Self { builder, declared }
    }

    pub(super) fn find(&mut self, spec: &ProcessSpec) -> Program {
        let exec = program_path(spec).to_owned();
        let mut program = Program {
            exec: exec.clone(),
            ..Program::default()
        };
        let mut next = exec;
        for _ in 0..=MAX_INTERPRETERS {
            let Some((file, interpreter)) = self.file(&next) else {
                program.lacks = Some(lack(&next));
                return program;
            };
            program.files.push(file.clone());
            let Some(interpreter) = interpreter else {
                self.load(&mut program, spec, &file);
                return program;
            };
            next = interpreter;
        }
        program
    }

    /// The command lines that must succeed before the process starts and cannot: why, with what to
    /// do. What stands elsewhere than where packages put programs may be the machine's own.
    pub(super) fn preparations_lack(&self, spec: &ProcessSpec) -> Option<(String, String)> {
        let words = spec.exec_start_pre.iter().filter_map(|line| line.first());
        let mut missing = words.filter_map(|word| {
            let (prefix, path) = split_prefix(word);
            let place = merged_usr(path);
            let ours = place.starts_with("/usr/") || place.starts_with("/opt/");
            let needed = ours && !prefix.contains('-');
            needed.then(|| self.missing(path)).flatten()
        });
        missing.next().map(|path| lack(&path))
    }

    /// What is not there of a program and its interpreters.
    fn missing(&self, path: &str) -> Option<String> {
        let mut next = path.to_owned();
        for _ in 0..=MAX_INTERPRETERS {
            match self.file(&next) {
                None => return Some(next),
                Some((_, None)) => return None,
                Some((_, Some(interpreter))) => next = interpreter,
            }
        }
        None
    }

    /// The regular file at a path, and the interpreter on its first line.
    fn file(&self, path: &str) -> Option<(String, Option<String>)> {
        let view = self.builder.view();
        let file = follow(view, path)?;
        match &view.entry(&file)?.node {
            Node::File(regular) => {
                let line = regular.interpreter.as_deref().map(str::trim);
                // `#!/usr/bin/env NAME` runs NAME from the path; env itself is what is certain.
                let interpreter = line.and_then(|line| line.split_whitespace().next());
                Some((file, interpreter.map(str::to_owned)))
            }
            Node::Link { .. } | Node::Directory => None,
        }
    }

    fn load(&mut self, program: &mut Program, spec: &ProcessSpec, file: &str) {
        if self.builder.view().entry(file).and_then(facts).is_none() {
            return;
        }
        let variable = |name: &str| spec.environment.get(name).map_or("", String::as_str);
        let directories = variable("LD_LIBRARY_PATH").split([':', ';']);
        let library_path: Vec<String> = directories
            .filter(|one| one.starts_with('/'))
            .map(str::to_owned)
            .collect();
        let context = Context {
            library_path,
            ..Context::default()
        };
        let context = self.builder.context(context);
        program.roots.push(self.builder.node(file, context));
        for name in variable("LD_PRELOAD")
            .split([':', ' '])
            .filter(|name| !name.is_empty())
        {
            program
                .roots
                .extend(self.builder.preloaded(name, file, context));
        }
        self.open(program, file, context);
    }

    /// What its scripts are declared to open is loaded in the same environment.
    fn open(&mut self, program: &mut Program, interpreter: &str, context: u32) {
        let scripts = program.files.len().saturating_sub(1);
        for script in program.files.iter().take(scripts) {
            for name in self.declared.opened_by(script) {
                let file = if name.starts_with('/') {
                    let file = follow(self.builder.view(), &name);
                    let is_elf = |one: &String| {
                        let entry = self.builder.view().entry(one);
                        entry.and_then(facts).is_some()
                    };
                    let file = file.filter(is_elf);
                    file.map(|file| (file.clone(), self.builder.node(&file, context)))
                } else {
                    let node = self.builder.preloaded(&name, interpreter, context);
                    node.map(|node| (self.builder.path(node), node))
                };
                program.opened.push(Opened {
                    script: script.clone(),
                    name,
                    file,
                });
            }
        }
        let nodes = program.opened.iter().filter_map(|one| one.file.as_ref());
        program.roots.extend(nodes.map(|(_, node)| *node));
    }
}

fn lack(path: &str) -> (String, String) {
    let needs = format!("program {path}, which no package of the set has");
    let hint = match path.parse::<PackagePath>() {
        Ok(_) => "activate the package that brings it, or correct `exec` in its package",
        Err(_) => "a program is an absolute path below /usr or /opt: correct `exec` in its package",
    };
    (needs, hint.to_owned())
}
