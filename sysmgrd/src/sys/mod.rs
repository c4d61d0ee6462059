//! Real effects: processes, mounts, control groups, sockets, files. Nothing here decides.

pub mod cgroup;
pub mod clock;
pub mod descendants;
pub mod environment;
pub mod fd_store;
pub mod launch;
pub mod logs;
pub mod maps;
pub mod notify_socket;
pub mod open_files;
pub mod own_directories;
pub mod parallel;
pub mod places;
pub mod reap;
pub mod session_socket;
pub mod sockets;
pub mod spawn;
pub mod state_data;
pub mod state_files;
pub mod users;
pub mod view;
pub mod watched;
