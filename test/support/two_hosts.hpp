#pragma once

#include <base/fd.hpp>

#include <memory>
#include <string>
#include <vector>

namespace sublet::test {

/// Two hosts on one machine, for one test: network namespaces joined by a veth pair, an Ethernet
/// cable with an address at each end. TCP ports and abstract sockets of one are not those of the
/// other.
///
///   std::string why_not;
///   const auto hosts = sublet::test::TwoHosts::make(why_not);
///   if (!hosts) GTEST_SKIP() << why_not;
///   ChildProcess server(hosts->on_second({"/usr/bin/server"}), {});  // at kSecondAddress
///   hosts->cut();                                                    // in the middle of something
///
/// The thread that makes it is on the first host from then on, with all threads and processes it
/// starts; other threads stay where they were. It alone may use and destroy it, which
/// brings the thread back. The namespaces go with the last process in them.
///
/// Needs root or user namespaces. Without root the whole process moves to a new user namespace, as
/// root there, for the rest of its life; possible only before it has a second thread.
class TwoHosts {
 public:
  static constexpr const char* kFirstAddress = "10.2.0.1";
  static constexpr const char* kSecondAddress = "10.2.0.2";
  static constexpr const char* kFirstAddress6 = "fd02::1";  ///< Where this kernel has IPv6.
  static constexpr const char* kSecondAddress6 = "fd02::2";

  /// Takes the IPv4 addresses away on both hosts. False where there is no IPv6.
  [[nodiscard]] bool keep_only_ipv6() const;

  /// Null with the reason in `why_not` where the machine allows no such thing.
  /// Throws std::runtime_error when it does and something fails all the same.
  static std::unique_ptr<TwoHosts> make(std::string& why_not);

  TwoHosts(const TwoHosts&) = delete;
  TwoHosts& operator=(const TwoHosts&) = delete;
  ~TwoHosts();

  /// The command that runs `command` (its first word a path) on the second host: for ChildProcess.
  [[nodiscard]] std::vector<std::string> on_second(const std::vector<std::string>& command) const;

  /// Calls `work()` with this thread on the second host: sockets made and threads and processes
  /// started in it stay there. Returns what it returns.
  template <class Work>
  auto as_second(Work&& work) const {
    const Visit visit(*this);
    return work();
  }

  /// Pulls the cable: the first host has no carrier, what it sends is lost, and nothing tells it
  /// so.
  void cut() const;
  /// Puts it back. Connections that have not given up go on.
  void restore() const;

 private:
  class Visit {
   public:
    explicit Visit(const TwoHosts& hosts);
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    ~Visit();

   private:
    const TwoHosts& hosts_;
  };

  TwoHosts() = default;

  base::Fd home_;  ///< Where the thread was; none if there is no way back.
  base::Fd first_;
  base::Fd second_;
};

}  // namespace sublet::test
