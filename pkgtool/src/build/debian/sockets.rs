//! Socket units: which service they hold sockets for, and which sockets.

use model::process::ListenSocket;

use super::specifiers::UnitName;
use super::unit::Unit;
use super::values;

/// Settings that are read here; every other one becomes a note.
const CARRIED: [&str; 9] = [
    "ListenStream",
    "ListenDatagram",
    "SocketMode",
    "FileDescriptorName",
    "Service",
    "WantedBy",
    "RequiredBy",
    "Description",
    "Documentation",
];

/// A socket unit, read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SocketUnit {
    /// The service's unit that it is for.
    pub service: String,
    /// Its sockets; none where it starts an instance for each connection.
    pub sockets: Vec<ListenSocket>,
    /// What is not carried over, each line beginning with the unit's name.
    pub notes: Vec<String>,
}

/// Reads the socket unit `name`.
pub fn read(name: &UnitName, unit: &Unit) -> SocketUnit {
    let service = unit.last("Socket", "Service").map_or_else(
        || format!("{}.service", name.stem),
        |service| name.expand(service).unwrap_or_else(|_| service.to_owned()),
    );
    let mut read = SocketUnit {
        service,
        ..SocketUnit::default()
    };
    let accept = unit
        .last("Socket", "Accept")
        .and_then(values::switch)
        .unwrap_or(false);
    if accept {
        let note = format!(
            "{}: not carried over: an instance for each connection",
            name.full
        );
        read.notes.push(note);
    } else {
        listen(name, unit, &mut read);
    }
    for one in &unit.assignments {
        let usual = one.key == "Accept";
        if !usual && !CARRIED.contains(&one.key.as_str()) {
            read.notes
                .push(format!("{}: {}={}", name.full, one.key, one.value));
        }
    }
    read
}

fn listen(name: &UnitName, unit: &Unit, read: &mut SocketUnit) {
    let descriptor = unit
        .last("Socket", "FileDescriptorName")
        .unwrap_or(&name.full);
    let mode = unit.last("Socket", "SocketMode").and_then(values::mode);
    for (key, datagram) in [("ListenStream", false), ("ListenDatagram", true)] {
        for value in unit.list("Socket", key) {
            match name.expand(value).ok().as_deref().and_then(address) {
                Some(listen) => read.sockets.push(ListenSocket {
                    name: descriptor.to_owned(),
                    listen,
                    datagram,
                    mode: mode.clone(),
                }),
                None => read
                    .notes
                    .push(format!("{}: {key}={value} (not taken)", name.full)),
            }
        }
    }
}

/// An absolute path, `ADDRESS:PORT` or `PORT`; abstract names and VSOCK are not ours.
fn address(text: &str) -> Option<String> {
    if text.starts_with('/') {
        return Some(
            text.strip_prefix("/var/run/")
                .map_or(text.to_owned(), |rest| format!("/run/{rest}")),
        );
    }
    let port = text.rsplit_once(':').map_or(text, |(_, port)| port);
    (port.parse::<u16>().is_ok() && !text.starts_with("vsock")).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_unit_names_its_service_and_sockets() {
        let text = "[Socket]\nListenStream=/var/run/dbus.sock\nListenStream=[::]:80\nListenStream=@x\n\
                    ListenDatagram=%t/d\nSocketMode=666\nBacklog=5\n[Install]\nWantedBy=sockets.target\n";
        let read = read(&UnitName::new("a.socket"), &Unit::parse(text));
        assert_eq!(read.service, "a.service");
        let found: Vec<_> = read
            .sockets
            .iter()
            .map(|one| (one.listen.as_str(), one.datagram))
            .collect();
        assert_eq!(
            found,
            [
                ("/run/dbus.sock", false),
                ("[::]:80", false),
                ("/run/d", true)
            ]
        );
        assert!(
            read.sockets
                .iter()
                .all(|one| one.name == "a.socket" && one.mode.as_deref() == Some("0666"))
        );
        assert_eq!(
            read.notes,
            [
                "a.socket: ListenStream=@x (not taken)",
                "a.socket: Backlog=5"
            ]
        );
    }

    #[test]
    fn a_socket_for_each_connection_is_noted() {
        let read = read(
            &UnitName::new("a.socket"),
            &Unit::parse("[Socket]\nListenStream=80\nAccept=yes\n"),
        );
        assert!(read.sockets.is_empty());
        assert_eq!(read.notes.len(), 1);
    }
}
