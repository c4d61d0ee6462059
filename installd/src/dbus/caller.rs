//! Who calls: the bus knows, the caller is not asked.

use model::bus::Error;
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::message::Header;

/// Who may change the node: root and the daemon's own user. (polkit is asked by a later version.)
///
/// Answers the caller's name for the history: `root (pid 4711)`.
pub(super) async fn may_change(
    connection: &Connection,
    header: &Header<'_>,
) -> Result<String, Error> {
    let sender = header
        .sender()
        .ok_or_else(|| Error::NotAllowed("the bus does not say who calls".to_owned()))?;
    let bus = DBusProxy::new(connection).await.map_err(Error::Bus)?;
    let unknown = |error: zbus::fdo::Error| {
        Error::NotAllowed(format!("the bus does not say who calls: {error}"))
    };
    let uid = bus
        .get_connection_unix_user(sender.clone().into())
        .await
        .map_err(unknown)?;
    let own = rustix::process::geteuid().as_raw();
    if uid != 0 && uid != own {
        return Err(Error::NotAllowed(format!(
            "user {uid} may look but not change this node: ask as root"
        )));
    }
    let pid = bus
        .get_connection_unix_process_id(sender.clone().into())
        .await
        .map_err(unknown)?;
    Ok(format!("{} (pid {pid})", name_of(uid)))
}

fn name_of(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid));
    user.ok()
        .flatten()
        .map_or_else(|| format!("user {uid}"), |user| user.name)
}
