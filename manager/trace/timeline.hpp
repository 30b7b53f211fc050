#pragma once

#include <sublet/result.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace sublet::trace {

/// What Session::write_trace and its MPI counterpart write, read again: slices in rows. A value.
struct Timeline {
  struct Slice {
    std::uint32_t name = 0;  ///< Its place in `names`.
    std::int64_t begin_ns = 0;
    std::int64_t end_ns = 0;
  };
  struct Row {
    std::string name;
    std::vector<Slice> slices;  ///< In the order of the file.
  };
  using RowId = std::pair<std::uint64_t, std::uint64_t>;  ///< Its process's number, and its own.

  std::vector<std::string> names;
  std::map<std::uint64_t, std::string> processes;
  std::map<RowId, Row> rows;

  /// kInvalid: there is no such file, or it is no timeline; the text says where it stops being one.
  /// Anybody may have written it.
  static Result<Timeline> read(const std::string& path);

  /// What it takes for slices to nest: each row's ordered by their begin, an outer one before those
  /// within it, and none longer than the one it lies in. Times in the file are rounded.
  void nest();
};

}  // namespace sublet::trace
