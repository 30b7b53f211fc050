#pragma once

#include <sublet/result.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace sublet::topology {

/// The largest index of a processing unit that is accepted in a text: more than any machine has,
/// and a set up to there takes 8 KiB.
inline constexpr unsigned kMaxPuIndex = 65535;

/// A set of processing units (hardware threads) by their operating-system index. A value.
class Cpuset {
 public:
  Cpuset();
  Cpuset(const Cpuset& other);
  Cpuset(Cpuset&& other) noexcept;
  Cpuset& operator=(const Cpuset& other);
  Cpuset& operator=(Cpuset&& other) noexcept;
  ~Cpuset();

  /// Reads hwloc's syntax: a list such as "0,2-3" or "4-" (4 and all above), or a mask such as
  /// "0x0000000f", "0x3,0x00000000" (most significant group first) or "0xf...f". kInvalid says
  /// which part of the text is wrong.
  static Result<Cpuset> parse(std::string_view text);

  /// As a list, for instance "0,2-3"; empty for the empty set.
  [[nodiscard]] std::string to_list() const;
  [[nodiscard]] bool empty() const noexcept;
  /// Number of processing units; 0 when the set has no end.
  [[nodiscard]] std::size_t count() const noexcept;
  [[nodiscard]] bool intersects(const Cpuset& other) const noexcept;
  [[nodiscard]] bool contains(const Cpuset& other) const noexcept;
  [[nodiscard]] bool operator==(const Cpuset& other) const noexcept;
  Cpuset& operator&=(const Cpuset& other);
  Cpuset& operator|=(const Cpuset& other);

 private:
  friend class Topology;
  struct Bitmap;  ///< hwloc's, not named outside this module.
  std::unique_ptr<Bitmap> bits_;
};

}  // namespace sublet::topology
