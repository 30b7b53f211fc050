#include <executor/library/elf_functions.hpp>
#include <executor/library/elf_image.hpp>
#include <wire/limits.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

namespace sublet::executor {
namespace {

constexpr std::string_view kInfoPrefix = "sublet_function_info_";
constexpr std::string_view kSection = "sublet_functions";

/// More than any library has; a hostile one would make the list larger than itself.
constexpr std::size_t kMaxListed = 65536;

bool is_exported(const Elf64_Sym& symbol) {
  const unsigned binding = ELF64_ST_BIND(symbol.st_info);
  const unsigned visibility = ELF64_ST_VISIBILITY(symbol.st_other);
  return symbol.st_shndx != SHN_UNDEF &&
         (binding == STB_GLOBAL || binding == STB_WEAK || binding == STB_GNU_UNIQUE) &&
         (visibility == STV_DEFAULT || visibility == STV_PROTECTED);
}

/// Names reach terminals and JSON; a hostile library's may hold anything.
bool is_printable(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

void describe(ExportedFunction& function, const sublet_function_info& info) {
  function.typed = true;
  function.abi_version = info.abi_version;
  function.input_size = info.input_size;
  function.output_size = info.output_size;
}

void describe(ExportedFunction& function, std::span<const std::byte> info_bytes) {
  sublet_function_info info{};
  if (info_bytes.size() >= sizeof(info)) std::memcpy(&info, info_bytes.data(), sizeof(info));
  describe(function, info);
}

/// The section is a row of descriptions, each followed by the function's name with its zero, and
/// aligned as they are.
std::optional<sublet_function_info> described_in(std::span<const std::byte> section,
                                                 std::string_view function) {
  constexpr std::size_t kAlign = alignof(sublet_function_info);
  sublet_function_info info{};
  while (section.size() > sizeof(info)) {
    std::memcpy(&info, section.data(), sizeof(info));
    if (info.abi_version == 0) {  // a linker's padding
      section = section.subspan(kAlign);
      continue;
    }
    const auto rest = section.subspan(sizeof(info));
    const std::string_view name(reinterpret_cast<const char*>(rest.data()),
                                ::strnlen(reinterpret_cast<const char*>(rest.data()), rest.size()));
    if (name == function) return info;
    const std::size_t size = (sizeof(info) + name.size() + 1 + kAlign - 1) / kAlign * kAlign;
    section = section.subspan(std::min(size, section.size()));
  }
  return std::nullopt;
}

}  // namespace

Result<void> check_library(std::span<const std::byte> bytes) {
  auto image = ElfImage::open(bytes);
  if (!image) return tl::unexpected<Error>(image.error());
  return {};
}

Result<LibraryNeeds> library_needs(std::span<const std::byte> bytes) {
  auto image = ElfImage::open(bytes);
  if (!image) return tl::unexpected<Error>(image.error());
  if (auto found = image->find_symbols(); !found) return tl::unexpected<Error>(found.error());
  return LibraryNeeds{image->needed(), image->run_path()};
}

const char* sanitizer_flag(std::string_view needed) noexcept {
  struct Sanitizer {
    std::string_view runtime;
    const char* flag;
  };
  constexpr std::array<Sanitizer, 5> kSanitizers{{{"libasan.so", "-fsanitize=address"},
                                                  {"libtsan.so", "-fsanitize=thread"},
                                                  {"liblsan.so", "-fsanitize=leak"},
                                                  {"libhwasan.so", "-fsanitize=hwaddress"},
                                                  {"libclang_rt.", "-fsanitize"}}};
  for (const Sanitizer& sanitizer : kSanitizers) {
    if (needed.starts_with(sanitizer.runtime)) return sanitizer.flag;
  }
  return nullptr;
}

std::optional<sublet_function_info> described_in_section(std::span<const std::byte> bytes,
                                                         std::string_view function) {
  const auto image = ElfImage::open(bytes);
  if (!image) return std::nullopt;
  return described_in(image->section(kSection), function);
}

std::vector<std::size_t> unique_symbols(std::span<const std::byte> bytes) {
  std::vector<std::size_t> offsets;
  auto image = ElfImage::open(bytes);
  if (!image || !image->find_symbols()) return offsets;
  for (std::uint64_t i = 0; i < image->symbol_count(); ++i) {
    if (ELF64_ST_BIND(image->symbol(i).st_info) == STB_GNU_UNIQUE) {
      offsets.push_back(image->symbol_offset(i));
    }
  }
  return offsets;
}

Result<std::vector<ExportedFunction>> elf_functions(std::span<const std::byte> bytes) {
  auto image = ElfImage::open(bytes);
  if (!image) return tl::unexpected<Error>(image.error());
  if (auto found = image->find_symbols(); !found) return tl::unexpected<Error>(found.error());

  constexpr std::size_t kLongestName = kInfoPrefix.size() + wire::kMaxFunctionName;
  std::map<std::string, ExportedFunction, std::less<>> functions;
  std::map<std::string, std::uint64_t, std::less<>> infos;  // function name to address
  for (std::uint64_t i = 0; i < image->symbol_count(); ++i) {
    const Elf64_Sym symbol = image->symbol(i);
    if (!is_exported(symbol)) continue;
    const auto name = image->name(symbol, kLongestName);
    if (!name || name->empty() || name->front() == '_' || !is_printable(*name)) continue;
    const unsigned type = ELF64_ST_TYPE(symbol.st_info);
    if (functions.size() >= kMaxListed || infos.size() >= kMaxListed) break;
    if (type == STT_OBJECT && name->starts_with(kInfoPrefix)) {
      infos.emplace(name->substr(kInfoPrefix.size()), symbol.st_value);
    } else if ((type == STT_FUNC || type == STT_GNU_IFUNC) &&
               name->size() <= wire::kMaxFunctionName) {
      functions.emplace(*name, ExportedFunction{.name = std::string(*name)});
    }
  }
  std::vector<ExportedFunction> list;
  list.reserve(functions.size());
  for (auto& [name, function] : functions) {
    if (const auto info = infos.find(name); info != infos.end()) {
      describe(function, image->at_address(info->second, sizeof(sublet_function_info)));
    } else if (const auto hidden = described_in(image->section(kSection), name)) {
      describe(function, *hidden);
    }
    list.push_back(std::move(function));
  }
  return list;
}

}  // namespace sublet::executor
