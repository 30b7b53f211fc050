// Static data that the linker marks as one for the whole process (STB_GNU_UNIQUE). Built twice.
#include <sublet/function.hpp>

template <int Tag>
struct Table {
  static inline std::uint64_t value = BUILD;
};

inline std::uint64_t& calls() {
  static std::uint64_t count = 0;
  return count;
}

// The build, and how often this build's function has been called.
SUBLET_FUNCTION(which_build, const std::uint64_t&, std::uint64_t& out) {
  out = 1000 * Table<1>::value + ++calls();
}
