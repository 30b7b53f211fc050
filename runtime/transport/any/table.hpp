#pragma once

#include <transport/any/kind.hpp>
#include <transport/row.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <tuple>
#include <utility>
#include <variant>

namespace sublet::transport {

/// A list of transports. What is done with one of them is a switch over closed alternatives: there
/// are no virtual calls.
template <Transport... Rows>
struct TableOf {
  static constexpr std::size_t kRows = sizeof...(Rows);
  static_assert(kRows > 0 && kRows <= 256);
  static_assert(((Rows::kReach == Reach::kSameNode ? 1 : 0) + ...) == 1,
                "one transport reaches the executors of the client's own node");

  using ClientChannels = std::variant<typename Rows::Client...>;
  /// The main thread and the worker share a server's channel; std::monostate: there is none.
  using ServerChannels = std::variant<std::monostate, std::shared_ptr<typename Rows::Server>...>;

  /// Calls `use.template operator()<Row>(kind)` for each row, in their order.
  template <class Use>
  static void for_each(Use&& use) {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (use.template operator()<Rows>(static_cast<Kind>(I)), ...);
    }
    (std::make_index_sequence<kRows>());
  }

  /// Returns `use.template operator()<Row>()` for the row of that kind.
  template <std::size_t I = 0, class Use>
  static decltype(auto) with(Kind kind, Use&& use) {
    if constexpr (I + 1 < kRows) {
      if (static_cast<std::size_t>(kind) != I) return with<I + 1>(kind, std::forward<Use>(use));
    }
    return use.template operator()<std::tuple_element_t<I, std::tuple<Rows...>>>();
  }
};

}  // namespace sublet::transport
