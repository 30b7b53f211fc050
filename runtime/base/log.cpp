#include <base/json_log.hpp>
#include <base/log.hpp>

#include <poll.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string_view>

namespace sublet::base {
namespace {

/// Standard error, without waiting for who reads it: a function that prints more than somebody
/// reads fills the pipe that it shares with its manager, which must go on.
class PatientSink final : public spdlog::sinks::base_sink<std::mutex> {
 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    if (lost_ != 0) {
      std::string note = std::to_string(lost_) + " lines of this log are lost: nobody read\n";
      if (logs_json()) note = lost_as_json(message);
      if (!write_now(note)) {
        ++lost_;
        return;
      }
      lost_ = 0;
    }
    if (!write_now({line.data(), line.size()})) ++lost_;
  }
  void flush_() override {}

  std::string lost_as_json(const spdlog::details::log_msg& message) {
    const std::string text = std::to_string(lost_) + " lines of this log are lost: nobody read";
    const spdlog::details::log_msg note(message.time, {}, message.logger_name, spdlog::level::warn,
                                        text);
    spdlog::memory_buf_t line;
    formatter_->format(note, line);
    return {line.data(), line.size()};
  }

  /// False when there is no room. What cannot be written at all is nobody's.
  static bool write_now(std::string_view text) noexcept {
    while (!text.empty()) {
      pollfd room{STDERR_FILENO, POLLOUT, 0};
      if (::poll(&room, 1, 0) == 0) return false;
      // As much as a pipe takes at once when poll() says that it has room.
      const auto piece = text.substr(0, PIPE_BUF);
      const ssize_t written = ::write(STDERR_FILENO, piece.data(), piece.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return true;
      text.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
  }

  std::uint64_t lost_ = 0;
};

spdlog::sink_ptr standard_error() {
  if (::isatty(STDERR_FILENO) != 0) {
    return std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  }
  return std::make_shared<PatientSink>();
}

std::shared_ptr<spdlog::logger> make_logger(const std::string& name,
                                            spdlog::level::level_enum default_level) {
  auto logger = std::make_shared<spdlog::logger>(name, standard_error());
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%f%z %n[%P] %^%l%$: %v");
  logger->set_level(default_level);
  logger->flush_on(spdlog::level::info);
  if (const char* text = std::getenv("SUBLET_LOG"); text != nullptr && *text != '\0') {
    const auto level = spdlog::level::from_str(text);
    if (level != spdlog::level::off || std::strcmp(text, "off") == 0) {
      logger->set_level(level);
    } else {  // spdlog takes an unknown word for "off", which would hide every error
      logger->warn("SUBLET_LOG is '{}'; it can be trace, debug, info, warn, error or off", text);
    }
  }
  return logger;
}

std::shared_ptr<spdlog::logger>& slot() {
  // Never destroyed: threads log while the process exits.
  static auto& logger = *new std::shared_ptr<spdlog::logger>;
  return logger;
}

/// Before init_log: made when something is logged for the first time.
spdlog::logger& default_log() {
  static const auto& logger =
      *new std::shared_ptr<spdlog::logger>(make_logger("sublet", spdlog::level::warn));
  return *logger;
}

}  // namespace

void init_log(const std::string& name, spdlog::level::level_enum default_level) {
  slot() = make_logger(name, default_level);
}

spdlog::logger& log() {
  const auto& logger = slot();
  return logger ? *logger : default_log();
}

}  // namespace sublet::base
