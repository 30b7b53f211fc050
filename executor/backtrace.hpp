#pragma once

// Where the code is that a fatal signal has stopped: LIBRARY+0xOFFSET, as addr2line and objdump
// count, and the callers of that place.

#include <executor/signal_safe_text.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sublet::executor {

/// A backtrace has no more lines; a stack that is full would have a million.
inline constexpr std::size_t kMostFrames = 32;

/// Takes note of the libraries that have been loaded since the last time. What has no name of its
/// own, as memory files have none, is called `library`. On the thread that loads libraries: a
/// signal handler must not ask the dynamic linker, which may be holding its lock.
void note_loaded_libraries(std::string_view library) noexcept;

/// Where a signal handler's context has stopped; 0 where this processor is not known.
[[nodiscard]] std::uintptr_t stopped_at(const void* context) noexcept;

/// "libx.so+0x1139"; false, and nothing, when it is in no library that was noted.
/// Async-signal-safe.
bool add_place(SignalSafeText& text, std::uintptr_t address) noexcept;

/// Writes the calls that led to where `context` has stopped to standard error, `headline` first.
/// Async-signal-safe with glibc 2.35, which finds unwind tables without a lock. It reads a stack
/// that may be in any state: after everybody has been told of the end, and with a time limit (the
/// alarm clock of the process, which ends it).
void write_backtrace(std::string_view headline, const void* context) noexcept;

/// A line of standard error, after who says it. Async-signal-safe.
void write_error_line(std::string_view line) noexcept;

}  // namespace sublet::executor
