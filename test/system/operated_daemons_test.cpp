// Daemons as operators run them: logs for programs, configuration that is read again, and what they
// tell the service manager.

#include "command_fixture.hpp"
#include "support/eventually.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace sublet::test {
namespace {

/// A service manager's socket.
class NotifySocket {
 public:
  explicit NotifySocket(const std::string& path)
      : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  NotifySocket(const NotifySocket&) = delete;
  NotifySocket& operator=(const NotifySocket&) = delete;
  ~NotifySocket() { ::close(fd_); }

  /// The next datagram; empty when none comes.
  std::string next() const {
    pollfd entry{fd_, POLLIN, 0};
    if (::poll(&entry, 1, 20'000) != 1) return {};
    std::array<char, 4096> text{};
    const ssize_t size = ::recv(fd_, text.data(), text.size(), 0);
    return size > 0 ? std::string(text.data(), static_cast<std::size_t>(size)) : std::string();
  }
  /// The next one that begins so; empty when none comes.
  std::string next(const std::string& beginning) const {
    for (;;) {
      std::string text = next();
      if (text.empty() || text.starts_with(beginning)) return text;
    }
  }

 private:
  int fd_;
};

class OperatedDaemon : public CommandTest {
 protected:
  void start(std::vector<std::string> words, std::vector<std::string> environment = {}) {
    words.insert(words.begin(), built_program("sublet"));
    words.insert(words.end(), {"--address-file", directory_ + "/address"});
    environment.push_back("XDG_RUNTIME_DIR=" + directory_);
    ChildProcess::Options options;
    options.environment = std::move(environment);
    options.output = log_;
    daemon_ = std::make_unique<ChildProcess>(words, options);
    ASSERT_TRUE(eventually([this] { return !address().empty(); })) << log();
  }

  [[nodiscard]] std::string address() const {
    std::string line;
    std::ifstream file(directory_ + "/address");
    std::getline(file, line);
    return line;
  }
  [[nodiscard]] std::string log() const {
    std::ifstream file(log_);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  [[nodiscard]] bool says(const std::string& text) const {
    return eventually([&] { return log().find(text) != std::string::npos; });
  }
  void stop() {
    daemon_->signal(SIGTERM);
    EXPECT_EQ(daemon_->wait(std::chrono::seconds(20)), 0) << log();
  }
  void configure(const std::string& content) { std::ofstream(config_) << content; }

  const std::string log_ = directory_ + "/log";
  const std::string config_ = directory_ + "/manager.conf";
  std::unique_ptr<ChildProcess> daemon_;
};

TEST_F(OperatedDaemon, LogsAnObjectALine) {
  start({"resource-manager", "--log-format", "json"});
  // What no terminal should see, in a message: a socket's path in an error.
  stop();
  const Ended refused = run(
      {"executor-manager", "--log-format", "json", "--manager", "unix:" + directory_ + "/none",
       "--listen", "unix:" + directory_ + "/\xff\"\\\x1b[2J\n/socket\x01" + std::string(200, 'x')});
  EXPECT_NE(refused.code, 0) << refused.output;
  for (const std::string& text : {log(), refused.output}) {
    std::istringstream lines(text);
    std::size_t count = 0;
    for (std::string line; std::getline(lines, line); ++count) {
      const auto parsed = nlohmann::json::parse(line, nullptr, false);
      ASSERT_TRUE(parsed.is_object()) << line;
      for (const char* key : {"time", "level", "who", "message"}) {
        EXPECT_TRUE(parsed.contains(key) && parsed[key].is_string()) << line;
      }
      EXPECT_TRUE(parsed["pid"].is_number()) << line;
      EXPECT_EQ(parsed["time"].get<std::string>().find("20"), 0U) << line;
      EXPECT_EQ(line.find('\x1b'), std::string::npos);
    }
    EXPECT_GT(count, 0U) << text;
  }
}

TEST_F(OperatedDaemon, ReadsItsConfigurationAgainOnHangup) {
  configure("[resource-manager]\nquota-cores = 8\n");
  start({"resource-manager", "--config", config_});
  const auto quota = [this] {
    return run({"quota", "--manager", address(), "--output", "json"}).output;
  };
  expect_contains(quota(), "\"cores\": 8");
  configure(
      "[resource-manager]\nquota-cores = 5\nlog-level = debug\nprice-core-hour = 3\n"
      "operators = root\n");
  daemon_->signal(SIGHUP);
  ASSERT_TRUE(
      says("read the configuration again on SIGHUP: --log-level, --price-core-hour, --quota-cores"))
      << log();
  ASSERT_TRUE(says("holds until this is started again: --operators")) << log();
  expect_contains(quota(), "\"cores\": 5");
  EXPECT_TRUE(says(" debug: ")) << log();
  // Something wrong changes nothing.
  for (const char* content :
       {"[resource-manager]\nquota-cores = many\n", "[resource-manager]\nquota-core = 3\n",
        "[resource-manager]\nquota-cores = 3\nlog-level = loud\n"}) {
    const std::size_t before = log().size();
    configure(content);
    daemon_->signal(SIGHUP);
    ASSERT_TRUE(eventually([&] {
      return log().find("the configuration stays as it was", before) != std::string::npos;
    })) << content
        << log();
    expect_contains(quota(), "\"cores\": 5");
  }
  // What an operator has set counts for more.
  EXPECT_EQ(run({"quota", "set", "--cores", "2", "--manager", address()}).code, 0);
  const std::size_t before = log().size();
  configure("[resource-manager]\nquota-cores = 7\n");
  daemon_->signal(SIGHUP);
  ASSERT_TRUE(eventually([&] {
    return log().find("read the configuration again", before) != std::string::npos;
  })) << log();
  expect_contains(quota(), "\"cores\": 2");
  stop();
}

TEST_F(OperatedDaemon, ExecutorManagersReadTheirsAgainToo) {
  configure("[executor-manager]\ndrain-time = 4s\n");
  start({"executor-manager", "--config", config_, "--manager", "unix:" + directory_ + "/none",
         "--cores", "1"});
  configure("[executor-manager]\ndrain-time = 1s\nmemory = 64MiB\n");
  daemon_->signal(SIGHUP);
  ASSERT_TRUE(says("read the configuration again on SIGHUP: --drain-time")) << log();
  ASSERT_TRUE(says("holds until this is started again: --memory")) << log();
  stop();
}

TEST_F(OperatedDaemon, TellsTheServiceManagerHowItDoes) {
  for (const std::string command : {"resource-manager", "executor-manager"}) {
    std::error_code ignored;
    std::filesystem::remove(directory_ + "/address", ignored);
    const std::string path = directory_ + "/notify-" + command;
    const NotifySocket socket(path);
    std::vector<std::string> words = {command};
    if (command == "executor-manager") {
      words.insert(words.end(), {"--manager", "unix:" + directory_ + "/none", "--cores", "1"});
    }
    start(words, {"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=400000"});
    EXPECT_EQ(socket.next(), "READY=1") << log();
    EXPECT_EQ(socket.next("WATCHDOG"), "WATCHDOG=1");
    EXPECT_EQ(socket.next("WATCHDOG"), "WATCHDOG=1");
    daemon_->signal(SIGHUP);
    expect_contains(socket.next("RELOADING"), "RELOADING=1\nMONOTONIC_USEC=");
    EXPECT_EQ(socket.next("READY"), "READY=1");
    daemon_->signal(SIGTERM);
    expect_contains(socket.next("STOPPING"), "STOPPING=1");
    EXPECT_EQ(daemon_->wait(std::chrono::seconds(20)), 0) << log();
  }
}

TEST_F(OperatedDaemon, LeavesTheWatchdogOfAnotherProcessAlone) {
  const std::string path = directory_ + "/notify";
  const NotifySocket socket(path);
  start({"resource-manager"}, {"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=200000", "WATCHDOG_PID=1"});
  EXPECT_EQ(socket.next(), "READY=1");
  daemon_->signal(SIGTERM);
  // Not one WATCHDOG=1 before: it was another process's.
  expect_contains(socket.next(), "STOPPING=1");
  EXPECT_EQ(daemon_->wait(std::chrono::seconds(20)), 0) << log();
}

}  // namespace
}  // namespace sublet::test
