//! A file as the body of a request.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use zbus::export::futures_core::Stream;

/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;

/// A file that is read as it is sent.
#[derive(Debug)]
pub(super) struct Upload {
    file: File,
    size: u64,
    left: u64,
    sent: Arc<AtomicU64>,
}

impl Upload {
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let file = fs_err::File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            file: file.into_parts().0,
            size,
            left: size,
            sent: Arc::default(),
        })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Grows as bytes are handed over.
    pub(super) fn sent(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.sent)
    }

    fn chunk(&mut self) -> std::io::Result<Vec<u8>> {
        let most = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
        let mut bytes = vec![0; most];
        self.file.read_exact(&mut bytes)?;
        self.left -= most as u64;
        self.sent.fetch_add(most as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

impl Stream for Upload {
    type Item = std::io::Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(self.chunk()))
    }
}
