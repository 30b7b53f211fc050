#include "portfolio.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

namespace black_scholes {
namespace {

constexpr std::uint64_t kBlock = 1u << 16;  // options written at once

[[noreturn]] void fail(const std::string& text) {
  throw std::runtime_error(text);
}

struct CloseFile {
  void operator()(std::FILE* file) const noexcept { std::fclose(file); }
};

void write_all(std::FILE* file, const void* data, std::size_t size, const std::string& path) {
  if (std::fwrite(data, 1, size, file) != size) {
    fail("writing the portfolio '" + path + "' failed: " + std::strerror(errno));
  }
}

/// std::uniform_real_distribution may differ between standard libraries; this does not.
double uniform(std::mt19937_64& random, double low, double high) {
  return low + (high - low) * static_cast<double>(random() >> 11) * 0x1p-53;
}

Option draw(std::mt19937_64& random) {
  Option option{};
  option.spot = uniform(random, 50, 150);
  option.strike = option.spot * uniform(random, 0.7, 1.3);
  option.rate = uniform(random, 0, 0.06);
  option.volatility = uniform(random, 0.08, 0.6);
  option.maturity = uniform(random, 0.05, 3);
  return option;
}

const char* what_is_wrong(const Option& option) {
  const auto positive = [](double x) { return std::isfinite(x) && x > 0; };
  if (!positive(option.spot)) return "spot price";
  if (!positive(option.strike)) return "strike price";
  if (!std::isfinite(option.rate)) return "interest rate";
  if (!positive(option.volatility)) return "volatility";
  if (!positive(option.maturity)) return "time to maturity";
  return nullptr;
}

std::size_t read_at(int fd, void* data, std::size_t size, std::uint64_t offset,
                    const std::string& path) {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(fd, static_cast<char*>(data) + done, size - done,
                                static_cast<off_t>(offset + done));
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("reading the portfolio '" + path + "' failed: " + std::strerror(errno));
    done += static_cast<std::size_t>(got);
  }
  return done;
}

/// The number of options that a header promises and the file's size confirms.
std::uint64_t check(const PortfolioHeader& header, std::size_t header_bytes,
                    std::uint64_t file_bytes, const std::string& path) {
  const std::string file = "the portfolio '" + path + "' ";
  if (header_bytes < sizeof header) {
    fail(file + "is cut short: its header takes " + std::to_string(sizeof header) +
         " bytes and the file has " + std::to_string(header_bytes));
  }
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) {
    fail(file + "is not one: it does not start with SUBLETBS; option_generator makes portfolios");
  }
  if (header.version != kVersion || header.option_bytes != sizeof(Option)) {
    fail(file + "has version " + std::to_string(header.version) + " with options of " +
         std::to_string(header.option_bytes) + " bytes; this program reads version " +
         std::to_string(kVersion) + " with " + std::to_string(sizeof(Option)) +
         ", written on a machine of the same byte order");
  }
  if (header.count == 0) fail(file + "has no options");
  if (header.count > std::numeric_limits<std::uint64_t>::max() / 2 / sizeof(Option)) {
    fail(file + "claims to have " + std::to_string(header.count) + " options, which no file holds");
  }
  const std::uint64_t expected = sizeof header + header.count * sizeof(Option);
  if (file_bytes != expected) {
    fail(file + (file_bytes < expected ? "is cut short" : "is longer than its header says") + ": " +
         std::to_string(header.count) + " options make " + std::to_string(expected) +
         " bytes and the file has " + std::to_string(file_bytes));
  }
  return header.count;
}

}  // namespace

void write_portfolio(const std::string& path, std::uint64_t seed, std::uint64_t count) {
  std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "wb"));
  if (!file) fail("cannot create the portfolio '" + path + "': " + std::strerror(errno));

  PortfolioHeader header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.option_bytes = sizeof(Option);
  header.count = count;
  write_all(file.get(), &header, sizeof header, path);

  std::mt19937_64 random(seed);
  std::vector<Option> block;
  for (std::uint64_t left = count; left > 0; left -= block.size()) {
    block.resize(static_cast<std::size_t>(std::min(left, kBlock)));
    for (Option& option : block) option = draw(random);
    write_all(file.get(), block.data(), block.size() * sizeof(Option), path);
  }
  if (std::fflush(file.get()) != 0) {
    fail("writing the portfolio '" + path + "' failed: " + std::strerror(errno));
  }
}

Portfolio::Portfolio(const std::string& path) : path_(path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    fail("cannot open the portfolio '" + path + "': " + std::strerror(errno) +
         "; option_generator makes one");
  }
  try {
    struct stat status {};
    if (::fstat(fd, &status) != 0) {
      fail("looking at the portfolio '" + path + "' failed: " + std::strerror(errno));
    }
    PortfolioHeader header{};
    const std::size_t got = read_at(fd, &header, sizeof header, 0, path);
    count_ = check(header, got, static_cast<std::uint64_t>(status.st_size), path);
  } catch (...) {
    ::close(fd);
    throw;
  }
  fd_ = fd;
}

Portfolio::~Portfolio() {
  ::close(fd_);
}

void Portfolio::read(std::uint64_t first, std::span<Option> options) const {
  if (first > count_ || options.size() > count_ - first) {
    fail("the portfolio '" + path_ + "' has " + std::to_string(count_) + " options; asked for " +
         std::to_string(options.size()) + " from number " + std::to_string(first));
  }
  const std::uint64_t offset = sizeof(PortfolioHeader) + first * sizeof(Option);
  if (read_at(fd_, options.data(), options.size_bytes(), offset, path_) != options.size_bytes()) {
    fail("the portfolio '" + path_ + "' has become shorter while it was read");
  }
  for (std::size_t i = 0; i < options.size(); ++i) {
    if (const char* wrong = what_is_wrong(options[i])) {
      fail("option " + std::to_string(first + i) + " of the portfolio '" + path_ +
           "' is not usable: its " + wrong + " makes no sense");
    }
  }
}

}  // namespace black_scholes
