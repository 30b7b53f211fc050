#pragma once

#include <sublet/result.hpp>
#include <wire/ledger_page.hpp>

#include <string>

namespace sublet::manager {

/// One page of the ledger in the file `path`, as it is on disk. Any thread; holds up no writer.
Result<wire::LedgerPage> read_ledger(const std::string& path, const wire::LedgerFilter& filter);

}  // namespace sublet::manager
