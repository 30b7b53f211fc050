#pragma once

#include "source_tree.hpp"

namespace sublet::tidy {

// Each returns what breaks it. A line that has to break a rule of single lines says
// "tidy-allow: <reason>" in a comment on it.

/// No std::views, <source_location>, <format>: one of the two compilers in use lacks them.
std::vector<Violation> check_language(const std::vector<SourceFile>& files);

/// Tests wait for what they wait for; a sleep is too long or too short.
std::vector<Violation> check_no_sleeps(const std::vector<SourceFile>& files);

/// TEST(Subject, DoesWhatWhenCondition), in a file named *_test.cpp.
std::vector<Violation> check_test_names(const std::vector<SourceFile>& files);

/// Tests are declared by sublet_test(), which gives each a time limit and a label.
std::vector<Violation> check_test_declarations(const std::vector<SourceFile>& files);

/// A public header includes public headers, the standard library, and the two libraries that the
/// API names: what is not installed cannot be included.
std::vector<Violation> check_public_headers(const std::vector<SourceFile>& files);

/// What is not done belongs into an issue, not into the source.
std::vector<Violation> check_no_marks(const std::vector<SourceFile>& files);

/// Each top-level folder with sources has a README of at most a page.
std::vector<Violation> check_readmes(const std::vector<SourceFile>& files);

/// The packages that ./dev installs are those that docs/dependencies.md explains.
std::vector<Violation> check_packages(const std::vector<SourceFile>& files);

/// Files longer than one noun usually needs. A hint, not an error.
std::vector<Violation> find_long_files(const std::vector<SourceFile>& files);

}  // namespace sublet::tidy
