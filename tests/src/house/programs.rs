//! The packages of a house.

use std::path::PathBuf;

use anyhow::Result;

use super::{BAD, Plan, example};
use crate::builder::{Built, Workshop};

/// `gate("x")` returns at once where the test has closed no gate of this name, and else tells
/// that it stands there and waits until it is let through.
const PRELUDE: &str = r#"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
static void gate(const char *name)
{
	char here[100], go[100];
	snprintf(here, sizeof here, "/var/lib/gates/%s", name);
	snprintf(go, sizeof go, "/var/lib/gates/%s.go", name);
	struct pollfd wait = { open(go, O_RDONLY | O_NONBLOCK | O_CLOEXEC), POLLIN, 0 };
	int tell = open(here, O_WRONLY | O_CLOEXEC);
	if (tell < 0 || wait.fd < 0) return;
	if (write(tell, "!", 1) == 1) poll(&wait, 1, -1);
}
static void ready(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (!path) return;
	strncpy(to.sun_path, path, sizeof to.sun_path - 1);
	if (sendto(fd, "READY=1", 7, 0, (struct sockaddr *) &to, sizeof to) < 0) perror("ready");
	close(fd);
}
static void until_term(void)
{
	sigset_t term;
	int got;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, 0);
	/* Once: what is said while no sysmgrd runs is heard by the next one. */
	ready();
	gate("said");
	sigwait(&term, &got);
}
"#;

const PROCESSES: &str = r#"
[[process]]
name = "direct"
exec = ["/usr/bin/direct"]
evaluate = ["/usr/bin/vote"]
ready = "notify"

[[process]]
name = "behind"
exec = ["/usr/bin/behind"]
after = ["direct"]
ready = "notify"

[[process]]
name = "apart"
exec = ["/usr/bin/apart"]
ready = "notify"
"#;

/// One version of the library; with it come a text and a configuration file.
pub(super) fn library(workshop: &Workshop, version: u64, plan: Plan) -> Result<Built> {
    let answer = if version == BAD { 0 } else { version };
    let code = format!("int answer(void) {{ return {answer}; }}\n");
    let recipe = workshop.package("libanswer", &version.to_string())?;
    let mut recipe = recipe
        .requires(&["base"])
        .library("libanswer.so.1", &code, &[])?;
    if plan.told {
        let text = format!("{version}\n");
        recipe = recipe
            .text("answer.txt", &text, "/usr/share/answer/")?
            .config("answer.conf", &text)?;
    }
    recipe.build()
}

/// The processes that a change restarts, and one that it does not.
pub(super) fn users(workshop: &Workshop, library: &Built) -> Result<Built> {
    let uses = [library.part("libanswer.so.1")];
    let user = format!(
        "{PRELUDE}int answer(void);\nint main(void) {{ if (answer() < 1) return 1; \
         gate(\"start\"); until_term(); gate(\"stop\"); return 0; }}\n"
    );
    let behind = user
        .replace("gate(\"start\");", "")
        .replace("gate(\"stop\");", "");
    let apart = format!("{PRELUDE}int main(void) {{ until_term(); return 0; }}\n");
    let vote = format!("{PRELUDE}int main(void) {{ gate(\"ask\"); return 0; }}\n");
    workshop
        .package("programs", "1")?
        .requires(&["libanswer", "base"])
        .program("direct", &user, &uses)?
        .program("behind", &behind, &uses)?
        .program("apart", &apart, &[])?
        .program("vote", &vote, &[])?
        .lines(PROCESSES)
        .build()
}

/// The process that is told: `tests/examples/listener.rs`.
pub(super) fn listener(workshop: &Workshop) -> Result<Built> {
    let to = format!("{}/", workshop.library_dir());
    let lib = PathBuf::from(workshop.library_dir().replacen("/usr", "", 1));
    let process = "[[process]]\nname = \"listener\"\nexec = [\"/usr/bin/listener\"]\n\
                   kind = \"self-managing\"\nuses-files = [\"/usr/share/answer/**\"]\n\
                   ready = \"notify\"\nrestart = \"always\"\n\
                   environment = { LISTENER_LOG = \"/var/lib/listener.log\" }\n";
    workshop
        .package("listener", "1")?
        .requires(&["libanswer", "base"])
        .copy(&example("listener")?, "/usr/bin/")?
        .copy(&lib.join("libgcc_s.so.1"), &to)?
        .copy(&lib.join("libm.so.6"), &to)?
        .lines(process)
        .build()
}
