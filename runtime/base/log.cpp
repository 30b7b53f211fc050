#include <spdlog/sinks/stdout_color_sinks.h>

#include <base/log.hpp>
#include <cstdlib>

namespace sublet::base {
namespace {

std::shared_ptr<spdlog::logger> make_logger(const std::string& name,
                                            spdlog::level::level_enum default_level) {
  auto logger = std::make_shared<spdlog::logger>(
      name, std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern("%H:%M:%S.%f %n[%P] %^%l%$: %v");
  logger->set_level(default_level);
  if (const char* level = std::getenv("SUBLET_LOG"); level != nullptr && *level != '\0') {
    logger->set_level(spdlog::level::from_str(level));
  }
  logger->flush_on(spdlog::level::info);
  return logger;
}

std::shared_ptr<spdlog::logger>& slot() {
  static std::shared_ptr<spdlog::logger> logger = make_logger("sublet", spdlog::level::warn);
  return logger;
}

}  // namespace

void init_log(const std::string& name, spdlog::level::level_enum default_level) {
  slot() = make_logger(name, default_level);
}

spdlog::logger& log() {
  return *slot();
}

}  // namespace sublet::base
