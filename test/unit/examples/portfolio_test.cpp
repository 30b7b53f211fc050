#include "black_scholes/portfolio.hpp"

#include "support/temp_directory.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

namespace black_scholes {
namespace {

/// A directory that goes with the test.
class PortfolioFile : public testing::Test {
 protected:
  [[nodiscard]] std::string path(const std::string& name = "portfolio.bin") const {
    return directory_.path() + "/" + name;
  }

  [[nodiscard]] std::string bytes_of(const std::string& file) const {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  /// Overwrites bytes of the portfolio in path().
  template <class T>
  void put(std::size_t offset, const T& value) {
    std::fstream file(path(), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(offset));
    file.write(reinterpret_cast<const char*>(&value), sizeof value);
  }

  /// What opening path() and reading all of it throws; empty when it does not.
  [[nodiscard]] std::string refusal() const {
    try {
      const Portfolio portfolio(path());
      std::vector<Option> options(portfolio.count());
      portfolio.read(0, options);
      return {};
    } catch (const std::runtime_error& error) {
      return error.what();
    }
  }

  void expect_refusal(const std::string& text) const {
    EXPECT_NE(refusal().find(text), std::string::npos) << "said: " << refusal();
    EXPECT_NE(refusal().find(path()), std::string::npos) << "does not name the file";
  }

 private:
  const sublet::test::TempDirectory directory_;
};

TEST_F(PortfolioFile, HasTheSameContentForTheSameSeed) {
  write_portfolio(path("a"), 5, 1000);
  write_portfolio(path("b"), 5, 1000);
  write_portfolio(path("c"), 6, 1000);
  EXPECT_EQ(bytes_of(path("a")), bytes_of(path("b")));
  EXPECT_NE(bytes_of(path("a")), bytes_of(path("c")));
}

TEST_F(PortfolioFile, GivesItsOptionsInAnyPieces) {
  constexpr std::uint64_t kCount = 70'000;  // more than one block
  write_portfolio(path(), 1, kCount);
  const Portfolio portfolio(path());
  ASSERT_EQ(portfolio.count(), kCount);
  std::vector<Option> all(kCount);
  portfolio.read(0, all);
  std::vector<Option> tail(1234);
  portfolio.read(kCount - tail.size(), tail);
  EXPECT_EQ(std::memcmp(tail.data(), &all[kCount - tail.size()], tail.size() * sizeof(Option)), 0);
  EXPECT_THROW(portfolio.read(kCount - 1, tail), std::runtime_error);
  EXPECT_THROW(portfolio.read(kCount + 1, {}), std::runtime_error);
}

TEST_F(PortfolioFile, IsRefusedWithItsReasonWhenItIsWrong) {
  const auto fresh = [this] { write_portfolio(path(), 1, 10); };
  fresh();
  EXPECT_EQ(refusal(), "");

  put(0, 'X');
  expect_refusal("does not start with SUBLETBS");
  fresh();
  put(offsetof(PortfolioHeader, version), kVersion + 1);
  expect_refusal("has version 2");
  fresh();
  put(offsetof(PortfolioHeader, option_bytes), std::uint32_t{48});
  expect_refusal("options of 48 bytes");
  fresh();
  put(offsetof(PortfolioHeader, count), std::uint64_t{0});
  expect_refusal("has no options");
  fresh();
  put(offsetof(PortfolioHeader, count), std::uint64_t{11});
  expect_refusal("is cut short");
  fresh();
  put(offsetof(PortfolioHeader, count), std::uint64_t{9});
  expect_refusal("is longer than its header says");
  // 24 + 40 * count would overflow to the file's real size.
  fresh();
  put(offsetof(PortfolioHeader, count), std::uint64_t{10} + (std::uint64_t{1} << 61));
  expect_refusal("which no file holds");
  fresh();
  std::filesystem::resize_file(path(), 23);
  expect_refusal("its header takes 24 bytes");
  std::filesystem::remove(path());
  expect_refusal("No such file");
}

TEST_F(PortfolioFile, IsRefusedWhenAnOptionMakesNoSense) {
  const auto check = [this](std::size_t field, double value, const std::string& text) {
    write_portfolio(path(), 1, 10);
    put(sizeof(PortfolioHeader) + 3 * sizeof(Option) + field, value);
    expect_refusal("option 3 of");
    expect_refusal(text);
  };
  check(offsetof(Option, spot), 0, "spot price");
  check(offsetof(Option, strike), -1, "strike price");
  check(offsetof(Option, rate), std::numeric_limits<double>::quiet_NaN(), "interest rate");
  check(offsetof(Option, volatility), std::numeric_limits<double>::infinity(), "volatility");
  check(offsetof(Option, maturity), -0.0, "time to maturity");
}

TEST_F(PortfolioFile, IsNotWrittenWhereItCannotBe) {
  EXPECT_THROW(write_portfolio("/nonexistent/portfolio.bin", 1, 10), std::runtime_error);
  EXPECT_THROW(write_portfolio("/dev/full", 1, 100'000), std::runtime_error);
}

}  // namespace
}  // namespace black_scholes
