#include <resource_manager/user_accounts.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>

namespace sublet::manager {
namespace {

constexpr std::chrono::days kDay{1};

double share_at(const UserAccounts::Account& account, Time now) {
  const auto held = static_cast<double>(account.held_cores);
  const auto passed = static_cast<double>(std::max<std::int64_t>(0, (now - account.at).count()));
  return held + (account.share - held) *
                    std::exp2(-passed / static_cast<double>(UserAccounts::kHalfLife.count()));
}

}  // namespace

UserAccounts::Account& UserAccounts::account(std::uint32_t uid, Time now) {
  const auto [position, is_new] = accounts_.try_emplace(uid);
  Account& account = position->second;
  if (!is_new) account.share = share_at(account, now);
  account.at = std::max(account.at, now);
  return account;
}

double UserAccounts::until_ms(Time expires) const {
  return static_cast<double>(
      std::clamp<std::int64_t>((expires - day_).count(), 0, milliseconds(kDay).count()));
}

void UserAccounts::take(std::uint32_t uid, std::uint32_t cores, Time expires, Time now) {
  Account& user = account(uid, now);
  user.held_cores += cores;
  held_cores_ += cores;
  ++user.grants;
  user.promised_until_core_ms += cores * until_ms(expires);
}

void UserAccounts::give_back(std::uint32_t uid, std::uint32_t cores, Time expires, Time now) {
  Account& user = account(uid, now);
  user.held_cores -= cores;
  held_cores_ -= cores;
  user.promised_until_core_ms -= cores * until_ms(expires);
  if (--user.grants == 0) user.promised_until_core_ms = 0;  // rounded sums add up
}

void UserAccounts::extended(std::uint32_t uid, std::uint32_t cores, Time before, Time after) {
  const auto user = accounts_.find(uid);
  if (user == accounts_.end()) return;
  user->second.promised_until_core_ms += cores * (until_ms(after) - until_ms(before));
}

void UserAccounts::used(std::uint32_t uid, std::int64_t core_ms) {
  accounts_[uid].used_core_ms += core_ms;
}

bool UserAccounts::begin_day(Time now) {
  const Time day = std::chrono::floor<std::chrono::days>(now);
  if (day <= day_) return false;
  day_ = day;
  for (auto& [uid, user] : accounts_) {
    user.used_core_ms = 0;
    user.promised_until_core_ms = 0;
  }
  return true;
}

void UserAccounts::promise(std::uint32_t uid, std::uint32_t cores, Time expires) {
  accounts_[uid].promised_until_core_ms += cores * until_ms(expires);
}

const UserAccounts::Account* UserAccounts::find(std::uint32_t uid) const {
  const auto user = accounts_.find(uid);
  return user == accounts_.end() ? nullptr : &user->second;
}

double UserAccounts::share(std::uint32_t uid, Time now) const {
  const Account* const user = find(uid);
  return user == nullptr ? 0 : share_at(*user, now);
}

double UserAccounts::promised_core_ms(std::uint32_t uid, Time now) const {
  const Account* const user = find(uid);
  if (user == nullptr) return 0;
  return std::max(
      0.0, user->promised_until_core_ms - static_cast<double>(user->held_cores) * until_ms(now));
}

double UserAccounts::need_core_ms(std::uint64_t cores, Time expires, Time now) const {
  return static_cast<double>(cores) * std::max(0.0, until_ms(expires) - until_ms(now));
}

void UserAccounts::forget_idle(Time now) {
  constexpr double kNothing = 1e-3;
  std::erase_if(accounts_, [now](const auto& entry) {
    const Account& user = entry.second;
    return user.grants == 0 && user.used_core_ms == 0 && share_at(user, now) < kNothing;
  });
}

}  // namespace sublet::manager
