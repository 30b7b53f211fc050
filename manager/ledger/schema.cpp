#include <ledger/schema.hpp>

#include <iterator>

namespace sublet::manager {
namespace {

constexpr std::int64_t kVersion = 3;
constexpr std::int64_t kApplication = 0x53626C74;  ///< "Sblt": which program's file this is.

constexpr const char* kTables = R"(
CREATE TABLE nodes (
  id INTEGER PRIMARY KEY,
  node_id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  cores INTEGER NOT NULL,
  memory_bytes INTEGER NOT NULL,
  cpuset TEXT NOT NULL,
  addresses TEXT NOT NULL,
  widest_worker INTEGER NOT NULL);
CREATE INDEX nodes_by_name ON nodes (name);
CREATE TABLE users (
  id INTEGER PRIMARY KEY,
  uid INTEGER NOT NULL,
  name TEXT NOT NULL,
  UNIQUE (uid, name));
CREATE TABLE prices (
  id INTEGER PRIMARY KEY,
  since_ms INTEGER NOT NULL,
  core_hour REAL NOT NULL,
  memory_gib_hour REAL NOT NULL,
  hot_poll_hour REAL NOT NULL,
  compute_hour REAL NOT NULL);
CREATE TABLE leases (
  id INTEGER PRIMARY KEY,
  user INTEGER NOT NULL REFERENCES users (id),
  owner TEXT NOT NULL,
  slurm_job INTEGER NOT NULL,
  price INTEGER NOT NULL REFERENCES prices (id));
CREATE INDEX leases_by_job ON leases (slurm_job) WHERE slurm_job != 0;
CREATE TABLE ledger (
  id INTEGER PRIMARY KEY,
  lease INTEGER NOT NULL REFERENCES leases (id),
  part INTEGER NOT NULL,
  node INTEGER NOT NULL REFERENCES nodes (id),
  cores INTEGER NOT NULL,
  memory_bytes INTEGER NOT NULL,
  node_cores INTEGER NOT NULL,
  begin_ms INTEGER NOT NULL,
  end_ms INTEGER,
  how INTEGER,
  reason TEXT,
  core_ms INTEGER NOT NULL DEFAULT 0,
  hot_poll_ns INTEGER NOT NULL DEFAULT 0,
  compute_ns INTEGER NOT NULL DEFAULT 0,
  calls INTEGER NOT NULL DEFAULT 0,
  bytes_in INTEGER NOT NULL DEFAULT 0,
  bytes_out INTEGER NOT NULL DEFAULT 0,
  UNIQUE (lease, part, node));
CREATE INDEX ledger_by_time ON ledger (begin_ms);
CREATE TABLE grants (
  entry INTEGER PRIMARY KEY REFERENCES ledger (id),
  workers INTEGER NOT NULL,
  cores_per_worker INTEGER NOT NULL,
  token BLOB NOT NULL,
  expires_ms INTEGER NOT NULL,
  hot_timeout_ms INTEGER NOT NULL,
  slots INTEGER NOT NULL,
  arena_bytes INTEGER NOT NULL,
  claimed INTEGER NOT NULL);
CREATE TABLE numbers (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  unused_lease INTEGER NOT NULL);
INSERT INTO numbers VALUES (1, 0);
)";

/// What each version has added to the one before, the first of these to version 1.
constexpr const char* kAdditions[] = {R"(
ALTER TABLE grants ADD COLUMN notice_ms INTEGER NOT NULL DEFAULT 5000;
ALTER TABLE grants ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
CREATE INDEX ledger_by_end ON ledger (end_ms);
CREATE TABLE quotas (
  uid INTEGER PRIMARY KEY,
  cores INTEGER,
  core_seconds INTEGER);
)",
                                      R"(
ALTER TABLE nodes ADD COLUMN gpus TEXT NOT NULL DEFAULT '';
ALTER TABLE prices ADD COLUMN gpu_hour REAL NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN gpus INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN node_gpus INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN gpu_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE grants ADD COLUMN gpus_per_worker INTEGER NOT NULL DEFAULT 0;
)"};
static_assert(std::size(kAdditions) == kVersion - 1);

/// From `version` to the newest, in one commit.
void upgrade(Database& database, std::int64_t version) {
  database.run("BEGIN IMMEDIATE");
  for (std::int64_t from = version; from < kVersion; ++from) database.run(kAdditions[from - 1]);
  database.run(("PRAGMA user_version = " + std::to_string(kVersion) + "; COMMIT").c_str());
}

}  // namespace

void prepare_schema(Database& database) {
  const std::int64_t version = database.number("PRAGMA user_version");
  const std::int64_t application = database.number("PRAGMA application_id");
  const bool empty = database.number("SELECT count(*) FROM sqlite_master") == 0;
  if (empty && version == 0) {
    database.run("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN IMMEDIATE");
    database.run(kTables);
    database.run(("PRAGMA application_id = " + std::to_string(kApplication) +
                  "; PRAGMA user_version = 1; COMMIT")
                     .c_str());
    upgrade(database, 1);
    return;
  }
  if (application != kApplication) {
    throw Error(ErrorKind::kInvalid, database.path() +
                                         " is another program's SQLite file, not Sublet's ledger; "
                                         "give --state-dir a directory of its own");
  }
  if (version > kVersion) {
    throw Error(ErrorKind::kInvalid,
                database.path() + " is of version " + std::to_string(version) +
                    ", and this resource manager knows versions up to " + std::to_string(kVersion) +
                    "; start the newer one, or give this one another --state-dir. Nothing was "
                    "changed");
  }
  if (version >= 1 && version < kVersion) upgrade(database, version);
}

}  // namespace sublet::manager
