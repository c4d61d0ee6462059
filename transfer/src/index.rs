//! The index of a software list: which bytes of which blob give each object.
//!
//! It is a blob itself: a zstd frame with one JSON document a line, read as a stream and kept only
//! as far as it was asked for. `lists/LIST` names the blob.
//!
//! ```text
//! {"is":"head","format":1,"list":"…"}
//! {"is":"blob","digest":"…","size":3999000}
//! {"is":"part","object":"…","size":120,"blob":0,"at":0,"length":77,"sum":"…"}
//! ```

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, BufReader, Read, Write};

use base64ct::{Base64, Encoding};
use blake3::hazmat::ChainingValue;
use model::Digest;
use serde::{Deserialize, Serialize};

use crate::groups::{self, GROUPED_ABOVE};
use crate::{MOST_OBJECT, most_packed};

/// The format that this program writes and reads.
pub(crate) const FORMAT: u32 = 1;

/// Bytes of an index, compressed and plain, that a node reads.
pub(crate) const MOST_INDEX: u64 = 64 << 20;
const MOST_PLAIN: u64 = 1 << 30;

/// A line carries the groups of a blob of [`MOST_OBJECT`] with room to spare.
const MOST_LINE: u64 = 1 << 20;

/// Blobs that an index names.
const MOST_BLOBS: usize = 1_000_000;

/// `lists/LIST` or `lists/LIST.from.OLD`: which blob is the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Pointer {
    pub(crate) format: u32,
    pub(crate) index: Digest,
    pub(crate) size: u64,
}

/// The name of a pointer below `lists`.
pub(crate) fn pointer_name(list: &Digest, from: Option<&Digest>) -> String {
    match from {
        None => list.to_string(),
        Some(old) => format!("{list}.from.{old}"),
    }
}

/// A file that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// Of its groups, where it is above [`GROUPED_ABOVE`].
    pub(crate) groups: Vec<ChainingValue>,
}

/// Bytes that give one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Part {
    pub(crate) object: Digest,
    pub(crate) size: u64,
    /// The number of its line among the blobs' lines.
    pub(crate) blob: usize,
    pub(crate) at: u64,
    pub(crate) length: u64,
    /// BLAKE3 of these bytes; absent: they are the whole blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sum: Option<Digest>,
    /// Digest of the object that the bytes are the difference to; absent: compressed alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", deny_unknown_fields)]
enum Line {
    Head {
        format: u32,
        list: Digest,
    },
    Blob {
        digest: Digest,
        size: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        groups: Option<String>,
    },
    Part(Part),
}

/// What an index says, as far as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) blobs: HashMap<usize, Blob>,
    pub(crate) parts: Vec<Part>,
}

/// Writes an index line by line.
pub(crate) fn write(
    list: &Digest,
    blobs: &[Blob],
    parts: &[Part],
    out: &mut impl Write,
) -> io::Result<()> {
    let mut line = |line: &Line| -> io::Result<()> {
        serde_json::to_writer(&mut *out, line)?;
        out.write_all(b"\n")
    };
    line(&Line::Head {
        format: FORMAT,
        list: *list,
    })?;
    for blob in blobs {
        let groups = Base64::encode_string(blob.groups.as_flattened());
        line(&Line::Blob {
            digest: blob.digest,
            size: blob.size,
            groups: (!blob.groups.is_empty()).then_some(groups),
        })?;
    }
    parts
        .iter()
        .try_for_each(|part| line(&Line::Part(part.clone())))
}

/// Reads an index and keeps the parts of `wanted` objects and their blobs.
///
/// # Errors
/// `InvalidData` for one that [`write()`] did not write for `list`.
pub(crate) fn read(plain: impl Read, list: &Digest, wanted: &HashSet<Digest>) -> io::Result<Index> {
    let mut lines = BufReader::new(plain.take(MOST_PLAIN));
    let mut index = Index::default();
    let mut blobs = Vec::new();
    match next(&mut lines)? {
        Some(Line::Head { format, list: of }) if format == FORMAT && of == *list => {}
        _ => {
            return Err(bad(
                "it is not the index of this list in a format that is known here",
            ));
        }
    }
    while let Some(line) = next(&mut lines)? {
        match line {
            Line::Head { .. } => return Err(bad("it has two heads")),
            Line::Blob {
                digest,
                size,
                groups,
            } => {
                if blobs.len() >= MOST_BLOBS {
                    return Err(bad("it names too many blobs"));
                }
                blobs.push(blob(digest, size, groups.as_deref())?);
            }
            Line::Part(part) => {
                let blob = blobs
                    .get(part.blob)
                    .ok_or_else(|| bad("it names no such blob"))?;
                check(&part, blob)?;
                if wanted.contains(&part.object) {
                    index.blobs.entry(part.blob).or_insert_with(|| blob.clone());
                    index.parts.push(part);
                }
            }
        }
    }
    Ok(index)
}

fn next(lines: &mut impl BufRead) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    lines.take(MOST_LINE).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        return Err(bad("a line is too long, or its end is missing"));
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

fn blob(digest: Digest, size: u64, groups: Option<&str>) -> io::Result<Blob> {
    if size > most_packed(MOST_OBJECT) {
        return Err(bad("a blob is too large"));
    }
    let flat =
        Base64::decode_vec(groups.unwrap_or_default()).map_err(|_| bad("a blob's groups"))?;
    let (groups, rest) = flat.as_chunks::<32>();
    let right = if size > GROUPED_ABOVE {
        rest.is_empty() && groups::root(groups, size) == Some(digest)
    } else {
        flat.is_empty()
    };
    if !right {
        return Err(bad("a blob's groups do not give its hash"));
    }
    Ok(Blob {
        digest,
        size,
        groups: groups.to_vec(),
    })
}

fn check(part: &Part, blob: &Blob) -> io::Result<()> {
    let end = part.at.checked_add(part.length);
    let inside = end.is_some_and(|end| end <= blob.size);
    let whole = part.at == 0 && part.length == blob.size;
    if !inside || part.length == 0 || part.size > MOST_OBJECT {
        return Err(bad("a part lies outside of its blob"));
    }
    if part.length > most_packed(part.size) {
        return Err(bad("a part is larger than the object that it gives"));
    }
    // A large blob is checked by its groups, a part of a pack by its own hash.
    if whole != part.sum.is_none() || (blob.size > GROUPED_ABOVE && !whole) {
        return Err(bad("a part has no hash to be checked by"));
    }
    Ok(())
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
