#include <base/json_log.hpp>
#include <base/log.hpp>
#include <base/printable_text.hpp>

#include <spdlog/pattern_formatter.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <memory>

namespace sublet::base {
namespace {

/// The one that writes JSON; null: none does. init_log makes another one.
std::atomic<const spdlog::logger*>& json_logger() {
  static std::atomic<const spdlog::logger*> logger{nullptr};
  return logger;
}

class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& line) override {
    spdlog::memory_buf_t time;
    time_.format(message, time);
    const auto level = spdlog::level::to_string_view(message.level);
    const std::string text =
        "{\"time\":" + json_string({time.data(), time.size()}) +
        ",\"level\":" + json_string({level.data(), level.size()}) +
        ",\"who\":" + json_string({message.logger_name.data(), message.logger_name.size()}) +
        ",\"pid\":" + std::to_string(::getpid()) +
        ",\"message\":" + json_string({message.payload.data(), message.payload.size()}) + "}\n";
    line.append(text.data(), text.data() + text.size());
  }
  [[nodiscard]] std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }

 private:
  spdlog::pattern_formatter time_{"%Y-%m-%dT%H:%M:%S.%f%z", spdlog::pattern_time_type::local, ""};
};

}  // namespace

std::string json_string(std::string_view text) {
  std::string quoted = "\"";
  while (!text.empty()) {
    const auto c = static_cast<unsigned char>(text.front());
    if (c < 0x20 || c == 0x7F) {
      std::array<char, 8> escaped{};
      std::snprintf(escaped.data(), escaped.size(), "\\u%04x", c);
      quoted += c == '\n' ? "\\n" : c == '\t' ? "\\t" : escaped.data();
    } else if (c == '"' || c == '\\') {
      (quoted += '\\') += static_cast<char>(c);
    } else if (c < 0x80) {
      quoted += static_cast<char>(c);
    } else {
      const std::size_t bytes = utf8_bytes(text);
      quoted += bytes == 0 ? std::string_view("\xEF\xBF\xBD") : text.substr(0, bytes);
      text.remove_prefix(bytes == 0 ? 1 : bytes);
      continue;
    }
    text.remove_prefix(1);
  }
  return quoted + '"';
}

void log_as_json() {
  log().set_formatter(std::make_unique<JsonFormatter>());
  json_logger() = &log();
}

bool logs_json() noexcept {
  const spdlog::logger* const logger = json_logger();
  return logger != nullptr && logger == &log();
}

bool set_log_level(const std::string& level) {
  const auto known = spdlog::level::from_str(level);
  if (known == spdlog::level::off && level != "off") return false;
  log().set_level(known);
  return true;
}

}  // namespace sublet::base
