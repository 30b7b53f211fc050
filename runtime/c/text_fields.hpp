#pragma once

#include <sublet/lease.hpp>

#include <sublet.h>

#include <span>
#include <string>
#include <vector>

namespace sublet::c {

/// What fits of `text`, ended by a zero.
inline void copy_text(const std::string& text, std::span<char> to) {
  to[text.copy(to.data(), to.size() - 1)] = '\0';
}

/// With a comma between.
[[nodiscard]] inline std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : ",") + text;
  return all;
}

[[nodiscard]] inline sublet_usage to_c(const Usage& usage) {
  return {usage.invocations, usage.compute_ns,   usage.hot_poll_ns, usage.bytes_in,
          usage.bytes_out,   usage.core_seconds, usage.gpu_seconds};
}

}  // namespace sublet::c
