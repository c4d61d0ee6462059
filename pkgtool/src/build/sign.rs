//! Signatures of packages that are made already.

use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt;
use model::envelope::{Limits, ReadError, ReadPackage, Reader, ResignError, resign};
use model::trust::{KeyError, SecretKey, Signatures, SignaturesError};

use super::pack::directory;

/// A longer file is no key.
const LONGEST_KEY: u64 = 64 << 10;

/// Why something was not signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// A file cannot be read or made.
    #[error("could not {doing}")]
    File {
        /// What was being done, with the file's name.
        doing: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others can read the secret key.
    #[error(
        "{} is a secret key, but its mode is {mode:04o}: whoever can read it can sign; chmod 600 it, and \
         make another key if somebody may have read it", path.display()
    )]
    Open {
        /// The key.
        path: PathBuf,
        /// Its access mode.
        mode: u32,
    },
    /// It is no usable key.
    #[error("{} cannot be used", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// The signatures that a package has cannot be used.
    #[error("{package}")]
    Signatures {
        /// `NAME=VERSION`.
        package: String,
        /// Why.
        #[source]
        source: SignaturesError,
    },
    /// The package is refused, or cannot be written anew.
    #[error("{}", path.display())]
    Envelope {
        /// The package.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<ResignError>,
    },
}

fn failed(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> SignError {
    let doing = format!("{doing} {}", path.display());
    move |source| SignError::File { doing, source }
}

/// Reads a secret key, which nobody but its owner may be able to read.
pub fn secret_key(path: &Path) -> Result<SecretKey, SignError> {
    let file = fs_err::File::open(path).map_err(failed("read", path))?;
    let mode = file.metadata().map_err(failed("read", path))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(SignError::Open { path, mode });
    }
    let mut text = String::new();
    file.take(LONGEST_KEY)
        .read_to_string(&mut text)
        .map_err(failed("read", path))?;
    SecretKey::parse(&text).map_err(|source| SignError::Key {
        path: path.to_owned(),
        source,
    })
}

/// Writes a new file that nobody had before; a key is never written over.
pub fn write_new(path: &Path, mode: u32, text: &str) -> Result<(), SignError> {
    let write = || {
        let mut file = fs_err::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(failed("write", path))
}

/// What is done with the signatures of one package.
pub type Edit<'a> = &'a mut dyn FnMut(&ReadPackage, &mut Signatures) -> Result<(), SignaturesError>;

/// Writes the package or set `file` to `out`, which may be the same, with other signatures. Whatever
/// was there is replaced only by a complete envelope; objects are not compressed again.
pub fn rewrite(file: &Path, out: &Path, edit: Edit<'_>) -> Result<Vec<ReadPackage>, SignError> {
    let bad = |source: ResignError| SignError::Envelope {
        path: file.to_owned(),
        source: Box::new(source),
    };
    let reader = open(file)?;
    let mut packages = reader.packages().to_vec();
    for package in &mut packages {
        let edited = edited(package, edit).map_err(|source| SignError::Signatures {
            package: package.id.name_version(),
            source,
        })?;
        package.signature = edited;
    }
    if same(reader.packages(), &packages) && out == file {
        return Ok(packages);
    }
    let mut made = tempfile::Builder::new()
        .prefix(".pkgtool-")
        .permissions(std::fs::Permissions::from_mode(0o644))
        .tempfile_in(directory(out))
        .map_err(failed("write", out))?;
    let mut next = packages.iter();
    let buffered = io::BufWriter::with_capacity(1 << 20, made.as_file_mut());
    resign(reader, buffered, &mut |_| {
        next.next().and_then(|one| one.signature.clone())
    })
    .map_err(bad)?;
    made.persist(out)
        .map_err(|error| failed("write", out)(error.error))?;
    Ok(packages)
}

fn same(one: &[ReadPackage], other: &[ReadPackage]) -> bool {
    one.iter()
        .zip(other)
        .all(|(one, other)| one.signature == other.signature)
}

fn edited(package: &ReadPackage, edit: Edit<'_>) -> Result<Option<Vec<u8>>, SignaturesError> {
    let mut signatures = Signatures::parse(package.signature.as_deref().unwrap_or_default())?;
    edit(package, &mut signatures)?;
    Ok(signatures.to_bytes())
}

/// Adds this key's signature to every package of `file`.
pub fn add(file: &Path, key: &SecretKey) -> Result<Vec<ReadPackage>, SignError> {
    rewrite(file, file, &mut |package, signatures| {
        signatures.sign(key, &package.bytes)
    })
}

/// Opens a package or set.
pub fn open(file: &Path) -> Result<Reader<fs_err::File>, SignError> {
    let opened = fs_err::File::open(file).map_err(failed("read", file))?;
    Reader::open(opened, Limits::default()).map_err(|source| unreadable(file, source))
}

/// The refusal of a package.
pub fn unreadable(file: &Path, source: ReadError) -> SignError {
    SignError::Envelope {
        path: file.to_owned(),
        source: Box::new(ResignError::Read(source)),
    }
}
