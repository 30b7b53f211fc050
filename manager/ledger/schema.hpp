#pragma once

// clang-format off
// TABLES  nodes    each node that ever had a grant, as it was last known
//         users    who asked: uid (as proved) and name (as said)
//         prices   in force since a time; the last row is the present one
//         leases   who asked for it, for which job, at which prices
//         ledger   what each grant has used: one row for each lease, part and node, kept for good.
//                  `end_ms` is null while it is open. Counters are the whole usage so far
//         grants   the terms of those that are open, as the manager needs them after a restart;
//                  holds secrets (tokens). A row goes when its grant ends
//         numbers  the first lease number that has not been used
//         quotas   what operators have set, by uid; -1: everybody's. Null: no limit
// VERSION The user_version of the file. A manager refuses a higher one than its own, and brings a
//         lower one up to it.
// clang-format on

#include <ledger/database.hpp>

namespace sublet::manager {

/// Makes the tables in an empty file, or checks that they are Sublet's and of this version.
void prepare_schema(Database& database);

}  // namespace sublet::manager
