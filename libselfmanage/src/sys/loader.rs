//! The dynamic loader: what it has loaded, and opening and closing more.

#![expect(
    unsafe_code,
    reason = "the loader speaks C: callbacks, raw handles, tables in memory"
)]

use std::ffi::{CStr, c_int, c_void};
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library as Raw, RTLD_LOCAL, RTLD_NOW, Symbol as RawSymbol};

/// `DT_FLAGS_1` and the bits of it that matter here (`elf.h`).
const DT_FLAGS_1: u64 = 0x6fff_fffb;
const DF_1_NODELETE: u64 = 0x8;
/// Other dynamic tags that matter here.
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_STRSZ: u64 = 10;
const DT_SONAME: u64 = 14;
/// A table without an end is not followed further than this.
const MOST_ENTRIES: usize = 4096;

/// An object as the loader has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// The name under which it was loaded: never to be trusted as a path.
    pub(crate) name: PathBuf,
    /// The address of its dynamic section: what it is told apart by.
    pub(crate) dynamic: usize,
    pub(crate) soname: Option<String>,
    pub(crate) needed: Vec<String>,
    pub(crate) nodelete: bool,
}

/// A promise about the code that [`crate::Plugins`] opens and closes.
#[derive(Debug, Clone, Copy)]
pub struct Trust(());

impl Trust {
    /// Makes the promise.
    ///
    /// # Safety
    ///
    /// The one who calls this promises for every plugin, and every library that it brings:
    /// 1. what runs when it is opened and when it is closed may run at those moments;
    /// 2. when the application's `quiesce` has returned, no thread runs in it or will return into
    ///    it, and no function, virtual table, string or other address of it is kept for later use.
    pub unsafe fn promised() -> Self {
        Self(())
    }
}

/// Why the loader refused, in its own words.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LoaderError(#[from] libloading::Error);

/// A shared library that this program has opened itself.
///
/// One that is dropped stays loaded: closing needs quiet, which nobody promises at the end of a
/// scope.
pub struct Library {
    raw: ManuallyDrop<Raw>,
    dynamic: usize,
}

impl Library {
    /// Opens a library by path, all symbols bound now and none given to others.
    pub(crate) fn open(path: &Path, _trust: Trust) -> Result<Self, LoaderError> {
        // SAFETY: `Trust` is the promise that its initialisers may run.
        let raw = unsafe { Raw::open(Some(path.as_os_str()), RTLD_NOW | RTLD_LOCAL) }?;
        let handle = raw.into_raw();
        let dynamic = dynamic_of(handle);
        // SAFETY: `handle` came from `into_raw` just above and is given to nobody else.
        let raw = unsafe { Raw::from_raw(handle) };
        Ok(Self {
            raw: ManuallyDrop::new(raw),
            dynamic,
        })
    }

    /// The symbol `name`. What it borrows keeps the library from being closed.
    ///
    /// # Safety
    ///
    /// `T` is the symbol's true type (for a function `unsafe extern "C" fn(…)`), and no copy of it
    /// is used after `quiesce` was asked for this library.
    ///
    /// # Errors
    ///
    /// The library has no such symbol.
    pub unsafe fn symbol<T>(&self, name: &CStr) -> Result<Symbol<'_, T>, LoaderError> {
        // SAFETY: the caller vouches for `T`.
        let raw = unsafe { self.raw.get::<T>(name) }?;
        Ok(Symbol {
            raw,
            library: std::marker::PhantomData,
        })
    }

    /// The address of its dynamic section, as in [`Loaded`].
    pub(crate) fn dynamic(&self) -> usize {
        self.dynamic
    }

    /// Gives the handle back. That says nothing about whether the library has gone: see maps.
    pub(crate) fn close(self) -> Result<(), LoaderError> {
        Ok(ManuallyDrop::into_inner(self.raw).close()?)
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Library@{:#x}", self.dynamic)
    }
}

/// A function or variable of a [`Library`].
pub struct Symbol<'a, T> {
    raw: RawSymbol<T>,
    library: std::marker::PhantomData<&'a Library>,
}

impl<T> Deref for Symbol<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.raw
    }
}

impl<T> fmt::Debug for Symbol<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Symbol")
    }
}

/// Whether some library of this soname is loaded.
pub(crate) fn is_loaded(soname: &CStr) -> bool {
    // SAFETY: a C string and flags that load nothing; a handle that comes back is given back.
    unsafe {
        let handle = libc::dlopen(soname.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD);
        if !handle.is_null() {
            libc::dlclose(handle);
        }
        !handle.is_null()
    }
}

/// Opens and closes a library of the C library's own, which does nothing by itself; `false` where
/// there is none of that name. The closing makes the loader look again at what may go.
pub(crate) fn open_and_close(soname: &CStr) -> bool {
    // SAFETY: only called with stubs of the C library, which have no initialisers.
    unsafe {
        let handle = libc::dlopen(soname.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL);
        !handle.is_null() && libc::dlclose(handle) == 0
    }
}

/// The first fields of the loader's `struct link_map` (`link.h`); they are its interface.
#[repr(C)]
struct LinkMap {
    address: usize,
    name: *const libc::c_char,
    dynamic: *const Dynamic,
}

/// `ElfW(Dyn)` on 64-bit machines.
#[repr(C)]
#[derive(Clone, Copy)]
struct Dynamic {
    tag: u64,
    value: u64,
}

fn dynamic_of(handle: *mut c_void) -> usize {
    let mut map: *const LinkMap = std::ptr::null();
    // SAFETY: a live handle, and the request's argument is a pointer to a `link_map` pointer.
    let code = unsafe { libc::dlinfo(handle, libc::RTLD_DI_LINKMAP, (&raw mut map).cast()) };
    if code != 0 || map.is_null() {
        return 0;
    }
    // SAFETY: the loader gave this `link_map`, and the open handle keeps it.
    unsafe { (*map).dynamic as usize }
}

/// Everything that is loaded, the program first, in the order of loading.
pub(crate) fn loaded() -> Vec<Loaded> {
    let mut all: Vec<Loaded> = Vec::new();
    // SAFETY: `visit` takes its `data` as the vector given here, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut all).cast()) };
    all
}

/// One loaded object. The loader's lock is held meanwhile, so that nothing goes while it is read.
unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    data: *mut c_void,
) -> c_int {
    // SAFETY: the loader passes a valid record, and `loaded` its vector.
    let (info, all) = unsafe { (&*info, &mut *data.cast::<Vec<Loaded>>()) };
    // SAFETY: `dlpi_name` is a C string or null.
    let name = unsafe { info.dlpi_name.as_ref().map(|first| CStr::from_ptr(first)) };
    let name = name.map(CStr::to_bytes).unwrap_or_default();
    let base = usize::try_from(info.dlpi_addr).unwrap_or_default();
    // SAFETY: the program headers of a loaded object stay as long as it does.
    let headers =
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let Some(dynamic) = headers
        .iter()
        .find(|header| header.p_type == libc::PT_DYNAMIC)
    else {
        // A program without a dynamic section stays in the list: the first is always the program.
        all.push(facts(name, 0, &[], base));
        return 0;
    };
    let address = base.wrapping_add(usize::try_from(dynamic.p_vaddr).unwrap_or_default());
    // SAFETY: PT_DYNAMIC of a loaded object is mapped, and ends with a null tag.
    let table = unsafe { table(address as *const Dynamic) };
    all.push(facts(name, address, &table, base));
    0
}

/// The entries of a dynamic section, up to the null tag.
unsafe fn table(first: *const Dynamic) -> Vec<Dynamic> {
    (0..MOST_ENTRIES)
        // SAFETY: the caller's section ends with a null tag, past which nothing is read.
        .map(|index| unsafe { *first.add(index) })
        .take_while(|entry| entry.tag != 0)
        .collect()
}

fn facts(name: &[u8], dynamic: usize, table: &[Dynamic], base: usize) -> Loaded {
    let value = |tag| {
        let entry = table.iter().find(|entry| entry.tag == tag)?;
        usize::try_from(entry.value).ok()
    };
    let strings = value(DT_STRTAB).zip(value(DT_STRSZ)).map(|(at, length)| {
        // glibc writes the true address into the entry; other loaders, and the kernel's own
        // object, leave the offset.
        let at = if at < base { at.wrapping_add(base) } else { at };
        // SAFETY: the string table of a loaded object is mapped and this long.
        unsafe { std::slice::from_raw_parts(at as *const u8, length) }
    });
    let text = |entry: &Dynamic| {
        let from = strings?.get(usize::try_from(entry.value).ok()?..)?;
        Some(
            CStr::from_bytes_until_nul(from)
                .ok()?
                .to_string_lossy()
                .into_owned(),
        )
    };
    let all = |tag| {
        table
            .iter()
            .filter(move |entry| entry.tag == tag)
            .filter_map(text)
    };
    Loaded {
        name: Path::new(std::ffi::OsStr::from_bytes(name)).to_owned(),
        dynamic,
        soname: all(DT_SONAME).next(),
        needed: all(DT_NEEDED).collect(),
        nodelete: table
            .iter()
            .any(|entry| entry.tag == DT_FLAGS_1 && entry.value & DF_1_NODELETE != 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_comes_first_and_names_the_c_library() {
        let all = loaded();
        assert_eq!(all[0].name, Path::new(""));
        assert!(
            all[0].needed.iter().any(|name| name.starts_with("libc.so")),
            "{all:?}"
        );
        let c = all
            .iter()
            .find(|one| one.soname.as_deref() == Some("libc.so.6"))
            .unwrap();
        assert_ne!(c.dynamic, 0);
    }

    #[test]
    fn a_soname_that_is_not_loaded_is_not_found() {
        assert!(is_loaded(c"libc.so.6"));
        assert!(!is_loaded(c"libnobody.so.9"));
    }
}
