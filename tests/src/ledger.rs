//! A program whose state an older version of it cannot read, with a real database.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OpenFlags};

use crate::builder::{Built, Workshop};
use crate::node::Node;

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

/// What ledgers are made of.
#[derive(Debug)]
pub struct Ledgers {
    workshop: Workshop,
    library: PathBuf,
    /// What every version needs.
    pub base: Built,
}

impl Ledgers {
    /// Builds what every version needs.
    pub fn build() -> Result<Self> {
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
    pub fn ledger(&self, version: &str, schema: u32, fails: bool, lines: &str) -> Result<Built> {
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
    pub fn node(&self) -> Result<Node> {
        let node = Node::start()?;
        self.move_in(&node)?;
        Ok(node)
    }

    /// Has the ledger of schema 1 run on a fresh node.
    pub fn move_in(&self, node: &Node) -> Result<()> {
        let old = self.ledger("1", 1, false, "")?;
        node.add(&[&self.base.file, &old.file])?;
        node.activate(&["ledger=1"])?;
        let found = entries(node)?;
        ensure!(found == (1, texts(&["1"])), "{found:?}");
        Ok(())
    }
}

/// The file's schema and its rows.
pub fn entries(node: &Node) -> Result<(u32, Vec<String>)> {
    let file = node.root().join("var/lib/ledger/ledger.db");
    let db = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .with_context(|| format!("{}", file.display()))?;
    let schema = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let mut statement = db.prepare("SELECT * FROM entry ORDER BY rowid")?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok((schema, rows.collect::<Result<_, _>>()?))
}

/// Rows.
pub fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|one| (*one).to_owned()).collect()
}

/// The state is taken over.
pub const MIGRATE: &str = "migrate = [\"/usr/bin/ledger\", \"migrate\"]\n";
/// It can be brought back.
pub const MIGRATE_BACK: &str = "migrate-back = [\"/usr/bin/ledger\", \"migrate\"]\n";
/// It is copied before.
pub const SNAPSHOT: &str = "snapshot = true\n";
