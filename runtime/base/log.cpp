#include <base/log.hpp>

#include <spdlog/sinks/stdout_color_sinks.h>

#include <cstdlib>
#include <cstring>

namespace sublet::base {
namespace {

std::shared_ptr<spdlog::logger> make_logger(const std::string& name,
                                            spdlog::level::level_enum default_level) {
  auto logger = std::make_shared<spdlog::logger>(
      name, std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
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
