#include <base/token.hpp>

#include <gtest/gtest.h>

namespace sublet::base {
namespace {

std::span<const std::byte> bytes(const Token& token) {
  return std::as_bytes(std::span(token));
}

TEST(Token, IsTheSameOnlyWithEveryByte) {
  Token token{};
  for (std::size_t i = 0; i < token.size(); ++i) token[i] = static_cast<std::uint8_t>(17 * i);
  EXPECT_TRUE(same_token(token, token));
  EXPECT_TRUE(same_token(bytes(token), bytes(token)));
  for (std::size_t i = 0; i < token.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      Token other = token;
      other[i] = static_cast<std::uint8_t>(other[i] ^ (1 << bit));
      EXPECT_FALSE(same_token(token, other)) << "byte " << i << " bit " << bit;
      EXPECT_FALSE(same_token(bytes(token), bytes(other)));
    }
  }
}

TEST(Token, HasOneLength) {
  const Token token{};
  EXPECT_FALSE(same_token(bytes(token), bytes(token).first(15)));
  EXPECT_FALSE(same_token(bytes(token).first(15), bytes(token).first(15)));
  EXPECT_FALSE(same_token(std::span<const std::byte>(), std::span<const std::byte>()));
}

}  // namespace
}  // namespace sublet::base
