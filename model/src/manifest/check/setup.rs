//! Rules for annotations and for what is made on the machine.

use super::{Files, Found, Subject, is_absolute, is_account, is_octal_mode};
use crate::manifest::{DlopenUse, Manifest, SetupDirectory, SystemUser};
use crate::path::PackagePath;

pub(super) fn check(manifest: &Manifest, files: &Files<'_>, found: &mut Found) {
    for annotation in &manifest.dlopen {
        dlopen(annotation, files, found);
    }
    for path in manifest.exports.values().flatten() {
        let own = path
            .parse()
            .is_ok_and(|path: PackagePath| files.contains_key(&path));
        found.unless(own, &Subject::Package, || {
            format!("exports {path:?}, which is no path of the package")
        });
    }
    let setup = &manifest.setup;
    for name in &setup.groups {
        account("group", name, found);
    }
    for user in &setup.users {
        system_user(user, found);
    }
    for directory in &setup.directories {
        setup_directory(directory, found);
    }
    for (link, target) in &setup.links {
        found.unless(
            is_absolute(link) && is_below_state(link),
            &Subject::Setup,
            || format!("link {link:?} is not below /var, /run, /srv or /etc"),
        );
        found.unless(
            !target.is_empty() && !target.contains('\0'),
            &Subject::Setup,
            || format!("link {link:?} has no target"),
        );
    }
}

fn dlopen(annotation: &DlopenUse, files: &Files<'_>, found: &mut Found) {
    let subject = Subject::Dlopen(annotation.file.clone());
    found.unless(files.contains_key(&annotation.file), &subject, || {
        "the package has no such file".to_owned()
    });
    for library in &annotation.libraries {
        let sound = if library.contains('/') {
            is_absolute(library)
        } else {
            !library.is_empty() && library.len() <= 255 && library.bytes().all(|c| c > b' ')
        };
        found.unless(sound, &subject, || {
            format!("{library:?} is no soname and no absolute path or pattern")
        });
    }
}

fn system_user(user: &SystemUser, found: &mut Found) {
    account("user", &user.name, found);
    for name in user.groups.iter().chain(&user.group) {
        account("group", name, found);
    }
    if let Some(home) = &user.home {
        found.unless(is_absolute(home), &Subject::Setup, || {
            format!("the home of {} is no absolute path: {home:?}", user.name)
        });
    }
    let comment = user.comment.as_deref().unwrap_or_default();
    // Both would end the field in /etc/passwd.
    found.unless(
        !comment.contains([':', '\n', '\0']),
        &Subject::Setup,
        || format!("the comment of {} has a colon or a line end", user.name),
    );
}

fn account(what: &str, name: &str, found: &mut Found) {
    found.unless(is_account(name), &Subject::Setup, || {
        format!("{name:?} is no {what}'s name")
    });
}

fn setup_directory(directory: &SetupDirectory, found: &mut Found) {
    let path = &directory.path;
    found.unless(
        is_below_state(path) && is_absolute(path),
        &Subject::Setup,
        || format!("directory {path:?} is not below /var, /run, /srv or /etc"),
    );
    if let Some(mode) = &directory.mode {
        found.unless(is_octal_mode(mode), &Subject::Setup, || {
            format!("{mode:?} of {path} is no mode in octal")
        });
    }
    for name in directory.owner.iter().chain(&directory.group) {
        account("user or group", name, found);
    }
}

/// Below what is the machine's, and not a package's.
fn is_below_state(path: &str) -> bool {
    ["/var/", "/run/", "/srv/", "/etc/"]
        .iter()
        .any(|top| path.starts_with(top))
}
