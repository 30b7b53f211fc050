#pragma once

#include "zygote_under_test.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sublet::executor {

/// One worker and the functions of one library.
class Functions {
 public:
  explicit Functions(const std::vector<std::string>& environment = {},
                     const SpawnOptions& options = {})
      : zygote_(environment), executor_(zygote_.spawn(options)) {
    channel_.emplace(executor_.connect(0, arena_).value_or_throw());
  }

  CallResult call(const std::string& name, const void* in, std::size_t size, void* out,
                  std::size_t capacity, const std::string& library = SURROUNDINGS_FUNCTIONS) {
    const std::uint16_t index = next_++;
    const auto hash = static_cast<std::uint8_t>(library == SURROUNDINGS_FUNCTIONS ? 1 : 2);
    const auto opened = executor_.open_memory(index, library_memory(library), hash, name);
    EXPECT_TRUE(opened.ok) << opened.text.data();
    return executor::call(*channel_, index, in, size, out, capacity);
  }
  /// With an input that does not matter.
  template <class Out>
  Out ask(const std::string& name) {
    const std::uint8_t in = 0;
    Out out{};
    const CallResult result = call(name, &in, sizeof(in), &out, sizeof(out));
    EXPECT_EQ(result.status, Status::kOk) << name << ": " << result.error;
    return out;
  }
  std::string text(const std::string& name, const std::string& in = "") {
    auto* room = static_cast<char*>(arena_->allocate(4096));
    auto* sent = static_cast<char*>(arena_->allocate(4096));
    in.copy(sent, in.size());
    const CallResult result = call(name, sent, in.size(), room, 4096);
    EXPECT_EQ(result.status, Status::kOk) << name << ": " << result.error;
    return {room, result.size};
  }

  ZygoteUnderTest& zygote() { return zygote_; }
  ExecutorUnderTest& executor() { return executor_; }

 private:
  ZygoteUnderTest zygote_;
  ExecutorUnderTest executor_;
  std::shared_ptr<transport::Arena> arena_ = transport::Arena::create(1u << 20).value_or_throw();
  std::optional<transport::shm::ClientChannel> channel_;
  std::uint16_t next_ = 0;
};

}  // namespace sublet::executor
