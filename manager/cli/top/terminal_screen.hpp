#pragma once

#include <base/fd.hpp>
#include <cli/top/top_view.hpp>
#include <sublet/result.hpp>

#include <signal.h>
#include <termios.h>

#include <string>
#include <vector>

namespace sublet::cli {

/// A terminal that is drawn on as a whole and gives keys one by one. It is as it was before when
/// this goes; signals that end a program come as events meanwhile, so that it always goes.
///
/// Owner: the command; one per process, made while the process has one thread.
class TerminalScreen {
 public:
  /// kInvalid: standard input or output is none.
  static Result<TerminalScreen> open();
  TerminalScreen(TerminalScreen&& other) noexcept;
  TerminalScreen& operator=(TerminalScreen&&) = delete;
  TerminalScreen(const TerminalScreen&) = delete;
  TerminalScreen& operator=(const TerminalScreen&) = delete;
  ~TerminalScreen();

  [[nodiscard]] ScreenSize size() const;
  void draw(const std::vector<std::string>& lines);

  enum class Event { kNone, kKeys, kOther, kResized, kEnd };
  /// Waits for keys, which it appends, a signal, `other` being readable, or `limit_ms`.
  Event wait(int other, int limit_ms, std::string& keys);

 private:
  TerminalScreen() = default;
  void enter();
  void leave();
  Event signalled();

  bool active_ = false;
  termios before_{};
  sigset_t mask_before_{};
  base::Fd signals_;
};

}  // namespace sublet::cli
