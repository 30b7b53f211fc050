#pragma once

#include <executor/signal_safe_text.hpp>

#include <array>
#include <string_view>

namespace sublet::executor {

struct SignalText {
  int number;
  std::string_view name;
  std::string_view meaning;
};

/// Faults of an instruction, and what ends a process like one.
extern const std::array<SignalText, 6> kFaultSignals;

/// Signals that end a process too, without being a fault of an instruction.
extern const std::array<SignalText, 13> kOtherSignals;

/// "SIGSEGV (invalid memory reference)". Async-signal-safe.
SignalSafeText& add_signal(SignalSafeText& text, int number) noexcept;

}  // namespace sublet::executor
