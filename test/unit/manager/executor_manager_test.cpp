// The parts of the executor manager that need no process.

#include "support/temp_directory.hpp"
#include <executor_manager/background_thread.hpp>
#include <executor_manager/library_cache.hpp>
#include <executor_manager/memory_cgroup.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <sodium/crypto_hash_sha256.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>

namespace sublet::manager {
namespace {

namespace fs = std::filesystem;

std::vector<std::byte> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

/// A library of this test, and as many variants of it as wanted: bytes behind the end are ignored.
std::vector<std::byte> variant(std::size_t number) {
  static const std::vector<std::byte> kLibrary = read_file(SAMPLE_LIBRARY);
  std::vector<std::byte> content = kLibrary;
  const auto bytes = std::as_bytes(std::span(&number, 1));
  content.insert(content.end(), bytes.begin(), bytes.end());
  return content;
}

class LibraryCacheTest : public testing::Test {
 protected:
  Result<Sha256> install(std::span<const std::byte> content) {
    return cache_.install(content).wait(io_.waitScope);
  }

  ~LibraryCacheTest() noexcept override = default;

  kj::AsyncIoContext io_ = kj::setupAsyncIo();
  LibraryCache cache_;
};

TEST_F(LibraryCacheTest, FindsWhatWasInstalledByItsHash) {
  const auto content = variant(1);
  const auto sha256 = install(content);
  ASSERT_TRUE(sha256) << sha256.error().what();
  Sha256 expected{};
  crypto_hash_sha256(expected.data(), reinterpret_cast<const unsigned char*>(content.data()),
                     content.size());
  EXPECT_EQ(*sha256, expected);
  const auto memory = cache_.find(*sha256);
  ASSERT_TRUE(memory);
  EXPECT_EQ(::lseek(memory->get(), 0, SEEK_END), static_cast<off_t>(content.size()));
  EXPECT_EQ(::fcntl(memory->get(), F_GET_SEALS) & F_SEAL_WRITE, F_SEAL_WRITE);
  expected[0] = static_cast<std::uint8_t>(expected[0] ^ 1);
  EXPECT_FALSE(cache_.find(expected));
}

TEST_F(LibraryCacheTest, RefusesWhatIsNoLibrary) {
  const std::string text = "#!/bin/sh\necho hello\n";
  const auto refused = install(std::as_bytes(std::span(text)));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kInvalid);
  EXPECT_FALSE(install({}));
}

TEST_F(LibraryCacheTest, ForgetsTheLeastRecentlyUsedButNotWhatIsInUse) {
  const auto first = install(variant(0));
  const auto second = install(variant(1));
  ASSERT_TRUE(first && second);
  const auto in_use = cache_.find(*second);
  for (std::size_t i = 2; i <= wire::kMaxCachedLibraries; ++i) {
    ASSERT_TRUE(cache_.find(*first)) << "used again and again";
    ASSERT_TRUE(install(variant(i)));
  }
  EXPECT_TRUE(cache_.find(*first));
  EXPECT_FALSE(cache_.find(*second));
  EXPECT_GT(::lseek(in_use->get(), 0, SEEK_END), 0);
}

TEST_F(LibraryCacheTest, KeepsOnlySoManyBytes) {
  const std::size_t size = variant(0).size();
  LibraryCache cache(std::make_unique<BackgroundThread>(), 2 * size);
  std::vector<Sha256> installed;
  for (std::size_t i = 0; i < 4; ++i) {
    const auto content = variant(i);
    installed.push_back(cache.install(content).wait(io_.waitScope).value_or_throw());
    EXPECT_LE(cache.bytes(), 2 * size);
  }
  EXPECT_FALSE(cache.find(installed[0]));
  EXPECT_FALSE(cache.find(installed[1]));
  EXPECT_TRUE(cache.find(installed[2]));
  EXPECT_TRUE(cache.find(installed[3]));
}

/// A thread that does nothing until `gate` opens, as when it is busy with something large.
std::unique_ptr<BackgroundThread> busy_until(const std::shared_future<void>& gate) {
  auto thread = std::make_unique<BackgroundThread>();
  thread->post([gate] { gate.wait(); });
  return thread;
}

TEST_F(LibraryCacheTest, LetsOthersBeAnsweredDuringAnInstall) {
  std::promise<void> gate;
  LibraryCache cache(busy_until(gate.get_future().share()));
  const auto content = variant(1);
  std::string order;
  auto installed = cache.install(content)
                       .then([&](const Result<Sha256>& sha256) {
                         EXPECT_TRUE(sha256);
                         order += " install";
                       })
                       .eagerlyEvaluate(nullptr);
  // Another client's question, which the loop sees later.
  kj::evalLater([&] { order += " question"; }).wait(io_.waitScope);
  gate.set_value();
  installed.wait(io_.waitScope);
  EXPECT_EQ(order, " question install");
}

TEST_F(LibraryCacheTest, DoesNotReadWhatItsClientHasTakenAway) {
  std::promise<void> gate;
  LibraryCache cache(busy_until(gate.get_future().share()));
  auto content = std::make_unique<std::vector<std::byte>>(variant(1));
  Sha256 sha256{};
  crypto_hash_sha256(sha256.data(), reinterpret_cast<const unsigned char*>(content->data()),
                     content->size());
  { auto dropped = cache.install(*content); }
  content.reset();
  const auto other = variant(2);
  auto installed = cache.install(other);
  gate.set_value();
  EXPECT_TRUE(installed.wait(io_.waitScope));
  EXPECT_FALSE(cache.find(sha256));
}

class MemoryCgroupTest : public testing::Test {
 protected:
  const test::TempDirectory temporary_;
  const std::string& directory_ = temporary_.path();
};

TEST_F(MemoryCgroupTest, IsRefusedWhereTheFilesAreNone) {
  // A plain directory has no memory.limit_in_bytes.
  const MemoryCgroupParent parent(directory_, 1);
  const auto cgroup = MemoryCgroup::create(parent, 1 << 20);
  ASSERT_FALSE(cgroup);
  EXPECT_EQ(cgroup.error().kind(), ErrorKind::kUnsupported);
  EXPECT_TRUE(fs::is_empty(directory_));
}

TEST_F(MemoryCgroupTest, RemovesWhatDeadManagersLeft) {
  const pid_t dead = ::fork();
  if (dead == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(dead, nullptr, 0), dead);
  const auto name = [this](pid_t pid) {
    return directory_ + "/sublet-" + std::to_string(pid) + "-0";
  };
  fs::create_directory(name(dead));
  fs::create_directory(name(::getpid()));
  fs::create_directory(directory_ + "/other");
  MemoryCgroupParent(directory_, 1).remove_stale();
  EXPECT_FALSE(fs::exists(name(dead)));
  EXPECT_TRUE(fs::exists(name(::getpid())));
  EXPECT_TRUE(fs::exists(directory_ + "/other"));
}

TEST_F(MemoryCgroupTest, KillsWhatExceedsItAndSaysSo) {
  std::string why;
  const auto parent = MemoryCgroupParent::find(why);
  if (!parent) GTEST_SKIP() << why;
  const std::string before = parent->directory();
  auto cgroup = MemoryCgroup::create(*parent, 16u << 20);
  ASSERT_TRUE(cgroup) << cgroup.error().what();
  std::array<int, 2> gate{};
  ASSERT_EQ(::pipe(gate.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    char go = 0;
    if (::read(gate[0], &go, 1) != 1) ::_exit(1);
    constexpr std::size_t kSize = 64u << 20;
    auto* memory = new char[kSize];
    for (std::size_t i = 0; i < kSize; i += 4096) static_cast<volatile char*>(memory)[i] = 1;
    ::_exit(0);
  }
  ASSERT_TRUE(cgroup->add(child));
  EXPECT_EQ(cgroup->oom_kills(), 0u);
  ASSERT_EQ(::write(gate[1], "g", 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EXPECT_GT(cgroup->oom_kills(), 0u);
  ::close(gate[0]);
  ::close(gate[1]);
}

TEST(BackgroundThread, RunsAllJobsInOrderBeforeItGoes) {
  std::vector<int> done;
  {
    BackgroundThread thread;
    for (int i = 0; i < 1000; ++i) thread.post([&done, i] { done.push_back(i); });
  }
  ASSERT_EQ(done.size(), 1000u);
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
}

}  // namespace
}  // namespace sublet::manager
