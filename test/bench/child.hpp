#pragma once

#include <base/fd.hpp>

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace sublet::test {

/// A program under test. This process becomes the reaper of all it leaves behind, so that a test
/// can see whether it leaves anything. Killed with all of that on destruction. One at a time.
class Child {
 public:
  struct Options {
    std::vector<std::string> environment;  ///< "NAME=value", beside this process's own.
    bool terminal = false;                 ///< Standard error is a terminal.
  };

  Child(const std::vector<std::string>& words, const Options& options);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  /// Its exit code, 128 and the signal that ended it, or -1 when it runs on past `limit`.
  int wait(std::chrono::seconds limit);
  void kill(int signal) const;

  /// True once every process that it had started has ended too.
  bool all_gone(std::chrono::seconds limit);

  /// True once it has written `text` to its terminal.
  bool says(const std::string& text, std::chrono::seconds limit);

  /// What it has written; after wait(), and not of a terminal.
  [[nodiscard]] std::string output() const;
  [[nodiscard]] std::string errors() const;

 private:
  [[noreturn]] void run(const std::vector<std::string>& words, const Options& options) const;
  bool reap();

  pid_t pid_ = -1;
  std::optional<int> status_;
  base::Fd output_;
  base::Fd errors_;
  base::Fd terminal_;  ///< Our end of it.
};

}  // namespace sublet::test
