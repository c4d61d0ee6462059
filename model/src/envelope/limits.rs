//! How much an envelope may ask of whoever reads it.

/// Bounds that a [`Reader`](super::Reader) keeps; each is checked before the memory or disk that
/// it guards is spent. [`Limits::default`] suits a node; a build machine may raise them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Packages in one envelope. Default 4,096.
    pub packages: usize,
    /// Bytes of `envelope.json`. Default 4 MiB.
    pub index: u64,
    /// Bytes of one `manifest.json`. Default 64 MiB.
    pub manifest: u64,
    /// Bytes of all manifests together. Default 256 MiB.
    pub manifests: u64,
    /// Bytes of `image.json`. Default 64 MiB.
    pub image: u64,
    /// Bytes of one signature. Default 64 KiB.
    pub signature: u64,
    /// Files, links and directories over all packages. Default 1,000,000.
    pub files: usize,
    /// Plain bytes of one object. Default 8 GiB.
    pub object: u64,
    /// Plain bytes of all objects together. Default 64 GiB.
    pub total: u64,
    /// Plain bytes that may be had without asking how well they were compressed. Default 1 GiB.
    pub free_expansion: u64,
    /// Plain bytes for each compressed one, over all objects so far, above
    /// [`free_expansion`](Self::free_expansion). Default 500.
    pub expansion: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        const GIB: u64 = 1 << 30;
        Self {
            packages: 4096,
            index: 4 * MIB,
            manifest: 64 * MIB,
            manifests: 256 * MIB,
            image: 64 * MIB,
            signature: 64 << 10,
            files: 1_000_000,
            object: 8 * GIB,
            total: 64 * GIB,
            free_expansion: GIB,
            expansion: 500,
        }
    }
}
