//! How long a plan takes on a large node, and on one ten times as large.
//!
//! 10,000 processes, 5,000 libraries and 100,000 files; libraries are used as on a real machine: a
//! few by nearly all, most by a handful. Prints the median of several runs, in milliseconds: of the
//! plan itself, with the processes' mapped files unknown and known, and of the report that people
//! and programs are shown, as JSON, which is written when it is read.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement for people"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use installd::plan::{Active, ActiveIndex, Running, RunningSet, World, by_path, plan};
use model::change::{Action, Request, Verdict};
use model::elf::ElfFacts;
use model::manifest::{FileEntry, FileType, Manifest, Node, RegularFile};
use model::process::ProcessSpec;
use model::{Digest, Generation};
use resolve::deps::Shelf;
use resolve::loader::Rules;
use resolve::{Characteristics, Package};

const LIB: &str = "/usr/lib/x86_64-linux-gnu";
const RUNS: usize = 15;

/// A node of this many processes, half as many libraries and ten times as many files.
struct Size {
    processes: usize,
    libraries: usize,
    data_files: usize,
    packages_of_programs: usize,
}

fn main() {
    let small = Size {
        processes: 10_000,
        libraries: 5_000,
        data_files: 85_000,
        packages_of_programs: 2_000,
    };
    let large = Size {
        processes: 100_000,
        libraries: 50_000,
        data_files: 850_000,
        packages_of_programs: 20_000,
    };
    let first = measure(&small);
    let second = measure(&large);
    for ((what, ms), (_, ten)) in first.iter().zip(&second) {
        println!(
            "{what:<38} {ms:8.2} ms   ten times the size {ten:8.2} ms   ratio {:5.1}",
            ten / ms
        );
    }
}

fn measure(size: &Size) -> Vec<(String, f64)> {
    let started = Instant::now();
    let world = node(size);
    println!(
        "{} processes, {} libraries, {} files: index built in {:.0} ms",
        size.processes,
        size.libraries,
        size.processes + size.libraries + size.data_files,
        millis(started)
    );
    // The library that most use, one that a tenth or so uses, one that few use.
    let cases = [
        ("a library of few", size.libraries - 10),
        ("a library of many", 40),
        ("the library of all", 0),
    ];
    let mut results = Vec::new();
    for (known, world) in [("", &world), (", maps known", &mapped(&world))] {
        for (what, library) in cases {
            let what = format!("{what}{known}");
            let median = median(world, library, &what);
            results.push((what, median));
        }
    }
    results
}

fn median(world: &World, library: usize, what: &str) -> f64 {
    let request = Request {
        actions: vec![Action::Activate(format!("lib{library}=2").parse().unwrap())],
        ..Request::default()
    };
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let started = Instant::now();
        let plan = plan(world, &request);
        times.push(millis(started));
        let unmet = &plan.report.unmet;
        assert!(unmet.is_empty(), "{:?}", unmet.first());
    }
    times.sort_by(f64::total_cmp);
    let (fastest, median) = (times[0], times[RUNS / 2]);
    let plan = plan(world, &request);
    let started = Instant::now();
    let bytes = serde_json::to_string(&plan.report).unwrap().len();
    let text = millis(started);
    let restarts = |verdict| verdict == Verdict::Restart;
    let processes = plan.processes.iter();
    let reached = processes.filter(|one| restarts(one.verdict)).count();
    println!(
        "  {what}: {reached} reached, {median:.2} ms (fastest {fastest:.2}); \
         its {bytes} bytes of JSON {text:.0} ms"
    );
    median
}

/// The same node, with what each process has mapped: its program and what that needs.
fn mapped(world: &World) -> World {
    let names = world.index.processes().map(|(_, spec)| spec.name.clone());
    let running = names.map(|name| Running {
        name,
        generation: Generation(1),
        registered: false,
    });
    let running: Vec<Running> = running.collect();
    let mapped = running.iter().map(|one| {
        let uses = world.index.uses(&one.name).unwrap_or_default();
        uses.into_iter().map(|one| one.path.to_string()).collect()
    });
    let mapped: Vec<Vec<String>> = mapped.collect();
    let all: usize = mapped.iter().map(Vec::len).sum();
    let files = by_path(&mapped);
    // As they come from sysmgrd: by file, each with who has it.
    let started = Instant::now();
    let running = RunningSet::new(&world.index, running, files);
    println!("  {all} mappings taken in in {:.0} ms", millis(started));
    World {
        running: Arc::new(running),
        ..world.clone()
    }
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// Numbers that look random and are the same each time (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    /// Small numbers often, large ones seldom: how libraries are used.
    fn skewed(&mut self, limit: usize) -> usize {
        let below = self.below(limit) + 1;
        self.below(below).min(limit - 1)
    }
}

fn node(size: &Size) -> World {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut list = programs(size, &mut random);
    list.extend((0..size.libraries).map(|i| library(size, i, 1)));
    let newer = [0, 40, size.libraries - 10].map(|i| library(size, i, 2));
    let store = Shelf::new(list.iter().cloned().chain(newer));
    let active = Active {
        list,
        kept: BTreeMap::new(),
        node: Characteristics::of_arch("x86_64"),
        rules: Rules {
            hwcaps: vec!["x86-64-v3".into(), "x86-64-v2".into()],
            ..Rules::default()
        },
    };
    World {
        index: Arc::new(ActiveIndex::build(active)),
        store: Arc::new(store),
        previous: BTreeMap::new(),
        automatic: Arc::default(),
        running: Arc::default(),
        active: Generation(1),
        committed: Generation(1),
        generations: BTreeMap::new(),
        keep: 10,
        pinned: BTreeSet::new(),
        snapshots: BTreeSet::new(),
        free: None,
        trial_max: u64::MAX,
    }
}

fn programs(size: &Size, random: &mut Random) -> Vec<Package> {
    let each = size.processes / size.packages_of_programs;
    let data = size.data_files / size.packages_of_programs;
    (0..size.packages_of_programs)
        .map(|i| {
            let mut manifest =
                Manifest::new(format!("app{i}").parse().unwrap(), "1".parse().unwrap());
            for j in 0..each {
                let path = format!("/usr/sbin/app{i}-{j}");
                let mut needed: BTreeSet<usize> =
                    (0..8).map(|_| random.skewed(size.libraries)).collect();
                needed.insert(0);
                let requires = needed
                    .iter()
                    .take(3)
                    .map(|n| format!("lib{n}").parse().unwrap());
                manifest.requires.extend(requires);
                let needed = needed.iter().map(|n| format!("lib{n}.so.1")).collect();
                manifest
                    .files
                    .push(file(&path, FileType::Executable, Some(needed), 1));
                let mut spec = ProcessSpec::new(format!("p{i}-{j}").parse().unwrap(), vec![path]);
                if j > 0 {
                    spec.after.push(format!("p{i}-{}", j - 1).parse().unwrap());
                }
                manifest.processes.push(spec);
            }
            manifest.files.extend(
                (0..data)
                    .map(|j| file(&format!("/usr/share/app{i}/f{j}"), FileType::Data, None, 1)),
            );
            done(manifest)
        })
        .collect()
}

/// Library `i` needs up to four with smaller numbers, and all need the first.
fn library(size: &Size, i: usize, version: u8) -> Package {
    let mut manifest = Manifest::new(
        format!("lib{i}").parse().unwrap(),
        version.to_string().parse().unwrap(),
    );
    let mut random = Random(u64::try_from(i).unwrap() + 77);
    let mut needed: BTreeSet<usize> = (0..4)
        .map(|_| random.skewed(size.libraries))
        .filter(|&n| n < i)
        .collect();
    if i > 0 {
        needed.insert(0);
    }
    manifest.requires = needed
        .iter()
        .map(|n| format!("lib{n}").parse().unwrap())
        .collect();
    let needed = needed.iter().map(|n| format!("lib{n}.so.1")).collect();
    manifest.files.push(file(
        &format!("{LIB}/lib{i}.so.1"),
        FileType::SharedLibrary,
        Some(needed),
        version,
    ));
    done(manifest)
}

fn file(path: &str, file_type: FileType, needed: Option<Vec<String>>, version: u8) -> FileEntry {
    let digest = Digest::of(format!("{path} {version}").as_bytes());
    let soname =
        (file_type == FileType::SharedLibrary).then(|| path.rsplit('/').next().unwrap().to_owned());
    let facts = needed.map(|needed| {
        Box::new(ElfFacts {
            machine: "x86_64".into(),
            soname,
            needed,
            ..ElfFacts::default()
        })
    });
    let node = Node::File(Box::new(RegularFile {
        digest,
        size: 1000,
        signature: digest.to_string().parse().unwrap(),
        file_type,
        function: None,
        architecture: facts.is_some().then(|| "x86_64".into()),
        capabilities: None,
        provides_apis: Vec::new(),
        consumes_apis: Vec::new(),
        elf: facts,
        uses: None,
        interpreter: None,
    }));
    FileEntry {
        path: path.parse().unwrap(),
        mode: 0o644,
        owner: None,
        group: None,
        node,
    }
}

fn done(manifest: Manifest) -> Package {
    let bytes = manifest.to_bytes().unwrap();
    Package::new(manifest.id(&bytes), Arc::new(manifest))
}
