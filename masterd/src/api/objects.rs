//! Files that everybody may have: objects by their hash, and lists that say which are of what.
//!
//! ```text
//! GET /objects/HASH  /objects/ab/HASH     immutable: any cache may keep it for ever
//! GET /lists/NAME                         may change: asked for again, by its entity tag
//! ```
//!
//! One range in a request is answered as such; several are answered with the whole, as HTTP allows.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::{Access, Master, Named, Refused, Route};

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/objects/{*path}",
            Access::Public,
            "An object by its hash; ranges, immutable",
            object,
        )
        .endless(),
        Route::get(
            "/lists/{name}",
            Access::Public,
            "What a software list consists of; ranges",
            list,
        )
        .endless(),
    ]
}

async fn object(
    State(master): State<Arc<Master>>,
    Named(path): Named<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let path = below(&master.public.join("objects"), &path)?;
    let forever = "public, max-age=31536000, immutable";
    serve(&path, &headers, forever).await
}

async fn list(
    State(master): State<Arc<Master>>,
    Named(name): Named<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let path = below(&master.public.join("lists"), &name)?;
    serve(&path, &headers, "no-cache").await
}

/// The file of a path that somebody asked for, which cannot leave `root`.
fn below(root: &Path, asked: &str) -> Result<PathBuf, Refused> {
    let is_plain = |part: &str| {
        let taken = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !part.is_empty() && !part.starts_with('.') && part.bytes().all(taken)
    };
    let parts: Vec<&str> = asked.split('/').collect();
    if asked.len() > 300 || parts.len() > 4 || !parts.iter().all(|part| is_plain(part)) {
        return Err(missing());
    }
    Ok(parts
        .iter()
        .fold(root.to_owned(), |path, part| path.join(part)))
}

fn missing() -> Refused {
    Refused::not_found("there is no such object")
}

async fn serve(path: &Path, headers: &HeaderMap, cache: &'static str) -> Result<Response, Refused> {
    let mut file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Err(missing()),
        Err(error) => return Err(Refused::failed(&error)),
    };
    let meta = file
        .metadata()
        .await
        .map_err(|error| Refused::failed(&error))?;
    if !meta.is_file() {
        return Err(missing());
    }
    let tag = tag(&meta);
    let whole = meta.len();
    let has = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if has(header::IF_NONE_MATCH).is_some_and(|known| known.contains(&tag)) {
        return answer(
            StatusCode::NOT_MODIFIED,
            (&tag, cache),
            Vec::new(),
            Body::empty(),
        );
    }
    let is_same = has(header::IF_RANGE).is_none_or(|known| known == tag);
    let asked = has(header::RANGE).filter(|_| is_same);
    let range = asked.map_or(Range::Whole, |text| range(text, whole));
    let accepts = (header::ACCEPT_RANGES, "bytes".to_owned());
    let (status, from, length, mut more) = match range {
        Range::Whole => (StatusCode::OK, 0, whole, vec![accepts]),
        Range::Part(from, length) => {
            let said = format!("bytes {from}-{}/{whole}", from + length - 1);
            let more = vec![accepts, (header::CONTENT_RANGE, said)];
            (StatusCode::PARTIAL_CONTENT, from, length, more)
        }
        Range::Beyond => {
            let more = vec![(header::CONTENT_RANGE, format!("bytes */{whole}"))];
            let status = StatusCode::RANGE_NOT_SATISFIABLE;
            return answer(status, (&tag, "no-store"), more, Body::empty());
        }
    };
    more.push((header::CONTENT_LENGTH, length.to_string()));
    more.push((header::CONTENT_TYPE, "application/octet-stream".to_owned()));
    if from > 0 {
        let sought = file.seek(SeekFrom::Start(from)).await;
        sought.map_err(|error| Refused::failed(&error))?;
    }
    answer(status, (&tag, cache), more, body(file, length))
}

fn answer(
    status: StatusCode,
    (tag, cache): (&str, &'static str),
    more: Vec<(header::HeaderName, String)>,
    body: Body,
) -> Result<Response, Refused> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    let mut put = |name, text: &str| {
        let value = HeaderValue::from_str(text).map_err(|error| Refused::failed(&error))?;
        headers.insert(name, value);
        Ok::<(), Refused>(())
    };
    put(header::ETAG, tag)?;
    for (name, text) in more {
        put(name, &text)?;
    }
    Ok(response)
}

/// Changes with the file: an object never does.
fn tag(meta: &std::fs::Metadata) -> String {
    let since = meta
        .modified()
        .ok()
        .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let nanos = since.map_or(0, |since| since.as_nanos());
    format!("\"{:x}-{nanos:x}\"", meta.len())
}

fn body(file: tokio::fs::File, length: u64) -> Body {
    let chunks = stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok::<_, std::io::Error>(None);
        }
        let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let mut chunk = vec![0; most];
        let count = file.read(&mut chunk).await?;
        if count == 0 {
            // The length was promised: a connection that breaks says more than a short answer.
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        chunk.truncate(count);
        let left = left - u64::try_from(count).unwrap_or(left);
        Ok(Some((Bytes::from(chunk), (file, left))))
    });
    Body::from_stream(chunks)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    Whole,
    /// From here, so many: at least one.
    Part(u64, u64),
    Beyond,
}

/// What a `Range` header asks of a file of this length; what cannot be read is passed over.
fn range(text: &str, whole: u64) -> Range {
    let one = text
        .trim()
        .strip_prefix("bytes=")
        .filter(|rest| !rest.contains(','));
    let Some((from, to)) = one.and_then(|rest| rest.trim().split_once('-')) else {
        return Range::Whole;
    };
    let bounds = match (from.trim().parse::<u64>(), to.trim().parse::<u64>()) {
        (Ok(from), Ok(to)) if from <= to => (from, to),
        (Ok(from), Err(_)) if to.trim().is_empty() => (from, u64::MAX),
        (Err(_), Ok(0)) if from.trim().is_empty() => return Range::Beyond,
        (Err(_), Ok(last)) if from.trim().is_empty() => (whole.saturating_sub(last), u64::MAX),
        _ => return Range::Whole,
    };
    let (from, to) = (bounds.0, bounds.1.min(whole.saturating_sub(1)));
    if from >= whole {
        return Range::Beyond;
    }
    Range::Part(from, to - from + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_says() {
        for (text, expected) in [
            ("bytes=0-0", Range::Part(0, 1)),
            ("bytes=2-4", Range::Part(2, 3)),
            ("bytes=2-", Range::Part(2, 8)),
            ("bytes=2-99", Range::Part(2, 8)),
            ("bytes=-3", Range::Part(7, 3)),
            ("bytes=-30", Range::Part(0, 10)),
            ("bytes=10-", Range::Beyond),
            ("bytes=-0", Range::Beyond),
            ("bytes=4-2", Range::Whole),
            ("bytes=0-1,4-5", Range::Whole),
            ("bytes=a-b", Range::Whole),
            ("bytes=-", Range::Whole),
            ("lines=1-2", Range::Whole),
            ("bytes=18446744073709551615-", Range::Beyond),
            ("bytes=0-18446744073709551615", Range::Part(0, 10)),
        ] {
            assert_eq!(range(text, 10), expected, "{text}");
        }
        assert_eq!(range("bytes=0-", 0), Range::Beyond);
    }

    #[test]
    fn no_path_leaves_its_directory() {
        let root = Path::new("/public/objects");
        let of = |asked| below(root, asked).ok();
        assert_eq!(of("ab/cd"), Some(root.join("ab/cd")));
        for wrong in [
            "",
            "..",
            "a/../b",
            "/etc/passwd",
            "a//b",
            ".new",
            "a/.b",
            "a\\b",
            "a\0b",
            "a/b/c/d/e",
        ] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }
}
