//! Sockets that are held for processes, and sockets that say that a process is ready.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::process::ListenSocket;
use rustix::fd::OwnedFd;
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::places::Places;
use super::spawn::User;

/// Where something listens.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Path(PathBuf),
    Internet(SocketAddr),
}

fn place(listen: &str) -> io::Result<Place> {
    if listen.starts_with('/') {
        return Ok(Place::Path(PathBuf::from(listen)));
    }
    if let Ok(port) = listen.parse::<u16>() {
        return Ok(Place::Internet(SocketAddr::new(
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            port,
        )));
    }
    let rule = "it is neither an absolute path, a port nor ADDRESS:PORT";
    let bad = |_| io::Error::new(io::ErrorKind::InvalidInput, rule);
    Ok(Place::Internet(listen.parse().map_err(bad)?))
}

/// A path's directory, held open, and a short address of the path through it: a socket address
/// has 108 bytes and a sandbox's paths may be longer.
fn short_address(path: &Path) -> io::Result<(OwnedFd, SocketAddrUnix)> {
    let missing = || io::Error::new(io::ErrorKind::InvalidInput, "it names no file");
    let (parent, name) = (
        path.parent().ok_or_else(missing)?,
        path.file_name().ok_or_else(missing)?,
    );
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(parent, flags, Mode::empty())?;
    let short = Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(name);
    let address = SocketAddrUnix::new(short)?;
    Ok((directory, address))
}

/// Binds a new socket of `kind` to `path`, in place of whatever stood there.
pub fn bind_unix(path: &Path, kind: SocketType, mode: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)?;
    if let Some(parent) = path.parent() {
        fs_err::create_dir_all(parent)?;
    }
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (directory, address) = short_address(path)?;
    rustix::net::bind(&socket, &address)?;
    let name = path.file_name().unwrap_or_default();
    let mode = Mode::from_raw_mode(mode);
    rustix::fs::chmodat(&directory, name, mode, rustix::fs::AtFlags::empty())?;
    Ok(socket)
}

/// Listens as declared; blocking, as the process expects it.
pub fn listen(places: &Places, wanted: &ListenSocket, owner: Option<&User>) -> io::Result<OwnedFd> {
    let kind = if wanted.datagram {
        SocketType::DGRAM
    } else {
        SocketType::STREAM
    };
    let mode = wanted
        .mode
        .as_deref()
        .map_or(Ok(0o666), |mode| u32::from_str_radix(mode, 8));
    let mode =
        mode.map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "its mode is not octal"))?;
    let socket = match place(&wanted.listen)? {
        Place::Path(path) => {
            let path = places.outside(&path);
            let socket = bind_unix(&path, kind, mode)?;
            if let Some(user) = owner {
                let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
                rustix::fs::chown(&path, Some(uid), Some(gid))?;
            }
            socket
        }
        Place::Internet(address) => bind_internet(address, kind)?,
    };
    if !wanted.datagram {
        rustix::net::listen(&socket, 4096)?;
    }
    rustix::io::ioctl_fionbio(&socket, false)?;
    Ok(socket)
}

fn bind_internet(address: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

/// Waits until every one of `listening` accepts a connection. Asks again after 2 ms, then less and
/// less often, down to ten times a second; the caller bounds the whole.
pub async fn all_accept(places: &Places, listening: &[String]) {
    for one in listening {
        let mut pause = Duration::from_millis(2);
        while !accepts(places, one).await {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
}

async fn accepts(places: &Places, listening: &str) -> bool {
    match place(listening) {
        Ok(Place::Path(path)) => {
            let path = places.outside(&path);
            let Ok((_directory, address)) = short_address(&path) else {
                return false;
            };
            let Some(short) = address.path_bytes() else {
                return false;
            };
            let short = Path::new(std::ffi::OsStr::new(
                std::str::from_utf8(short).unwrap_or_default(),
            ));
            tokio::net::UnixStream::connect(short).await.is_ok()
        }
        Ok(Place::Internet(address)) => {
            let address = match address.ip() {
                ip if ip.is_unspecified() && address.is_ipv4() => {
                    SocketAddr::new(IpAddr::from([127, 0, 0, 1]), address.port())
                }
                ip if ip.is_unspecified() => {
                    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), address.port())
                }
                ip => SocketAddr::new(ip, address.port()),
            };
            let connect = tokio::net::TcpStream::connect(address);
            matches!(
                tokio::time::timeout(Duration::from_secs(1), connect).await,
                Ok(Ok(_))
            )
        }
        Err(error) => {
            tracing::warn!(listening, %error, "a ready-socket cannot be understood");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_systemd_reads_them() {
        assert_eq!(place("/run/x").unwrap(), Place::Path("/run/x".into()));
        assert_eq!(
            place("80").unwrap(),
            Place::Internet("[::]:80".parse().unwrap())
        );
        assert_eq!(
            place("127.0.0.1:1").unwrap(),
            Place::Internet("127.0.0.1:1".parse().unwrap())
        );
        for bad in ["", "x", "host:80", "99999"] {
            place(bad).unwrap_err();
        }
    }
}
