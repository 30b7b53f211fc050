#pragma once

#include <sublet/call.hpp>
#include <sublet/lease.hpp>
#include <sublet/session.hpp>

#include <sublet.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

// What the handles of <sublet.h> are. Owner: the application. Each has the C++ handle in it, whose
// thread rule holds.

struct sublet_options {
  /// What file, environment and the flags of the command line say, when these have been taken.
  std::optional<sublet::SessionOptions> loaded;
  /// Names and values as in the configuration file: applied to what file and environment say.
  std::vector<std::pair<std::string, std::string>> session;
  sublet::LeaseRequest lease;
  sublet::FunctionOptions function;
};

struct sublet_session {
  sublet::Session session;
};

struct sublet_lease {
  sublet::Lease lease;
};

struct sublet_function {
  sublet::Function function;
};

struct sublet_invocation {
  sublet::Call call;
};

/// As much as a worker reads at once.
struct alignas(64) sublet_buffer_line {
  char bytes[64];
};

struct sublet_buffer {
  sublet::Buffer<sublet_buffer_line> lines;
};
