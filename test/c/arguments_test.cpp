// Codes and arguments of the C interface: every error that needs no manager, and the callbacks.

#include "support/eventually.hpp"
#include "support/managers.hpp"
#include <sublet/c.hpp>
#include <sublet/function.hpp>
#include <sublet/sublet.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <set>
#include <string>
#include <thread>

namespace sublet::c {
namespace {

using test::eventually;
using test::TestManagers;

constexpr Status kStatuses[] = {Status::kOk,
                                Status::kAgain,
                                Status::kInvalid,
                                Status::kUnknownFunction,
                                Status::kOutputTooLarge,
                                Status::kFunctionError,
                                Status::kException,
                                Status::kCrashed,
                                Status::kExited,
                                Status::kTimedOut,
                                Status::kLost,
                                Status::kClosed,
                                Status::kDeadline,
                                Status::kDenied};
constexpr ErrorKind kKinds[] = {
    ErrorKind::kInvalid,    ErrorKind::kOverloaded,    ErrorKind::kDisconnected,
    ErrorKind::kDenied,     ErrorKind::kUnsupported,   ErrorKind::kInternal,
    ErrorKind::kNoInit,     ErrorKind::kNoApplication, ErrorKind::kTooLarge,
    ErrorKind::kOtherBuild, ErrorKind::kAmbiguous,     ErrorKind::kStaticProgram};

TEST(CCodes, AreThoseOfCppOneForOne) {
  std::set<int> codes;
  for (const Status status : kStatuses) {
    EXPECT_TRUE(codes.insert(code_of(status)).second);
    EXPECT_STREQ(sublet_error_string(code_of(status)), to_string(status));
  }
  for (const ErrorKind kind : kKinds) {
    EXPECT_TRUE(codes.insert(code_of(kind)).second);
    EXPECT_STREQ(sublet_error_string(code_of(kind)), to_string(kind));
  }
  EXPECT_EQ(code_of(Status::kTimedOut), SUBLET_ERR_TIMED_OUT);
  EXPECT_EQ(code_of(ErrorKind::kUnsupported), SUBLET_ERR_UNSUPPORTED);
  EXPECT_EQ(code_of(ErrorKind::kNoInit), SUBLET_ERR_NO_INIT);
  EXPECT_EQ(code_of(ErrorKind::kNoApplication), SUBLET_ERR_NO_APPLICATION);
  EXPECT_EQ(code_of(ErrorKind::kTooLarge), SUBLET_ERR_TOO_LARGE);
  EXPECT_EQ(code_of(ErrorKind::kOtherBuild), SUBLET_ERR_OTHER_BUILD);
  EXPECT_EQ(code_of(ErrorKind::kAmbiguous), SUBLET_ERR_AMBIGUOUS);
  EXPECT_EQ(code_of(ErrorKind::kStaticProgram), SUBLET_ERR_STATIC_PROGRAM);
}

TEST(CCodes, HaveWordsEach) {
  std::set<std::string> words;
  for (const int code :
       {SUBLET_ERR_HANDLE, SUBLET_ERR_ARGUMENT, SUBLET_ERR_COUNT, SUBLET_ERR_OPTION,
        SUBLET_ERR_COMM, SUBLET_ERR_COMM_FREED, SUBLET_ERR_INTERCOMM, SUBLET_ERR_NOT_INITIALIZED,
        SUBLET_ERR_FINALIZED, SUBLET_ERR_OTHER_RANK, SUBLET_ERR_OTHER_MPI, SUBLET_ERR_NOT_CANCELLED,
        SUBLET_ERR_DIFFER, SUBLET_ERR_TYPE, SUBLET_ERR_UNDER_WAY, -1000, 1, INT32_MIN, INT32_MAX}) {
    words.insert(sublet_error_string(code));
  }
  EXPECT_EQ(words.size(), 16u);  // the last four are unknown
}

TEST(CErrors, BelongToTheirThread) {
  EXPECT_EQ(sublet_set_last_error(-5, "here"), -5);
  std::string there = "unset";
  std::thread([&] { there = sublet_last_error(); }).join();
  EXPECT_EQ(there, "");
  EXPECT_STREQ(sublet_last_error(), "here");
}

TEST(CErrors, AreCutWhereTheyAreLong) {
  sublet_set_last_error(-1, std::string(100'000, 'x').c_str());
  const std::string text = sublet_last_error();
  EXPECT_LT(text.size(), 100'000u);
  EXPECT_TRUE(text.ends_with("x..."));
}

TEST(CHandles, AreMissedWhereTheyAreNull) {
  int ended = 0;
  char byte = 0;
  const int codes[] = {
      sublet_options_set(nullptr, "a", "b"),
      sublet_session_manager(nullptr, &byte, 1, nullptr),
      sublet_session_write_trace(nullptr, "x"),
      sublet_lease_extend(nullptr, 1),
      sublet_lease_progress(nullptr),
      sublet_lease_wait_all(nullptr, 0),
      sublet_lease_on_ending(nullptr, nullptr, nullptr),
      sublet_lease_on_lost(nullptr, nullptr, nullptr),
      sublet_lease_release(nullptr),
      sublet_call(nullptr, &byte, 1, &byte, 1, nullptr),
      sublet_batch(nullptr, nullptr, 0, 0, nullptr),
      sublet_offload_for(nullptr, nullptr, nullptr),
      sublet_invocation_poll(nullptr, &ended),
      sublet_invocation_wait(nullptr, nullptr),
      sublet_invocation_wait_for(nullptr, 0, nullptr),
  };
  for (const int& code : codes) EXPECT_EQ(code, SUBLET_ERR_HANDLE) << &code - codes;
  EXPECT_NE(std::string(sublet_last_error()).find("null"), std::string::npos);
  EXPECT_EQ(sublet_function_name(nullptr), nullptr);
}

TEST(CHandles, MayBeFreedTwice) {
  sublet_options* options = nullptr;
  EXPECT_EQ(sublet_options_create(&options), SUBLET_SUCCESS);
  EXPECT_EQ(sublet_options_free(&options), SUBLET_SUCCESS);
  EXPECT_EQ(sublet_options_free(&options), SUBLET_SUCCESS);
  EXPECT_EQ(sublet_options_free(nullptr), SUBLET_ERR_ARGUMENT);
}

TEST(COptions, AreCheckedWhenTheyAreSet) {
  sublet_options* options = nullptr;
  ASSERT_EQ(sublet_options_create(&options), SUBLET_SUCCESS);
  const char* const good[][2] = {
      {"timeout_ms", "1000"},       {"transport", "shm"},  {"trace", "true"},
      {"memory_bytes", "33554432"}, {"duration_s", "60"},  {"placement", "spread"},
      {"hot_timeout_ms", "-1"},     {"slots", "32"},       {"replace", "no"},
      {"worker_wait_ms", "5"},      {"idempotent", "1"},   {"function_timeout_ms", "10"},
      {"cores_per_worker", "2"},    {"wait_ms", "600000"}, {"priority", "-7"},
      {"gpus_per_worker", "64"},    {"notice_ms", "30000"}};
  for (const auto& [name, value] : good) {
    EXPECT_EQ(sublet_options_set(options, name, value), SUBLET_SUCCESS) << name;
  }
  const char* const bad[][2] = {{"timeout_ms", "soon"},
                                {"transport", "pigeon"},
                                {"trace", "perhaps"},
                                {"memory_bytes", "-1"},
                                {"duration_s", "0"},
                                {"placement", "far"},
                                {"hot_timeout_ms", "-2"},
                                {"slots", "33"},
                                {"replace", ""},
                                {"worker_wait_ms", "5x"},
                                {"arena_bytes", "99999999999999999999"},
                                {"wait_ms", "-1"},
                                {"wait_ms", "604800001"},
                                {"priority", "101"},
                                {"priority", "high"},
                                {"notice_ms", "3600001"},
                                {"gpus_per_worker", "-1"},
                                {"gpus_per_worker", "65"},
                                {"gpus_per_worker", "one"},
                                {"cores_per_worker", "0"},
                                {"cores_per_worker", "-2"},
                                {"cores_per_worker", "4097"},
                                {"cores_per_worker", "4294967298"},
                                {"no_such", "1"}};
  for (const auto& [name, value] : bad) {
    EXPECT_EQ(sublet_options_set(options, name, value), SUBLET_ERR_OPTION) << name;
    EXPECT_NE(std::string(sublet_last_error()).find(name[0]), std::string::npos);
  }
  const LeaseRequest request = lease_request(options);
  EXPECT_EQ(request.slots, 32u);
  EXPECT_EQ(request.cores_per_worker, 2u);
  EXPECT_EQ(request.gpus_per_worker, 64u);
  EXPECT_EQ(request.wait, std::chrono::minutes(10));
  EXPECT_EQ(request.priority, -7);
  EXPECT_EQ(request.notice, std::chrono::seconds(30));
  EXPECT_EQ(request.placement, Placement::kSpread);
  EXPECT_FALSE(request.replace);
  const auto session = session_options(options);
  ASSERT_TRUE(session.has_value());
  EXPECT_EQ(session->timeout, std::chrono::milliseconds(1000));
  EXPECT_EQ(session->transport, "shm");
  sublet_options_free(&options);
}

TEST(CSession, SaysThatThereIsNoManager) {
  sublet_options* options = nullptr;
  ASSERT_EQ(sublet_options_create(&options), SUBLET_SUCCESS);
  sublet_options_set(options, "manager", "unix:/nonexistent/sublet.sock");
  sublet_options_set(options, "allow_private", "false");
  sublet_session* session = nullptr;
  const int code = sublet_session_open(options, &session);
  EXPECT_LE(code, SUBLET_ERR_INVALID);
  EXPECT_EQ(session, nullptr);
  EXPECT_NE(std::string(sublet_last_error()).find("/nonexistent"), std::string::npos);
  sublet_options_free(&options);
}

/// A lease of one worker, and its `multiply`, through C.
class CLease : public ::testing::Test {
 protected:
  void SetUp() override {
    session_ = make_handle(Session::open(managers_.session_options()).value_or_throw());
    ASSERT_EQ(sublet_lease_open(session_, 1, nullptr, &lease_), SUBLET_SUCCESS)
        << sublet_last_error();
    ASSERT_EQ(sublet_function_open(lease_, C_FUNCTIONS, "multiply", nullptr, &multiply_),
              SUBLET_SUCCESS)
        << sublet_last_error();
  }
  void TearDown() override {
    sublet_function_free(&multiply_);
    sublet_lease_free(&lease_);
    sublet_session_free(&session_);
  }

  TestManagers managers_;
  sublet_session* session_ = nullptr;
  sublet_lease* lease_ = nullptr;
  sublet_function* multiply_ = nullptr;
};

TEST_F(CLease, RefusesBadArguments) {
  constexpr std::size_t kNegative = static_cast<std::size_t>(-1);
  double out = 0;
  double in[2] = {1, 2};
  sublet_buffer* buffer = nullptr;
  sublet_function* function = nullptr;
  sublet_invocation* call = nullptr;
  sublet_lease* lease = nullptr;
  void* data = nullptr;
  EXPECT_EQ(sublet_lease_open(session_, 0, nullptr, &lease), SUBLET_ERR_COUNT);
  EXPECT_EQ(sublet_lease_open(session_, -3, nullptr, &lease), SUBLET_ERR_COUNT);
  EXPECT_EQ(sublet_lease_open(session_, 64, nullptr, &lease), SUBLET_ERR_OVERLOADED);
  EXPECT_EQ(sublet_lease_open(session_, 1, nullptr, nullptr), SUBLET_ERR_ARGUMENT);
  EXPECT_EQ(sublet_call(multiply_, in, kNegative, &out, 8, nullptr), SUBLET_ERR_COUNT);
  EXPECT_EQ(sublet_call(multiply_, in, 16, &out, kNegative, nullptr), SUBLET_ERR_COUNT);
  EXPECT_EQ(sublet_call(multiply_, nullptr, 16, &out, 8, nullptr), SUBLET_ERR_ARGUMENT);
  EXPECT_EQ(sublet_call(multiply_, in, 16, nullptr, 8, nullptr), SUBLET_ERR_ARGUMENT);
  EXPECT_EQ(sublet_call_async(multiply_, in, 16, &out, 8, nullptr), SUBLET_ERR_ARGUMENT);
  EXPECT_EQ(sublet_call_async(nullptr, in, 16, &out, 8, &call), SUBLET_ERR_HANDLE);
  EXPECT_EQ(sublet_call_try(multiply_, 0, nullptr, 16, &out, 8, &call), SUBLET_ERR_ARGUMENT);
  EXPECT_EQ(call, nullptr);
  EXPECT_NE(sublet_call_try(multiply_, 7, in, 16, &out, 8, &call), SUBLET_SUCCESS);
  EXPECT_EQ(sublet_invocation_then(&call, nullptr, nullptr), SUBLET_ERR_ARGUMENT);
  EXPECT_EQ(sublet_invocation_free(&call), SUBLET_SUCCESS);
  EXPECT_EQ(sublet_lease_wait_all(lease_, -2), SUBLET_ERR_COUNT);
  EXPECT_EQ(sublet_buffer_create(lease_, kNegative, &data, &buffer), SUBLET_ERR_COUNT);
  EXPECT_EQ(sublet_buffer_create(lease_, 8, nullptr, &buffer), SUBLET_ERR_ARGUMENT);
  EXPECT_EQ(sublet_function_open(lease_, nullptr, "f", nullptr, &function), SUBLET_ERR_ARGUMENT);
  EXPECT_EQ(sublet_function_open(lease_, "/nonexistent.so", "f", nullptr, &function),
            SUBLET_ERR_INVALID);
  sublet_item item{in, 16, &out, kNegative, {}};
  EXPECT_EQ(sublet_batch(multiply_, &item, 1, -1, nullptr), SUBLET_ERR_COUNT);
  EXPECT_EQ(sublet_batch(multiply_, nullptr, 1, -1, nullptr), SUBLET_ERR_ARGUMENT);
  EXPECT_EQ(sublet_offload_for(multiply_, nullptr, nullptr), SUBLET_ERR_ARGUMENT);
  const auto code_of_loop = [this](void (*change)(sublet_loop&)) {
    double memory[2] = {};
    sublet_loop loop{1, sizeof memory, memory, 8, memory, nullptr, nullptr, nullptr, 0};
    change(loop);
    return sublet_offload_for(multiply_, &loop, nullptr);
  };
  EXPECT_EQ(code_of_loop([](sublet_loop& loop) { loop.in = nullptr; }), SUBLET_ERR_ARGUMENT);
  EXPECT_EQ(code_of_loop([](sublet_loop& loop) { loop.out = nullptr; }), SUBLET_ERR_ARGUMENT);
  EXPECT_EQ(code_of_loop([](sublet_loop& loop) { loop.count = SIZE_MAX; }), SUBLET_ERR_COUNT);
  EXPECT_EQ(code_of_loop([](sublet_loop& loop) { loop.in_item = SIZE_MAX; }), SUBLET_ERR_COUNT);
  EXPECT_EQ(code_of_loop([](sublet_loop& loop) { loop.count = SIZE_MAX / 4; }), SUBLET_ERR_COUNT);
  EXPECT_EQ(code_of_loop([](sublet_loop& loop) { loop.least_items = SIZE_MAX; }), SUBLET_ERR_COUNT);
  // And it works as before.
  EXPECT_EQ(sublet_call(multiply_, in, 16, &out, 8, nullptr), SUBLET_SUCCESS);
  EXPECT_EQ(out, 2);
}

/// What the callbacks were told.
struct Told {
  std::atomic<int> endings{0};
  std::atomic<int> losses{0};
};

TEST_F(CLease, TellsThatItsNodeLeaves) {
  Told told;
  const auto ending = [](int64_t left_ms, const char* reason, int leaving, void* context) {
    if (left_ms >= 0 && reason[0] != '\0' && leaving == 1) ++static_cast<Told*>(context)->endings;
  };
  ASSERT_EQ(sublet_lease_on_ending(lease_, ending, &told), SUBLET_SUCCESS);
  ASSERT_EQ(::kill(managers_.node(0).pid(), SIGTERM), 0);
  EXPECT_TRUE(eventually([&] {
    sublet_lease_progress(lease_);
    return told.endings.load() > 0;
  }));
  EXPECT_EQ(sublet_lease_on_ending(lease_, nullptr, nullptr), SUBLET_SUCCESS);
  EXPECT_EQ(sublet_lease_release(lease_), SUBLET_SUCCESS);
}

TEST_F(CLease, TellsThatItIsLost) {
  Told told;
  const auto lost = [](const char* reason, void* context) {
    if (reason[0] != '\0') ++static_cast<Told*>(context)->losses;
  };
  ASSERT_EQ(sublet_lease_on_lost(lease_, lost, &told), SUBLET_SUCCESS);
  ASSERT_EQ(::kill(managers_.node(0).pid(), SIGKILL), 0);
  EXPECT_TRUE(eventually([&] {
    sublet_lease_progress(lease_);
    return told.losses.load() > 0;
  }));
  EXPECT_EQ(sublet_lease_release(lease_), SUBLET_SUCCESS);
}

}  // namespace
}  // namespace sublet::c
