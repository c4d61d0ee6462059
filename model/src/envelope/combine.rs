//! Several envelopes, and what an image has besides, as one.

use std::io::{Read, Write};

use super::error::{ReadError, WriteError};
use super::reader::Reader;
use super::writer::{WriteImage, WritePackage, Writer};
use crate::digest::Digest;

/// Why envelopes could not be made one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CombineError {
    /// One of them is refused.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The new one cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Writes the packages of all `readers`, with their signatures, as one composite image to `out`; a
/// package that several have is taken once. Objects go over as they are, compressed. The boot
/// images' objects come from `boot`: asked for in the image's order, each at most once, with their
/// compressed length.
pub fn combine<R: Read, B: Read, W: Write>(
    readers: Vec<Reader<R>>,
    image: &WriteImage,
    out: W,
    boot: &mut dyn FnMut(&Digest) -> std::io::Result<(u64, B)>,
) -> Result<W, CombineError> {
    let mut packages: Vec<WritePackage> = Vec::new();
    for package in readers.iter().flat_map(Reader::packages) {
        if packages.iter().any(|one| *one.id() == package.id) {
            continue;
        }
        let write = WritePackage::from_bytes(package.manifest.clone(), package.bytes.clone());
        packages.push(match &package.signature {
            Some(signature) => write.signed(signature.clone()),
            None => write,
        });
    }
    let mut writer = Writer::with_image(out, &packages, Some(image))?;
    for mut reader in readers {
        while let Some(packed) = reader.next_packed()? {
            // Each is wanted at its first mention; later ones were written before.
            if writer
                .wanted()
                .is_some_and(|(next, _)| next == packed.digest)
            {
                writer.compressed(packed.digest, packed.size, packed.bytes)?;
            }
        }
    }
    while let Some((digest, _)) = writer.wanted() {
        let (size, source) = boot(&digest).map_err(WriteError::Io)?;
        writer.compressed(digest, size, source)?;
    }
    Ok(writer.finish()?)
}
