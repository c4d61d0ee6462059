//! The index of a list, had from the sources.

use std::collections::HashSet;
use std::sync::Mutex;

use model::Digest;

use super::Want;
use super::blob::{Target, units};
use super::download::{Failed, Run};
use crate::error::{Doing, Error};
use crate::index::{self, Blob, FORMAT, Index, MOST_INDEX, Part, Pointer, pointer_name};
use crate::{MOST_OBJECT, encode};

/// Bytes of a pointer.
const MOST_POINTER: usize = 4096;

/// What the index of this way says of the missing objects; `None`: there is no such way, and the
/// run knows why.
pub(super) async fn open(
    run: &Run<'_>,
    (list, from): (&Digest, Option<&Digest>),
    missing: &[Want],
) -> Result<Option<Index>, Error> {
    let name = pointer_name(list, from);
    let pointer = match run.document(&format!("lists/{name}"), MOST_POINTER).await {
        Ok(bytes) => serde_json::from_slice::<Pointer>(&bytes).ok(),
        Err(Failed::Network(error)) => return Err(error),
        Err(Failed::Refused(reason)) => {
            run.refuse_all(&format!("list {name}: {reason}"));
            return Ok(None);
        }
    };
    let sane = |pointer: &Pointer| pointer.format == FORMAT && pointer.size <= MOST_INDEX;
    let Some(pointer) = pointer.filter(sane) else {
        run.refuse_all(&format!(
            "lists/{name} is not a pointer that this program knows"
        ));
        return Ok(None);
    };
    let blob = Blob {
        digest: pointer.index,
        size: pointer.size,
        groups: Vec::new(),
    };
    match run
        .blob_of(&blob, units(&blob, [whole(&blob)].iter()))
        .await
    {
        Ok(target) => read(run, target, list, missing).await,
        Err(Failed::Network(error)) => Err(error),
        Err(Failed::Refused(reason)) => {
            run.refuse_all(&format!("index {}: {reason}", blob.digest));
            Ok(None)
        }
    }
}

/// The index as its own only part.
fn whole(blob: &Blob) -> Part {
    Part {
        object: blob.digest,
        size: MOST_OBJECT,
        blob: 0,
        at: 0,
        length: blob.size,
        sum: None,
        from: None,
    }
}

async fn read(
    run: &Run<'_>,
    target: Mutex<Target>,
    list: &Digest,
    missing: &[Want],
) -> Result<Option<Index>, Error> {
    let wanted: HashSet<Digest> = missing.iter().map(|want| want.digest).collect();
    let list = *list;
    let target = target
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let read = move || {
        use std::io::Seek;
        let mut file = target.reader()?;
        file.rewind()?;
        index::read(encode::unpack(file, u64::MAX)?, &list, &wanted)
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(index)) => Ok(Some(index)),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
            run.refuse_all(&format!("the index of {list}: {error}"));
            Ok(None)
        }
        Ok(Err(error)) => Err(error).doing(|| format!("read the index of {list}")),
        Err(error) => {
            Err(std::io::Error::other(error)).doing(|| format!("read the index of {list}"))
        }
    }
}
