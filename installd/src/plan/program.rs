//! What a process runs: its program, the interpreter of that, and what is loaded into it.

use model::PackagePath;
use model::manifest::Node;
use model::path::merged_usr;
use model::process::ProcessSpec;
use resolve::loader::{Context, View, follow};

use super::graph::{Builder, NodeId, facts};

/// A process's program in one tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Program {
    /// The path that is run, as the declaration has it; empty where there is none.
    pub(super) exec: String,
    /// The files that are its program, the one that is run first: a script and its interpreter.
    pub(super) files: Vec<String>,
    /// What the loader loads: the program or interpreter, then preloaded libraries.
    pub(super) roots: Vec<NodeId>,
    /// Why it cannot run, with what to do.
    pub(super) lacks: Option<(String, String)>,
}

/// Interpreters of interpreters, as many as the kernel follows.
const MAX_INTERPRETERS: usize = 4;

/// Finds programs in the tree of a graph.
pub(super) struct ProgramOf<'b, 'a, V> {
    builder: &'b mut Builder<'a, V>,
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

impl<'b, 'a, V: View> ProgramOf<'b, 'a, V> {
    pub(super) fn new(builder: &'b mut Builder<'a, V>) -> Self {
        Self { builder }
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
