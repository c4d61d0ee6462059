//! The envelope, written.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use model::envelope::{Spool, WriteError, WritePackage, Writer};
use model::{Manifest, PackageId};

/// Why a package could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The file cannot be made.
    #[error("could not write {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The envelope cannot be written.
    #[error("could not write {}", path.display())]
    Envelope {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: WriteError,
    },
}

/// The directory that a file stands in.
pub(super) fn directory(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// A place for compressed objects on the disk where `out` will be.
pub fn spool(out: &Path) -> Result<Spool, PackError> {
    let directory = directory(out);
    let failed = |source| PackError::File {
        path: out.to_owned(),
        source,
    };
    fs_err::create_dir_all(directory).map_err(failed)?;
    Ok(Spool::new(
        tempfile::tempfile_in(directory).map_err(failed)?,
    ))
}

/// Writes the package or set `manifests` to `out`; its objects are in `spool`. Whatever was there
/// is replaced only by a complete envelope.
pub fn pack(
    manifests: Vec<Manifest>,
    spool: &Spool,
    out: &Path,
) -> Result<Vec<PackageId>, PackError> {
    let failed = |source| PackError::File {
        path: out.to_owned(),
        source,
    };
    let bad = |source| PackError::Envelope {
        path: out.to_owned(),
        source,
    };
    let packages: Vec<WritePackage> = manifests
        .into_iter()
        .map(WritePackage::new)
        .collect::<Result<_, _>>()
        .map_err(bad)?;
    let mut made = tempfile::Builder::new()
        .prefix(".pkgtool-")
        .permissions(std::fs::Permissions::from_mode(0o644))
        .tempfile_in(directory(out))
        .map_err(failed)?;
    let writer = Writer::new(made.as_file_mut(), &packages).map_err(bad)?;
    spool.finish(writer).map_err(bad)?;
    made.persist(out).map_err(|error| failed(error.error))?;
    Ok(packages
        .iter()
        .map(|package| package.id().clone())
        .collect())
}
