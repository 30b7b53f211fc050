#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace sublet::transport {

/// A transport of this build: the number of its row in the table (transports.hpp). Of meaning in
/// this process only; others are told its name.
enum class Kind : std::uint8_t {};

/// All of them, in the order in which clients prefer them.
[[nodiscard]] std::span<const Kind> all_kinds() noexcept;

[[nodiscard]] const char* to_string(Kind kind) noexcept;

/// Nothing when no transport has that name.
[[nodiscard]] std::optional<Kind> kind_named(std::string_view name) noexcept;

/// "shm, verbs, ...": all names, for people.
[[nodiscard]] std::string kind_names();

/// False for a transport that reaches executors on the client's own node only.
[[nodiscard]] bool reaches_other_nodes(Kind kind) noexcept;

/// The transport to executors on the client's own node.
[[nodiscard]] Kind same_node_kind() noexcept;

}  // namespace sublet::transport
