#include <ledger/database.hpp>
#include <sqlite3.h>

#include <cerrno>

namespace sublet::manager {
namespace {

/// For a lock that somebody else has, an operator's shell for instance.
constexpr int kBusyMs = 2000;

Error error_of(sqlite3* database, int code, const std::string& path, const std::string& doing) {
  const std::string what = doing + " " + path + ": " +
                           (database == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(database));
  const int system = database == nullptr ? 0 : sqlite3_system_errno(database);
  switch (code & 0xFF) {
    case SQLITE_FULL:
      return Error(ErrorKind::kOverloaded,
                   what + "; make room on its file system, and it goes on by itself", ENOSPC);
    case SQLITE_IOERR:
      return Error(ErrorKind::kOverloaded,
                   what + " (" + sqlite3_errstr(sqlite3_extended_errcode(database)) +
                       "); make room on its file system, see that it is healthy and that "
                       "`ulimit -f` allows files as large, and it goes on by itself",
                   system);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Error(ErrorKind::kOverloaded,
                   what +
                       "; end the program that has it locked, an sqlite3 shell with an open "
                       "transaction for instance, and it goes on by itself");
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
    case SQLITE_AUTH:
      return Error(ErrorKind::kOverloaded,
                   what +
                       "; make it and its directory writable for the resource manager's user, on a "
                       "file system that is not mounted read-only, and it goes on by itself",
                   system);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Error(ErrorKind::kInvalid, what + "; " + kHowToRestore);
    default:
      return Error(ErrorKind::kInternal, what, system);
  }
}

}  // namespace

// ---- the connection ----

Database::Database(const std::string& path, Access access) : path_(path) {
  sqlite3* opened = nullptr;
  const int how = access == Access::kWrite ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
  const int code = sqlite3_open_v2(path.c_str(), &opened, how | SQLITE_OPEN_NOMUTEX, nullptr);
  database_.reset(opened);
  if (code != SQLITE_OK) throw error_of(opened, code, path_, "opening the ledger");
  sqlite3_extended_result_codes(opened, 1);
  sqlite3_busy_timeout(opened, kBusyMs);
}

void Database::Close::operator()(sqlite3* database) const noexcept {
  sqlite3_close_v2(database);
}

void Database::fail(const std::string& doing) const {
  throw error_of(database_.get(), sqlite3_errcode(database_.get()), path_, doing);
}

void Database::run(const char* sql) {
  if (sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
    fail("writing the ledger");
  }
}

std::int64_t Database::number(const char* sql) {
  Statement statement(*this, sql);
  return statement.next() ? statement.number(0) : 0;
}

std::string Database::text(const char* sql) {
  Statement statement(*this, sql);
  return statement.next() ? statement.text(0) : std::string();
}

void Database::roll_back() noexcept {
  if (sqlite3_get_autocommit(database_.get()) != 0) return;
  sqlite3_exec(database_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
}

// ---- a statement ----

Statement::Statement(Database& database, const std::string& sql) : database_(database) {
  sqlite3_stmt* prepared = nullptr;
  const int code =
      sqlite3_prepare_v3(database.database_.get(), sql.c_str(), static_cast<int>(sql.size()),
                         SQLITE_PREPARE_PERSISTENT, &prepared, nullptr);
  statement_.reset(prepared);
  check(code);
}

void Statement::Finalize::operator()(sqlite3_stmt* statement) const noexcept {
  sqlite3_finalize(statement);
}

void Statement::check(int code) {
  if (code == SQLITE_OK) return;
  const Error error =
      error_of(database_.database_.get(), code, database_.path_, "using the ledger");
  reset();
  throw error;
}

Statement& Statement::bind(std::int64_t value) {
  check(sqlite3_bind_int64(statement_.get(), ++bound_, value));
  return *this;
}

Statement& Statement::bind(double value) {
  check(sqlite3_bind_double(statement_.get(), ++bound_, value));
  return *this;
}

Statement& Statement::bind(std::string_view text) {
  check(sqlite3_bind_text(statement_.get(), ++bound_, text.data(), static_cast<int>(text.size()),
                          SQLITE_STATIC));
  return *this;
}

Statement& Statement::bind(std::span<const std::byte> blob) {
  check(sqlite3_bind_blob(statement_.get(), ++bound_, blob.data(), static_cast<int>(blob.size()),
                          SQLITE_STATIC));
  return *this;
}

Statement& Statement::bind_null() {
  check(sqlite3_bind_null(statement_.get(), ++bound_));
  return *this;
}

void Statement::run() {
  while (next()) {
  }
}

std::int64_t Statement::run_insert() {
  sqlite3_set_last_insert_rowid(database_.database_.get(), 0);
  run();
  return sqlite3_last_insert_rowid(database_.database_.get());
}

bool Statement::next() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) check(code);
  reset();
  return false;
}

void Statement::reset() noexcept {
  sqlite3_reset(statement_.get());
  bound_ = 0;
}

std::int64_t Statement::number(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

double Statement::real(int column) const {
  return sqlite3_column_double(statement_.get(), column);
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

std::string Statement::text(int column) const {
  const auto* const text = sqlite3_column_text(statement_.get(), column);
  if (text == nullptr) return {};
  return {reinterpret_cast<const char*>(text),
          static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

std::span<const std::byte> Statement::blob(int column) const {
  const void* const data = sqlite3_column_blob(statement_.get(), column);
  return {static_cast<const std::byte*>(data),
          static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

}  // namespace sublet::manager
