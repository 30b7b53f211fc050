#pragma once

#include <sublet/result.hpp>
#include <wire/ledger_page.hpp>

#include <string>

namespace sublet::manager {

// clang-format off
/// Checks the ledger in the file `path` against itself:
///   the file      its pages and the references between its tables
///   sums          a grant whose node has told its end was held from begin to end, to the millisecond;
///                 no other was held for longer
///   gaps          each grant that is open has terms, and no other has
///   overlaps      no more cores of a node were granted at one time than it has
/// Any thread; holds up no writer.
// clang-format on
Result<wire::LedgerCheck> check_ledger(const std::string& path);

}  // namespace sublet::manager
