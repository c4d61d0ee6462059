//! One tar header: what a writer makes and the only thing that a reader takes.

use tar::{EntryType, Header};

use crate::digest::Digest;

/// Size of a tar block.
pub(super) const BLOCK: usize = 512;

/// An entry's name and the length of what follows its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) size: u64,
}

impl Entry {
    /// The header of this entry; `None` where the name does not fit.
    pub(super) fn header(&self) -> Option<[u8; BLOCK]> {
        let mut header = Header::new_ustar();
        header.set_path(&self.name).ok()?;
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(self.size);
        header.set_cksum();
        Some(*header.as_bytes())
    }

    /// The entry whose header has exactly these bytes; `None` where no entry has.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Option<Self> {
        let mut header = Header::new_ustar();
        header.as_mut_bytes().copy_from_slice(block);
        let name = String::from_utf8(header.path_bytes().into_owned()).ok()?;
        let size = header.entry_size().ok()?;
        let entry = Self { name, size };
        // The only spelling that is taken is our own: no second meaning can hide in a header.
        (entry.header()? == *block).then_some(entry)
    }

    /// Bytes that fill the last block of `size` bytes.
    pub(super) fn padding(size: u64) -> usize {
        // The remainder is below 512, so it fits.
        let rest = usize::try_from(size % BLOCK as u64).unwrap_or(0);
        (BLOCK - rest) % BLOCK
    }
}

pub(super) fn manifest_name(package: &str) -> String {
    format!("packages/{package}/manifest.json")
}

pub(super) fn signature_name(package: &str) -> String {
    format!("packages/{package}/manifest.json.sig")
}

pub(super) fn object_name(digest: &Digest) -> String {
    format!("objects/{digest}.zst")
}

pub(super) fn object_digest(name: &str) -> Option<Digest> {
    name.strip_prefix("objects/")?
        .strip_suffix(".zst")?
        .parse()
        .ok()
}
