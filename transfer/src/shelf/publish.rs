//! The index of a list and the pointer to it.

use std::collections::HashMap;
use std::io::Write;

use model::Digest;

use super::Shelf;
use super::packer::{Packer, publish_file};
use super::records::{self, Place};
use crate::encode;
use crate::error::{Doing, Error};
use crate::index::{self, Blob, FORMAT, Part, Pointer, pointer_name};

/// What an index is made of, blobs numbered as they come.
#[derive(Debug, Default)]
pub(super) struct Draft {
    numbers: HashMap<Digest, usize>,
    blobs: Vec<Blob>,
    parts: Vec<Part>,
}

impl Draft {
    /// Adds a part; `blob` finds the blob's own facts when they are needed.
    pub(super) fn add(
        &mut self,
        (object, size): (Digest, u64),
        place: &Place,
        from: Option<Digest>,
        blob: impl FnOnce() -> Result<Blob, Error>,
    ) -> Result<(), Error> {
        let number = if let Some(&number) = self.numbers.get(&place.blob) {
            number
        } else {
            self.blobs.push(blob()?);
            self.numbers.insert(place.blob, self.blobs.len() - 1);
            self.blobs.len() - 1
        };
        let whole = self
            .blobs
            .get(number)
            .is_some_and(|blob| blob.size == place.length);
        self.parts.push(Part {
            object,
            size,
            blob: number,
            at: place.at,
            length: place.length,
            sum: (!whole).then_some(place.sum),
            from,
        });
        Ok(())
    }
}

impl Shelf {
    /// Offers a software list whole: `objects` are all that a node may need of it, its manifests
    /// and its own document included. To repeat it changes nothing.
    ///
    /// # Errors
    /// [`Error::Absent`] where the shelf lacks one of them.
    pub fn publish(&self, list: &Digest, objects: &[Digest]) -> Result<(), Error> {
        let mut draft = Draft::default();
        for object in objects {
            let found = self.records(|records| records::object(records, object))?;
            let found = found.ok_or(Error::Absent { digest: *object })?;
            let blob = || self.blob(&found.place.blob);
            draft.add((*object, found.size), &found.place, None, blob)?;
        }
        self.write_index((list, None), &draft, &[], Some(objects))
    }

    pub(super) fn blob(&self, digest: &Digest) -> Result<Blob, Error> {
        let found = self.records(|records| records::blob(records, digest))?;
        found.ok_or(Error::Absent { digest: *digest })
    }

    /// Stores the index as a blob, then its records, then the pointer that makes it seen.
    pub(super) fn write_index(
        &self,
        (list, old): (&Digest, Option<&Digest>),
        draft: &Draft,
        own: &[Blob],
        objects: Option<&[Digest]>,
    ) -> Result<(), Error> {
        let doing = || format!("write the index of {list}");
        let mut plain = Vec::new();
        index::write(list, &draft.blobs, &draft.parts, &mut plain).doing(doing)?;
        let mut packer = Packer::new(&self.private, &self.public);
        let file = packer.temporary()?;
        encode::pack(&mut &plain[..], plain.len() as u64, 19, file.as_file()).doing(doing)?;
        packer.add_file((), file)?;
        let written = packer.finish()?;
        self.write_records(|records| {
            let mut ids = Vec::new();
            for blob in own.iter().chain(written.iter().map(|(blob, _)| blob)) {
                ids.push(records::add_blob(records, blob)?);
            }
            if let Some(objects) = objects {
                records::set_list(records, list, objects)?;
            }
            records::set_offer(records, (list, old), &ids)
        })?;
        written
            .iter()
            .try_for_each(|(blob, _)| self.point((list, old), blob))
            .doing(doing)
    }

    fn point(&self, (list, old): (&Digest, Option<&Digest>), index: &Blob) -> std::io::Result<()> {
        let pointer = Pointer {
            format: FORMAT,
            index: index.digest,
            size: index.size,
        };
        let mut file = tempfile::NamedTempFile::new_in(self.private.join("tmp"))?;
        file.write_all(&serde_json::to_vec(&pointer)?)?;
        publish_file(
            file,
            &self.public.join("lists").join(pointer_name(list, old)),
        )
    }
}
