//! A web server over a directory that can misbehave, and shelves to serve.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::Digest;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use transfer::{Bound, Fetcher, Order, Progress, Report, Settings, Shelf, Source, Want};

/// What a server does with `/objects/…`; `/lists/…` is always served as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// Every 100,000th byte is another one.
    WrongBytes,
    /// The right start, then zeros for ever, without a length.
    Endless,
    /// Ends after half, though it promised all.
    Truncated,
    /// Says and sends another range.
    WrongRange,
    /// Sends everything whatever was asked for.
    NoRanges,
    /// 404 for everything, the lists too.
    Empty,
    /// 503 for everything.
    Down,
}

pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) sent: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Serves `root` until it is dropped.
    pub(crate) async fn start(root: &Path, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sent = Arc::new(AtomicU64::new(0));
        let (root, sum) = (root.to_owned(), Arc::clone(&sent));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (root, sum) = (root.clone(), Arc::clone(&sum));
                tokio::spawn(async move {
                    // The peer may leave at any time.
                    drop(serve(stream, &root, manner, &sum).await);
                });
            }
        });
        Self { url, sent, task }
    }

    pub(crate) fn source(&self) -> Source {
        Source {
            url: self.url.clone(),
            client: client(),
        }
    }
}

async fn serve(
    stream: TcpStream,
    root: &Path,
    manner: Manner,
    sent: &AtomicU64,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut path = String::new();
        let mut range = None;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            if let Some(rest) = line.strip_prefix("GET ") {
                path = rest
                    .split(' ')
                    .next()
                    .unwrap_or_default()
                    .trim_start_matches('/')
                    .to_owned();
            } else if let Some(value) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                let (first, last) = value.split_once('-').unwrap();
                range = Some((
                    first.parse::<usize>().unwrap(),
                    last.parse::<usize>().unwrap(),
                ));
            } else if line.is_empty() {
                break;
            }
        }
        let (head, body, ends) = answer(root, &path, range, manner);
        stream.write_all(head.as_bytes()).await?;
        for chunk in body.chunks(16 << 10) {
            stream.write_all(chunk).await?;
            sent.fetch_add(chunk.len() as u64, Ordering::SeqCst);
        }
        if manner == Manner::Endless && path.starts_with("objects") {
            loop {
                stream.write_all(&[0; 4096]).await?;
                sent.fetch_add(4096, Ordering::SeqCst);
            }
        }
        stream.flush().await?;
        if ends {
            return Ok(());
        }
    }
}

fn answer(
    root: &Path,
    path: &str,
    range: Option<(usize, usize)>,
    manner: Manner,
) -> (String, Vec<u8>, bool) {
    let objects = path.starts_with("objects");
    let none = |status: &str| {
        (
            format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"),
            Vec::new(),
            false,
        )
    };
    let file = match manner {
        Manner::Empty => return none("404 Not Found"),
        Manner::Down => return none("503 Service Unavailable"),
        Manner::Honest
        | Manner::WrongBytes
        | Manner::Endless
        | Manner::Truncated
        | Manner::WrongRange
        | Manner::NoRanges => std::fs::read(root.join(path)),
    };
    let Ok(mut file) = file else {
        return none("404 Not Found");
    };
    let size = file.len();
    if manner == Manner::WrongBytes && objects {
        file.iter_mut()
            .skip(50_000.min(size / 2))
            .step_by(100_000)
            .for_each(|byte| *byte ^= 1);
    }
    let Some((first, last)) = range.filter(|_| manner != Manner::NoRanges || !objects) else {
        return (
            format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"),
            file,
            false,
        );
    };
    let body = file[first..=last].to_vec();
    let length = body.len();
    let partial = |first: usize, length: String, body: Vec<u8>, ends| {
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{last}/{size}\r\n{length}\r\n"
        );
        (head, body, ends)
    };
    let exact = format!("Content-Length: {length}\r\n");
    match manner {
        Manner::Endless if objects => {
            partial(first, "Connection: close\r\n".to_owned(), body, true)
        }
        Manner::Truncated if objects => partial(first, exact, body[..length / 2].to_vec(), true),
        Manner::WrongRange if objects => partial(first + 1, exact, body, false),
        Manner::Honest
        | Manner::WrongBytes
        | Manner::Endless
        | Manner::Truncated
        | Manner::WrongRange
        | Manner::NoRanges
        | Manner::Empty
        | Manner::Down => partial(first, exact, body, false),
    }
}

/// A shelf in a directory of its own.
pub(crate) struct House {
    pub(crate) shelf: Shelf,
    pub(crate) public: PathBuf,
    pub(crate) home: tempfile::TempDir,
}

impl House {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let public = home.path().join("public");
        let shelf = Shelf::open(&public, &home.path().join("private")).unwrap();
        Self {
            shelf,
            public,
            home,
        }
    }

    /// Stores the objects and publishes them as a list.
    pub(crate) fn list(&self, name: &str, objects: &[Vec<u8>]) -> Digest {
        let mut import = self.shelf.begin();
        for object in objects {
            import
                .put(&Digest::of(object), object.len() as u64, &object[..])
                .unwrap();
        }
        import.finish().unwrap();
        let list = Digest::of(name.as_bytes());
        let digests: Vec<Digest> = objects.iter().map(|object| Digest::of(object)).collect();
        self.shelf.publish(&list, &digests).unwrap();
        list
    }

    pub(crate) fn spool(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

pub(crate) fn wants(objects: &[Vec<u8>]) -> Vec<Want> {
    let want = |object: &Vec<u8>| Want {
        digest: Digest::of(object),
        bound: Bound::Exactly(object.len() as u64),
    };
    objects.iter().map(want).collect()
}

pub(crate) fn quick() -> Settings {
    Settings {
        stall: Duration::from_secs(3),
        attempts: 3,
        ..Settings::default()
    }
}

/// A fetch of a whole list by somebody who has `had`, a directory of objects.
pub(crate) async fn fetch(
    servers: &[&Server],
    (list, from): (Digest, Option<Digest>),
    wants: &[Want],
    (spool, had): (&Path, &Path),
) -> Result<Report, transfer::Error> {
    fetch_watched(servers, (list, from), wants, (spool, had), &|_| {}).await
}

pub(crate) async fn fetch_watched(
    servers: &[&Server],
    (list, from): (Digest, Option<Digest>),
    wants: &[Want],
    (spool, had): (&Path, &Path),
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Report, transfer::Error> {
    let sources = servers.iter().map(|server| server.source()).collect();
    let have = |digest: &Digest| Some(had.join(digest.to_string())).filter(|path| path.exists());
    let order = Order {
        list,
        from,
        wants,
        have: &have,
        spool,
        progress,
    };
    Fetcher::new(sources, quick()).fetch(order).await
}

/// Whether each object is in the spool, byte for byte.
pub(crate) fn all_there(spool: &Path, objects: &[Vec<u8>]) -> bool {
    let there = |object: &Vec<u8>| {
        std::fs::read(spool.join(Digest::of(object).to_string()))
            .is_ok_and(|bytes| bytes == *object)
    };
    objects.iter().all(there)
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(&mut next)
        .take(length / 8 + 1)
        .flatten()
        .collect();
    bytes.truncate(length);
    bytes
}

/// A client with the crypto library that the daemons use.
fn client() -> reqwest::Client {
    // It is there already after the first call.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::new()
}
