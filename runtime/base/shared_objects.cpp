#include <base/shared_objects.hpp>

#include <elf.h>
#include <link.h>

#include <cstddef>
#include <cstring>
#include <span>

namespace sublet::base {
namespace {

std::string hexadecimal(std::span<const unsigned char> bytes) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

/// Notes are a row of headers, each followed by its name and its content, padded to 4 bytes.
std::string build_id_in(std::span<const unsigned char> notes) {
  constexpr std::size_t kMostBytes = 64;
  const auto padded = [](std::size_t size) { return (size + 3) & ~std::size_t{3}; };
  ElfW(Nhdr) header;
  while (notes.size() >= sizeof(header)) {
    std::memcpy(&header, notes.data(), sizeof(header));
    const std::size_t content_at = sizeof(header) + padded(header.n_namesz);
    const std::size_t size = content_at + padded(header.n_descsz);
    if (size > notes.size()) break;
    if (header.n_type == NT_GNU_BUILD_ID && header.n_descsz <= kMostBytes &&
        header.n_namesz == sizeof(ELF_NOTE_GNU) &&
        std::memcmp(notes.data() + sizeof(header), ELF_NOTE_GNU, sizeof(ELF_NOTE_GNU)) == 0) {
      return hexadecimal(notes.subspan(content_at, header.n_descsz));
    }
    notes = notes.subspan(size);
  }
  return {};
}

int note(dl_phdr_info* info, std::size_t, void* to) {
  const std::string path = info->dlpi_name == nullptr ? "" : info->dlpi_name;
  if (path.find('/') == std::string::npos) return 0;  // the program, or the kernel's
  SharedObject object{path, {}};
  for (ElfW(Half) i = 0; i < info->dlpi_phnum && object.build_id.empty(); ++i) {
    const ElfW(Phdr)& part = info->dlpi_phdr[i];
    if (part.p_type != PT_NOTE) continue;
    const auto* notes = reinterpret_cast<const unsigned char*>(info->dlpi_addr + part.p_vaddr);
    object.build_id = build_id_in({notes, part.p_memsz});
  }
  static_cast<std::vector<SharedObject>*>(to)->push_back(std::move(object));
  return 0;
}

}  // namespace

std::vector<SharedObject> loaded_shared_objects() {
  std::vector<SharedObject> objects;
  ::dl_iterate_phdr(&note, &objects);
  return objects;
}

}  // namespace sublet::base
