//! What must hold of a house whenever nothing is going on: DESIGN's invariants, looked at from
//! outside as far as that can be done.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Before, House, REACHED, active};
use crate::node::list;
use crate::{store, wait};

/// Prints each program that runs, which library and text its view has, what has the library mapped,
/// the configuration file, and the mount namespaces.
const LOOK: &str = r#"
cd /proc
for dir in [0-9]*; do
	read -r comm <$dir/comm || continue
	echo "runs $dir $comm"
	readlink $dir/ns/mnt | sed 's/^/space /'
done 2>/dev/null
for maps in $(grep -l 'libanswer\.so\.1' [0-9]*/maps 2>/dev/null); do
	dir=${maps%/maps}
	echo "view $dir $(stat -c %i $dir/root$2) $(cat $dir/root/usr/share/answer/answer.txt)"
	sed -n "/libanswer\\.so\\.1/s/^/maps $dir /p" $maps
done 2>/dev/null
echo "config $(cat "$1"/etc/answer.conf 2>/dev/null)"
"#;

/// What [`LOOK`] saw.
#[derive(Debug, Default)]
struct Seen {
    /// `PID COMMAND`
    runs: Vec<String>,
    /// By pid: the inode of the library in its view, and the text there.
    views: BTreeMap<u64, (String, String)>,
    /// By pid: inodes of the library that it has mapped.
    maps: BTreeMap<u64, Vec<String>>,
    config: String,
    spaces: BTreeSet<String>,
}

impl Seen {
    fn parse(text: &str) -> Result<Self> {
        let mut seen = Self::default();
        for line in text.lines() {
            let (kind, rest) = line.split_once(' ').context("a line of two words")?;
            let mut words = rest.split_whitespace().map(ToOwned::to_owned);
            match kind {
                "runs" => seen.runs.push(rest.to_owned()),
                "config" => rest.clone_into(&mut seen.config),
                "space" => drop(seen.spaces.insert(rest.to_owned())),
                "view" => {
                    let pid = words.next().context("a pid")?.parse()?;
                    let inode = words.next().context("an inode")?;
                    seen.views
                        .insert(pid, (inode, words.next().unwrap_or_default()));
                }
                _ => {
                    let pid = words.next().context("a pid")?.parse()?;
                    let inode = words.nth(4).context("an inode")?;
                    seen.maps.entry(pid).or_default().push(inode);
                }
            }
        }
        Ok(seen)
    }
}

impl House {
    /// Waits until all is as it has to be after a change that may or may not have happened;
    /// whether it has.
    pub fn settle(&self, before: &Before) -> Result<bool> {
        let last = RefCell::new(String::new());
        let look = || match self.wrong(before)? {
            Ok(happened) => Ok(Some(happened)),
            Err(wrong) => {
                *last.borrow_mut() = wrong;
                Ok(None)
            }
        };
        let found = wait::until("the node is whole", look);
        found.with_context(|| last.take())
    }

    /// What is not as it has to be, or whether the change has happened.
    fn wrong(&self, before: &Before) -> Result<Result<bool, String>> {
        let output = self.node.run(&["pkgtool", "--json", "status"])?;
        let Ok(status) = serde_json::from_slice::<Value>(&output.stdout) else {
            return Ok(Err(String::from_utf8_lossy(&output.stderr).into_owned()));
        };
        if !status["change"].is_null() || status["sysmgrd"] != json!(true) {
            return Ok(Err(format!("a change or sysmgrd: {status}")));
        }
        let now = active(&status)?;
        if now != before.old && now != before.new {
            return Ok(Err(format!("neither set: {status}")));
        }
        let happened = now == before.new && before.old != before.new;
        let history = self.node.json(&["history", "-n", "1"])?;
        let root = self.node.root();
        let look = self.node.ok(&[
            "sh".as_ref(),
            "-c".as_ref(),
            LOOK.as_ref(),
            "sh".as_ref(),
            root.as_os_str(),
            self.library.as_ref(),
        ])?;
        // A process that ends meanwhile leaves half a line.
        let seen = match Seen::parse(&look) {
            Ok(seen) => seen,
            Err(error) => return Ok(Err(format!("{error:#}: {look}"))),
        };
        let state = root.join("var/lib/changeover");
        let wrong = [
            history_differs(&history[0], before, happened),
            self.lists_differ(&status)?,
            self.processes_differ(&status, &seen)?,
            self.mapped_differs(&status, now, &seen)?,
            self.config_differs(now, &seen),
            self.pids_differ(&history[0], before, happened)?,
            self.unheard(),
            // Something may just be removed from it.
            store::wrong(&state, status["committed"].as_u64())
                .unwrap_or_else(|error| Some(format!("{error:#}"))),
        ];
        Ok(wrong.into_iter().flatten().next().map_or(Ok(happened), Err))
    }

    /// `ps` and `status` say the same, and every process is ready in a generation that is right.
    fn lists_differ(&self, status: &Value) -> Result<Option<String>> {
        let listed = self.node.json(&["ps"])?;
        if listed != status["processes"] {
            return Ok(Some(format!("ps: {listed}; status: {status}")));
        }
        let names: Vec<_> = list(&listed)?.iter().map(|one| &one["name"]).collect();
        let right = names == self.names
            && (status["generation"] == status["committed"] || status["trial"] == json!(true))
            && list(&listed)?.iter().all(|one| {
                let reached = one["name"] != "apart";
                let there = !reached || one["generation"] == status["generation"];
                one["state"] == "ready" && there
            });
        Ok((!right).then(|| format!("ps: {listed}; status: {status}")))
    }

    /// Each process runs once, as the one that is listed; nothing else of the packages does, and
    /// no mount namespace is left over.
    fn processes_differ(&self, status: &Value, seen: &Seen) -> Result<Option<String>> {
        let ours = |line: &&String| {
            let comm = line.split_once(' ').map_or("", |(_, comm)| comm);
            self.names.contains(&comm) || comm == "vote"
        };
        let mut run: Vec<String> = seen.runs.iter().filter(ours).cloned().collect();
        let mut listed: Vec<String> = list(&status["processes"])?
            .iter()
            .map(|one| {
                format!(
                    "{} {}",
                    one["pid"],
                    one["name"].as_str().unwrap_or_default()
                )
            })
            .collect();
        run.sort();
        listed.sort();
        if run != listed {
            return Ok(Some(format!("runs: {run:?}; listed: {listed:?}")));
        }
        // The node's own and at most one for each process.
        let most = self.names.len() + 1;
        Ok((seen.spaces.len() > most).then(|| format!("mount namespaces: {seen:?}")))
    }

    /// The reached processes have the library of their view mapped, and no other; and their view
    /// is the one that is active.
    fn mapped_differs(&self, status: &Value, now: u64, seen: &Seen) -> Result<Option<String>> {
        let users: Vec<u64> = list(&status["processes"])?
            .iter()
            .filter(|one| REACHED.iter().any(|name| one["name"] == *name))
            .filter_map(|one| one["pid"].as_u64())
            .collect();
        let text = self.version_text(now);
        let right = |pid: &u64| {
            let (inodes, view) = (seen.maps.get(pid)?, seen.views.get(pid)?);
            Some(inodes.iter().all(|inode| *inode == view.0) && view.1 == text)
        };
        let wrong = users.iter().find(|pid| right(pid) != Some(true));
        let stray = seen.maps.keys().find(|pid| !users.contains(pid));
        Ok(wrong.or(stray).map(|pid| {
            let (maps, views) = (&seen.maps, &seen.views);
            format!("{pid} of {users:?}: mapped {maps:?}, in view {views:?}, active {now}")
        }))
    }

    /// What the library's package has beside the library, and below `/etc`.
    fn version_text(&self, version: u64) -> String {
        if self.names.contains(&"listener") {
            version.to_string()
        } else {
            String::new()
        }
    }

    fn config_differs(&self, version: u64, seen: &Seen) -> Option<String> {
        let wanted = self.version_text(version);
        let config = &seen.config;
        (*config != wanted).then(|| format!("/etc/answer.conf has {config:?}, not {wanted:?}"))
    }

    /// Nobody that the plan did not name was restarted, and nobody where nothing was touched.
    fn pids_differ(&self, last: &Value, before: &Before, happened: bool) -> Result<Option<String>> {
        let report = &last["report"];
        let rolled_back =
            report["outcome"] == "rolled-back" || report["failure"] == "rollback-failed";
        for (name, before) in self.names.iter().zip(&before.pids) {
            // It starts itself anew with each new sysmgrd.
            if *name == "listener" {
                continue;
            }
            let now = self.node.pid(name)?;
            let reached = REACHED.contains(name);
            let may = reached && (happened || rolled_back);
            let must = reached && happened;
            if (now != *before && !may) || (now == *before && must) {
                return Ok(Some(format!(
                    "{name}: {before}, now {now}; history: {last}"
                )));
            }
        }
        Ok(None)
    }

    /// Whoever was told that a change comes was told of its end, or heard that nobody can tell.
    fn unheard(&self) -> Option<String> {
        let file = self.node.root().join("var/lib/listener.log");
        let text = fs_err::read_to_string(&file).ok()?;
        let mut waits: Option<&str> = None;
        for line in text.lines() {
            let mut words = line.split(' ');
            match (words.next(), words.next()) {
                (Some("prepare"), Some(change)) => waits = Some(change),
                (Some("ended"), Some(change)) if waits == Some(change) => waits = None,
                (Some("disconnected" | "started"), _) => waits = None,
                _ => {}
            }
        }
        waits.map(|change| format!("the end of change {change} was not heard: {text}"))
    }
}

fn history_differs(last: &Value, before: &Before, happened: bool) -> Option<String> {
    let begun = last["change"].as_u64() != Some(before.change);
    let done = last["report"]["outcome"] == "done";
    let agrees = if begun { done == happened } else { !happened };
    let ended = !last["ended"].is_null();
    let agrees = agrees || before.either;
    (!agrees || !ended).then(|| format!("happened: {happened}; history: {last}"))
}
