// Which GPUs a library would find in an executor.
#include "gpu_view.hpp"
#include <sublet/function.hpp>

#include <csignal>
#include <cstdlib>
#include <string_view>

namespace {

void copy(const char* variable, std::array<char, 512>& to) {
  const char* const value = std::getenv(variable);
  const std::string_view text = value == nullptr ? "-" : value;
  to[text.copy(to.data(), to.size() - 1)] = '\0';
}

}  // namespace

SUBLET_FUNCTION(look_at_gpus, const std::uint8_t&, sublet::test::GpuView& view) {
  copy("CUDA_VISIBLE_DEVICES", view.cuda);
  copy("ROCR_VISIBLE_DEVICES", view.rocr);
}

SUBLET_FUNCTION(crash, const std::uint8_t&, std::uint8_t&) {
  ::raise(SIGSEGV);
}
