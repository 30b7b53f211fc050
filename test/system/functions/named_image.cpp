// A library that names the image its functions are to run in.

#include <sublet/function.hpp>

#include <cstdint>
#include <fstream>

SUBLET_IMAGE("localhost/sublet-test:two");

/// The number in the image, 0 where there is none.
SUBLET_FUNCTION(number_of_image, const std::uint64_t&, std::uint64_t& out) {
  out = 0;
  std::ifstream("/etc/sublet-test") >> out;
}
