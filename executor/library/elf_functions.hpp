#pragma once

#include <sublet/function_abi.h>
#include <sublet/result.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
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

/// What a library needs of the node that it is sent to.
struct LibraryNeeds {
  std::vector<std::string> libraries;  ///< By name, as DT_NEEDED has them.
  std::string run_path;                ///< Where it says that they are; may hold $ORIGIN.
};
Result<LibraryNeeds> library_needs(std::span<const std::byte> bytes);

/// The compiler's flag that makes a library need `needed`, a sanitizer's run-time library; null for
/// all others.
const char* sanitizer_flag(std::string_view needed) noexcept;

/// The function's description where the macros of <sublet/function.hpp> have written it down beside
/// the symbol, which a linker's version script may hide. Nothing when there is none.
std::optional<sublet_function_info> hidden_description(std::span<const std::byte> bytes,
                                                       std::string_view function);

/// The image that SUBLET_IMAGE names in a library or program, which has been checked: hostile text.
/// Empty: it names none, or not with a text that ends.
std::string image_named_in(std::span<const std::byte> bytes);

/// Where the library's symbols lie in the file that are one for the whole process, whoever defines
/// them (STB_GNU_UNIQUE: static data of templates and inline functions).
std::vector<std::size_t> unique_symbols(std::span<const std::byte> bytes);

/// kInvalid unless `bytes` begins as a program for this machine that a dynamic linker loads.
Result<void> check_program(std::span<const std::byte> bytes);

/// kInvalid, as above, unless `bytes` begins as a shared object for this machine does.
Result<void> check_library(std::span<const std::byte> bytes);

}  // namespace sublet::executor
