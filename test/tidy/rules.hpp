#pragma once

#include "source_tree.hpp"

namespace sublet::tidy {

// Each returns what breaks it. A line that has to break a rule of single lines says
// "tidy-allow: <reason>" in a comment on it.

/// No std::views, <source_location>, <format>: one of the two compilers in use lacks them.
std::vector<Violation> check_language(const std::vector<SourceFile>& files);

/// Tests, and examples that tests run, wait for what they wait for; a sleep is too long or too
/// short. In C++, scripts and CMake files, wherever on the line it stands.
std::vector<Violation> check_no_sleeps(const std::vector<SourceFile>& files);

/// No assertion of a test says how little time something may take: a busy machine takes longer.
/// Finds upper bounds on a clock's reading, on a difference of readings, and on a variable that was
/// made from one in the same function; what goes through other functions it does not see.
std::vector<Violation> check_no_elapsed_time(const std::vector<SourceFile>& files);

/// TEST(Subject, DoesWhatWhenCondition), in a file named *_test.cpp.
std::vector<Violation> check_test_names(const std::vector<SourceFile>& files);

/// Tests are declared by sublet_test(), which gives each a time limit and a label.
std::vector<Violation> check_test_declarations(const std::vector<SourceFile>& files);

/// A public header includes public headers, the standard library, and the two libraries that the
/// API names: what is not installed cannot be included.
std::vector<Violation> check_public_headers(const std::vector<SourceFile>& files);

/// KJ keeps a reference to an error handler that has a name, which is gone when the promise fails:
/// catch_() and eagerlyEvaluate() get a lambda, a call that makes one, or nullptr.
std::vector<Violation> check_handlers(const std::vector<SourceFile>& files);

/// What is not done belongs into an issue, not into the source.
std::vector<Violation> check_no_marks(const std::vector<SourceFile>& files);

/// Each top-level folder with sources has a README of at most a page.
std::vector<Violation> check_readmes(const std::vector<SourceFile>& files);

/// The packages that ./dev installs are those that docs/dependencies.md explains.
std::vector<Violation> check_packages(const std::vector<SourceFile>& files);

/// No file is longer than one noun needs, those aside for which the rule names a reason.
std::vector<Violation> check_lengths(const std::vector<SourceFile>& files);

}  // namespace sublet::tidy
