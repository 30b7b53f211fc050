#pragma once

#include "support/child_process.hpp"
#include "support/temp_directory.hpp"
#include <base/fd.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace sublet::test {

/// A headless Chromium with one page, driven by its DevTools protocol over a pair of pipes.
///
/// Everything that waits has a deadline and throws std::runtime_error. The destructor ends the
/// browser and all of its processes.
class Browser {
 public:
  /// Empty: there is none here.
  static std::string find();

  /// `program` is what find() has found.
  explicit Browser(const std::string& program);
  Browser(const Browser&) = delete;
  Browser& operator=(const Browser&) = delete;
  ~Browser();

  void open(const std::string& url);
  void set_size(int width, int height);
  void set_dark(bool dark);
  /// What the expression is, as JSON; a promise is waited for.
  nlohmann::json evaluate(const std::string& expression);
  /// True once the expression is; false when it is not within `limit`.
  bool becomes_true(const std::string& expression,
                    std::chrono::milliseconds limit = std::chrono::seconds(30));
  /// The text of the first element that fits the selector, as a person reads it; empty: none does.
  std::string text(const std::string& selector);
  /// With the mouse, in the middle of the first element that fits, or at a place in it.
  void click(const std::string& selector);
  void click_at(const std::string& selector, double x, double y);
  /// "ArrowRight", "Enter", "Tab"; goes to what has the focus.
  void press(const std::string& key);
  /// As typed into what has the focus.
  void type(const std::string& text);
  /// A PNG of what is in sight.
  void screenshot(const std::string& path);
  /// Errors that the page's script, or the browser because of the page's rules, has told.
  [[nodiscard]] const std::vector<std::string>& complaints() const { return complaints_; }

 private:
  nlohmann::json call(const std::string& method, nlohmann::json params = nlohmann::json::object());
  /// The next message; nothing after the limit.
  nlohmann::json read_message(std::chrono::steady_clock::time_point end);
  void note(const nlohmann::json& message);
  void mouse(const char* type, double x, double y);

  const TempDirectory temporary_;
  base::Fd to_;
  base::Fd from_;
  std::unique_ptr<ChildProcess> process_;
  std::string session_;
  std::string buffer_;
  int calls_ = 0;
  std::vector<std::string> complaints_;
};

}  // namespace sublet::test
