#pragma once

#include "support/child_process.hpp"
#include <base/fd.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace sublet::test {

/// A run of a command whose output, errors and leavings a test looks at. This process becomes the
/// reaper of all that it leaves behind, which is killed on destruction. One at a time.
class BenchRun {
 public:
  struct Options {
    std::vector<std::string> environment;  ///< "NAME=value", beside this process's own.
    bool terminal = false;                 ///< Standard error is a terminal.
  };

  BenchRun(const std::vector<std::string>& words, const Options& options);
  BenchRun(const BenchRun&) = delete;
  BenchRun& operator=(const BenchRun&) = delete;
  ~BenchRun();

  /// Its exit code, 128 and the signal that ended it, or -1 when it runs on past `limit`.
  int wait(std::chrono::seconds limit);
  void kill(int signal) const { process_->signal(signal); }

  /// True once every process that it had started has ended too; call it after wait().
  static bool all_gone(std::chrono::seconds limit);

  /// True once it has written `text` to its terminal.
  bool says(const std::string& text, std::chrono::seconds limit);

  /// What it has written; after wait(), and not of a terminal.
  [[nodiscard]] std::string output() const;
  [[nodiscard]] std::string errors() const;

 private:
  base::Fd output_;
  base::Fd errors_;
  base::Fd terminal_;  ///< Our end of it.
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace sublet::test
