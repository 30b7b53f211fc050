#include <transport/any/transports.hpp>

#include <array>

namespace sublet::transport {
namespace {

constexpr auto make_kinds() noexcept {
  std::array<Kind, Transports::kRows> kinds{};
  for (std::size_t i = 0; i < kinds.size(); ++i) kinds[i] = static_cast<Kind>(i);
  return kinds;
}
constexpr auto kKinds = make_kinds();

}  // namespace

std::span<const Kind> all_kinds() noexcept {
  return kKinds;
}

const char* to_string(Kind kind) noexcept {
  return Transports::with(kind, []<class Row>() { return Row::kName; });
}

std::optional<Kind> kind_named(std::string_view name) noexcept {
  for (const Kind kind : kKinds) {
    if (name == to_string(kind)) return kind;
  }
  return std::nullopt;
}

std::string kind_names() {
  std::string names;
  for (const Kind kind : kKinds)
    names += (names.empty() ? "" : ", ") + std::string(to_string(kind));
  return names;
}

bool reaches_other_nodes(Kind kind) noexcept {
  return Transports::with(kind, []<class Row>() { return Row::kReach == Reach::kOtherNodes; });
}

Kind same_node_kind() noexcept {
  Kind found{};
  Transports::for_each([&]<class Row>(Kind kind) {
    if (Row::kReach == Reach::kSameNode) found = kind;
  });
  return found;
}

}  // namespace sublet::transport
