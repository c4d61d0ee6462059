//! The loopback device of a fresh network namespace.

use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

/// `RTM_NEWLINK` to interface 1 (always `lo`) with `IFF_UP`, and an acknowledgement wanted.
fn set_loopback_up() -> Vec<u8> {
    const LENGTH: u32 = 32;
    const RTM_NEWLINK: u16 = 16;
    const REQUEST_AND_ACK: u16 = 1 | 4;
    const LOOPBACK: i32 = 1;
    const IFF_UP: u32 = 1;
    let mut message = Vec::with_capacity(32);
    message.extend(LENGTH.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(REQUEST_AND_ACK.to_ne_bytes());
    message.extend([0; 8]); // sequence, port
    message.extend([0; 4]); // family, padding, device type
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes()); // flags
    message.extend(IFF_UP.to_ne_bytes()); // which of them to change
    message
}

/// Brings the loopback device of the calling process's network namespace up.
pub fn bring_loopback_up() -> Result<()> {
    let doing = "could not bring the loopback device up";
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )
    .context(doing)?;
    let kernel = NetlinkAddr::new(0, 0);
    sendto(
        socket.as_raw_fd(),
        &set_loopback_up(),
        &kernel,
        MsgFlags::empty(),
    )
    .context(doing)?;
    let mut answer = [0_u8; 256];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()).context(doing)?;
    // nlmsghdr has 16 bytes; the error that follows is 0 or a negative errno.
    let error = answer
        .get(16..20)
        .and_then(|bytes| bytes.try_into().ok())
        .map(i32::from_ne_bytes);
    match error {
        Some(0) if length >= 20 => Ok(()),
        Some(errno) => bail!("{doing}: {}", nix::errno::Errno::from_raw(-errno)),
        None => bail!("{doing}: the kernel gave no answer"),
    }
}
