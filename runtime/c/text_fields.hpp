#pragma once

#include <sublet/lease.hpp>

#include <sublet.h>

#include <span>
#include <string>

namespace sublet::c {

/// What fits of `text`, ended by a zero.
inline void copy_text(const std::string& text, std::span<char> to) {
  to[text.copy(to.data(), to.size() - 1)] = '\0';
}

[[nodiscard]] inline sublet_usage to_c(const Usage& usage) {
  return {usage.invocations, usage.compute_ns, usage.hot_poll_ns,
          usage.bytes_in,    usage.bytes_out,  usage.core_seconds};
}

}  // namespace sublet::c
