#pragma once

#include <base/fd.hpp>
#include <executor/function_table.hpp>
#include <sublet/result.hpp>
#include <wire/limits.hpp>

#include <array>
#include <cfenv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sublet::executor {

using LibraryHash = std::array<std::uint8_t, wire::kSha256Bytes>;

/// A function found in a loaded library.
struct LoadedFunction {
  void* code = nullptr;
  FunctionForm form = FunctionForm::kRfaas;
  const std::fenv_t* floats = nullptr;  ///< As in FunctionEntry; lives as long as the library.
};

/// Loads function libraries from sealed memory, each content once, and finds functions in them.
///
/// Owner: the executor; used by its main thread. Libraries stay loaded until the process ends: a
/// function of theirs may be running, or have left threads behind.
class LibraryLoader {
 public:
  /// Finds `function` in the library whose content is in `memory` (a sealed memfd) and has the hash
  /// `hash`; `library` is what messages call it. Runs the library's constructors: what they do
  /// wrong ends the process with a report (fatal.hpp).
  Result<LoadedFunction> find(base::Fd memory, const LibraryHash& hash, const std::string& library,
                              const std::string& function);

 private:
  struct Library {
    LibraryHash hash;
    base::Fd memory;  ///< Open as long as the library: the number in its path stays its own.
    void* handle;
    /// Of a library whose constructors change it, as -Ofast makes them do, for the thread that
    /// loads it: in a program that would be the one that calls its functions. Null: unchanged.
    std::unique_ptr<const std::fenv_t> floats;
  };
  Result<const Library*> load(base::Fd memory, const LibraryHash& hash, const std::string& library);

  std::vector<Library> libraries_;
};

}  // namespace sublet::executor
