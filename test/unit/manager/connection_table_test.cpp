#include <common/connection_table.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace sublet::manager {
namespace {

class Connections : public testing::Test {
 protected:
  /// Null when there is no place. `closed_` says whose went to others.
  ConnectionTable::Place* connect(const std::string& owner, const std::string& name) {
    auto place = table_.take(owner, [this, name] { closed_ += name; });
    if (place == nullptr) return nullptr;
    places_.push_back(std::move(place));
    return places_.back().get();
  }

  ConnectionTable table_{4, std::chrono::milliseconds(0)};
  std::vector<std::unique_ptr<ConnectionTable::Place>> places_;
  std::string closed_;
};

TEST_F(Connections, OfWhoeverHasMostGoFirst) {
  connect("a", "1");
  connect("b", "2");
  connect("b", "3");
  connect("b", "4");
  EXPECT_TRUE(connect("a", "5"));
  EXPECT_EQ(closed_, "2");
  EXPECT_TRUE(connect("c", "6"));
  EXPECT_EQ(table_.state().connections, 4u);
  EXPECT_EQ(table_.state().closed, 2u);
}

TEST_F(Connections, ThatHaveSaidNothingGoBeforeThoseThatHave) {
  connect("a", "1")->heard();
  connect("a", "2");
  connect("a", "3")->heard();
  connect("a", "4");
  connect("a", "5")->heard();
  connect("a", "6")->heard();
  EXPECT_EQ(closed_, "24");
  places_[0]->heard();  // the first one is the latest now
  connect("a", "7")->heard();
  EXPECT_EQ(closed_, "243");
}

TEST(Crowds, AreOfOneOwnerAndEndWithTheirLargeNumber) {
  ConnectionTable table(1000);
  std::vector<std::unique_ptr<ConnectionTable::Place>> many;
  many.reserve(129);
  for (int i = 0; i < 128; ++i) many.push_back(table.take("a", [] {}));
  const auto other = table.take("b", [] {});
  EXPECT_FALSE(many.front()->is_of_a_crowd());
  many.push_back(table.take("a", [] {}));
  EXPECT_TRUE(many.front()->is_of_a_crowd());
  EXPECT_TRUE(many.back()->is_of_a_crowd());
  EXPECT_FALSE(other->is_of_a_crowd());
  many.pop_back();
  EXPECT_FALSE(many.front()->is_of_a_crowd());
}

TEST(NewConnections, HaveTimeToSaySomething) {
  ConnectionTable table(3, std::chrono::hours(1));
  std::string closed;
  const auto first = table.take("a", [&] { closed += "1"; });
  first->heard();
  const auto second = table.take("a", [&] { closed += "2"; });
  const auto third = table.take("a", [&] { closed += "3"; });
  const auto fourth = table.take("a", [&] { closed += "4"; });
  EXPECT_EQ(closed, "1");
  const auto fifth = table.take("a", [&] { closed += "5"; });
  EXPECT_EQ(closed, "12") << "there are only new ones";
}

TEST_F(Connections, ThatHoldSomethingStay) {
  for (const char* name : {"1", "2", "3", "4"}) connect("a", name)->hold();
  EXPECT_FALSE(connect("b", "5"));
  EXPECT_EQ(table_.state().refused, 1u);
  places_[2]->hold();
  places_[2]->let_go();
  EXPECT_FALSE(connect("b", "6"));
  places_[2]->let_go();
  EXPECT_TRUE(connect("b", "7"));
  EXPECT_EQ(closed_, "3");
}

TEST_F(Connections, GiveTheirPlacesBack) {
  for (int round = 0; round < 3; ++round) {
    for (const char* name : {"1", "2", "3", "4"}) ASSERT_TRUE(connect("a", name));
    places_[1]->heard();
    places_[2]->hold();
    places_.clear();
    EXPECT_EQ(table_.state().connections, 0u);
  }
  EXPECT_EQ(closed_, "");
  EXPECT_FALSE(table_.make_room());
}

TEST_F(Connections, ThatWereClosedForOthersMayEndInAnyOrder) {
  for (const char* name : {"1", "2", "3", "4", "5", "6"}) ASSERT_TRUE(connect("a", name));
  EXPECT_EQ(closed_, "12");
  places_[0]->heard();
  places_[1]->hold();
  places_[1]->let_go();
  places_.erase(places_.begin());
  EXPECT_EQ(table_.state().connections, 4u);
  places_.clear();
  EXPECT_EQ(table_.state().connections, 0u);
}

}  // namespace
}  // namespace sublet::manager
