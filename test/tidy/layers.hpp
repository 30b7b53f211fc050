#pragma once

#include "source_tree.hpp"

namespace sublet::tidy {

/// Includes that break "who may include whom" (docs/architecture.md): a module of ours that its
/// includer may not know, or a library's header outside the module that wraps it.
std::vector<Violation> check_layers(const std::vector<SourceFile>& files);

/// Libraries' headers that a folder must not even reach through headers of ours.
std::vector<Violation> check_reach(const std::vector<SourceFile>& files);

}  // namespace sublet::tidy
