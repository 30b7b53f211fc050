// Function libraries and programs that clients send.

#include "target.hpp"
#include <executor/library/elf_functions.hpp>

#include <elf.h>

#include <fstream>
#include <iterator>

namespace sublet::fuzz {
namespace {

void run(std::span<const std::byte> input) {
  const auto functions = executor::elf_functions(input);
  const auto needs = executor::library_needs(input);
  if (functions) {
    for (const auto& function : *functions)
      (void)executor::hidden_description(input, function.name);
  }
  if (needs) {
    for (const auto& library : needs->libraries) (void)executor::sanitizer_flag(library);
  }
  (void)executor::hidden_description(input, "f");
  (void)executor::image_named_in(input);
  for (const std::size_t at : executor::unique_symbols(input)) {
    require(at <= input.size() && input.size() - at >= sizeof(Elf64_Sym),
            "a symbol outside of its file");
  }
  (void)executor::check_program(input);
  (void)executor::check_library(input);
}

/// A small library of the tests'.
std::vector<Bytes> seeds() {
  std::ifstream file(FUZZ_LIBRARY, std::ios::binary);
  require(static_cast<bool>(file), "the sample library is not there: " FUZZ_LIBRARY);
  return {bytes_of(std::string(std::istreambuf_iterator<char>(file), {}))};
}

const Registered registered({"elf", run, seeds});

}  // namespace
}  // namespace sublet::fuzz
