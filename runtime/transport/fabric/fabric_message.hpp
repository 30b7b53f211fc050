#pragma once

#include <rdma/fabric.h>

#include <cstddef>
#include <cstdint>

namespace sublet::transport::fabric {

/// An operation under way. The provider uses `context` until it has completed.
struct Operation {
  fi_context2 context{};
  bool under_way = false;  ///< Only told for operations that ask for a completion.
};

/// What the provider needs for the two parts of a message until both have left.
struct MessageOperations {
  Operation payload;
  Operation head;
};

/// A message: `head` goes to the peer's ring and completes there with `number`; before it,
/// `payload` goes where it belongs.
struct Message {
  const void* head = nullptr;
  std::size_t head_size = 0;
  void* head_descriptor = nullptr;
  std::uint64_t head_address = 0;
  std::uint64_t head_key = 0;

  const void* payload = nullptr;
  std::size_t payload_size = 0;
  void* payload_descriptor = nullptr;
  std::uint64_t payload_address = 0;
  std::uint64_t payload_key = 0;

  std::uint32_t number = 0;
  MessageOperations* operations = nullptr;
};

}  // namespace sublet::transport::fabric
