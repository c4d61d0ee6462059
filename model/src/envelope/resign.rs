//! The same packages under other signatures.

use std::io::{Read, Write};

use super::error::{ReadError, WriteError};
use super::reader::{ReadPackage, Reader};
use super::writer::{WriteImage, WritePackage, Writer};

/// Why an envelope could not be written anew.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResignError {
    /// The old one is refused.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The new one cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Writes the envelope that `reader` has opened to `out`, each package with the signature that
/// `signature` gives for it. Objects go over as they are, compressed: whether their bytes give their
/// names is not looked at. The same signatures give the same bytes as a writer's own.
pub fn resign<R: Read, W: Write>(
    mut reader: Reader<R>,
    out: W,
    signature: &mut dyn FnMut(&ReadPackage) -> Option<Vec<u8>>,
) -> Result<W, ResignError> {
    let packages: Vec<WritePackage> = reader
        .packages()
        .iter()
        .map(|package| {
            let write = WritePackage::from_bytes(package.manifest.clone(), package.bytes.clone());
            match signature(package) {
                Some(signature) => write.signed(signature),
                None => write,
            }
        })
        .collect();
    let image = reader.image().map(WriteImage::from);
    let mut writer = Writer::with_image(out, &packages, image.as_ref())?;
    while let Some(packed) = reader.next_packed()? {
        writer.compressed(packed.digest, packed.size, packed.bytes)?;
    }
    Ok(writer.finish()?)
}
