// Calls as MPI requests, and beside them: with messages, on each path that this MPI has
// (SUBLET_MPI_REQUESTS chooses), and every misuse.

#include "world.hpp"
#include <sublet/c.hpp>

#include <sublet_mpi.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace sublet::mpi {
namespace {

/// The errors of MPI_COMM_WORLD are returned while it lives.
class ErrorsReturned {
 public:
  ErrorsReturned() { MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN); }
  ~ErrorsReturned() { MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_ARE_FATAL); }
  ErrorsReturned(const ErrorsReturned&) = delete;
  ErrorsReturned& operator=(const ErrorsReturned&) = delete;
};

class Requests : public testing::Test {
 protected:
  Requests()
      : workers_(Allocator::create(MPI_COMM_WORLD, options_for_any_machine()).value_or_throw()),
        twice_(function<double(double)>("twice")) {}
  template <class Signature>
  TypedFunction<Signature> function(const char* name) {
    return workers_.lease().function<Signature>(SUBLET_TEST_FUNCTIONS, name).value_or_throw();
  }
  /// A request whose call doubles `in` into `out`.
  MPI_Request start(const double& in, double& out, Reply* reply = nullptr) {
    return request(twice_.async(in, out), reply).value_or_throw();
  }

  Allocator workers_;
  TypedFunction<double(double)> twice_;
  double in_ = 21;
  double out_ = 0;
};

TEST_F(Requests, UseThePathThatIsAskedFor) {
  const char* wanted = std::getenv("SUBLET_MPI_REQUESTS");
  const std::string path = sublet_mpi_request_path();
  EXPECT_EQ(path, request_path());
  if (wanted != nullptr) {
    EXPECT_EQ(path, wanted);
  } else {
#ifdef OMPI_MAJOR_VERSION
    EXPECT_EQ(path, "progress");
#else
    EXPECT_EQ(path, "poll");
#endif
  }
}

TEST_F(Requests, EndInWaitWithTheResult) {
  Reply reply;
  MPI_Request pending = start(in_, out_, &reply);
  MPI_Status status;
  ASSERT_EQ(MPI_Wait(&pending, &status), MPI_SUCCESS);
  EXPECT_EQ(pending, MPI_REQUEST_NULL);
  EXPECT_EQ(out_, 42);
  EXPECT_TRUE(reply.ok());
  EXPECT_EQ(reply.size, sizeof(double));
  int size = 0;
  MPI_Get_elements(&status, MPI_BYTE, &size);
  EXPECT_EQ(size, 8);
  int cancelled = 1;
  MPI_Test_cancelled(&status, &cancelled);
  EXPECT_EQ(cancelled, 0);
}

TEST_F(Requests, EndInTest) {
  MPI_Request pending = start(in_, out_);
  int ended = 0;
  while (ended == 0) ASSERT_EQ(MPI_Test(&pending, &ended, MPI_STATUS_IGNORE), MPI_SUCCESS);
  EXPECT_EQ(pending, MPI_REQUEST_NULL);
  EXPECT_EQ(out_, 42);
}

TEST_F(Requests, EndInWaitallWithMessages) {
  const int size = size_of(MPI_COMM_WORLD);
  const int rank = rank_of(MPI_COMM_WORLD);
  constexpr std::size_t kCalls = 20;  // more than a worker has slots
  std::vector<double> in(kCalls);
  std::vector<double> out(kCalls);
  std::vector<int> message(1 << 16, rank);
  std::vector<int> received(message.size(), -1);
  std::vector<MPI_Request> all(2, MPI_REQUEST_NULL);
  const auto length = static_cast<int>(message.size());
  MPI_Irecv(received.data(), length, MPI_INT, (rank + size - 1) % size, 0, MPI_COMM_WORLD, &all[0]);
  for (std::size_t i = 0; i < kCalls; ++i) {
    in[i] = static_cast<double>(i);
    all.push_back(start(in[i], out[i]));
  }
  MPI_Isend(message.data(), length, MPI_INT, (rank + 1) % size, 0, MPI_COMM_WORLD, &all[1]);
  ASSERT_EQ(MPI_Waitall(static_cast<int>(all.size()), all.data(), MPI_STATUSES_IGNORE),
            MPI_SUCCESS);
  for (std::size_t i = 0; i < kCalls; ++i) EXPECT_EQ(out[i], 2 * in[i]);
  EXPECT_EQ(received.back(), (rank + size - 1) % size);
}

TEST_F(Requests, EndInWaitanyAndWaitsome) {
  std::array<double, 4> out{};
  std::array<MPI_Request, 4> all{};
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = start(in_, out[i]);
  int index = MPI_UNDEFINED;
  ASSERT_EQ(MPI_Waitany(4, all.data(), &index, MPI_STATUS_IGNORE), MPI_SUCCESS);
  ASSERT_NE(index, MPI_UNDEFINED);
  EXPECT_EQ(out[static_cast<std::size_t>(index)], 42);
  int ended = 1;
  while (ended < 4) {
    std::array<int, 4> indices{};
    int count = 0;
    ASSERT_EQ(MPI_Waitsome(4, all.data(), &count, indices.data(), MPI_STATUSES_IGNORE),
              MPI_SUCCESS);
    ASSERT_GT(count, 0);
    ended += count;
  }
  for (const double each : out) EXPECT_EQ(each, 42);
}

TEST_F(Requests, LetMessagesProgressMeanwhile) {
  // The function of rank 0 ends when rank 1 has all of a message that rank 0 is sending.
  if (size_of(MPI_COMM_WORLD) < 2) GTEST_SKIP() << "needs two ranks";
  // Executors run as another user, who does not see into the test's own room.
  const std::string file =
      text_of_rank_0(MPI_COMM_WORLD, "/tmp/sublet-test-arrived-" + std::to_string(::getpid()));
  std::vector<char> message(std::size_t{8} << 20, 'x');
  const auto length = static_cast<int>(message.size());
  if (rank_of(MPI_COMM_WORLD) == 0) {
    Function await =
        workers_.lease().function(SUBLET_TEST_FUNCTIONS, "await_file").value_or_throw();
    MPI_Request sent = MPI_REQUEST_NULL;
    MPI_Isend(message.data(), length, MPI_CHAR, 1, 7, MPI_COMM_WORLD, &sent);
    int found = 0;
    MPI_Request pending =
        request(await.async(file.c_str(), file.size() + 1, &found, sizeof found)).value_or_throw();
    EXPECT_EQ(MPI_Wait(&pending, MPI_STATUS_IGNORE), MPI_SUCCESS);
    EXPECT_EQ(found, 1) << "the message has not moved while MPI_Wait waited for the call";
    MPI_Wait(&sent, MPI_STATUS_IGNORE);
    std::remove(file.c_str());
  } else if (rank_of(MPI_COMM_WORLD) == 1) {
    MPI_Recv(message.data(), length, MPI_CHAR, 0, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    std::FILE* arrived = std::fopen(file.c_str(), "w");
    ASSERT_NE(arrived, nullptr);
    std::fclose(arrived);
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST_F(Requests, MakeTheErrorOfACallAnErrorOfTheWait) {
  const ErrorsReturned returned;
  auto fails = function<int(int)>("fails");
  const int in = 5;
  int out = 0;
  Reply reply;
  MPI_Request pending = request(fails.async(in, out), &reply).value_or_throw();
  MPI_Status status;
  const int error = MPI_Wait(&pending, &status);
  EXPECT_EQ(sublet_mpi_code(error), SUBLET_ERR_EXCEPTION);
  EXPECT_EQ(reply.status, Status::kException);
  EXPECT_NE(std::string(sublet_last_error()).find("'fails'"), std::string::npos)
      << sublet_last_error();
  EXPECT_NE(std::string(sublet_last_error()).find("on purpose"), std::string::npos);

  // Among others: which one it is, the statuses say.
  std::array<MPI_Request, 2> both{start(in_, out_), request(fails.async(in, out)).value_or_throw()};
  std::array<MPI_Status, 2> statuses{};
  EXPECT_EQ(MPI_Waitall(2, both.data(), statuses.data()), MPI_ERR_IN_STATUS);
  EXPECT_EQ(statuses[0].MPI_ERROR, MPI_SUCCESS);
#ifdef OMPI_MAJOR_VERSION
  EXPECT_EQ(sublet_mpi_code(statuses[1].MPI_ERROR), SUBLET_ERR_EXCEPTION);
#else  // MPICH 4.0 wraps it into a code of its own here
  EXPECT_NE(statuses[1].MPI_ERROR, MPI_SUCCESS);
#endif
  EXPECT_NE(std::string(sublet_last_error()).find("'fails'"), std::string::npos);
  EXPECT_EQ(out_, 42);
}

TEST_F(Requests, AreNotCancelled) {
  const ErrorsReturned returned;
  MPI_Request pending = start(in_, out_);
  const int error = MPI_Cancel(&pending);
  // Where the call had ended already there was nothing to cancel.
  if (error != MPI_SUCCESS) {
    EXPECT_EQ(sublet_mpi_code(error), SUBLET_ERR_NOT_CANCELLED);
  }
  MPI_Status status;
  ASSERT_EQ(MPI_Wait(&pending, &status), MPI_SUCCESS);
  int cancelled = 1;
  MPI_Test_cancelled(&status, &cancelled);
  EXPECT_EQ(cancelled, 0);
  EXPECT_EQ(out_, 42);
}

TEST_F(Requests, MayBeFreedBeforeTheirCallsEnd) {
  for (int i = 0; i < 40; ++i) {
    MPI_Request pending = start(in_, out_);
    ASSERT_EQ(MPI_Request_free(&pending), MPI_SUCCESS);
    EXPECT_EQ(pending, MPI_REQUEST_NULL);
  }
  MPI_Request pending = start(in_, out_);
  ASSERT_EQ(MPI_Wait(&pending, MPI_STATUS_IGNORE), MPI_SUCCESS);
  // `out_` is theirs until all have ended.
  ASSERT_TRUE(workers_.lease().wait_all(std::chrono::seconds(30)));
  EXPECT_EQ(out_, 42);
}

TEST_F(Requests, EndClosedWithTheirCommunicator) {
  const ErrorsReturned returned;
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &comm);
  auto workers = Allocator::create(comm, options_for_any_machine()).value_or_throw();
  Function never = workers.lease().function(SUBLET_TEST_FUNCTIONS, "await_file").value_or_throw();
  const std::string file = "/nonexistent/file";
  int found = 0;
  Reply reply;
  MPI_Request pending =
      request(never.async(file.c_str(), file.size() + 1, &found, sizeof found), &reply)
          .value_or_throw();
  MPI_Comm_free(&comm);
  const int error = MPI_Wait(&pending, MPI_STATUS_IGNORE);
  EXPECT_EQ(sublet_mpi_code(error), SUBLET_ERR_CLOSED);
  EXPECT_EQ(reply.status, Status::kClosed);
  EXPECT_EQ(pending, MPI_REQUEST_NULL);
}

TEST_F(Requests, RefuseAnEmptyCall) {
  const auto refused = request(Call());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind(), ErrorKind::kInvalid);
}

TEST_F(Requests, AreMadeAndWaitedForOnSeveralThreads) {
  int level = MPI_THREAD_SINGLE;
  MPI_Query_thread(&level);
  if (level < MPI_THREAD_MULTIPLE) GTEST_SKIP() << "this MPI has no MPI_THREAD_MULTIPLE";
  const int rank = rank_of(MPI_COMM_WORLD);
  const int size = size_of(MPI_COMM_WORLD);
  std::array<std::thread, 2> threads;
  std::atomic<bool> ended = false;
  // One waits for a message that the other thread, of the rank to the left, sends when its calls
  // are done: neither holds up the other, whichever of them drives MPI. A rank alone only looks for
  // one: MPICH 4.0 does not end a receive of what another thread of the same rank sends.
  threads[0] = std::thread([rank, size, &ended] {
    int token = 0;
    if (size > 1) {
      MPI_Recv(&token, 1, MPI_INT, (rank + size - 1) % size, 9, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      EXPECT_EQ(token, 100);
    }
    while (!ended) MPI_Iprobe(MPI_ANY_SOURCE, 9, MPI_COMM_WORLD, &token, MPI_STATUS_IGNORE);
  });
  threads[1] = std::thread([this, rank, size, &ended] {
    int done = 0;
    for (; done < 100; ++done) {
      double out = 0;
      MPI_Request pending = start(in_, out);
      MPI_Wait(&pending, MPI_STATUS_IGNORE);
      EXPECT_EQ(out, 42);
      EXPECT_EQ(twice_(in_).value_or_throw(), 42);  // and natively, on the same lease
    }
    if (size > 1) MPI_Send(&done, 1, MPI_INT, (rank + 1) % size, 9, MPI_COMM_WORLD);
    ended = true;
  });
  for (std::thread& thread : threads) thread.join();
}

TEST_F(Requests, AreWaitedForWithNativeCalls) {
  const int size = size_of(MPI_COMM_WORLD);
  const int rank = rank_of(MPI_COMM_WORLD);
  double other = 0;
  double as_request = 0;
  Call native = twice_.async(in_, out_);
  Call second = twice_.async(in_, other);
  int token = -1;
  std::array<MPI_Request, 3> requests{};
  MPI_Irecv(&token, 1, MPI_INT, (rank + 1) % size, 3, MPI_COMM_WORLD, &requests[0]);
  MPI_Isend(&rank, 1, MPI_INT, (rank + size - 1) % size, 3, MPI_COMM_WORLD, &requests[1]);
  requests[2] = start(in_, as_request);
  const std::array<Call*, 2> calls{&native, &second};
  const auto waited = waitall(calls, requests);
  ASSERT_TRUE(waited.has_value()) << waited.error().what();
  EXPECT_TRUE(native.wait().ok());
  EXPECT_EQ(out_, 42);
  EXPECT_EQ(other, 42);
  EXPECT_EQ(as_request, 42);
  EXPECT_EQ(token, (rank + 1) % size);
  EXPECT_TRUE(waitall({}, {}).has_value());
  EXPECT_TRUE(waitall(calls, {}).has_value());  // they have ended
}

TEST_F(Requests, AreOpenedByTheCInterface) {
  const ErrorsReturned returned;
  sublet_lease* lease = sublet::c::make_handle(workers_.lease());
  sublet_function* twice = nullptr;
  sublet_invocation* call = nullptr;
  sublet_reply reply = {-1, 0, 0, 0};
  MPI_Request pending = MPI_REQUEST_NULL;
  ASSERT_EQ(sublet_function_open(lease, SUBLET_TEST_FUNCTIONS, "twice", nullptr, &twice),
            SUBLET_SUCCESS);
  const auto start_call = [&] {
    return sublet_call_async(twice, &in_, sizeof in_, &out_, sizeof out_, &call);
  };
  ASSERT_EQ(start_call(), SUBLET_SUCCESS);
  EXPECT_EQ(sublet_mpi_code(sublet_mpi_request(nullptr, &reply, &pending)), SUBLET_ERR_HANDLE);
  EXPECT_EQ(sublet_mpi_code(sublet_mpi_request(call, &reply, nullptr)), SUBLET_ERR_ARGUMENT);
  ASSERT_EQ(sublet_mpi_request(call, &reply, &pending), MPI_SUCCESS);
  EXPECT_EQ(sublet_mpi_code(sublet_mpi_request(call, &reply, &pending)), SUBLET_ERR_HANDLE)
      << "there is no call in it any more";
  EXPECT_EQ(MPI_Wait(&pending, MPI_STATUS_IGNORE), MPI_SUCCESS);
  EXPECT_EQ(reply.code, SUBLET_SUCCESS);
  EXPECT_EQ(reply.size, sizeof out_);
  EXPECT_EQ(out_, 42);

  out_ = 0;
  ASSERT_EQ(start_call(), SUBLET_SUCCESS);  // the same handle
  const std::array<sublet_invocation*, 2> calls{call, nullptr};
  std::array<sublet_reply, 2> replies{};
  replies[0].code = -1;
  EXPECT_EQ(sublet_waitall(2, calls.data(), replies.data(), 0, nullptr, nullptr), MPI_SUCCESS);
  EXPECT_EQ(replies[0].code, SUBLET_SUCCESS);
  EXPECT_EQ(out_, 42);
  EXPECT_EQ(sublet_mpi_code(sublet_waitall(-1, calls.data(), nullptr, 0, nullptr, nullptr)),
            SUBLET_ERR_COUNT);
  EXPECT_EQ(sublet_mpi_code(sublet_waitall(1, nullptr, nullptr, 0, nullptr, nullptr)),
            SUBLET_ERR_ARGUMENT);
  EXPECT_EQ(sublet_invocation_free(&call), SUBLET_SUCCESS);
  EXPECT_EQ(sublet_function_free(&twice), SUBLET_SUCCESS);
  EXPECT_EQ(sublet_lease_free(&lease), SUBLET_SUCCESS);
}

}  // namespace
}  // namespace sublet::mpi
