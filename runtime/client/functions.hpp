#pragma once

#include <client/application.hpp>
#include <client/node_link.hpp>
#include <sublet/call.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace sublet::client {

/// A function of a lease, and what other nodes need to open it too.
struct OpenFunction {
  FunctionRequest request;
  std::string shown_name;
  /// Of the library; functions of one library share it. Null for the program's own functions.
  std::shared_ptr<const std::vector<std::byte>> content;
};

/// The functions that a lease has open, by number. Shared by the lease and the threads that prepare
/// nodes for it: functions are added by the lease's thread, any thread reads.
class Functions {
 public:
  /// Reads the library and checks the request. The number is that of an equal function when there
  /// is one (then `is_new` is false), or the next one.
  struct Prepared {
    OpenFunction function;
    bool is_new = true;
  };
  [[nodiscard]] Result<Prepared> prepare(const std::string& path, const std::string& name,
                                         const FunctionOptions& options) const;
  /// As prepare, for a function of the program that the executors run.
  [[nodiscard]] Result<Prepared> prepare_own(const Application& application,
                                             const std::string& record_name,
                                             const FunctionOptions& options) const;
  void add(OpenFunction function);

  [[nodiscard]] std::size_t size() const;
  /// For the lease's thread.
  [[nodiscard]] const std::string& name(std::uint16_t index) const {
    return functions_[index].shown_name;
  }

  /// Opens those from number `first` on, on `node`; how many there are then. Blocks.
  Result<std::size_t> open_all(NodeLink& node, std::size_t first) const;
  static Result<void> open_on(NodeLink& node, const OpenFunction& function);

 private:
  /// Gives it its number, or finds the equal one.
  [[nodiscard]] Result<Prepared> place(Prepared prepared) const;

  mutable std::mutex mutex_;  ///< Guards additions against readers of other threads.
  std::deque<OpenFunction> functions_;
};

}  // namespace sublet::client
