// Persistent calls, and calls whose data MPI datatypes describe.

#include "world.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

namespace sublet::mpi {
namespace {

/// A committed type, freed at the end.
class Type {
 public:
  explicit Type(MPI_Datatype made) : type_(made) { MPI_Type_commit(&type_); }
  Type(const Type&) = delete;
  Type& operator=(const Type&) = delete;
  ~Type() { MPI_Type_free(&type_); }
  [[nodiscard]] MPI_Datatype get() const { return type_; }

 private:
  MPI_Datatype type_;
};

/// A column of a matrix of `rows` lines of `columns` doubles.
MPI_Datatype column_of(int rows, int columns) {
  MPI_Datatype type = MPI_DATATYPE_NULL;
  MPI_Type_vector(rows, 1, columns, MPI_DOUBLE, &type);
  return type;
}

class Datatypes : public testing::Test {
 protected:
  void SetUp() override {
    MPI_Comm_dup(MPI_COMM_WORLD, &comm_);
    auto created = Allocator::create(comm_, options_for_any_machine());
    ASSERT_TRUE(created.has_value()) << created.error().what();
    workers_ = std::move(*created);
    twice_each_ = workers_.lease().function(SUBLET_TEST_FUNCTIONS, "twice_each").value_or_throw();
  }
  void TearDown() override {
    if (comm_ != MPI_COMM_NULL) MPI_Comm_free(&comm_);
  }

  [[nodiscard]] std::string refusal(const Input& in, const Output& out) {
    const auto made = workers_.persistent_call(twice_each_, in, out);
    EXPECT_FALSE(made.has_value());
    return made ? "" : made.error().what();
  }

  MPI_Comm comm_ = MPI_COMM_NULL;
  Allocator workers_;
  Function twice_each_;
};

TEST_F(Datatypes, PackTheInputAndUnpackTheOutput) {
  constexpr int kRows = 5;
  constexpr int kColumns = 7;
  std::vector<double> matrix(std::size_t{kRows} * kColumns);
  std::iota(matrix.begin(), matrix.end(), 0.0);
  std::vector<double> doubled(matrix.size(), -1);
  {
    const Type column(column_of(kRows, kColumns));
    const auto reply = workers_.call(twice_each_, {matrix.data() + 2, 1, column.get()},
                                     {doubled.data() + 2, 1, column.get()});
    ASSERT_TRUE(reply.has_value()) << reply.error().what();
    EXPECT_EQ(reply->size, kRows * sizeof(double));
  }
  for (std::size_t i = 0; i < matrix.size(); ++i) {
    EXPECT_EQ(doubled[i], i % kColumns == 2 ? 2 * matrix[i] : -1) << i;
  }
}

TEST_F(Datatypes, StartAgainAndAgainWithWhatIsThereThen) {
  constexpr int kRows = 4;
  std::vector<double> matrix(std::size_t{kRows} * 3);
  std::vector<double> result(kRows);
  std::optional<Type> column(std::in_place, column_of(kRows, 3));
  auto call = workers_
                  .persistent_call(twice_each_, {matrix.data(), 1, column->get()},
                                   {result.data(), kRows, MPI_DOUBLE})
                  .value_or_throw();
  column.reset();  // the call has one of its own
  for (int step = 0; step < 100; ++step) {
    for (std::size_t row = 0; row < kRows; ++row) matrix[3 * row] = step + static_cast<double>(row);
    ASSERT_TRUE(call.start().has_value());
    while (step % 2 == 0 && !call.poll()) {
    }
    ASSERT_TRUE(call.wait().ok()) << call.error();
    for (std::size_t row = 0; row < kRows; ++row) EXPECT_EQ(result[row], 2 * matrix[3 * row]);
  }
  EXPECT_TRUE(call.wait().ok()) << "the reply stays";
}

TEST_F(Datatypes, PassBasicTypesAsTheyLie) {
  auto in = workers_.lease().buffer<double>(1000).value_or_throw();
  auto out = workers_.lease().buffer<double>(1000).value_or_throw();
  std::iota(in.begin(), in.end(), 0.0);
  MPI_Datatype ten = MPI_DATATYPE_NULL;
  MPI_Type_contiguous(10, MPI_DOUBLE, &ten);
  const Type tens(ten);
  const auto reply =
      workers_.call(twice_each_, {in.data(), 100, tens.get()}, {out.data(), 1000, MPI_DOUBLE});
  ASSERT_TRUE(reply.has_value()) << reply.error().what();
  for (std::size_t i = 0; i < in.size(); ++i) ASSERT_EQ(out[i], 2 * in[i]);
}

TEST_F(Datatypes, LeaveOutTheHolesOfPairs) {
  struct DoubleInt {
    double value;
    int index;
  };
  // An identity, so that the bytes come back as they were packed.
  auto echo = workers_.lease().function(SUBLET_TEST_FUNCTIONS, "echo_bytes").value_or_throw();
  std::array<DoubleInt, 3> in{{{1.5, 1}, {2.5, 2}, {3.5, 3}}};
  std::array<DoubleInt, 3> out{};
  const auto reply =
      workers_.call(echo, {in.data(), 3, MPI_DOUBLE_INT}, {out.data(), 3, MPI_DOUBLE_INT});
  ASSERT_TRUE(reply.has_value()) << reply.error().what();
  EXPECT_EQ(reply->size, 3 * 12u);
  for (std::size_t i = 0; i < in.size(); ++i) {
    EXPECT_EQ(out[i].value, in[i].value);
    EXPECT_EQ(out[i].index, in[i].index);
  }
}

TEST_F(Datatypes, UnpackAnOutputThatIsShorterThanItsRoom) {
  const Type column(column_of(2, 2));
  std::vector<double> in{1, 2};
  std::vector<double> out(20, -1);
  const auto reply =
      workers_.call(twice_each_, {in.data(), 2, MPI_DOUBLE}, {out.data(), 5, column.get()});
  ASSERT_TRUE(reply.has_value()) << reply.error().what();
  EXPECT_EQ(out[0], 2);
  EXPECT_EQ(out[2], 4);
  EXPECT_EQ(out[1], -1);
  EXPECT_EQ(out[3], -1);
}

TEST_F(Datatypes, RefuseAnOutputOfHalfAnElement) {
  const Type column(column_of(2, 2));
  double in = 1;
  std::vector<double> out(20, -1);
  const auto reply =
      workers_.call(twice_each_, {&in, 1, MPI_DOUBLE}, {out.data(), 1, column.get()});
  ASSERT_FALSE(reply.has_value());
  EXPECT_NE(std::string(reply.error().what()).find("no whole number of elements"),
            std::string::npos)
      << reply.error().what();
  EXPECT_EQ(out[0], -1);
}

TEST_F(Datatypes, RefuseWhatDescribesNothing) {
  double value = 1;
  const Input in{&value, 1, MPI_DOUBLE};
  const Output out{&value, 1, MPI_DOUBLE};
  EXPECT_NE(refusal({&value, 1, MPI_DATATYPE_NULL}, out).find("MPI_DATATYPE_NULL"),
            std::string::npos);
  EXPECT_NE(refusal({&value, -1, MPI_DOUBLE}, out).find("cannot be -1"), std::string::npos);
  EXPECT_NE(refusal(in, {&value, MPI_Count{1} << 61, MPI_DOUBLE}).find("than any memory holds"),
            std::string::npos);
  EXPECT_NE(refusal({nullptr, 1, MPI_DOUBLE}, out).find("null pointer"), std::string::npos);
  MPI_Datatype raw = column_of(2, 2);
  EXPECT_NE(refusal(in, {&value, 1, raw}).find("MPI_Type_commit"), std::string::npos);
  MPI_Type_free(&raw);
}

TEST_F(Datatypes, RefuseToStartWhatIsUnderWay) {
  auto wait = workers_.lease().function(SUBLET_TEST_FUNCTIONS, "wait_for_byte").value_or_throw();
  auto flag = workers_.lease().buffer<char>(64).value_or_throw();  // less would travel by value
  flag[0] = 0;
  char result = 0;
  if (workers_.lease().worker(0).transport != "shm") GTEST_SKIP() << "needs memory to share";
  auto call = workers_.persistent_call(wait, {flag.data(), 64, MPI_CHAR}, {&result, 1, MPI_CHAR})
                  .value_or_throw();
  ASSERT_TRUE(call.start().has_value());
  const auto again = call.start();
  ASSERT_FALSE(again.has_value());
  EXPECT_NE(std::string(again.error().what()).find("under way"), std::string::npos);
  EXPECT_EQ(call.wait_for(std::chrono::nanoseconds(1)).status, Status::kDeadline);
  __atomic_store_n(flag.data(), 1, __ATOMIC_RELEASE);
  EXPECT_TRUE(call.wait().ok()) << call.error();
}

TEST_F(Datatypes, EndWithTheCommunicator) {
  const Type column(column_of(2, 2));
  std::vector<double> data(8, 1);
  auto call = workers_
                  .persistent_call(twice_each_, {data.data(), 1, column.get()},
                                   {data.data() + 4, 1, column.get()})
                  .value_or_throw();
  ASSERT_TRUE(call.start().has_value());
  MPI_Comm_free(&comm_);
  const Status status = call.wait().status;
  EXPECT_TRUE(status == Status::kOk || status == Status::kClosed) << to_string(status);
  EXPECT_EQ(status == Status::kOk ? 2 : 1, data[4]) << "unpacked while MPI was there";
  EXPECT_FALSE(call.start().has_value());
  EXPECT_FALSE(workers_.persistent_call(twice_each_, {data.data(), 1, MPI_DOUBLE}, {}).has_value());
}

TEST(PersistentCall, IsOfNoUseWhenItIsEmpty) {
  PersistentCall none;
  EXPECT_FALSE(none.valid());
  EXPECT_FALSE(none.start().has_value());
  EXPECT_TRUE(none.poll());
  EXPECT_EQ(none.wait().status, Status::kInvalid);
}

}  // namespace
}  // namespace sublet::mpi
