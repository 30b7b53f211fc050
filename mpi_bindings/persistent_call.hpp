#pragma once

#include "attachment.hpp"
#include "datatype.hpp"
#include <sublet/buffer.hpp>
#include <sublet/mpi.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

namespace sublet::mpi {

/// What the handles of one persistent call share.
///
/// STATES  described -> under way (start) -> ended (the wait or poll that takes the reply) -> under
///         way ...; from each: the communicator has ended, and nothing can be started.
struct PersistentCall::State final : Attached {
 public:
  State(std::shared_ptr<Attachment> attachment, Function function)
      : attachment_(std::move(attachment)), function_(std::move(function)) {}
  ~State() override;
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  /// Once, before anything else.
  Result<void> describe(const Input& in, const Output& out);

  Result<void> start();
  bool poll() noexcept;
  Reply wait() noexcept;
  Reply wait_for(std::chrono::nanoseconds limit) noexcept;
  [[nodiscard]] std::string error() const;

  void communicator_ends() noexcept override;
  [[nodiscard]] bool has_ended() const noexcept override { return has_ended_; }

 private:
  void take(const Reply& reply) noexcept;
  void release_types() noexcept;

  std::shared_ptr<Attachment> attachment_;
  Function function_;
  Elements in_;
  Elements out_;
  const void* from_ = nullptr;
  void* to_ = nullptr;
  Buffer<std::byte> packed_in_;  ///< Empty where the application's memory is passed as it lies.
  Buffer<std::byte> packed_out_;
  Call call_;
  Reply reply_{.status = Status::kInvalid};
  std::string error_;  ///< Of the unpacking.
  bool is_under_way_ = false;
  bool has_ended_ = false;
};

}  // namespace sublet::mpi
