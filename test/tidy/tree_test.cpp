#include "layers.hpp"
#include "rules.hpp"
#include "source_tree.hpp"

#include <gtest/gtest.h>

#include <algorithm>

// The rules applied to this very tree.

namespace sublet::tidy {
namespace {

const std::vector<SourceFile>& tree() {
  static const auto kFiles = read_tree(SUBLET_SOURCE_DIR);
  return kFiles;
}

TEST(Tree, IsReadAtAll) {
  const auto has = [](std::string_view path) {
    return std::ranges::find(tree(), path, &SourceFile::path) != tree().end();
  };
  EXPECT_TRUE(has("runtime/base/fd.hpp"));
  EXPECT_TRUE(has("CMakeLists.txt"));
  EXPECT_TRUE(has("dev"));
}

TEST(Tree, KeepsToTheLayers) {
  EXPECT_EQ(to_text(check_layers(tree())), "");
}

TEST(Tree, ReachesNoLibraryItShouldNotKnow) {
  EXPECT_EQ(to_text(check_reach(tree())), "");
}

TEST(Tree, UsesWhatBothCompilersHave) {
  EXPECT_EQ(to_text(check_language(tree())), "");
}

TEST(Tree, HasNoSleepsInTests) {
  EXPECT_EQ(to_text(check_no_sleeps(tree())), "");
}

TEST(Tree, BoundsNoTimeInTests) {
  EXPECT_EQ(to_text(check_no_elapsed_time(tree())), "");
}

TEST(Tree, NamesItsTests) {
  EXPECT_EQ(to_text(check_test_names(tree())), "");
}

TEST(Tree, DeclaresItsTestsWithLimits) {
  EXPECT_EQ(to_text(check_test_declarations(tree())), "");
}

TEST(Tree, HasPublicHeadersThatStandAlone) {
  EXPECT_EQ(to_text(check_public_headers(tree())), "");
}

TEST(Tree, KeepsNoReferencesToHandlers) {
  EXPECT_EQ(to_text(check_handlers(tree())), "");
}

TEST(Tree, HasNoMarksOfUnfinishedWork) {
  EXPECT_EQ(to_text(check_no_marks(tree())), "");
}

TEST(Tree, ExplainsEachFolder) {
  EXPECT_EQ(to_text(check_readmes(tree())), "");
}

TEST(Tree, ExplainsEachPackage) {
  EXPECT_EQ(to_text(check_packages(tree())), "");
}

TEST(Tree, KeepsFilesShort) {
  EXPECT_EQ(to_text(check_lengths(tree())), "");
}

}  // namespace
}  // namespace sublet::tidy
