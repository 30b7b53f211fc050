#pragma once

#include <base/function_records.hpp>
#include <executor/library_loader.hpp>
#include <wire/application_text.hpp>

#include <string>

namespace sublet::executor {

/// The functions of the application's own program, which this executor runs, and whether that
/// program finds the same shared objects here as in the client.
///
/// Owner: main(); the main thread of the executor asks.
class ApplicationFunctions {
 public:
  ApplicationFunctions(const LibraryHash& sha256, const sublet_function_record* first,
                       const wire::ApplicationSurroundings& client);

  [[nodiscard]] const LibraryHash& sha256() const noexcept { return sha256_; }

  /// kInvalid when there is no such function, kUnsupported when a shared object differs.
  [[nodiscard]] Result<LoadedFunction> find(const std::string& record_name) const;

 private:
  LibraryHash sha256_;
  const sublet_function_record* first_;
  std::string difference_;  ///< Empty: none.
};

}  // namespace sublet::executor
