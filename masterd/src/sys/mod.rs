//! Where Linux is: the listener, systemd, the files of the state directory.

pub mod backup;
pub mod init;
pub mod listen;
pub mod lock;
pub mod notify;
pub mod serve;
mod tls;
