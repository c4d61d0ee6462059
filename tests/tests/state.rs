//! State that an older program cannot read, with a real database: it is copied, migrated, brought
//! back, or the change is refused before it begins.

use std::path::PathBuf;

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};
use tests::builder::{Built, Workshop};
use tests::node::Node;

/// Keeps a table whose column is called otherwise from schema 2 on, adds a row at each start, and
/// refuses a file of another schema than its own.
const LEDGER: &str = r#"
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static sqlite3 *db;

static void run(const char *sql) {
    char *why = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &why) == SQLITE_OK) return;
    printf("%s: %s\n", sql, why);
    exit(5);
}

static int schema(void) {
    sqlite3_stmt *statement;
    int found = -1;
    if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL) != SQLITE_OK) exit(6);
    if (sqlite3_step(statement) == SQLITE_ROW) found = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return found;
}

static void ready(void) {
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    strncpy(to.sun_path, getenv("NOTIFY_SOCKET"), sizeof to.sun_path - 1);
    int s = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (sendto(s, "READY=1", 7, 0, (struct sockaddr *)&to, sizeof to) < 0) exit(8);
}

int main(int count, char **words) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (sqlite3_open("/var/lib/ledger/ledger.db", &db) != SQLITE_OK) return 4;
    if (count > 1) {
        int from = atoi(getenv("STATE_FROM")), to = atoi(getenv("STATE_TO"));
        printf("state %d to %d\n", from, to);
        if (schema() == from)
            run(to == 2 ? "BEGIN; ALTER TABLE entry RENAME COLUMN name TO title; PRAGMA user_version = 2; COMMIT"
                        : "BEGIN; ALTER TABLE entry RENAME COLUMN title TO name; PRAGMA user_version = 1; COMMIT");
        return 0;
    }
    if (schema() == 0) run("CREATE TABLE entry (" COLUMN "); PRAGMA user_version = " TEXT);
    if (schema() != atoi(TEXT)) {
        printf("ledger.db has schema %d, this program has %s\n", schema(), TEXT);
        return 7;
    }
    run("INSERT INTO entry (" COLUMN ") VALUES ('" ENTRY "')");
    if (FAILS) { puts("cannot come up"); return 9; }
    ready();
    for (;;) pause();
}
"#;

struct House {
    workshop: Workshop,
    library: PathBuf,
    base: Built,
}

impl House {
    fn build() -> Result<Self> {
        let workshop = Workshop::new()?;
        let dir = PathBuf::from(workshop.library_dir());
        let library = dir.join("libsqlite3.so.0");
        let base = workshop
            .package("base", "1")?
            .copy(&dir.join("libc.so.6"), &format!("{}/", dir.display()))?
            .copy(&dir.join("libm.so.6"), &format!("{}/", dir.display()))?
            .copy(&library, &format!("{}/", dir.display()))?
            .copy("/lib64/ld-linux-x86-64.so.2".as_ref(), "/usr/lib64/")?
            .build()?;
        Ok(Self {
            workshop,
            library,
            base,
        })
    }

    /// A ledger of this schema; `lines` say how its state is taken over.
    fn ledger(&self, version: &str, schema: u32, fails: bool, lines: &str) -> Result<Built> {
        let column = if schema == 1 { "name" } else { "title" };
        let head = format!(
            "#define TEXT \"{schema}\"\n#define COLUMN \"{column}\"\n#define ENTRY \"{version}\"\n\
             #define FAILS {}\n",
            u8::from(fails)
        );
        self.workshop
            .package("ledger", version)?
            .requires(&["base"])
            .program(
                "ledger",
                &format!("{head}{LEDGER}"),
                std::slice::from_ref(&self.library),
            )?
            .process("ledger")
            .lines(&format!(
                "ready = \"notify\"\nstate-directory = [{{ name = \"ledger\" }}]\n\
                 state-version = {schema}\n{lines}"
            ))
            .build()
    }

    /// A node on which the ledger of schema 1 runs.
    fn node(&self) -> Result<Node> {
        let node = Node::start()?;
        let old = self.ledger("1", 1, false, "")?;
        node.add(&[&self.base.file, &old.file])?;
        node.activate(&["ledger=1"])?;
        assert_eq!(entries(&node)?, (1, texts(&["1"])));
        Ok(node)
    }
}

/// The file's schema and its rows.
fn entries(node: &Node) -> Result<(u32, Vec<String>)> {
    let file = node.root().join("var/lib/ledger/ledger.db");
    let db = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .with_context(|| format!("{}", file.display()))?;
    let schema = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let mut statement = db.prepare("SELECT * FROM entry ORDER BY rowid")?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok((schema, rows.collect::<Result<_, _>>()?))
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|one| (*one).to_owned()).collect()
}

const MIGRATE: &str = "migrate = [\"/usr/bin/ledger\", \"migrate\"]\n";
const MIGRATE_BACK: &str = "migrate-back = [\"/usr/bin/ledger\", \"migrate\"]\n";
const SNAPSHOT: &str = "snapshot = true\n";

#[test]
fn a_copy_of_the_state_is_put_back_by_a_rollback() -> Result<()> {
    let house = House::build()?;
    let node = house.node()?;
    let new = house.ledger("2", 2, false, &format!("{MIGRATE}{SNAPSHOT}"))?;
    node.add(&[&new.file])?;
    node.activate(&["ledger=2"])?;
    assert_eq!(entries(&node)?, (2, texts(&["1", "2"])));
    let report = node.json(&["rollback", "--yes"])?;
    assert_eq!(report["outcome"], "done", "{report}");
    node.pid("ledger")?;
    // What schema 2 wrote is gone with it; the old program has added its row again.
    assert_eq!(entries(&node)?, (1, texts(&["1", "1"])));
    Ok(())
}

#[test]
fn migrate_back_keeps_what_the_newer_program_wrote() -> Result<()> {
    let house = House::build()?;
    let node = house.node()?;
    let new = house.ledger("2", 2, false, &format!("{MIGRATE}{MIGRATE_BACK}"))?;
    node.add(&[&new.file])?;
    node.activate(&["ledger=2"])?;
    node.json(&["rollback", "--yes"])?;
    node.pid("ledger")?;
    assert_eq!(entries(&node)?, (1, texts(&["1", "2", "1"])));
    Ok(())
}

#[test]
fn a_program_that_fails_after_it_migrated_leaves_the_state_as_it_was() -> Result<()> {
    let house = House::build()?;
    for (lines, expected) in [
        (format!("{MIGRATE}{SNAPSHOT}"), texts(&["1", "1"])),
        (format!("{MIGRATE}{MIGRATE_BACK}"), texts(&["1", "2", "1"])),
    ] {
        let node = house.node()?;
        let failing = house.ledger("2", 2, true, &lines)?;
        node.add(&[&failing.file])?;
        let said = node.run(&["pkgtool", "--json", "activate", "--yes", "ledger=2"])?;
        assert_eq!(said.status.code(), Some(7), "rolled back");
        let said = String::from_utf8(said.stdout)?;
        assert!(said.contains("cannot come up"), "{said}");
        node.pid("ledger")?;
        assert_eq!(entries(&node)?, (1, expected));
    }
    Ok(())
}

#[test]
fn what_cannot_be_taken_back_is_refused_until_it_is_asked_for_and_then_kept() -> Result<()> {
    let house = House::build()?;
    let node = house.node()?;
    let failing = house.ledger("2", 2, true, MIGRATE)?;
    node.add(&[&failing.file])?;
    let words = ["pkgtool", "activate", "--yes", "ledger=2"];
    let refused = node.run(&words)?;
    assert_eq!(refused.status.code(), Some(4));
    let shown = String::from_utf8(refused.stdout)? + &String::from_utf8(refused.stderr)?;
    assert!(shown.contains("--one-way"), "{shown}");
    assert_eq!(entries(&node)?, (1, texts(&["1"])), "nothing was touched");
    let mut words = words.to_vec();
    words.extend(["--one-way", "--json"]);
    let kept = node.run(&words)?;
    assert_eq!(kept.status.code(), Some(8), "not rolled back by itself");
    assert_eq!(entries(&node)?.0, 2);
    Ok(())
}

#[test]
fn a_migration_that_fails_costs_nothing() -> Result<()> {
    let house = House::build()?;
    let node = house.node()?;
    let lines = format!("migrate = [\"/usr/bin/absent\"]\n{SNAPSHOT}");
    let new = house.ledger("2", 2, false, &lines)?;
    node.add(&[&new.file])?;
    let said = node.run(&["pkgtool", "--json", "activate", "--yes", "ledger=2"])?;
    assert_eq!(said.status.code(), Some(7));
    let said = String::from_utf8(said.stdout)?;
    assert!(said.contains("/usr/bin/absent"), "{said}");
    node.pid("ledger")?;
    assert_eq!(entries(&node)?, (1, texts(&["1", "1"])));
    Ok(())
}
