// `sublet top` in a real pseudo-terminal.

#include "command_fixture.hpp"
#include "support/managers.hpp"
#include <sublet/lease.hpp>
#include <sublet/session.hpp>

#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <string>
#include <vector>

namespace sublet::test {
namespace {

constexpr const char* kEnter = "\x1b[?1049h";
constexpr const char* kLeave = "\x1b[?1049l";

/// A program in a terminal of its own.
class InTerminal {
 public:
  InTerminal(const std::vector<std::string>& words, unsigned short rows, unsigned short columns) {
    winsize size{};
    size.ws_row = rows;
    size.ws_col = columns;
    std::vector<std::string> copies = words;
    std::vector<char*> argv;
    for (std::string& word : copies) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = ::forkpty(&master_, nullptr, nullptr, &size);
    if (pid_ == 0) {
      ::execv(argv[0], argv.data());
      ::_exit(99);
    }
    EXPECT_GT(pid_, 0);
  }
  InTerminal(const InTerminal&) = delete;
  InTerminal& operator=(const InTerminal&) = delete;
  ~InTerminal() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::close(master_);
  }

  void type(const std::string& keys) const {
    EXPECT_EQ(::write(master_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
  void resize(unsigned short rows, unsigned short columns) const {
    winsize size{};
    size.ws_row = rows;
    size.ws_col = columns;
    EXPECT_EQ(::ioctl(master_, TIOCSWINSZ, &size), 0);
  }
  void signal(int number) const { ::kill(pid_, number); }
  [[nodiscard]] termios settings() const {
    termios now{};
    EXPECT_EQ(::tcgetattr(master_, &now), 0);
    return now;
  }

  /// Reads what it draws until there is a whole screen for which `good` is true.
  template <class Good>
  bool shows_when(Good&& good) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    for (;;) {
      if (good(screen())) return true;
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      if (left.count() <= 0 || !read_some(static_cast<int>(left.count()))) return false;
    }
  }
  bool shows(const std::string& text) {
    return shows_when([&](const std::string& now) { return now.find(text) != std::string::npos; });
  }

  /// Everything until its end, and the exit code; -1: it was killed.
  int end() {
    while (read_some(20'000)) {
    }
    int status = 0;
    if (::waitpid(pid_, &status, 0) != pid_) return -2;
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  /// The newest whole screen, without what moves the cursor.
  [[nodiscard]] std::string screen() const {
    const std::size_t end = all_.rfind("\x1b[J");
    if (end == std::string::npos) return {};
    const std::size_t begin = all_.rfind("\x1b[H", end);
    std::string text = all_.substr(begin + 3, end - begin - 3);
    for (std::size_t at = 0; (at = text.find("\x1b[K", at)) != std::string::npos;)
      text.erase(at, 3);
    return text;
  }
  [[nodiscard]] const std::string& all() const { return all_; }

 private:
  bool read_some(int limit_ms) {
    pollfd entry{master_, POLLIN, 0};
    if (::poll(&entry, 1, limit_ms) != 1) return false;
    std::array<char, 4096> text{};
    const ssize_t size = ::read(master_, text.data(), text.size());
    if (size <= 0) return false;
    all_.append(text.data(), static_cast<std::size_t>(size));
    return true;
  }

  int master_ = -1;
  pid_t pid_ = -1;
  std::string all_;
};

class Top : public CommandTest {
 protected:
  [[nodiscard]] static std::vector<std::string> top(const TestManagers& managers,
                                                    const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {built_program("sublet"), "top",        "--manager",
                                      managers.address(),      "--interval", "100ms"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  static std::size_t lines(const std::string& screen) {
    std::size_t count = 1;
    for (const char c : screen) count += c == '\n' ? 1 : 0;
    return count;
  }
  static std::size_t widest(const std::string& screen) {
    std::size_t most = 0;
    std::size_t now = 0;
    for (const char c : screen) {
      now = c == '\n' || c == '\r' ? 0 : now + ((static_cast<unsigned char>(c) & 0xC0) != 0x80);
      most = std::max(most, now);
    }
    return most;
  }
};

TEST_F(Top, ShowsNodesAndLeasesAsTheyComeAndGo) {
  const TestManagers managers({TestNode{}, TestNode{.name = "n2"}});
  InTerminal terminal(top(managers), 30, 120);
  ASSERT_TRUE(terminal.shows("nodes 2 up")) << terminal.all();
  EXPECT_NE(terminal.all().find(kEnter), std::string::npos);
  EXPECT_TRUE(terminal.shows("cores 0 of 8 in use (0 %)")) << terminal.screen();
  {
    auto session = Session::open(managers.session_options()).value_or_throw();
    LeaseRequest request;
    request.cores = 2;
    request.duration = std::chrono::minutes(90);
    auto lease = session.lease(request).value_or_throw();
    EXPECT_TRUE(terminal.shows("cores 2 of 8 in use (25 %)")) << terminal.screen();
    EXPECT_TRUE(terminal.shows("leases 1, waiting 0")) << terminal.screen();
    EXPECT_TRUE(terminal.shows("1:29:")) << terminal.screen();
    EXPECT_TRUE(terminal.shows("[#####-----]")) << terminal.screen();
    EXPECT_TRUE(terminal.shows("active")) << terminal.screen();
  }
  EXPECT_TRUE(terminal.shows("cores 0 of 8 in use")) << terminal.screen();
  terminal.type("q");
  EXPECT_EQ(terminal.end(), 0);
  EXPECT_NE(terminal.all().rfind(kLeave), std::string::npos);
}

TEST_F(Top, KeysSortAndFilter) {
  const TestManagers managers({TestNode{}, TestNode{.name = "n2"}, TestNode{.name = "other"}});
  InTerminal terminal(top(managers), 30, 120);
  const auto order = [](const std::string& first, const std::string& second) {
    return [=](const std::string& screen) {
      const std::size_t a = screen.find("\n" + first + " ");
      const std::size_t b = screen.find("\n" + second + " ");
      return a != std::string::npos && b != std::string::npos && a < b;
    };
  };
  ASSERT_TRUE(terminal.shows_when(order("n1", "other"))) << terminal.all();
  terminal.type("r");
  EXPECT_TRUE(terminal.shows_when(order("other", "n1"))) << terminal.screen();
  terminal.type("n");
  EXPECT_TRUE(terminal.shows("nodes by used")) << terminal.screen();
  terminal.type("/oth");
  EXPECT_TRUE(terminal.shows("filter: oth_")) << terminal.screen();
  EXPECT_TRUE(terminal.shows_when([](const std::string& screen) {
    return screen.find("\nother ") != std::string::npos &&
           screen.find("\nn1 ") == std::string::npos;
  })) << terminal.screen();
  terminal.type("\r");
  EXPECT_TRUE(terminal.shows("/ filter 'oth'")) << terminal.screen();
  terminal.type("\x1b");
  EXPECT_TRUE(terminal.shows_when(order("other", "n1"))) << terminal.screen();
  terminal.type("q");
  EXPECT_EQ(terminal.end(), 0);
}

TEST_F(Top, FitsTheTerminalWhateverItsSize) {
  const TestManagers managers({TestNode{}, TestNode{.name = "n2"}});
  InTerminal terminal(top(managers), 30, 120);
  ASSERT_TRUE(terminal.shows("nodes 2 up")) << terminal.all();
  for (const auto& [rows, columns] : std::vector<std::pair<unsigned short, unsigned short>>{
           {10, 40}, {4, 20}, {1, 1}, {60, 200}}) {
    terminal.resize(rows, columns);
    // The first line is cut to the width, or has all of the address again.
    const std::string whole = "sublet top: the resource manager at " + managers.address();
    EXPECT_TRUE(terminal.shows_when([&, r = rows, c = columns](const std::string& screen) {
      return screen.starts_with(whole.substr(0, c)) && lines(screen) <= r && widest(screen) <= c &&
             (c >= whole.size() || widest(screen) == c);
    })) << rows
        << "x" << columns << ": " << terminal.screen();
  }
  terminal.type("q");
  EXPECT_EQ(terminal.end(), 0);
}

TEST_F(Top, LeavesTheTerminalAsItWas) {
  const TestManagers managers;
  for (const int number : {0, SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
    InTerminal terminal(top(managers), 24, 80);
    ASSERT_TRUE(terminal.shows("nodes 1 up")) << terminal.all();
    EXPECT_EQ(terminal.settings().c_lflag & (ICANON | ECHO), 0U);
    if (number == 0) {
      terminal.type("\x03");  // the terminal makes a signal of it
    } else {
      terminal.signal(number);
    }
    EXPECT_EQ(terminal.end(), 0) << number;
    EXPECT_EQ(terminal.settings().c_lflag & (ICANON | ECHO), static_cast<tcflag_t>(ICANON | ECHO))
        << number;
    const std::string& all = terminal.all();
    EXPECT_GT(all.rfind(kLeave), all.rfind(kEnter)) << number;
    EXPECT_GT(all.rfind("\x1b[?25h"), all.rfind("\x1b[?25l")) << number;
  }
}

TEST_F(Top, SaysWhenTheManagerIsGone) {
  TestManagers managers;
  InTerminal terminal(top(managers, {"--timeout-ms", "500"}), 24, 120);
  ASSERT_TRUE(terminal.shows("nodes 1 up")) << terminal.all();
  managers.resource_manager().signal(SIGKILL);
  // Why stands in place of the keys; what was known stays.
  ASSERT_TRUE(terminal.shows_when([&managers](const std::string& screen) {
    return screen.find("q quit") == std::string::npos &&
           screen.find(managers.directory()) != std::string::npos &&
           screen.find("nodes 1 up") != std::string::npos;
  })) << terminal.screen();
  terminal.type("q");
  EXPECT_EQ(terminal.end(), 0);
}

TEST_F(Top, IsPrintedOnceForScripts) {
  const TestManagers managers;
  const Ended ended = run({"top", "--once", "--manager", managers.address()});
  EXPECT_EQ(ended.code, 0) << ended.output;
  expect_contains(ended.output, "nodes 1 up, 0 draining, 0 lost; cores 0 of 4 in use (0 %)");
  EXPECT_EQ(ended.output.find('\x1b'), std::string::npos);
  const Ended no_terminal = run({"top", "--manager", managers.address()});
  EXPECT_EQ(no_terminal.code, 2);
  expect_contains(no_terminal.output, "--once");
  EXPECT_EQ(run({"top", "--once", "--manager", "unix:" + directory_ + "/none"}).code, 3);
  EXPECT_EQ(run({"top", "--once", "--sort", "beauty"}).code, 2);
  EXPECT_EQ(run({"top", "--interval", "0"}).code, 2);
}

}  // namespace
}  // namespace sublet::test
