#include <base/function_records.hpp>
#include <base/shared_objects.hpp>
#include <sublet/archive.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace sublet::base {
namespace {

std::int32_t first(struct sublet_call*) {
  return 0;
}
std::int32_t second(struct sublet_call*) {
  return 1;
}

sublet_function_record record(const char* name, sublet_typed_function run,
                              const sublet_function_record* next = nullptr) {
  return {SUBLET_FUNCTION_RECORD_VERSION, 0, name, 0, 0, run, next};
}

TEST(FunctionRecords, AreFoundByTheirNameForTheWire) {
  const auto a = record("_Z1av", &first);
  const auto b = record("_Z1bv", &second, &a);
  EXPECT_EQ(find_record(&b, record_name(a)), &a);
  EXPECT_EQ(find_record(&b, record_name(b)), &b);
  EXPECT_EQ(name_for_people(record_name(a)), "a()");
  EXPECT_NE(record_key(a), record_key(b));
}

TEST(FunctionRecords, HaveNamesThatFitTheWire) {
  const std::string longest(1000, 'x');
  const auto a = record(longest.c_str(), &first);
  EXPECT_LE(record_name(a).size(), 255u);
  EXPECT_EQ(find_record(&a, record_name(a)), &a);
}

TEST(FunctionRecords, FindNothingUnderNamesThatAreNone) {
  const auto a = record("_Z1av", &first);
  for (const char* name : {"", "#", "a()#", "a()#0", "a()#zzzzzzzzzzzzzzzz", "a()",
                           "a()#0123456789abcdef0123456789abcdef"}) {
    EXPECT_EQ(find_record(&a, name), nullptr) << name;
  }
  EXPECT_EQ(find_record(nullptr, record_name(a)), nullptr);
}

TEST(FunctionRecords, OfTwoFunctionsWithOneNameAreRefused) {
  const auto a = record("_Z1av", &first);
  const auto again = record("_Z1av", &first, &a);
  EXPECT_TRUE(check_records(&again)) << "the same function, recorded twice";
  const auto other = record("_Z1av", &second, &a);
  const auto refused = check_records(&other);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kAmbiguous);
  EXPECT_NE(std::string(refused.error().what()).find("a()"), std::string::npos);
}

TEST(FunctionRecords, OfAnotherVersionAreRefused) {
  auto a = record("_Z1av", &first);
  a.version = 7;
  const auto refused = check_records(&a);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kUnsupported);
}

TEST(SharedObjects, HaveTheirNamesAndBuildIds) {
  const auto objects = loaded_shared_objects();
  const auto libc = std::find_if(objects.begin(), objects.end(), [](const SharedObject& object) {
    return object.name() == "libc.so.6";
  });
  ASSERT_NE(libc, objects.end());
  EXPECT_GE(libc->build_id.size(), 16u);
  EXPECT_EQ(libc->build_id.find_first_not_of("0123456789abcdef"), std::string::npos);
}

TEST(Archive, CarriesWhatItHasWritten) {
  const std::vector<std::string> words{"a", "", "long enough to lie on the heap"};
  const std::array<std::vector<int>, 2> numbers{std::vector<int>{1, 2}, std::vector<int>{}};
  Writer counts;
  counts(words, numbers, 7);
  std::vector<std::byte> memory(counts.size());
  Writer writer{std::span(memory)};
  writer(words, numbers, 7);
  Reader reader{std::span<const std::byte>(memory)};
  std::vector<std::string> words_read;
  std::array<std::vector<int>, 2> numbers_read;
  int seven = 0;
  reader(words_read, numbers_read, seven);
  EXPECT_EQ(words_read, words);
  EXPECT_EQ(numbers_read, numbers);
  EXPECT_EQ(seven, 7);
  EXPECT_EQ(reader.left(), 0u);
}

TEST(Archive, RefusesWhatEndsTooEarlyOrClaimsTooMuch) {
  const std::uint64_t count = ~std::uint64_t{0};
  const auto claims = std::as_bytes(std::span(&count, 1));
  std::vector<double> numbers;
  std::string text;
  std::vector<std::string> words;
  EXPECT_THROW(Reader{claims}(numbers), FunctionError);
  EXPECT_THROW(Reader{claims}(text), FunctionError);
  EXPECT_THROW(Reader{claims}(words), FunctionError);
  EXPECT_THROW(Reader{claims.first(7)}(numbers), FunctionError);
}

}  // namespace
}  // namespace sublet::base
