#include "hints.hpp"

#include <array>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

namespace sublet::mpi {
namespace {

constexpr std::string_view kPrefix = "sublet_";

int no_hints() {
  return sublet_set_last_error(SUBLET_ERR_OPTION, "MPI cannot read the hints: the info is invalid");
}

int set_threads(std::string_view value, AllocatorOptions& of_ranks) {
  std::uint32_t threads = 0;
  const char* const end = value.data() + value.size();
  const auto [rest, error] = std::from_chars(value.data(), end, threads);
  if (error == std::errc() && rest == end && threads > 0) {
    of_ranks.threads_per_rank = threads;
    return SUBLET_SUCCESS;
  }
  const std::string text = "the hint sublet_threads_per_rank must be a positive number, not '" +
                           std::string(value) + "'";
  return sublet_set_last_error(SUBLET_ERR_OPTION, text.c_str());
}

int set_hint(MPI_Info hints, const char* key, sublet_options* options, AllocatorOptions& of_ranks) {
  int length = 0;
  int found = 0;
  if (MPI_Info_get_valuelen(hints, key, &length, &found) != MPI_SUCCESS) return no_hints();
  if (found == 0) return SUBLET_SUCCESS;
  std::string value(static_cast<std::size_t>(length) + 1, '\0');
  if (MPI_Info_get(hints, key, length, value.data(), &found) != MPI_SUCCESS) return no_hints();
  if (std::string_view(key) == "sublet_threads_per_rank") {
    return set_threads(value.c_str(), of_ranks);
  }
  return sublet_options_set(options, key + kPrefix.size(), value.c_str());
}

}  // namespace

int set_hints(MPI_Info hints, sublet_options* options, AllocatorOptions& of_ranks) {
  if (hints == MPI_INFO_NULL) return SUBLET_SUCCESS;
  int count = 0;
  if (MPI_Info_get_nkeys(hints, &count) != MPI_SUCCESS) return no_hints();
  for (int i = 0; i < count; ++i) {
    std::array<char, MPI_MAX_INFO_KEY + 1> key{};
    if (MPI_Info_get_nthkey(hints, i, key.data()) != MPI_SUCCESS) return no_hints();
    if (!std::string_view(key.data()).starts_with(kPrefix)) continue;
    const int code = set_hint(hints, key.data(), options, of_ranks);
    if (code != SUBLET_SUCCESS) return code;
  }
  return SUBLET_SUCCESS;
}

}  // namespace sublet::mpi
