//! polkit's consent: asked over the bus, with the caller's own name on it as the subject.

use std::collections::HashMap;

use zbus::fdo::DBusProxy;
use zbus::{Connection, Variant};

/// polkit's name on the bus.
const NAME: &str = "org.freedesktop.PolicyKit1";
/// Who may change a node, in polkit's words (`packaging/polkit/`).
const ACTION: &str = "org.changeover.manage";
/// polkit may ask the user to prove who they are.
const MAY_ASK: u32 = 1;

/// What polkit says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// Yes.
    Given,
    /// Not unless the user proves who they are, and the call does not let polkit ask.
    IfAsked,
    /// No.
    Refused,
    /// Nobody answers to its name.
    Absent,
}

/// Asks polkit about the connection `sender`.
pub(super) async fn ask(connection: &Connection, sender: &str, interactive: bool) -> Consent {
    if !is_there(connection).await.unwrap_or(false) {
        return Consent::Absent;
    }
    match check(connection, sender, interactive).await {
        Ok((true, _)) => Consent::Given,
        Ok((false, true)) => Consent::IfAsked,
        Ok((false, false)) => Consent::Refused,
        Err(_) => Consent::Absent,
    }
}

async fn is_there(connection: &Connection) -> zbus::Result<bool> {
    let bus = DBusProxy::new(connection).await?;
    let runs = bus.name_has_owner(NAME.try_into()?).await?;
    // The bus starts it where it can.
    Ok(runs
        || bus
            .list_activatable_names()
            .await?
            .iter()
            .any(|one| one.as_str() == NAME))
}

async fn check(
    connection: &Connection,
    sender: &str,
    interactive: bool,
) -> zbus::Result<(bool, bool)> {
    let subject = (
        "system-bus-name",
        HashMap::from([("name", Variant::from(sender))]),
    );
    let details: HashMap<&str, &str> = HashMap::new();
    let flags = if interactive { MAY_ASK } else { 0 };
    let answer = connection
        .call_method(
            Some(NAME),
            "/org/freedesktop/PolicyKit1/Authority",
            Some("org.freedesktop.PolicyKit1.Authority"),
            "CheckAuthorization",
            &(subject, ACTION, details, flags, ""),
        )
        .await?;
    let body = answer.body();
    let ((given, if_asked, _),): ((bool, bool, HashMap<String, String>),) = body.deserialize()?;
    Ok((given, if_asked))
}
