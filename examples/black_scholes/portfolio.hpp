#pragma once

// A portfolio file: a header, then `count` options, in the byte order of the machine that wrote it
// (another order shows as an unknown version).

#include "pricing.hpp"

#include <cstdint>
#include <span>
#include <string>

namespace black_scholes {

struct PortfolioHeader {
  char magic[8];  // "SUBLETBS"
  std::uint32_t version;
  std::uint32_t option_bytes;
  std::uint64_t count;
};
static_assert(sizeof(PortfolioHeader) == 24);

inline constexpr char kMagic[8] = {'S', 'U', 'B', 'L', 'E', 'T', 'B', 'S'};
inline constexpr std::uint32_t kVersion = 1;

/// Writes `count` options drawn from `seed` (the same on every machine). Throws std::runtime_error.
void write_portfolio(const std::string& path, std::uint64_t seed, std::uint64_t count);

/// A portfolio file, open for reading. Every method throws std::runtime_error with a text that
/// names the file and what is wrong with it; nothing in the file is believed before it is checked.
class Portfolio {
 public:
  explicit Portfolio(const std::string& path);
  ~Portfolio();
  Portfolio(const Portfolio&) = delete;
  Portfolio& operator=(const Portfolio&) = delete;

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

  /// Reads the options [first, first + options.size()).
  void read(std::uint64_t first, std::span<Option> options) const;

 private:
  std::string path_;
  int fd_ = -1;
  std::uint64_t count_ = 0;
};

}  // namespace black_scholes
