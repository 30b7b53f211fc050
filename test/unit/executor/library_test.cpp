// Opening functions: what loads, what does not, and what is said about it.

#include "zygote_under_test.hpp"

#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

namespace sublet::executor {
namespace {

using transport::Arena;

class LibraryTest : public testing::Test {
 protected:
  std::string error_of(const wire::Opened& opened) {
    return opened.ok != 0 ? "opened" : opened.text.data();
  }
  ZygoteUnderTest zygote_;
  ExecutorUnderTest executor_ = zygote_.spawn();
};

TEST_F(LibraryTest, AnswersWithTheNumberItWasGiven) {
  const wire::Opened opened = executor_.open(77, TEST_FUNCTIONS, "echo");
  EXPECT_EQ(opened.ok, 1) << opened.text.data();
  EXPECT_EQ(opened.index, 77);
}

TEST_F(LibraryTest, ListsTheFunctionsWhenOneIsMissing) {
  EXPECT_EQ(error_of(executor_.open(0, ELF_SAMPLE, "sample_norn")),
            "library 'libtest.so' has no function 'sample_norn'; it exports: sample_norm, "
            "sample_reverse, sample_rfaas, sample_weak");
  // More than a text holds are cut.
  const std::string many = error_of(executor_.open(0, TEST_FUNCTIONS, "missing"));
  EXPECT_NE(many.find(" more"), std::string::npos) << many;
  EXPECT_LT(many.size(), 512u);
  EXPECT_EQ(executor_.open(0, TEST_FUNCTIONS, "echo").ok, 1);  // the executor is none the worse
}

TEST_F(LibraryTest, DoesNotOfferFunctionsOfOtherLibraries) {
  // libc's, which a lookup by name alone would find.
  EXPECT_TRUE(error_of(executor_.open(0, TEST_FUNCTIONS, "system"))
                  .starts_with("library 'libtest.so' has no function 'system'"));
  EXPECT_EQ(error_of(executor_.open(0, TEST_FUNCTIONS, "a_variable")),
            "'a_variable' in library 'libtest.so' is a variable, not a function");
  EXPECT_NE(executor_.open(0, TEST_FUNCTIONS, "").ok, 1);
}

TEST_F(LibraryTest, RefusesNumbersThatAreTakenOrTooHigh) {
  EXPECT_EQ(executor_.open(5, TEST_FUNCTIONS, "echo").ok, 1);
  EXPECT_EQ(error_of(executor_.open(5, TEST_FUNCTIONS, "sum")),
            "function number 5 is taken by 'echo'");
  EXPECT_EQ(error_of(executor_.open(1024, TEST_FUNCTIONS, "sum")),
            "function number 1024 is too high; 1024 functions fit into a lease");
  EXPECT_EQ(executor_.open(1023, TEST_FUNCTIONS, "sum").ok, 1);
}

TEST_F(LibraryTest, LoadsALibraryOnce) {
  // The state of the library is shared by its functions, whichever order opened them.
  EXPECT_EQ(executor_.open(0, TEST_FUNCTIONS, "surroundings").ok, 1);
  EXPECT_EQ(executor_.open(1, TEST_FUNCTIONS, "surroundings").ok, 1);
  auto channel = executor_.connect(0, Arena::create(1u << 20).value_or_throw()).value_or_throw();
  for (int i = 2; i < 40; ++i) {
    ASSERT_EQ(executor_.open(static_cast<std::uint16_t>(i), TEST_FUNCTIONS, "echo").ok, 1);
  }
  // Each further descriptor was closed again: this many would be seen.
  std::ifstream maps("/proc/" + std::to_string(executor_.pid) + "/maps");
  std::size_t mapped = 0;
  for (std::string line; std::getline(maps, line);) {
    mapped += line.find("r-xp") != std::string::npos &&
              line.find("memfd:libtest.so") != std::string::npos;
  }
  EXPECT_EQ(mapped, 1u);
}

TEST_F(LibraryTest, SaysWhatDoesNotLoad) {
  const std::string unresolved = error_of(executor_.open(0, UNRESOLVED_LIBRARY, "needs_more"));
  EXPECT_TRUE(unresolved.starts_with(
      "library 'libtest.so' does not load: libtest.so: undefined symbol: symbol_of_nowhere"))
      << unresolved;
  EXPECT_EQ(error_of(executor_.open(0, FUTURE_ABI_LIBRARY, "from_the_future")),
            "function 'from_the_future' of library 'libtest.so' is built for version 99 of the "
            "function interface, this node has 1: build it again");
  EXPECT_EQ(error_of(executor_.open(0, "/etc/passwd", "root")),
            "library 'libtest.so' cannot be loaded: the library is no ELF file (it does not begin "
            "with \\x7fELF)");
  EXPECT_TRUE(error_of(executor_.open(0, SUBLET_EXECUTOR, "main"))
                  .starts_with("library 'libtest.so' cannot be loaded: this is an executable"));
}

#if defined(__x86_64__)
TEST_F(LibraryTest, NamesTheArchitectureALibraryIsBuiltFor) {
  std::ifstream file(TEST_FUNCTIONS, std::ios::binary);
  std::string content((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::uint16_t machine = EM_AARCH64;
  std::memcpy(content.data() + offsetof(Elf64_Ehdr, e_machine), &machine, sizeof(machine));
  auto memory = base::SharedMemory::sealed_copy("arm", std::as_bytes(std::span(content)));
  ASSERT_TRUE(memory);
  EXPECT_EQ(error_of(executor_.open_memory(0, std::move(*memory), 1, "echo")),
            "library 'libtest.so' cannot be loaded: the library is built for AArch64, this node is "
            "x86-64");
}
#endif

TEST_F(LibraryTest, InsistsOnSealedMemory) {
  std::ifstream file(TEST_FUNCTIONS, std::ios::binary);
  const std::string content((std::istreambuf_iterator<char>(file)),
                            std::istreambuf_iterator<char>());
  base::Fd open_memory(::memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::write(open_memory.get(), content.data(), content.size()),
            static_cast<ssize_t>(content.size()));
  EXPECT_EQ(error_of(executor_.open_memory(0, std::move(open_memory), 1, "echo")),
            "library 'libtest.so' did not come as sealed memory");
  EXPECT_EQ(
      error_of(executor_.open_memory(0, base::Fd(::open(TEST_FUNCTIONS, O_RDONLY)), 1, "echo")),
      "library 'libtest.so' did not come as sealed memory");
}

struct BadConstructor {
  const char* library;
  Status status;
  const char* text;
};

class BadConstructorTest : public testing::TestWithParam<BadConstructor> {};

TEST_P(BadConstructorTest, IsReported) {
  ZygoteUnderTest zygote;
  ExecutorUnderTest executor = zygote.spawn();
  EXPECT_THROW(executor.open(0, GetParam().library, "unused"), std::runtime_error);
  // The answer to kOpen was the executor's last message.
  EXPECT_TRUE(WIFEXITED(zygote.exit_of(executor.pid)));
}

TEST_P(BadConstructorTest, NamesTheLibraryAndTheCause) {
  ZygoteUnderTest zygote;
  ExecutorUnderTest executor = zygote.spawn();
  wire::Open open{};
  wire::set_text(open.name, "unused");
  wire::set_text(open.library, "libbad.so");
  const base::Fd memory = library_memory(GetParam().library);
  const int fd = memory.get();
  ASSERT_TRUE(wire::send_message(executor.control.get(), wire::MessageType::kOpen, open, {&fd, 1}));
  const wire::Dying dying = executor.dying();
  EXPECT_EQ(static_cast<Status>(dying.status), GetParam().status);
  EXPECT_EQ(wire::text_of(dying.text), GetParam().text);
}

INSTANTIATE_TEST_SUITE_P(
    Libraries, BadConstructorTest,
    testing::Values(BadConstructor{CRASH_ON_LOAD_LIBRARY, Status::kCrashed,
                                   "loading library 'libbad.so' raised SIGSEGV (invalid memory "
                                   "reference) at address 0x9999"},
                    BadConstructor{EXIT_ON_LOAD_LIBRARY, Status::kExited,
                                   "loading library 'libbad.so' called exit(4)"},
                    BadConstructor{THROW_ON_LOAD_LIBRARY, Status::kCrashed,
                                   "loading library 'libbad.so' raised SIGABRT (abort)"}),
    [](const auto& test) { return "Case" + std::to_string(test.index); });

}  // namespace
}  // namespace sublet::executor
