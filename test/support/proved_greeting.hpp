#pragma once

#include <transport/common/greeting.hpp>

#include <sodium/randombytes.h>

#include <cstdint>

namespace sublet::transport {

/// As an honest client that has `token` says it: with a nonce of its own and a good proof.
template <class Hello>
[[nodiscard]] Hello proved(Hello hello, const Token& token, std::uint32_t generation = 0) {
  randombytes_buf(&hello.nonce, sizeof(hello.nonce));
  hello.proof = client_proof(token, generation, hello);
  return hello;
}

}  // namespace sublet::transport
