#pragma once

// What whoever comes over HTTP may take of the resource manager.

#include <chrono>
#include <cstddef>

namespace sublet::manager::web {

inline constexpr std::size_t kMaxConnections = 256;
inline constexpr std::size_t kMaxStreams = 32;      ///< Open pages, of those connections.
inline constexpr std::size_t kMaxTarget = 2048;     ///< Bytes of a request's path and query.
inline constexpr std::size_t kMaxSegment = 255;     ///< Bytes of one part of a path.
inline constexpr std::size_t kMaxQuery = 16;        ///< Names in a query.
inline constexpr std::size_t kMaxBody = 16 * 1024;  ///< Bytes that are sent with a request.
inline constexpr std::size_t kMaxTokenFiles = 8;
inline constexpr std::size_t kMaxHostNames = 16;
inline constexpr std::size_t kWritePiece = 64 * 1024;  ///< Bytes that are to be taken at a time.

// KJ's own limit on a request's head is 64 KiB.
inline constexpr auto kHeadLimit = std::chrono::seconds(10);
inline constexpr auto kBodyLimit = std::chrono::seconds(10);
inline constexpr auto kIdleLimit = std::chrono::seconds(30);    ///< Between two requests.
inline constexpr auto kPieceLimit = std::chrono::seconds(10);   ///< To take kWritePiece.
inline constexpr auto kStreamLimit = std::chrono::hours(1);     ///< Then a page asks again.
inline constexpr auto kAnswerLimit = std::chrono::seconds(20);  ///< For what nodes are told.

inline constexpr std::size_t kMaxUsersShown = 50;     ///< By name, in metrics; the rest is summed.
inline constexpr std::size_t kMaxNodesShown = 1024;   ///< The same of nodes.
inline constexpr std::size_t kMaxWaitingShown = 100;  ///< On the page.
inline constexpr std::size_t kMaxLedgerRows = 1000;   ///< Of one page of the ledger.

}  // namespace sublet::manager::web
