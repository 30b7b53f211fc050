#include <executor/library/elf_functions.hpp>
#include <executor/library/elf_image.hpp>
#include <sublet/function_abi.h>
#include <wire/limits.hpp>

#include <algorithm>
#include <map>

namespace sublet::executor {
namespace {

constexpr std::string_view kInfoPrefix = "sublet_function_info_";

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

void describe(ExportedFunction& function, std::span<const std::byte> info_bytes) {
  function.typed = true;
  sublet_function_info info{};
  if (info_bytes.size() < sizeof(info)) return;
  std::memcpy(&info, info_bytes.data(), sizeof(info));
  function.abi_version = info.abi_version;
  function.input_size = info.input_size;
  function.output_size = info.output_size;
}

}  // namespace

Result<void> check_library(std::span<const std::byte> bytes) {
  auto image = ElfImage::open(bytes);
  if (!image) return tl::unexpected<Error>(image.error());
  return {};
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
    }
    list.push_back(std::move(function));
  }
  return list;
}

}  // namespace sublet::executor
