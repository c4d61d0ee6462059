//! A whole file as bytes, without holding it in memory.
#![expect(
    unsafe_code,
    reason = "mapping a file is unsafe: another program may change it"
)]

use std::io;
use std::ops::Deref;
use std::path::Path;

/// A file's bytes, mapped for reading.
#[derive(Debug)]
pub struct Mapped(Option<memmap2::Mmap>);

impl Mapped {
    /// Maps `path`; an empty file is an empty slice.
    ///
    /// Only for files that nobody truncates meanwhile (package sources, store objects): reading
    /// past a new end would end the program with SIGBUS.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = fs_err::File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Self(None));
        }
        // SAFETY: the bytes are only read, and whoever calls promises (see above) that the file
        // keeps its length; changed bytes give a wrong digest, which is found when it is checked.
        let map = unsafe { memmap2::Mmap::map(file.file()) }?;
        Ok(Self(Some(map)))
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}
