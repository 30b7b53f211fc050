#include "hints.hpp"

#include <array>
#include <string>
#include <string_view>

namespace sublet::mpi {
namespace {

constexpr std::string_view kPrefix = "sublet_";

int no_hints() {
  return sublet_set_last_error(SUBLET_ERR_OPTION, "MPI cannot read the hints: the info is invalid");
}

int set_hint(MPI_Info hints, const char* key, sublet_options* options) {
  int length = 0;
  int found = 0;
  if (MPI_Info_get_valuelen(hints, key, &length, &found) != MPI_SUCCESS) return no_hints();
  if (found == 0) return SUBLET_SUCCESS;
  std::string value(static_cast<std::size_t>(length) + 1, '\0');
  if (MPI_Info_get(hints, key, length, value.data(), &found) != MPI_SUCCESS) return no_hints();
  return sublet_options_set(options, key + kPrefix.size(), value.c_str());
}

}  // namespace

int set_hints(MPI_Info hints, sublet_options* options) {
  if (hints == MPI_INFO_NULL) return SUBLET_SUCCESS;
  int count = 0;
  if (MPI_Info_get_nkeys(hints, &count) != MPI_SUCCESS) return no_hints();
  for (int i = 0; i < count; ++i) {
    std::array<char, MPI_MAX_INFO_KEY + 1> key{};
    if (MPI_Info_get_nthkey(hints, i, key.data()) != MPI_SUCCESS) return no_hints();
    if (!std::string_view(key.data()).starts_with(kPrefix)) continue;
    if (const int code = set_hint(hints, key.data(), options); code != SUBLET_SUCCESS) return code;
  }
  return SUBLET_SUCCESS;
}

}  // namespace sublet::mpi
