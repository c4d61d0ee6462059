//! `pkgtool image`: packages, boot images, nodes and assignments of a fleet in one file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use model::envelope::{
    BootImage, Compressor, FRAME, IMAGE_FORMAT, Image, ImageAssignment, ImageNode, Limits, Reader,
    WriteImage, combine,
};
use model::trust::Signatures;
use model::wire::{Assignment, FleetName};
use model::{Digest, Version};
use serde::{Deserialize, Serialize};

use crate::build::sign::secret_key;
use crate::fleet::scope::ScopeText;
use crate::outcome::{CommandError, Outcome};
use crate::render::bytes;
use crate::show::Show;

/// Arguments of `image`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
FILE is TOML:

  name = \"site\"
  version = \"2026.11\"
  packages = [\"packages/*.pkg\"]        # paths from FILE's directory

  [[boot]]                              # opaque bytes for machines of a type
  file = \"boot/router.img\"
  type = \"router\"
  arch = \"x86-64\"
  version = \"6.1\"

  [[node]]                              # known beforehand; it still has to enrol
  name = \"edge1\"
  classes = [\"edge\"]

  [[assign]]
  scope = \"class/edge\"                  # fleet, or type/, class/, location/, node/ and a name
  packages = [\"nginx\", \"libssl3=3.0.22\"]

At the master: pkgtool fleet import site.image, then pkgtool fleet update --image site.")]
pub struct ImageArgs {
    /// What is to be in it
    file: PathBuf,
    /// The image; `NAME_VERSION.image` where absent
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Sign what it says besides its packages with this secret key; may be repeated
    #[arg(long, value_name = "KEY")]
    sign: Vec<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Spec {
    name: FleetName,
    version: Version,
    #[serde(default)]
    summary: String,
    packages: Vec<String>,
    #[serde(default)]
    boot: Vec<SpecBoot>,
    #[serde(default)]
    node: Vec<ImageNode>,
    #[serde(default)]
    assign: Vec<toml::Table>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct SpecBoot {
    file: PathBuf,
    #[serde(rename = "type")]
    node_type: Option<FleetName>,
    arch: String,
    version: Version,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Made {
    file: PathBuf,
    name: FleetName,
    version: Version,
    packages: usize,
    boot_images: usize,
    nodes: usize,
    assignments: usize,
    size: u64,
}

/// Runs it.
pub fn run(args: &ImageArgs, show: &mut Show) -> Result<Outcome, CommandError> {
    let text = fs_err::read_to_string(&args.file)?;
    let shown = args.file.display();
    let spec: Spec = toml::from_str(&text).map_err(|error| {
        CommandError::from(error)
            .context(format!("{shown} is not readable"))
            .hint("pkgtool image --help has an example")
    })?;
    let base = args.file.parent().unwrap_or(Path::new("."));
    let mut packed = HashMap::new();
    let mut boot = Vec::new();
    for one in &spec.boot {
        boot.push(pack(one, base, &mut packed)?);
    }
    let image = Image {
        format: IMAGE_FORMAT,
        name: spec.name.clone(),
        version: spec.version.clone(),
        summary: spec.summary.clone(),
        boot,
        nodes: spec.node.clone(),
        assign: spec
            .assign
            .iter()
            .map(assignment)
            .collect::<Result<_, _>>()?,
    };
    let readers = open(&spec.packages, base)?;
    let packages: usize = readers.iter().map(|one| one.packages().len()).sum();
    let name = format!("{}_{}.image", spec.name, spec.version);
    let out = args.output.clone().unwrap_or_else(|| name.into());
    write(readers, &signed(&image, &args.sign)?, &mut packed, &out)?;
    check(&out)?;
    let made = Made {
        size: fs_err::metadata(&out)?.len(),
        file: out,
        name: image.name,
        version: image.version,
        packages,
        boot_images: image.boot.len(),
        nodes: image.nodes.len(),
        assignments: image.assign.len(),
    };
    show.told(&made, |_| {
        format!(
            "{}: {} packages, {} boot images, {} nodes, {} assignments, {}\n",
            made.file.display(),
            made.packages,
            made.boot_images,
            made.nodes,
            made.assignments,
            bytes(made.size)
        )
    })?;
    Ok(Outcome::Done)
}

/// One `[[assign]]`: its scope, and the rest is an assignment as the master has it.
fn assignment(table: &toml::Table) -> Result<ImageAssignment, CommandError> {
    let mut table = table.clone();
    let scope = table.remove("scope");
    let Some(toml::Value::String(scope)) = scope else {
        return Err(CommandError::usage("an [[assign]] has no scope")
            .hint("scope = \"fleet\", or \"class/NAME\" and the like"));
    };
    let scope: ScopeText = scope.parse().map_err(CommandError::usage)?;
    let assignment = Assignment::deserialize(table)
        .map_err(|error| CommandError::from(error).context("an [[assign]] is not readable"))?;
    Ok(ImageAssignment {
        scope: scope.0,
        assignment,
    })
}

/// A compressed boot image in a file without a name.
#[derive(Debug)]
struct Packed {
    file: File,
    size: u64,
}

fn pack(
    one: &SpecBoot,
    base: &Path,
    packed: &mut HashMap<Digest, Packed>,
) -> Result<BootImage, CommandError> {
    let mut source = fs_err::File::open(base.join(&one.file))?;
    let mut file = tempfile::tempfile().context("could not make a temporary file")?;
    let mut compressor = Compressor::new().context("could not set up compression")?;
    let mut hasher = blake3::Hasher::new();
    let (mut plain, mut whole) = (vec![0; FRAME], Vec::new());
    let (mut size, mut length) = (0_u64, 0_u64);
    loop {
        let read = fill(&mut source, &mut plain)?;
        let chunk = plain.get(..read).unwrap_or_default();
        if chunk.is_empty() && size > 0 {
            break;
        }
        hasher.update(chunk);
        whole.clear();
        compressor
            .frame(chunk, &mut whole)
            .context("could not compress")?;
        file.write_all(&whole)
            .context("could not write a temporary file")?;
        size += read as u64;
        length += whole.len() as u64;
        if read < FRAME {
            break;
        }
    }
    let object = Digest::from(hasher.finalize());
    packed.insert(object, Packed { file, size: length });
    Ok(BootImage {
        node_type: one.node_type.clone(),
        arch: one.arch.clone(),
        version: one.version.clone(),
        object,
        size,
    })
}

/// Reads until `into` is full or the source has ended.
fn fill(source: &mut impl Read, into: &mut [u8]) -> std::io::Result<usize> {
    let mut done = 0;
    while let Some(room) = into.get_mut(done..).filter(|room| !room.is_empty()) {
        let read = source.read(room)?;
        if read == 0 {
            break;
        }
        done += read;
    }
    Ok(done)
}

fn open(patterns: &[String], base: &Path) -> Result<Vec<Reader<File>>, CommandError> {
    let mut readers = Vec::new();
    for pattern in patterns {
        let full = base.join(pattern);
        let before = readers.len();
        for path in glob::glob(&full.to_string_lossy()).context("not a pattern")? {
            let path = path?;
            let file = fs_err::File::open(&path)?.into_parts().0;
            let reader = Reader::open(file, Limits::default())
                .with_context(|| format!("{} is no package", path.display()))?;
            readers.push(reader);
        }
        if readers.len() == before {
            let words = format!("no package matches {}", full.display());
            return Err(CommandError::failed(words).hint("pkgtool build or import-deb makes them"));
        }
    }
    Ok(readers)
}

fn signed(image: &Image, keys: &[PathBuf]) -> Result<WriteImage, CommandError> {
    let write = WriteImage::new(image.clone())?;
    if keys.is_empty() {
        return Ok(write);
    }
    let mut signatures = Signatures::default();
    for path in keys {
        signatures.sign(&secret_key(path)?, write.bytes())?;
    }
    Ok(match signatures.to_bytes() {
        Some(bytes) => write.signed(bytes),
        None => write,
    })
}

/// Whatever was there is replaced only by a complete image.
fn write(
    readers: Vec<Reader<File>>,
    image: &WriteImage,
    packed: &mut HashMap<Digest, Packed>,
    out: &Path,
) -> Result<(), CommandError> {
    let directory = out.parent().filter(|dir| !dir.as_os_str().is_empty());
    let mut made = tempfile::Builder::new()
        .prefix(".pkgtool-")
        .permissions(std::fs::Permissions::from_mode(0o644))
        .tempfile_in(directory.unwrap_or(Path::new(".")))
        .with_context(|| format!("could not write beside {}", out.display()))?;
    combine(readers, image, made.as_file_mut(), &mut |digest| {
        let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let mut one = packed.remove(digest).ok_or_else(missing)?;
        one.file.seek(SeekFrom::Start(0))?;
        Ok((one.size, one.file))
    })
    .with_context(|| format!("could not make {}", out.display()))?;
    made.persist(out)
        .map_err(|error| error.error)
        .with_context(|| format!("could not write {}", out.display()))?;
    Ok(())
}

/// What a master would refuse is told here.
fn check(out: &Path) -> Result<(), CommandError> {
    let file = fs_err::File::open(out)?.into_parts().0;
    let refused = Reader::open(file, Limits::default()).err();
    if let Some(error) = refused {
        drop(fs_err::remove_file(out));
        return Err(error.into());
    }
    Ok(())
}
