#pragma once

#include <sublet/result.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace sublet::executor {

/// A function that a library exports.
struct ExportedFunction {
  std::string name;
  bool typed = false;             ///< The form of <sublet/function.hpp>; else the rFaaS form.
  std::uint32_t abi_version = 0;  ///< Of a typed function.
  std::uint64_t input_size = 0;   ///< Of a typed function, bytes; 0 when it varies.
  std::uint64_t output_size = 0;
};

/// The functions that a shared object exports, by name, without loading it. `bytes` is hostile:
/// every offset, count and string in it is checked. Names that begin with an underscore are
/// reserved to the compiler and left out (_init, _fini, C++ names).
///
/// kInvalid says what the file is instead of a usable library: no ELF file, built for another
/// architecture (and which), an executable, an object file, or one that was cut.
Result<std::vector<ExportedFunction>> elf_functions(std::span<const std::byte> bytes);

/// kInvalid, as above, unless `bytes` begins as a shared object for this machine does.
Result<void> check_library(std::span<const std::byte> bytes);

}  // namespace sublet::executor
