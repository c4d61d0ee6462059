//! The dynamic symbols, as far as reload and the plan care for them.

use object::elf;

use super::ElfError;
use super::dynamic::Dynamic;
use super::image::Image;
use super::source::Source;

/// More buckets than any library's hash table has.
const MAX_BUCKETS: u64 = 16 << 20;

/// Longer than any chain of symbols with hashes alike.
const MAX_CHAIN: u64 = 65_536;

/// What the symbols say.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Symbols {
    /// `dlopen` or `dlmopen` is imported.
    pub(super) calls_dlopen: bool,
    /// A unique symbol is defined.
    pub(super) defines_unique: bool,
    /// `__cxa_thread_atexit` or its like is imported.
    pub(super) thread_destructors: bool,
}

impl Symbols {
    /// Goes once over the dynamic symbols.
    pub(super) fn of<S: Source + ?Sized>(
        source: &S,
        image: &Image,
        dynamic: &Dynamic<'_>,
    ) -> Result<Self, ElfError> {
        let part = "dynamic symbol table";
        let mut found = Self::default();
        let Some(address) = dynamic.value(elf::DT_SYMTAB) else {
            return Ok(found);
        };
        let size = image.form.pick(24, 16);
        let count = count(source, image, dynamic, size)?;
        let length = count
            .checked_mul(size)
            .ok_or(ElfError::Malformed { part })?;
        if length == 0 {
            return Ok(found);
        }
        let table = image.at_address(source, part, address, length)?;
        for raw in table.chunks_exact(image.form.pick(24, 16)) {
            found.add(image, dynamic, raw);
        }
        Ok(found)
    }

    fn add(&mut self, image: &Image, dynamic: &Dynamic<'_>, raw: &[u8]) {
        let (info, section) = image.form.pick((4, 6), (12, 14));
        let fields = (
            image.form.u32(raw, 0),
            raw.get(info),
            image.form.u16(raw, section),
        );
        let (Some(name), Some(info), Some(section)) = fields else {
            return;
        };
        if section != elf::SHN_UNDEF.0 {
            self.defines_unique |= info >> 4 == elf::STB_GNU_UNIQUE.0;
            return;
        }
        let name = dynamic.name(name);
        self.calls_dlopen |= name.starts_with(b"dlopen\0") || name.starts_with(b"dlmopen\0");
        self.thread_destructors |= name.starts_with(b"__cxa_thread_atexit\0")
            || name.starts_with(b"__cxa_thread_atexit_impl\0");
    }
}

/// How many dynamic symbols there are. No field says so without section headers: it follows from
/// the hash table that the loader uses.
fn count<S: Source + ?Sized>(
    source: &S,
    image: &Image,
    dynamic: &Dynamic<'_>,
    size: u64,
) -> Result<u64, ElfError> {
    if let Some(address) = dynamic.value(elf::DT_HASH) {
        // The second number is the length of the chains: one for each symbol. On s390x these
        // numbers have 64 bits.
        let wide = image.form.wide && image.identity.machine == elf::EM_S390.0;
        let raw = image.at_address(source, "hash table", address, if wide { 16 } else { 8 })?;
        let chains = if wide {
            image.form.word(&raw, 8)
        } else {
            image.form.u32(&raw, 4).map(u64::from)
        };
        return Ok(chains.unwrap_or_default());
    }
    let hashed = match dynamic.value(elf::DT_GNU_HASH) {
        Some(address) => gnu_count(source, image, address)?,
        None => None,
    };
    Ok(hashed
        .or_else(|| up_to_strings(dynamic, size))
        .unwrap_or_default())
}

/// Linkers put the strings behind the symbols: the bytes between are symbols.
fn up_to_strings(dynamic: &Dynamic<'_>, size: u64) -> Option<u64> {
    let strings = dynamic.value(elf::DT_STRTAB)?;
    Some(strings.checked_sub(dynamic.value(elf::DT_SYMTAB)?)? / size)
}

/// By the GNU hash table: the end of the chain that begins last. `None` where nothing is hashed.
fn gnu_count<S: Source + ?Sized>(
    source: &S,
    image: &Image,
    address: u64,
) -> Result<Option<u64>, ElfError> {
    let part = "GNU hash table";
    let form = image.form;
    let header = image.at_address(source, part, address, 16)?;
    let field = |at| form.u32(&header, at).map(u64::from).unwrap_or_default();
    let (buckets, base, bloom) = (field(0), field(4), field(8));
    if buckets > MAX_BUCKETS {
        return Err(ElfError::TooLarge {
            part,
            limit: MAX_BUCKETS,
        });
    }
    let first = address.saturating_add(16 + bloom * form.word_size());
    let raw = image.at_address(source, part, first, buckets * 4)?;
    let last = raw
        .chunks_exact(4)
        .filter_map(|raw| form.u32(raw, 0))
        .max()
        .unwrap_or_default();
    let last = u64::from(last);
    if last < base || last == 0 {
        // Only imports. Some linkers then say how many (as the base), others say 1.
        return Ok((base > 1).then_some(base));
    }
    let mut at = first.saturating_add(buckets * 4 + (last - base) * 4);
    for index in last..last + MAX_CHAIN {
        let raw = image.at_address(source, part, at, 4)?;
        if form.u32(&raw, 0).is_none_or(|hash| hash & 1 == 1) {
            return Ok(Some(index + 1));
        }
        at += 4;
    }
    Ok(None)
}
