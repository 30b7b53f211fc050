#pragma once

#include <sublet/result.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace sublet::manager {

/// What to do with a file that is damaged.
inline constexpr const char* kHowToRestore =
    "stop the resource manager, move the files of that name aside (do not delete them) and restore "
    "a "
    "backup, or start with a new ledger; docs/how-to/ledger.md says how";

/// A connection to an SQLite file. What fails throws an Error that names the file and what to do:
/// kOverloaded when it may work later (the disk is full), kInvalid when somebody must mend
/// something first. Whoever calls from another folder gets a Result instead.
///
/// Owner: whoever opened it; one thread at a time.
class Database {
 public:
  enum class Access { kWrite, kRead };

  /// The file must exist.
  Database(const std::string& path, Access access);

  /// One or more statements without values and results.
  void run(const char* sql);
  /// The first column of the first row; 0 when there is none.
  std::int64_t number(const char* sql);
  std::string text(const char* sql);

  /// Undoes what has been begun and not committed. Nothing when there is nothing.
  void roll_back() noexcept;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  friend class Statement;
  struct Close {
    void operator()(sqlite3* database) const noexcept;
  };
  [[noreturn]] void fail(const std::string& doing) const;

  std::string path_;
  std::unique_ptr<sqlite3, Close> database_;
};

/// A statement that is prepared once and run often. Columns and parameters count from 0.
class Statement {
 public:
  Statement(Database& database, const std::string& sql);

  Statement& bind(std::int64_t value);
  Statement& bind(double value);
  Statement& bind(std::string_view text);
  Statement& bind(std::span<const std::byte> blob);
  Statement& bind_null();

  /// Runs it to its end, and is ready for other values. Texts and blobs that were bound must live
  /// until then.
  void run();
  /// The same for one that inserts a row: its rowid, 0 when none was added.
  std::int64_t run_insert();
  /// True when there is a row to read; once there is none, it is ready for other values.
  bool next();
  /// Reads no more rows.
  void reset() noexcept;

  [[nodiscard]] std::int64_t number(int column) const;
  [[nodiscard]] double real(int column) const;
  [[nodiscard]] bool is_null(int column) const;
  [[nodiscard]] std::string text(int column) const;
  [[nodiscard]] std::span<const std::byte> blob(int column) const;

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept;
  };
  void check(int code);

  Database& database_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int bound_ = 0;
};

}  // namespace sublet::manager
