//! The outer shape of a `.deb`: an `ar` archive of `debian-binary`, `control.tar*`, `data.tar*`.
//!
//! The `ar` frame is read here: deb(5) allows only its simplest form, and the crates for it
//! allocate what a header claims before they read it.

use std::io::{self, BufReader, Read};
use std::path::Path;

use fs_err::File;
use lzma_rust2::XzReader;

use super::{DebError, Limits, RawPackage, Result, tree};

/// Most memory, in KiB, that an xz stream may ask for; `xz -9` needs 65 MiB.
const XZ_MEMORY_KIB: u32 = 256 * 1024;
/// Most memory, as a power of two, that a zstd window may ask for (`zstd --ultra -22` needs 27).
const ZSTD_WINDOW_LOG: u32 = 27;

/// Reads the package in `file`; the bytes of its files go into `spool`.
pub fn read(file: &Path, spool: &Path, limits: Limits) -> Result<RawPackage> {
    let name = file.display().to_string();
    read_from(File::open(file)?, spool, limits).map_err(|error| {
        let reason = if let DebError::Format { reason, .. } = &error {
            reason.clone()
        } else if let DebError::Io(source) = &error
            && is_format(source)
        {
            // A broken stream shows as an I/O error of the decoder.
            source.to_string()
        } else {
            return error;
        };
        DebError::Format { file: name, reason }
    })
}

/// The control file of the package in `file`, without its data.
pub fn control(file: &Path, limits: Limits) -> Result<String> {
    let broken_file = |reason: String| DebError::Format {
        file: file.display().to_string(),
        reason,
    };
    let mut frame = Frame::new(BufReader::new(File::open(file)?))
        .map_err(|_| broken_file("it is no ar archive".to_owned()))?;
    while let Ok(Some(member)) = frame.next() {
        if let Some(packing) = packing(&member.name, "control.tar") {
            let mut package = RawPackage::default();
            let reader = expand(frame.member(), packing, limits.control, &member.name)?;
            tree::read_control(reader, &mut package)
                .map_err(|error| broken_file(model::report::Chain(&error).to_string()))?;
            return Ok(package.control);
        }
    }
    Err(broken_file("it has no control.tar".to_owned()))
}

/// Errors of decoders and parsers, as against those of the file system.
fn is_format(error: &io::Error) -> bool {
    error.raw_os_error().is_none()
}

/// Reads a package from wherever its bytes come; errors name no file.
pub fn read_from(input: impl Read, spool: &Path, limits: Limits) -> Result<RawPackage> {
    let mut frame = Frame::new(BufReader::with_capacity(128 * 1024, input))?;
    let mut package = RawPackage::default();
    let (mut control, mut data) = (false, false);
    if !matches!(frame.next()?, Some(member) if member.name == "debian-binary") {
        return Err(broken("its first member is not debian-binary"));
    }
    let mut version = String::new();
    frame.member().take(16).read_to_string(&mut version)?;
    if !version.starts_with("2.") {
        return Err(broken(&format!(
            "format {:?}; this program reads 2.x",
            version.trim()
        )));
    }
    while let Some(member) = frame.next()? {
        if let Some(packing) = packing(&member.name, "control.tar") {
            let reader = expand(frame.member(), packing, limits.control, &member.name)?;
            tree::read_control(reader, &mut package)?;
            control = true;
        } else if let Some(packing) = packing(&member.name, "data.tar") {
            let reader = expand(frame.member(), packing, limits.expanded, &member.name)?;
            package.entries = tree::read_data(reader, spool, limits)?;
            data = true;
        } else if !member.name.starts_with('_') {
            return Err(broken(&format!("unknown member {:?}", member.name)));
        }
    }
    match (control, data) {
        (true, true) => Ok(package),
        (false, _) => Err(broken("it has no control.tar")),
        (_, false) => Err(broken("it has no data.tar")),
    }
}

/// What follows `stem` in a member's name: empty, `.xz`, …
fn packing<'a>(name: &'a str, stem: &str) -> Option<&'a str> {
    name.strip_prefix(stem)
        .filter(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn expand<'a>(
    input: impl Read + 'a,
    packing: &str,
    limit: u64,
    member: &str,
) -> Result<Box<dyn Read + 'a>> {
    let expanded: Box<dyn Read + 'a> = match packing {
        "" => Box::new(input),
        ".gz" => Box::new(flate2::read::MultiGzDecoder::new(input)),
        ".xz" => Box::new(XzReader::new_mem_limit(input, true, XZ_MEMORY_KIB)),
        ".zst" => {
            let mut decoder = zstd::Decoder::new(input)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        _ => {
            return Err(broken(&format!(
                "{member} is compressed in a way that is not supported; repack it with \
                 dpkg-deb -R and dpkg-deb -b -Zxz"
            )));
        }
    };
    Ok(Box::new(Bounded {
        inner: expanded,
        left: limit,
        limit,
    }))
}

/// Fails, rather than ends, where more than the limit is read.
struct Bounded<R> {
    inner: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            io::Error::other(format!("it expands to more than {} bytes", self.limit))
        })?;
        Ok(count)
    }
}

pub(super) fn broken(reason: &str) -> DebError {
    DebError::Format {
        file: String::new(),
        reason: reason.to_owned(),
    }
}

/// A member of the `ar` archive.
struct Member {
    name: String,
    size: u64,
}

/// The `ar` archive, read once from front to back.
struct Frame<R> {
    input: R,
    /// Bytes of the current member that are still to come, its padding apart.
    left: u64,
    padded: bool,
}

impl<R: Read> Frame<R> {
    fn new(mut input: R) -> Result<Self> {
        let mut magic = [0; 8];
        input
            .read_exact(&mut magic)
            .map_err(|_| broken("it is shorter than an ar header"))?;
        if &magic != b"!<arch>\n" {
            return Err(broken("it does not begin as an ar archive does"));
        }
        Ok(Self {
            input,
            left: 0,
            padded: false,
        })
    }

    /// Passes over what is left of the current member; the next one's header.
    fn next(&mut self) -> Result<Option<Member>> {
        let rest = self.left + u64::from(self.padded);
        let skipped = io::copy(&mut (&mut self.input).take(rest), &mut io::sink())?;
        // The last member's padding is often left out.
        if skipped < self.left {
            return Err(broken("it is truncated"));
        }
        self.left = 0;
        let mut header = Vec::with_capacity(60);
        (&mut self.input).take(60).read_to_end(&mut header)?;
        if header.is_empty() {
            return Ok(None);
        }
        let member = parse_header(&header).ok_or_else(|| broken("a member's header is broken"))?;
        self.left = member.size;
        self.padded = member.size % 2 == 1;
        Ok(Some(member))
    }

    /// The current member's bytes; a short one is an error and not an end.
    fn member(&mut self) -> MemberBytes<'_, R> {
        MemberBytes { frame: self }
    }
}

fn parse_header(header: &[u8]) -> Option<Member> {
    let field = |from: usize, to: usize| {
        header
            .get(from..to)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .map(str::trim_end)
    };
    if header.get(58..60)? != b"`\n" {
        return None;
    }
    let name = field(0, 16)?.trim_end_matches('/').to_owned();
    let size = field(48, 58)?;
    if !size.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    Some(Member {
        name,
        size: size.parse().ok()?,
    })
}

/// See [`Frame::member`].
struct MemberBytes<'a, R> {
    frame: &'a mut Frame<R>,
}

impl<R: Read> Read for MemberBytes<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.frame.left;
        let count = (&mut self.frame.input).take(left).read(buffer)?;
        if count == 0 && left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it is truncated",
            ));
        }
        self.frame.left -= count as u64;
        Ok(count)
    }
}
