#pragma once

// A ledger in a directory of its own, on an event loop, told of grants by a test.

#include "support/temp_directory.hpp"

#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/time.h>
#include <ledger/ledger.hpp>

#include <string>
#include <utility>
#include <vector>

namespace sublet::manager {

class LedgerTest : public testing::Test {
 protected:
  LedgerTest() : io_(kj::setupAsyncIo()), scope_(io_.waitScope) {}
  ~LedgerTest() noexcept override { ledger_ = nullptr; }

  Result<kj::Own<Ledger>> try_open(const Prices& prices = {}) {
    return Ledger::open(directory(), prices, io_.provider->getTimer(), [this] { return now_; });
  }
  void open(const Prices& prices = {}) {
    ledger_ = nullptr;
    ledger_ = try_open(prices).value_or_throw();
  }
  [[nodiscard]] std::string directory() const { return temporary_.path() + "/state"; }
  [[nodiscard]] std::string file() const { return directory() + "/ledger.db"; }

  static NodeOffer node(const std::string& name, std::uint32_t cores = 4) {
    return {
        name, "boot/" + name, cores, std::uint64_t{1} << 30, "0-3", {"unix:@" + name, "tcp:h:1"}};
  }
  static GrantTerms terms(std::uint64_t lease, std::uint32_t workers = 1, std::uint32_t part = 0) {
    GrantTerms terms;
    terms.key = {LeaseId{lease}, part, NodeNumber{1}};
    terms.workers = workers;
    terms.memory_bytes = std::uint64_t{1} << 30;
    terms.token[0] = static_cast<decltype(terms.token)::value_type>(lease);
    terms.expires = Time(milliseconds(2'000'000'000'000));
    terms.owner = "alice@n9";
    terms.owner_uid = 1000;
    return terms;
  }
  /// `cores` held for `held`.
  static Usage used(std::uint32_t cores, milliseconds held, std::uint64_t calls = 0) {
    Usage usage;
    usage.invocations = calls;
    usage.core_seconds = cores * static_cast<double>(held.count()) / 1000.0;
    return usage;
  }

  Result<void> keep() { return ledger_->keep().wait(scope_); }
  std::vector<wire::LedgerRow> rows(const wire::LedgerFilter& filter = {}) {
    return ledger_->read(filter).wait(scope_).value_or_throw().rows;
  }
  wire::LedgerCheck check() { return ledger_->verify().wait(scope_).value_or_throw(); }

  test::TempDirectory temporary_;
  Time now_{milliseconds(1'800'000'000'000)};
  kj::AsyncIoContext io_;
  kj::WaitScope& scope_;
  kj::Own<Ledger> ledger_;
};

}  // namespace sublet::manager
