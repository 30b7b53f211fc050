#include <executor/library/elf_functions.hpp>

#include <elf.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

namespace sublet::executor {
namespace {

using Bytes = std::vector<std::byte>;

Bytes read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

/// The sample with some bytes changed.
template <class T>
Bytes sample_with(std::size_t offset, T value) {
  Bytes bytes = read_file(ELF_SAMPLE);
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
  return bytes;
}

std::string names_in(const std::vector<ExportedFunction>& functions) {
  std::string names;
  for (const auto& function : functions) {
    names += (names.empty() ? "" : " ") + function.name + (function.typed ? "*" : "");
  }
  return names;
}

std::string error_of(const Bytes& bytes) {
  const auto functions = elf_functions(bytes);
  const auto checked = check_library(bytes);
  if (functions) return "no error";
  if (!checked) {
    EXPECT_STREQ(checked.error().what(), functions.error().what());
  }
  EXPECT_EQ(functions.error().kind(), ErrorKind::kInvalid);
  return functions.error().what();
}

TEST(ElfFunctions, ListsExportedFunctionsAndTheirForms) {
  for (const char* path : {ELF_SAMPLE, ELF_SAMPLE_STRIPPED, ELF_SAMPLE_SYSV, ELF_SAMPLE_GNU}) {
    const auto functions = elf_functions(read_file(path));
    ASSERT_TRUE(functions) << path << ": " << functions.error().what();
    EXPECT_EQ(names_in(*functions), "sample_norm* sample_reverse* sample_rfaas sample_weak")
        << path;
    EXPECT_TRUE(check_library(read_file(path)));
    const ExportedFunction& norm = functions->at(0);
    EXPECT_EQ(norm.abi_version, 1u);
    EXPECT_EQ(norm.input_size, 2 * sizeof(double));
    EXPECT_EQ(norm.output_size, sizeof(double));
    EXPECT_EQ(functions->at(1).input_size, 0u);
  }
}

TEST(ElfFunctions, SaysWhatIsNoLibrary) {
  EXPECT_EQ(error_of({}), "the library is empty");
  const std::string script = "#!/bin/sh\nexit 0\n";
  const auto* text = reinterpret_cast<const std::byte*>(script.data());
  EXPECT_EQ(error_of({text, text + script.size()}),
            "the library is no ELF file (it does not begin with \\x7fELF)");
  EXPECT_EQ(error_of(read_file(PLAIN_OBJECT)),
            "this is an object file, not a shared object; link it with -shared");
  EXPECT_EQ(error_of(read_file(PLAIN_PROGRAM_FIXED)),
            "this is an executable program, not a shared object");
  EXPECT_EQ(error_of(read_file(PLAIN_PROGRAM)),
            "this is an executable program, not a shared object; link it with -shared");
}

#if defined(__x86_64__)
TEST(ElfFunctions, NamesTheOtherArchitecture) {
  const auto with_machine = [](std::uint16_t machine) {
    return error_of(sample_with(offsetof(Elf64_Ehdr, e_machine), machine));
  };
  EXPECT_EQ(with_machine(EM_AARCH64), "the library is built for AArch64, this node is x86-64");
  EXPECT_EQ(with_machine(EM_PPC64), "the library is built for POWER (64-bit), this node is x86-64");
  EXPECT_EQ(with_machine(4242), "the library is built for ELF machine 4242, this node is x86-64");

  Bytes i386 = sample_with(offsetof(Elf64_Ehdr, e_machine), std::uint16_t{EM_386});
  i386[EI_CLASS] = std::byte{ELFCLASS32};
  EXPECT_EQ(error_of(i386), "the library is built for 32-bit x86, this node is x86-64");

  // s390x is big-endian: its machine number is stored the other way round.
  Bytes s390 = sample_with(offsetof(Elf64_Ehdr, e_machine), std::uint16_t{EM_S390 << 8});
  s390[EI_DATA] = std::byte{ELFDATA2MSB};
  EXPECT_EQ(error_of(s390), "the library is built for s390x, this node is x86-64");

  Bytes big = sample_with(offsetof(Elf64_Ehdr, e_machine), std::uint16_t{EM_X86_64 << 8});
  big[EI_DATA] = std::byte{ELFDATA2MSB};
  EXPECT_EQ(error_of(big),
            "the library is built for the other byte order (big-endian), this node is "
            "little-endian");
}
#endif

TEST(ElfFunctions, SurvivesTruncationAnywhere) {
  const Bytes whole = read_file(ELF_SAMPLE);
  for (std::size_t size = 0; size < whole.size(); size += 64) {
    // A copy of exactly that size: a read past its end is seen by the address sanitizer.
    const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(elf_functions(cut)) << "of " << whole.size() << " bytes " << size << " were there";
  }
  // Without the check for section headers the tables themselves have to hold.
  for (std::size_t size = sizeof(Elf64_Ehdr); size < whole.size(); size += 64) {
    Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    std::memset(cut.data() + offsetof(Elf64_Ehdr, e_shoff), 0, sizeof(Elf64_Off));
    std::memset(cut.data() + offsetof(Elf64_Ehdr, e_shnum), 0, sizeof(Elf64_Half));
    const auto functions = elf_functions(cut);
    EXPECT_TRUE(!functions || functions->size() == 4);
  }
  const Bytes half(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(whole.size() / 4));
  EXPECT_NE(error_of(half).find("the library is cut: it has " + std::to_string(half.size())),
            std::string::npos)
      << error_of(half);
}

TEST(ElfFunctions, SurvivesFlippedBytes) {
  const Bytes whole = read_file(ELF_SAMPLE);
  std::mt19937 random(20240229);
  for (int round = 0; round < 4000; ++round) {
    Bytes bytes = whole;
    // Most damage to the headers, where the offsets and counts are.
    const std::size_t range = round % 4 == 0 ? bytes.size() : 4096;
    const auto flips = 1 + random() % 8;
    for (unsigned i = 0; i < flips; ++i) {
      bytes[random() % range] = static_cast<std::byte>(random());
    }
    (void)library_needs(bytes);
    (void)unique_symbols(bytes);
    const auto functions = elf_functions(bytes);
    if (!functions) {
      EXPECT_NE(std::string(functions.error().what()), "");
    }
  }
}

TEST(ElfFunctions, SurvivesExtremeWords) {
  // Each aligned word of the headers and of the dynamic tables set to values at the edges.
  const Bytes whole = read_file(ELF_SAMPLE_STRIPPED);
  for (const std::uint64_t value :
       {~std::uint64_t{0}, std::uint64_t{1} << 63, std::uint64_t{0x7fffffffffffffff},
        std::uint64_t{0xffffffff00000000}, std::uint64_t{0}, whole.size() - 1}) {
    for (std::size_t at = 16; at + 8 <= whole.size(); at += 8) {
      if (at > 2048 && at < whole.size() / 2) continue;
      Bytes bytes = whole;
      std::memcpy(bytes.data() + at, &value, sizeof(value));
      (void)library_needs(bytes);
      (void)unique_symbols(bytes);
      const auto functions = elf_functions(bytes);
      if (functions) {
        EXPECT_LT(functions->size(), 100u);
      }
    }
  }
}

}  // namespace
}  // namespace sublet::executor
