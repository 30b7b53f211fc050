#include <topology/bitmap.hpp>
#include <topology/cpuset.hpp>

#include <charconv>
#include <cstdlib>
#include <utility>

namespace sublet::topology {
namespace {

constexpr std::size_t kBitsPerGroup = 32;
constexpr std::string_view kInfiniteGroup = "0xf...f";

tl::unexpected<Error> bad(std::string_view text, const std::string& why) {
  return fail(ErrorKind::kInvalid,
              "'" + std::string(text.substr(0, 80)) + "' is no set of cores: " + why +
                  " (write a list such as 0,2-3 or a mask such as 0x0000000f)");
}

/// A number up to kMaxPuIndex, all of `text`.
bool read_index(std::string_view text, unsigned& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value <= kMaxPuIndex;
}

/// The texts between commas; `take` returns false to stop.
template <class Take>
bool for_each_part(std::string_view text, Take&& take) {
  for (;;) {
    const std::size_t comma = text.find(',');
    if (!take(text.substr(0, comma))) return false;
    if (comma == std::string_view::npos) return true;
    text.remove_prefix(comma + 1);
  }
}

Result<void> read_list(std::string_view text, hwloc_bitmap_t bits) {
  std::string wrong;
  for_each_part(text, [&](std::string_view part) {
    const std::size_t dash = part.find('-');
    unsigned first = 0;
    unsigned last = 0;
    const bool open_ended = dash != std::string_view::npos && dash + 1 == part.size();
    bool fits = read_index(part.substr(0, dash), first);
    if (dash == std::string_view::npos) {
      last = first;
    } else if (!open_ended) {
      fits = fits && read_index(part.substr(dash + 1), last);
    }
    if (!fits) {
      wrong = "'" + std::string(part.substr(0, 40)) + "' is neither a number up to " +
              std::to_string(kMaxPuIndex) + " nor a range of such";
      return false;
    }
    if (!open_ended && last < first) {
      wrong = "the range '" + std::string(part) + "' ends before it begins";
      return false;
    }
    hwloc_bitmap_set_range(bits, first, open_ended ? -1 : static_cast<int>(last));
    return true;
  });
  if (!wrong.empty()) return bad(text, wrong);
  return {};
}

/// Groups of 32 bits, most significant first; an empty group is zero, as hwloc writes it.
Result<void> read_mask(std::string_view text, hwloc_bitmap_t bits) {
  const std::string_view whole = text;
  bool infinite = false;
  if (text.starts_with(kInfiniteGroup)) {
    infinite = true;
    text.remove_prefix(kInfiniteGroup.size());
    if (!text.empty() && text.front() != ',') return bad(whole, "a comma follows 0xf...f");
    if (!text.empty()) text.remove_prefix(1);
  }
  std::size_t groups = 0;
  for (const char c : text) groups += c == ',' ? 1 : 0;
  groups += text.empty() ? 0 : 1;
  if (groups > (kMaxPuIndex + 1) / kBitsPerGroup) return bad(whole, "it is too long");
  if (infinite) hwloc_bitmap_set_range(bits, static_cast<unsigned>(groups * kBitsPerGroup), -1);
  if (groups == 0) return {};

  std::size_t group = groups;
  const bool all = for_each_part(text, [&](std::string_view part) {
    --group;
    if (part.empty()) return true;
    if (!part.starts_with("0x")) return false;
    part.remove_prefix(2);
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value, 16);
    if (error != std::errc() || end != part.data() + part.size()) return false;
    for (unsigned bit = 0; bit < kBitsPerGroup; ++bit) {
      if ((value >> bit & 1u) != 0) {
        hwloc_bitmap_set(bits, static_cast<unsigned>(group * kBitsPerGroup) + bit);
      }
    }
    return true;
  });
  if (!all) return bad(whole, "each group of a mask is 0x and at most 8 hexadecimal digits");
  return {};
}

}  // namespace

Cpuset::Cpuset() : bits_(std::make_unique<Bitmap>(hwloc_bitmap_alloc())) {}
Cpuset::Cpuset(const Cpuset& other)
    : bits_(std::make_unique<Bitmap>(hwloc_bitmap_dup(other.bits_->value))) {}
Cpuset::Cpuset(Cpuset&& other) noexcept = default;
Cpuset& Cpuset::operator=(const Cpuset& other) {
  if (this != &other) *this = Cpuset(other);
  return *this;
}
Cpuset& Cpuset::operator=(Cpuset&& other) noexcept = default;
Cpuset::~Cpuset() = default;

Result<Cpuset> Cpuset::parse(std::string_view text) {
  Cpuset set;
  if (text.empty()) return bad(text, "it is empty");
  const auto read = text.starts_with("0x") ? read_mask(text, set.bits_->value)
                                           : read_list(text, set.bits_->value);
  if (!read) return tl::unexpected<Error>(read.error());
  return set;
}

std::string Cpuset::to_list() const {
  char* text = nullptr;
  if (hwloc_bitmap_list_asprintf(&text, bits_->value) < 0) throw std::bad_alloc();
  std::string list(text);
  std::free(text);
  return list;
}

bool Cpuset::empty() const noexcept {
  return hwloc_bitmap_iszero(bits_->value) != 0;
}

std::size_t Cpuset::count() const noexcept {
  const int weight = hwloc_bitmap_weight(bits_->value);
  return weight < 0 ? 0 : static_cast<std::size_t>(weight);
}

bool Cpuset::intersects(const Cpuset& other) const noexcept {
  return hwloc_bitmap_intersects(bits_->value, other.bits_->value) != 0;
}

bool Cpuset::contains(const Cpuset& other) const noexcept {
  return hwloc_bitmap_isincluded(other.bits_->value, bits_->value) != 0;
}

bool Cpuset::operator==(const Cpuset& other) const noexcept {
  return hwloc_bitmap_isequal(bits_->value, other.bits_->value) != 0;
}

Cpuset& Cpuset::operator&=(const Cpuset& other) {
  if (hwloc_bitmap_and(bits_->value, bits_->value, other.bits_->value) < 0) throw std::bad_alloc();
  return *this;
}

Cpuset& Cpuset::operator|=(const Cpuset& other) {
  if (hwloc_bitmap_or(bits_->value, bits_->value, other.bits_->value) < 0) throw std::bad_alloc();
  return *this;
}

}  // namespace sublet::topology
